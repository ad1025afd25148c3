-- Escalation: a deal that needs attention goes to its owner, wherever he or she is, and to the team's board: a large one
-- to the managers' board, any other one to everybody's. Who is no manager sees there that it is so, and not what it
-- is worth.
--
--   - name: escalations
--     when: { data.type: deal.escalated }
--     script: escalation.lua
--     with: { large: 100000 }
--
-- `large` is the amount from which a deal is the managers' affair.

return {
  fields = { "data.type", "data.id", "data.deal_id", "data.board", "data.owner_id", "data.amount" },

  route = function(event, to, params)
    local deal = event.data
    if deal.owner_id then
      to:user(deal.owner_id)
      to:also()
    end
    if not deal.board then
      return
    end

    if (tonumber(deal.amount) or 0) >= params.large then
      to:topic("managers:" .. deal.board)
      return
    end

    -- Where two audiences hold a session, the first one says what it gets: managers get the whole event.
    to:topic("board:" .. deal.board)
    to:where({ role = "manager" })
    to:also()
    to:topic("board:" .. deal.board)
    to:payload({ type = deal.type, id = deal.id, deal_id = deal.deal_id, board = deal.board })
  end,
}
