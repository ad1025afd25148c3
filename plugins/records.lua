-- Rights by record: who looks at a record hears of it if the database says that he or she may see it; managers hear of
-- all that they look at. Who has made the change has seen it already.
--
--   - name: files
--     when: { data.type: "file.*" }
--     script: records.lua
--     with: { topic: record, query: users_with_access }
--
-- `topic` is the first part of the topics that people subscribe to; `query` binds :tenant and :record, and answers the
-- users of that record, one a row.

---@type Plugin
return {
  fields = { "data.record_id", "data.actor_id" },

  route = function(event, to, params)
    local record, actor = event.data.record_id, event.data.actor_id
    if record == nil then
      return to:drop("the event names no record")
    end
    local topic = params.topic .. ":" .. record

    -- Asked for each event, unless the answer is kept (`cache` of the query): a right that was taken away counts at once.
    to:topic(topic)
    to:users(lookup(params.query, { record = record }))
    to:except_user(actor)

    -- A further audience: nothing of the first one counts in it.
    to:also()
    to:topic(topic)
    to:where({ role = "manager" })
    to:except_user(actor)
  end,
}
