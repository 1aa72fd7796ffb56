-- show.lua - a value as text for people, as the interactive loop prints it.
--
-- Strings are quoted, tables are opened to a few levels with their keys in order, whatever has a __tostring speaks for
-- itself. The text is bounded: long tables are cut and say how much is missing.

local MOST_ENTRIES, DEEPEST = 40, 4

-- What show is told: width in columns, paint(style, text) for colours, help = true to name functions of the library.
local plain = { width = 100, paint = function(_, text) return text end }

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

local function entries(t, depth, seen, how)
  local list, length = {}, #t
  for i = 1, math.min(length, MOST_ENTRIES) do list[i] = show(t[i], depth + 1, seen, how) end
  local keys = {}
  for key in next, t do
    if not (math.type(key) == "integer" and key >= 1 and key <= length) then keys[#keys + 1] = key end
  end
  table.sort(keys, before)
  for i = 1, math.min(#keys, MOST_ENTRIES) do
    list[#list + 1] = key_text(keys[i]) .. " = " .. show(t[keys[i]], depth + 1, seen, how)
  end
  local missing = math.max(0, length - MOST_ENTRIES) + math.max(0, #keys - MOST_ENTRIES)
  if missing > 0 then list[#list + 1] = "... " .. missing .. " more" end
  return list
end

local function visible(text) return #text:gsub("\27%[%d*m", "") end

local function table_text(t, depth, seen, how)
  if next(t) == nil then return "{}" end
  if seen[t] or depth > DEEPEST then return "{...}" end
  seen[t] = true
  local list = entries(t, depth, seen, how)
  seen[t] = nil
  local line = "{ " .. table.concat(list, ", ") .. " }"
  if visible(line) + 2 * depth <= how.width and not line:find("\n", 1, true) then return line end
  local indent = ("  "):rep(depth)
  return "{\n" .. indent .. "  " .. table.concat(list, ",\n" .. indent .. "  ") .. "\n" .. indent .. "}"
end

-- A function of the library by its signature, alone with what it does; another by where it was written.
local function function_text(f, depth, how)
  if not how.help then return tostring(f) end
  local entry = require "cnas.manual".of(f)
  if entry and depth == 0 then return require "cnas.help".line(entry) end
  if entry then return "function " .. entry.name end
  local about = debug.getinfo(f, "S")
  if about.what == "C" then return tostring(f) end
  return ("function of %s, line %d"):format(about.short_src, about.linedefined)
end

function show(value, depth, seen, how)
  if type(value) == "string" then
    if depth == 0 and not value:find("%c") then return how.paint("green", '"' .. value .. '"') end
    return how.paint("green", (string.format("%q", value):gsub("\\\n", "\\n")))
  end
  if type(value) == "function" then return function_text(value, depth, how) end
  local meta = getmetatable(value)
  if type(value) == "userdata" then
    return (tostring(value):gsub("^[^\n]*", function(line) return how.paint("cyan", line) end))
  end
  if type(value) ~= "table" or type(meta) == "table" and meta.__tostring then return tostring(value) end
  return table_text(value, depth, seen, how)
end

--- The text of a value, with what is inside it. Options: width, paint, help; see above.
return function(value, options) return show(value, 0, {}, setmetatable(options or {}, { __index = plain })) end
