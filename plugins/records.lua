-- Rights by record: who looks at a record hears of it if the database says that he or she has access to it; managers
-- hear of all that they look at.
--
--   - name: notes
--     when: { data.type: [note.added, note.edited] }
--     script: records.lua
--     with: { topic: record, query: users_with_access }
--
-- `topic` is the first part of the topics that people subscribe to, `query` one that answers the users of a record.

return {
  fields = { "data.record_id", "data.actor_id" },

  route = function(event, to, params)
    local record = event.data.record_id
    if record == nil then
      return to:drop("the event names no record")
    end
    local topic = params.topic .. ":" .. record

    -- Asked for each event, unless the answer is cached: a right that was taken away counts at once.
    to:topic(topic)
    to:users(lookup(params.query, { record = record }))
    to:except_user(event.data.actor_id)

    to:also()
    to:topic(topic)
    to:where({ role = "manager" })
    to:except_user(event.data.actor_id)
  end,
}
