-- Whose token it is, where the token is that of the session that your application keeps anyway: so that no page needs
-- one of its own. Pages send the cookie's value after a prefix, `session.3f9c...`; the application has a table of sessions.
--
--   auth:
--     providers:
--       - script: { plugin: cookies.lua, with: { query: user_by_session, prefix: "session." }, cache: 10s }
--
-- `query` binds :session, and answers `user` and `tenant`; `expires_at` ends the session here too, and each further column
-- becomes an attribute. What does not begin with `prefix` is no cookie, and the next provider is asked. While the
-- database is away nobody is denied: clients are told to come back.
--
-- A script of the page can read the cookie only where it is not `HttpOnly`. Where it is, have your server write the
-- value into the page, or give out tokens instead.

---@type Plugin
return {
  authenticate = function(token, request, params)
    if string.sub(token, 1, #params.prefix) ~= params.prefix then
      return nil
    end
    local session = string.sub(token, #params.prefix + 1)
    -- What frameworks write there. Anything else is not worth a question.
    if #session > 128 or not string.match(session, "^[%w,_-]+$") then
      return nil
    end
    return lookup(params.query, { session = session })[1]
  end,
}
