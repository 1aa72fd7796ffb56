-- args.lua - what every Lua module of cnas needs about its arguments: named options, near names, coded errors.
--
-- A constructor takes one table of named options; a key that it does not know is an error that suggests the nearest.

local args = {}

-- Errors that a program may want to tell apart are tables { code =, message = } that print as their message; the host
-- turns the code into the exit status. The engine raises the same kind of table.
local Failure = { __name = "cnas.Error" }
Failure.__index = function(_, key) -- string methods work on the message
  return string[key] and function(self, ...) return string[key](self.message, ...) end
end
Failure.__tostring = function(self) return self.message end
Failure.__concat = function(a, b) return tostring(a) .. tostring(b) end

--- Raises an error with a code: "usage", "data", "io", "busy", "not-finite" or "interrupted".
function args.fail(code, format, ...)
  local message = select("#", ...) > 0 and format:format(...) or format
  error(setmetatable({ code = code, message = message }, Failure), 0)
end

--- The same with more to know about it: `fields` become fields of the error.
function args.fail_with(code, fields, message)
  local failure = { code = code, message = message }
  for key, value in pairs(fields) do failure[key] = value end
  error(setmetatable(failure, Failure), 0)
end

-- How many letters must be inserted, removed, replaced or exchanged with their neighbour to make b of a.
local function distance(a, b)
  local before, last = {}, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before, last = last, row
  end
  return last[#b]
end

--- The entry of the list that `name` was most likely meant to be, or nil when none is near.
function args.nearest(name, list)
  local best, least = nil, math.max(1, #name // 3) + 1
  for _, candidate in ipairs(list) do
    local d = distance(name, candidate)
    if d < least or (d == least and best and candidate < best) then best, least = candidate, d end
  end
  return best
end

--- " (did you mean 'stride'?)", or "" when nothing is near.
function args.suggestion(name, list)
  local near = args.nearest(name, list)
  return near and (" (did you mean '%s'?)"):format(near) or ""
end

--- The keys of a table, sorted: the order in which tables of names are walked wherever the order can be seen.
function args.keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

--- A table with the entries of both: those of `more` come first.
function args.with(t, more)
  local both = {}
  for key, value in pairs(t) do both[key] = value end
  for key, value in pairs(more) do both[key] = value end
  return both
end

-- The options `given` to `who`, completed: `known` lists required names, and optional ones with their default
-- (args.optional for none). The caller's caller is blamed.
args.optional = setmetatable({}, { __name = "optional" })
function args.check(who, given, known)
  if type(given) ~= "table" then
    error(("%s: expected a table of named options, got %s"):format(who, type(given)), 3)
  end
  local names, out, allowed = {}, {}, {}
  for key in pairs(known) do
    names[#names + 1] = math.type(key) == "integer" and known[key] or key
    allowed[names[#names]] = true
  end
  table.sort(names)
  for _, key in ipairs(args.keys(given)) do
    if not allowed[key] then
      local near = args.suggestion(tostring(key), names)
      error(("%s: unknown option '%s'%s"):format(who, tostring(key),
        near ~= "" and near or ": expected one of: " .. table.concat(names, " ")), 3)
    end
  end
  for _, key in ipairs(args.keys(known)) do
    local value = known[key]
    local required = math.type(key) == "integer"
    local name = required and value or key
    if given[name] ~= nil then out[name] = given[name]
    elseif required then error(("%s: option '%s' is required"):format(who, name), 3)
    elseif value ~= args.optional then out[name] = value end
  end
  return out
end

return args
