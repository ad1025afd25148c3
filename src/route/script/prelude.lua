-- What plugins find beside Lua's own: run once in each virtual machine, before the plugin. `host` is the program.
--
-- What is wrapped here could keep the thread busy for long without a safepoint, or would say too little.
local host = ...
local yield, raise, kind, number, get = coroutine.yield, error, type, tonumber, rawget
local find, match, gmatch, gsub, split = string.find, string.match, string.gmatch, string.gsub, string.split
local concat, seek, sort, move, size = table.concat, table.find, table.sort, table.move, string.len

-- A search takes the product of both lengths at worst: each byte of a text is held against a class, or a part, this long.
local function bounded(text, part)
    if kind(text) == "string" and kind(part) == "string" then
        if size(text) * size(part) > (if size(part) > 64 then 16000000 else 64000000) then
            raise("the texts are too long for this search", 3)
        end
    end
end

function string.find(text, pattern, ...)
    bounded(text, pattern)
    return find(text, pattern, ...)
end

function string.match(text, pattern, ...)
    bounded(text, pattern)
    return match(text, pattern, ...)
end

function string.gmatch(text, pattern)
    bounded(text, pattern)
    return gmatch(text, pattern)
end

function string.gsub(text, pattern, ...)
    bounded(text, pattern)
    return gsub(text, pattern, ...)
end

function string.split(text, separator)
    bounded(text, separator)
    return split(text, separator)
end

-- It is no slow `__tostring` of many values of one string.format: there would be no safepoint between them.
function table.concat(list, separator, first, last)
    return concat(list, separator, first, last)
end

-- Tables may be compared by a function of the library, and it is a turn of a loop then.
function table.find(list, value, from)
    if kind(value) ~= "table" then
        return seek(list, value, from)
    end
    local index = number(from) or 1
    local item = get(list, index)
    while item ~= nil do
        if value == item then
            return index
        end
        index = index + 1
        item = get(list, index)
    end
    return nil
end

local function before(a, b)
    return a < b
end

-- Always with a function of Lua: each comparison is a safepoint then, by whatever it compares.
function table.sort(list, less)
    if kind(less) ~= "function" then
        return sort(list, less or before)
    end
    return sort(list, function(a, b)
        return less(a, b)
    end)
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

-- Most calls say one text or number, and there is a shorter way for that.
for name, text in host.text_methods do
    local method, number = host.methods[name], host.number_methods[name]
    host.methods[name] = function(to, value, more)
        if more == nil then
            local given = type(value)
            if given == "string" then
                text(to, value)
                return to
            elseif given == "number" and number then
                number(to, value)
                return to
            end
        end
        return method(to, value, more)
    end
end
table.freeze(host.methods)

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
