---@meta
-- The script API of Pointsman, for editors with the Lua language server. Nothing here is run.
--
-- At the top of a plugin, `---@type Plugin` above the table that it returns completes and checks its hooks.

--- A user, a connection or a row's id. `7` and `"7"` are the same.
---@alias Id string|integer

--- What a condition compares with: a value, a glob, a list of which one must hold, or one of the named conditions.
---@alias Condition string|number|boolean|(string|number|boolean)[]|{ exists: boolean?, ["not"]: Condition?, prefix: string?, gt: number?, gte: number?, lt: number?, lte: number? }

--- What the broker says of an event.
---@class Amqp
---@field routing_key string?
---@field headers table<string, any>

--- A published event: its body, as far as `fields` declares it, and `amqp`. It cannot be changed. `null` is nil, and
--- integers beyond 2^53 are strings.
---@class Event
---@field amqp Amqp?
---@field [string] any

--- Who subscribes. Further attributes of the user are there by name: `session.role`.
---@class Session
---@field user string
---@field tenant string
---@field [string] any

--- Where a token comes from.
---@class Request
---@field remote_addr string

--- Whose token it is. All further fields become attributes of the session.
---@class Identity
---@field user Id
---@field tenant Id
---@field expires_at number? seconds since 1970
---@field [string] string|number|boolean

--- A row of a query, by column.
---@alias Row table<string, string|number|boolean>

--- The audience that a `route` hook builds, of sessions of the event's own tenant. Calls narrow it; repeated names of
--- one kind widen that kind; `also` begins another one. Only good within its own call.
---@class To
local To = {}

--- Sessions subscribed to this topic.
---@param topic string
---@return To
function To:topic(topic) end

--- Sessions subscribed to one of these topics.
---@param topics string[]
---@return To
function To:topics(topics) end

--- Sessions of this user.
---@param id Id
---@return To
function To:user(id) end

--- Sessions of these users: ids, or rows of one column as `lookup` answers them.
---@param ids (Id|Row)[]
---@return To
function To:users(ids) end

--- All sessions of the tenant.
---@return To
function To:tenant() end

--- Sessions whose attributes match all of these.
---@param conditions table<string, Condition>
---@return To
function To:where(conditions) end

--- But not the sessions of this user. Nil leaves nobody out.
---@param id Id?
---@return To
function To:except_user(id) end

--- What follows is about a further audience.
---@return To
function To:also() end

--- What this audience gets instead of the event's payload.
---@param payload any
---@return To
function To:payload(payload) end

--- Nobody gets the event.
---@param reason string?
---@return To
function To:drop(reason) end

--- Runs a named query of the configuration. `:tenant` is the event's or session's own, and is not bound here.
---@param query string
---@param binds table<string, string|number|boolean>?
---@return Row[]
function lookup(query, binds) end

--- The program's log, with the plugin and the line.
log = {}

---@param ... any
function log.info(...) end

---@param ... any
function log.warn(...) end

--- JSON.
json = {}

--- A table with the names 1 to n is an array, any other an object. Names are sorted.
---@param value any
---@return string
function json.encode(value) end

---@param text string
---@return any
function json.decode(text) end

--- Marks a list, so that it is an array even where it is empty.
---@generic T
---@param list T[]
---@return T[]
function json.array(list) end

--- Seconds since 1970, with fractions.
---@return number
function now() end

--- What a plugin returns.
---@class Plugin
---@field fields? string[] what the hooks read of events: paths such as `data.deal_id`. Without it, the whole body
---@field route? fun(event: Event, to: To, params: table)
---@field authorize? fun(session: Session, topic: string, params: table): boolean?
---@field authenticate? fun(token: string, request: Request, params: table): Identity?
