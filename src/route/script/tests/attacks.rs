//! What plugins may do that does not end by itself, takes all memory, or asks for too much. Tests of the whole program have
//! them, too.

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ends {
    /// By its budget of CPU time.
    Budget,
    /// By its bound of memory.
    Memory,
    /// By an error.
    Error,
    /// Without a failure: what it tries to use up is bounded.
    Well,
    /// One way or another, within the limits.
    Somehow,
}

use Ends::{Budget, Error, Memory, Somehow, Well};

/// Locals of attacks at the memory limit. `full(f, ...)` fills the memory to its last bytes and calls `f` again and again:
/// each call has the program refer to one value less of `many`, so that one of them takes all places for references.
pub(crate) const FULL: &str = "
local held, plain, many, list = nil, setmetatable({}, {}), {}, {}
for i = 1, 90 do many[1000 + 2 * i] = plain list[i] = plain end
local function blocks(size) while true do held = { held, table.create(size, 0) } end end
local function chain() while true do held = { held } end end
local function full(f, ...)
    pcall(f)
    pcall(blocks, 4096) pcall(blocks, 64) pcall(blocks, 1) pcall(chain)
    for n = 90, 1, -1 do pcall(f, ...) many[1000 + 2 * n] = nil list[n] = nil end
end
";

