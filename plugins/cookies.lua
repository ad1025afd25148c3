-- Whose token is it, where the token is the session cookie that your application sets anyway: so that no page needs a
-- token of its own. The page sends the cookie's value as its access token; the application keeps sessions in a table.
--
--   auth:
--     providers:
--       - script: { plugin: cookies.lua, with: { query: user_by_session, prefix: "session." }, cache: 10s }
--
-- `query` answers `user` and `tenant` for a session; each further column becomes an attribute. What does not begin
-- with `prefix` is no cookie, and the next provider is asked.

return {
  authenticate = function(token, request, params)
    if string.sub(token, 1, #params.prefix) ~= params.prefix then
      return nil
    end
    local session = string.sub(token, #params.prefix + 1)
    -- What the framework writes there: letters and digits. Anything else is not worth a question.
    if not string.match(session, "^%w+$") then
      return nil
    end
    return lookup(params.query, { session = session })[1]
  end,
}
