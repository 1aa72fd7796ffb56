-- show.lua - a value as text for people, as the interactive loop prints it.
--
-- Strings are quoted, tables are opened to a few levels with their keys in order, whatever has a __tostring speaks for
-- itself. The text is bounded: long tables are cut and say how much is missing.

local MOST_ENTRIES, DEEPEST, WIDTH = 40, 4, 100

local show

local function key_text(key)
  if type(key) == "string" and key:match("^[%a_][%w_]*$") then return key end
  return "[" .. (type(key) == "string" and string.format("%q", key) or tostring(key)) .. "]"
end

-- Numbers first and by value, then names, then the rest as it comes.
local function before(a, b)
  local ta, tb = type(a), type(b)
  if ta == tb and (ta == "number" or ta == "string") then return a < b end
  if ta ~= tb and (ta == "number" or tb == "number") then return ta == "number" end
  if ta ~= tb and (ta == "string" or tb == "string") then return ta == "string" end
  return tostring(a) < tostring(b)
end

local function entries(t, depth, seen)
  local list, length = {}, #t
  for i = 1, math.min(length, MOST_ENTRIES) do list[i] = show(t[i], depth + 1, seen) end
  local keys = {}
  for key in next, t do
    if not (math.type(key) == "integer" and key >= 1 and key <= length) then keys[#keys + 1] = key end
  end
  table.sort(keys, before)
  for i = 1, math.min(#keys, MOST_ENTRIES) do
    list[#list + 1] = key_text(keys[i]) .. " = " .. show(t[keys[i]], depth + 1, seen)
  end
  local missing = math.max(0, length - MOST_ENTRIES) + math.max(0, #keys - MOST_ENTRIES)
  if missing > 0 then list[#list + 1] = "... " .. missing .. " more" end
  return list
end

local function table_text(t, depth, seen)
  if next(t) == nil then return "{}" end
  if seen[t] or depth > DEEPEST then return "{...}" end
  seen[t] = true
  local list = entries(t, depth, seen)
  seen[t] = nil
  local line = "{ " .. table.concat(list, ", ") .. " }"
  if #line + 2 * depth <= WIDTH and not line:find("\n", 1, true) then return line end
  local indent = ("  "):rep(depth)
  return "{\n" .. indent .. "  " .. table.concat(list, ",\n" .. indent .. "  ") .. "\n" .. indent .. "}"
end

function show(value, depth, seen)
  if type(value) == "string" then
    if depth == 0 and not value:find("%c") then return '"' .. value .. '"' end
    return (string.format("%q", value):gsub("\\\n", "\\n"))
  end
  local meta = getmetatable(value)
  if type(value) ~= "table" or type(meta) == "table" and meta.__tostring then return tostring(value) end
  return table_text(value, depth, seen)
end

--- The text of a value, with what is inside it.
return function(value) return show(value, 0, {}) end
