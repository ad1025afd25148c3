-- Escalation: a deal that needs attention. Its owner gets it, wherever he or she is; beyond that a large deal is for the
-- managers' board alone, and any other one for the board that all of the team look at. Who is no manager sees there that
-- it is so, and not what it is worth.
--
--   - name: escalations
--     when: { data.type: "escalation.*" }
--     script: escalation.lua
--     with: { large: 100000 }
--
-- `large` is the amount from which a deal is the managers' affair. An event that names no amount is taken for one of
-- those: who forgets it shows nobody too much.

---@type Plugin
return {
  fields = { "data.type", "data.id", "data.deal_id", "data.board", "data.owner_id", "data.amount" },

  route = function(event, to, params)
    local deal = event.data
    if deal.owner_id == nil and deal.board == nil then
      return to:drop("the event names neither an owner nor a board")
    end
    if deal.owner_id ~= nil then
      to:user(deal.owner_id)
      to:also()
    end
    if deal.board == nil then
      return
    end

    -- A number, or a text of one, as money often is written.
    local amount = tonumber(deal.amount)
    if amount == nil or amount >= params.large then
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
