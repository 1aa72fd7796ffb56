-- help.lua - entries of the manual as text for the terminal.

local manual = require "cnas.manual"
local args = require "cnas.args"

local help = {}

-- A paragraph in lines of at most `width` columns, each with `indent` in front; a list item hangs by two.
local function wrapped(text, indent, width)
  local lines, line = {}, nil
  local hang = text:match "^%- " and indent .. "  " or indent
  for word in text:gmatch "%S+" do
    local longer = line and line .. " " .. word or indent .. word
    if line and (utf8.len(longer) or #longer) > width then
      lines[#lines + 1] = line
      longer = hang .. word
    end
    line = longer
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

-- Markdown's marks are for the manual; a terminal shows the words.
local function plain(text) return (text:gsub("`([^`]*)`", "%1"):gsub("%*%*([^*]*)%*%*", "%1")) end

--- The first sentence about an entry.
function help.summary(entry)
  local text = plain(entry.text[1] or "")
  return text:match "^(.-[%.!?])%s" or text
end

--- The signature of an entry with its first sentence, in one line.
function help.line(entry)
  local summary = help.summary(entry)
  return entry.signature .. (summary ~= "" and "  -- " .. summary or "")
end

local function members_of(entry)
  local list = {}
  for _, page in ipairs(manual.pages()) do
    for _, other in ipairs(page.entries) do
      local owner = other.name:match "^(.*)[.:][^.:]+$"
      if owner == entry.name then list[#list + 1] = other end
    end
  end
  return list
end

local function columns(entries)
  local names, lines = {}, {}
  for i, entry in ipairs(entries) do names[i] = entry.name:match "[^.:]+$" end
  table.sort(names)
  local line = " "
  for _, name in ipairs(names) do
    if #line + #name > 78 then
      lines[#lines + 1] = line
      line = " "
    end
    line = line .. " " .. name
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

--- Everything about an entry. paint(style, text) may colour headings.
function help.text(entry, paint)
  paint = paint or function(_, text) return text end
  local parts = { paint("bold", entry.signature) }
  for _, text in ipairs(entry.text) do parts[#parts + 1] = wrapped(plain(text), "  ", 90) end
  if entry.options and #entry.options > 0 then
    local lines = {}
    for _, o in ipairs(entry.options) do
      local head = ("    %s%s: %s%s"):format(o.name, o.optional and not o.default and "?" or "", o.type,
        o.default and " = " .. o.default or "")
      lines[#lines + 1] = o.text ~= "" and ("%-40s  %s"):format(head, plain(o.text)) or head
    end
    parts[#parts + 1] = "  Options:\n" .. table.concat(lines, "\n")
  end
  if entry.row then parts[#parts + 1] = ("  Types: %s. Also a method: x:%s(…)."):format(entry.row.types,
    entry.name:match "[^.]+$") end
  if entry.kind == "type" or entry.kind == "module" then
    local list = members_of(entry)
    if #list > 0 then parts[#parts + 1] = "  It has:\n" .. columns(list) end
  end
  for _, code in ipairs(entry.examples) do
    parts[#parts + 1] = "  Example:\n    " .. code:gsub("\n", "\n    ")
  end
  return table.concat(parts, "\n\n")
end

-- The pages and what is on them.
function help.index(paint)
  paint = paint or function(_, text) return text end
  local parts = { "help(x) or ?name tells about a function, module, type or object; ?word searches." }
  for _, page in ipairs(manual.pages()) do
    local list = {}
    for _, entry in ipairs(page.entries) do
      if not entry.name:find(":", 1, true) then list[#list + 1] = entry end
    end
    parts[#parts + 1] = paint("bold", page.title) .. "\n" .. columns(list)
  end
  return table.concat(parts, "\n\n")
end

--- The text for help(x): x is a name, or any value; without x the table of contents.
function help.about(paint, ...)
  if select("#", ...) == 0 then return help.index(paint) end
  local x = ...
  local entry = type(x) == "string" and manual.entry(x) or manual.of(x)
  if entry then return help.text(entry, paint) end
  if type(x) ~= "string" then
    return ("There is no help for this %s: it is not of the library."):format(type(x))
  end
  local found = manual.search(x)
  if #found == 0 then
    local names = {}
    for _, page in ipairs(manual.pages()) do
      for _, other in ipairs(page.entries) do names[#names + 1] = other.name:match "[^.:]+$" end
    end
    return ("Nothing in the manual is called '%s' or speaks of it%s."):format(x, args.suggestion(x, names))
  end
  local lines = {}
  for i = 1, math.min(#found, 30) do lines[i] = help.line(found[i]) end
  if #found > 30 then lines[31] = ("… %d more"):format(#found - 30) end
  return table.concat(lines, "\n")
end

return help