/// What each is called, locals of the file that it needs, what its `route` does, and how that ends.
#[rustfmt::skip]
pub(crate) const ATTACKS: &[(&str, &str, &str, Ends)] = &[
    ("a loop", "", "while true do end", Budget),
    ("a counted loop", "", "for i = 1, 1e15 do end", Budget),
    ("a repeat", "", "repeat local x = 1 until false", Budget),
    ("a loop of calls", "local function f() end", "while true do f() end", Budget),
    ("endless recursion in tail position", "local f f = function() return f() end", "f()", Somehow),
    ("endless recursion", "local f f = function() return 1 + f() end", "f()", Somehow),
    ("pcall around the loop", "", "while true do pcall(function() while true do end end) end", Budget),
    ("pcall in pcall", "local f f = function() pcall(f) f() end", "f()", Somehow),
    ("a pcall that swallows the end", "", "pcall(function() while true do end end)", Budget),
    ("xpcall with a handler that loops", "", "xpcall(function() error('x') end, function() while true do end end)", Budget),
    ("xpcall again and again", "", "while true do xpcall(error, function() return xpcall(error, error) end) end", Budget),
    ("a pattern that tracks back", "", "local s = string.rep('a', 60) return s:find(string.rep('a?', 60) .. string.rep('a', 60) .. 'b')", Budget),
    ("a pattern over much text", "", "return string.rep('a', 1e6):match('.-.-.-.-b')", Budget),
    ("gsub that tracks back", "", "return (string.rep('x', 100000):gsub('.-.-.-y', ''))", Budget),
    ("gmatch that tracks back", "", "for w in string.rep('x', 100000):gmatch('.-.-.-y') do end", Budget),
    ("a plain search that is quadratic", "", "return string.rep('a', 2e6):find(string.rep('a', 1e6) .. 'b', 1, true)", Error),
    ("a split that is quadratic", "", "return string.rep('a', 2e6):split(string.rep('a', 1e6) .. 'b')", Error),
    ("a plain search again and again", "", "local s = string.rep('a', 2e6) while true do s:find('b', 1, true) end", Budget),
    ("a class of characters over much text", "local s = string.rep('a', 5e5) local p = '[' .. string.rep('b', 5e5) .. 'a]*z'", "return s:match(p)", Error),
    ("a class of characters, in gsub", "local s = string.rep('a', 5e5) local p = '[' .. string.rep('b', 5e5) .. 'a]*z'", "return s:gsub(p, '')", Error),
    ("a class of characters, in gmatch", "local s = string.rep('a', 5e5) local p = '[' .. string.rep('b', 5e5) .. 'a]*z'", "for w in s:gmatch(p) do end", Error),
    ("a short class of characters over much text", "local s = string.rep('a', 5e6) local p = '[' .. string.rep('b', 58) .. 'a]*z'", "return s:match(p)", Error),
    ("sort by a function of the library", "local v = table.create(2e5, 1)", "table.sort(table.create(1e5, v), table.find)", Budget),
    ("sort by a function of the program", "local s = string.rep('a', 1e6)", "table.sort(table.create(2e4, s), json.encode)", Somehow),
    ("find by an __eq of the library", "local v, m = table.create(2e5, 1), { __eq = table.find } setmetatable(v, m)", "return table.find(table.create(1e5, setmetatable({}, m)), v)", Budget),
    ("format by a __tostring of the library", "local t = setmetatable(table.create(4e5, ''), { __tostring = table.concat })", "return string.format(string.rep('%*', 7000), table.unpack(table.create(7000, t)))", Budget),
    ("sort with a comparator without order", "", "local t = {} for i = 1, 5000 do t[i] = i end while true do pcall(table.sort, t, function() return true end) end", Budget),
    ("sort of many", "", "local t = table.create(3e5, 1) for i = 1, #t do t[i] = (i * 7919) % 300007 end table.sort(t) table.sort(t)", Budget),
    ("sort of long texts", "local a, b = string.rep('a', 1e6), string.rep('a', 1e6) .. 'b'", "local t = {} for i = 1, 20000 do t[i] = i % 2 == 0 and a or b end table.sort(t)", Budget),
    ("sort with a comparator that loops", "", "table.sort({ 2, 1, 3 }, function() while true do end end)", Budget),
    ("table.move of a giant range", "", "table.move({}, 1, 1e15, 2)", Error),
    ("table.move of a giant range elsewhere", "", "table.move({}, 1, 2^53, 1, {})", Error),
    ("table.move of texts that are numbers", "", "table.move({}, '1', '1e15', 2)", Error),
    ("table.concat of one long text many times", "local s = string.rep('x', 1e6)", "local t = {} for i = 1, 1000 do t[i] = s end return table.concat(t)", Memory),
    ("table.concat of a giant range", "", "return table.concat({}, 'x', 1, 2e9)", Error),
    ("table.create", "", "return table.create(1e8)", Somehow),
    ("table.unpack", "", "return table.unpack({}, 1, 1e8)", Error),
    ("table.insert in front", "", "local t = {} while true do table.insert(t, 1, 1) end", Somehow),
    ("string.rep", "", "return string.rep('x', 1e9)", Somehow),
    ("string.rep of nothing", "", "while true do string.rep('', 1e9) end", Budget),
    ("a text that doubles", "", "local s = 'x' while true do s = s .. s end", Memory),
    ("a text that grows", "", "local s = '' while true do s = s .. 'xxxxxxxxxxxxxxxx' end", Somehow),
    ("string.format with widths", "", "while true do string.format('%99d', 1) end", Budget),
    ("string.pack", "", "return string.pack('c1000000000', 'x')", Somehow),
    ("gsub that grows", "", "local s = string.rep('x', 1000) while true do s = s:gsub('x', 'xx') end", Somehow),
    ("a table that grows", "", "local t = {} for i = 1, 1e9 do t[i] = i end", Somehow),
    ("a table of tables", "", "local t = {} while true do t = { t } end", Somehow),
    ("closures", "", "local t = {} for i = 1, 1e9 do t[i] = function() return i end end", Somehow),
    ("coroutines", "", "while true do coroutine.wrap(function() while true do end end)() end", Error),
    ("__index that loops", "local t = setmetatable({}, { __index = function() while true do end end })", "return t.x", Budget),
    ("__index of itself", "local t = {} setmetatable(t, { __index = t })", "return t.x", Error),
    ("__newindex that loops", "local t = setmetatable({}, { __newindex = function() while true do end end })", "t.x = 1", Budget),
    ("__len that loops", "local t = setmetatable({}, { __len = function() while true do end end })", "return #t", Budget),
    ("__eq that loops", "local m = { __eq = function() while true do end end }", "return setmetatable({}, m) == setmetatable({}, m)", Budget),
    ("__lt that loops", "local m = { __lt = function() while true do end end }", "return setmetatable({}, m) < setmetatable({}, m)", Budget),
    ("__concat that loops", "local m = { __concat = function() while true do end end }", "return setmetatable({}, m) .. 'x'", Budget),
    ("__call that loops", "local t = setmetatable({}, { __call = function() while true do end end })", "return t()", Budget),
    ("__iter that never ends", "local t = setmetatable({}, { __iter = function() return function() return 1 end end })", "for x in t do end", Budget),
    ("__tostring that loops", "local t = setmetatable({}, { __tostring = function() while true do end end })", "return tostring(t)", Budget),
    ("an error whose __tostring loops", "local t = setmetatable({}, { __tostring = function() while true do end end })", "error(t)", Somehow),
    ("an error whose __tostring fails", "local t = setmetatable({}, { __tostring = function() error('x') end })", "error(t)", Error),
    ("an answer whose __index loops", "", "return setmetatable({}, { __index = function() while true do end end })", Well),
    ("__gc and weak tables", "", "for i = 1, 1e9 do setmetatable({}, { __gc = function() while true do end end, __mode = 'k' }) end", Somehow),
    ("a flood of topics", "", "for i = 1, 1e6 do to:topic('t:' .. i) end", Somehow),
    ("a flood of topics that is swallowed", "", "for i = 1, 1e9 do pcall(to.topic, to, 't:' .. i) end", Budget),
    ("a list of too many topics", "", "local t = table.create(1e5, 'a') to:topics(t)", Error),
    ("a list of too many users", "", "local t = table.create(1e5, 7) to:users(t)", Error),
    ("a flood of audiences", "", "for i = 1, 1e6 do to:tenant() to:also() end", Error),
    ("a flood of users to leave out", "", "for i = 1, 1e6 do to:except_user(i) end", Somehow),
    ("a flood of conditions", "", "for i = 1, 1e6 do to:where({ role = i }) end", Somehow),
    ("a condition with a name of 1 MB", "local k = string.rep('x', 1e6)", "to:where({ [k] = 1 })", Error),
    ("binds with names of 1 MB", "local k = string.rep('x', 1e6)", "lookup('q', { [k] = 1 })", Error),
    ("a query with a name of 1 MB", "local k = string.rep('q', 1e6)", "lookup(k)", Error),
    ("a topic of 2 MB", "", "to:topic(string.rep('x', 2e6))", Well),
    ("a topic with a NUL", "", "to:topic('a\\0b')", Well),
    ("a topic that is not UTF-8", "", "to:topic('a\\255b')", Error),
    ("an id of 2 MB", "", "to:user(string.rep('7', 2e6))", Error),
    ("a payload of 2 MB", "", "to:tenant() to:payload(string.rep('x', 2e6))", Error),
    ("payloads of 1 MB each", "local s = string.rep('x', 1e6)", "for i = 1, 100 do to:tenant() to:payload(s) to:also() end", Error),
    ("a payload that holds itself", "", "local t = {} t.t = t to:tenant() to:payload(t)", Error),
    ("a payload that doubles at each level", "", "local t = {} for i = 1, 100 do t = { t, t } end to:tenant() to:payload(t)", Somehow),
    ("a payload that doubles at each level, by names", "", "local t = {} for i = 1, 100 do t = { a = t, b = t } end to:tenant() to:payload(t)", Somehow),
    ("a payload of much that holds itself", "", "local t = {} for i = 1, 60000 do t['k' .. i] = t end to:tenant() to:payload(t)", Somehow),
    ("a flood of JSON", "", "while true do json.encode({ 1, 2, 3 }) json.decode('[1,2,3]') end", Budget),
    ("JSON nested deep", "", "json.decode(string.rep('[', 1e5) .. string.rep(']', 1e5))", Error),
    ("JSON that takes much memory", "local s = '[' .. string.rep('{},', 1e5) .. '1]'", "local t = {} while true do t[#t + 1] = json.decode(s) end", Somehow),
    ("a flood of lines", "", "while true do log.info('x') end", Budget),
    ("a line of 2 MB", "", "log.info(string.rep('x', 2e6))", Well),
    ("a line of a table that holds itself", "", "local t = {} t[1] = t t[2] = t log.info(t)", Well),
    ("a line of many tables that are large", "local t = table.create(1e5, 1) t.k = 1", "log.info(table.unpack(table.create(500, t)))", Budget),
    ("errors kept", "kept = {} local kept = kept", "while true do kept[#kept + 1] = select(2, pcall(to.topic, to, 7)) end", Somehow),
    ("a leak in an upvalue until memory is spent", "local kept = {}", "while true do kept[#kept + 1] = string.rep('x', 1000) .. #kept end", Memory),
    ("a leak that is swallowed", "local kept = {}", "pcall(function() while true do kept[#kept + 1] = string.rep('x', 1000) .. #kept end end)", Somehow),
    ("bit operations", "", "while true do bit32.bnot(1) end", Budget),
    ("math", "", "while true do math.random() end", Budget),
    ("utf8 over much text", "local s = string.rep('x', 4e6)", "while true do utf8.len(s) end", Budget),
    ("select over many", "", "local function f(...) return select('#', ...) end while true do f(table.unpack(table.create(200, 1))) end", Budget),
    ("JSON of many numbers", "local s = '[' .. string.rep('1,', 6e5) .. '1]'", "json.decode(s)", Somehow),
    ("a line, with the memory full", FULL, "full(log.info, many)", Somehow),
    ("a line of many values, with the memory full", FULL, "full(function(...) log.warn(table.unpack(list)) end)", Somehow),
    ("an error of a table, with the memory full", FULL, "full(error, many)", Somehow),
    ("JSON that is written, with the memory full", FULL, "full(json.encode, many)", Somehow),
    ("JSON that is read, with the memory full", FULL, "full(json.decode, '[[[[1],{}],\"x\"],{\"a\":[]}]')", Somehow),
    ("a mark of a list, with the memory full", FULL, "full(json.array, many)", Somehow),
    ("the time, with the memory full", FULL, "full(now, many)", Somehow),
    ("a query, with the memory full", FULL, "full(lookup, 'q', many)", Somehow),
    ("a topic, with the memory full", FULL, "full(to.topic, to, 'a:b')", Somehow),
    ("topics, with the memory full", FULL, "full(to.topics, to, list)", Somehow),
    ("a user, with the memory full", FULL, "full(to.user, to, many)", Somehow),
    ("users, with the memory full", FULL, "full(to.users, to, list)", Somehow),
    ("everyone, with the memory full", FULL, "full(to.tenant, to)", Somehow),
    ("conditions, with the memory full", FULL, "full(to.where, to, many)", Somehow),
    ("a user to leave out, with the memory full", FULL, "full(to.except_user, to, many)", Somehow),
    ("audiences, with the memory full", FULL, "full(to.also, to)", Somehow),
    ("a payload, with the memory full", FULL, "full(to.payload, to, many)", Somehow),
    ("a reason, with the memory full", FULL, "full(to.drop, to, many)", Somehow),
    ("a text of an error of the program, with the memory full", FULL, "local _, e = pcall(to.topic, to, 7) full(tostring, e)", Somehow),
    ("an error of the program that is raised again, with the memory full", FULL, "local _, e = pcall(to.topic, to, 7) full(error, e)", Somehow),
];
