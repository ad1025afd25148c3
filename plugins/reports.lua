-- Who may look at a report: `report:sales:2026-11`, `report:team:7`, `report:own:12`.
--
--   - match: "report:{kind}:{id}"
--     script: reports.lua
--     with: { open_to: [finance, manager] }
--
-- Who has one of those roles may look at all of them; a team's report is its members' too, and one's own is one's own.
-- The query `members_of_team` binds :tenant, :team and :user; any row says that the user is one.

---@type Plugin
return {
  authorize = function(session, topic, params)
    for _, role in ipairs(params.open_to) do
      if session.role == role then
        return true
      end
    end
    local kind, id = string.match(topic, "^report:([^:]+):([^:]+)$")
    if kind == "own" then
      return id == session.user
    end
    if kind == "team" then
      return #lookup("members_of_team", { team = id, user = session.user }) > 0
    end
    return false
  end,
}
