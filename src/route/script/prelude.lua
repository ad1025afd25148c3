-- What plugins find beside Lua's own: run once in each virtual machine, before the plugin. `host` is the program.
--
-- What is wrapped here could keep the thread busy for long without a safepoint, or would say too little.
local host = ...
local yield, raise, kind, number = coroutine.yield, error, type, tonumber
local find, split, sort, move, size = string.find, string.split, table.sort, table.move, string.len

-- A search takes the product of both lengths at worst.
local function bounded(text, part)
    if kind(text) == "string" and kind(part) == "string" and size(part) > 64 and size(text) * size(part) > 16000000 then
        raise("the texts are too long for this search", 3)
    end
end

function string.find(text, pattern, ...)
    bounded(text, pattern)
    return find(text, pattern, ...)
end

function string.split(text, separator)
    bounded(text, separator)
    return split(text, separator)
end

local function before(a, b)
    return a < b
end

-- Always with a function of ours or the plugin's: each comparison is a safepoint then.
function table.sort(list, less)
    return sort(list, less or before)
end

function table.move(from, first, last, at, to)
    if (number(last) or 0) - (number(first) or 0) >= 10000 then
        raise("table.move moves 10,000 elements at most", 2)
    end
    if to == nil then
        return move(from, first, last, at)
    end
    return move(from, first, last, at, to)
end

-- What is no text shows nothing of itself once it has been raised.
function error(value, level)
    if kind(value) ~= "string" then
        host.raised(value)
    end
    level = number(level) or 1
    raise(value, if level > 0 then level + 1 else 0)
end

function lookup(query, binds)
    local fault = host.ask(query, binds)
    if fault then
        raise(fault, 2)
    end
    local rows, failure = yield()
    if failure then
        raise(failure, 2)
    end
    return rows
end

log = { info = host.info, warn = host.warn }
json = { encode = host.encode, decode = host.decode, array = host.array }
now = host.now

-- What is named here is not there for plugins.
local globals = _G
for _, name in
    {
        "_G", "collectgarbage", "coroutine", "gcinfo", "getfenv", "loadstring", "newproxy", "print", "require", "setfenv",
    }
do
    globals[name] = nil
end
for _, name in { "foreach", "foreachi", "getn", "maxn" } do
    table[name] = nil
end
