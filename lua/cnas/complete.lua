-- complete.lua - what may stand at a place in a line of Lua: names, fields, methods, option keys, paths.
--
--   complete("cnas.supernet { sp", 18) -> { "space = " }, 17      candidates for the word that begins at 17
--
-- Nothing of the line is run. Names are looked up; what a call would give is what the manual says it returns.

local cnas = require "cnas"
local manual = require "cnas.manual"

local keywords = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in",
                   "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while" }

-- ---- words of the line ----

-- The tokens of Lua text: { kind =, text =, from = }: name, string, number, or a sign as its own kind. A second
-- result when the text ends within a string: { quote =, from = of the content }, or within a comment: true.
local function tokens_of(text)
  local list, at = {}, 1
  local function add(kind, from, to)
    list[#list + 1] = { kind = kind, text = text:sub(from, to), from = from }
    at = to + 1
  end
  while at <= #text do
    local c = text:sub(at, at)
    local name_end = select(2, text:find("^[%a_][%w_]*", at))
    local number_end = select(2, text:find("^%.?%d[%w_%.]*", at))
    local long = text:match("^%-?%-?%[(=*)%[", at)
    if c:match "%s" then at = at + 1
    elseif long and (c == "[" or text:sub(at, at + 1) == "--") then
      local _, stop = text:find("]" .. long .. "]", at, true)
      if not stop then return list, true end
      if c == "[" then add("string", at, stop) else at = stop + 1 end
    elseif text:sub(at, at + 1) == "--" then
      local stop = text:find("\n", at, true)
      if not stop then return list, true end
      at = stop
    elseif c == '"' or c == "'" then
      local stop = at + 1
      while stop <= #text and text:sub(stop, stop) ~= c do
        stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1)
      end
      if stop > #text then return list, { quote = c, from = at + 1 } end
      add("string", at, stop)
    elseif name_end then add("name", at, name_end)
    elseif number_end then add("number", at, number_end)
    else
      local sign = text:match("^%.%.%.", at) or text:match("^%.%.", at) or text:match("^::", at)
        or text:match("^[=~<>]=", at) or c
      add(sign, at, at + #sign - 1)
    end
  end
  return list
end

local closing = { [")"] = "(", ["]"] = "[", ["}"] = "{" }

-- The index of the bracket that the one at `i` closes, or nil.
local function opening(tokens, i)
  local depth, wanted, this = 0, closing[tokens[i].kind], tokens[i].kind
  for k = i, 1, -1 do
    if tokens[k].kind == this then depth = depth + 1 end
    if tokens[k].kind == wanted then depth = depth - 1 end
    if depth == 0 then return k end
  end
end

-- ---- what an expression is ----
-- { value = … } where it is known, { type = "cnas.Tensor" } where the manual says so, or nil.

local function field_of(value, key)
  local known, inner = pcall(function() return value[key] end)
  if known and inner ~= nil then return { value = inner } end
end

local function member(of, key)
  if of.value ~= nil then return field_of(of.value, key) end
  local entry = manual.entry(of.type .. ":" .. key) or manual.entry(of.type .. "." .. key)
  if entry and entry.kind == "function" then return { entry = entry } end
  return entry and { type = entry.type }
end

local function entry_of(what) return what and (what.entry or what.value ~= nil and manual.of(what.value)) or nil end

-- What calling it gives first.
local function called(what)
  local entry = entry_of(what)
  local first = entry and entry.returns and entry.returns[1]
  return first and { type = first.type } or nil
end

-- Whether a token can end an expression that a call or field may follow.
local function ends_expression(token)
  return token and (token.kind == "name" or token.kind == "string" or closing[token.kind])
end

-- The expression of names, fields, methods and calls that ends with token `last`; second result: its first token.
local function evaluate(tokens, last, environment)
  local token = tokens[last]
  if not token then return nil end
  if token.kind == "name" then
    local before = tokens[last - 1]
    if before and (before.kind == "." or before.kind == ":") then
      local owner, first = evaluate(tokens, last - 2, environment)
      return owner and member(owner, token.text), first
    end
    return field_of(environment, token.text) or token.text == "cnas" and { value = cnas } or nil, last
  elseif token.kind == ")" or token.kind == "}" or token.kind == "string" or token.kind == "]" then
    local open = closing[token.kind] and opening(tokens, last) or last
    if open and open > 1 and ends_expression(tokens[open - 1]) then
      local callee, first = evaluate(tokens, open - 1, environment)
      if token.kind ~= "]" then return called(callee), first end
      local typed = callee and (callee.type or (entry_of(callee) or {}).name)
      return typed == "cnas.Tensor" and { type = typed } or nil, first
    elseif token.kind == "string" then
      return { value = "" }, last
    elseif token.kind == ")" and open then
      return evaluate(tokens, last - 1, environment), open
    end
  end
end

-- ---- candidates ----

local function matching(names, prefix)
  local list, seen = {}, {}
  for _, name in ipairs(names) do
    if name:sub(1, #prefix) == prefix and not seen[name] then list[#list + 1] = name end
    seen[name] = true
  end
  table.sort(list)
  return list
end

-- The string keys of a table and of the tables that it falls back to, with those that the library would load.
local function keys_of(value, functions_only, names)
  for _ = 1, 10 do
    if type(value) ~= "table" then return end
    for key, inner in next, value do
      local called_so = type(inner) == "function" or type(inner) == "userdata" or type(inner) == "table"
      if type(key) == "string" and key:match "^[%a_][%w_]*$" and not key:match "^__"
        and (called_so or not functions_only) then
        names[#names + 1] = key
      end
    end
    local meta = debug.getmetatable(value)
    meta = type(meta) == "table" and meta or {}
    for _, part in ipairs(rawget(meta, "library") or {}) do names[#names + 1] = part end
    value = rawget(meta, "__index")
  end
end

-- What may follow `what.` or `what:`.
local function members(what, sign)
  local names = {}
  local value = what.value
  if type(value) == "table" then keys_of(value, sign == ":", names)
  elseif type(value) == "string" and sign == ":" then keys_of(string, true, names) end
  local meta = debug.getmetatable(value)
  local name = what.type or type(meta) == "table" and rawget(meta, "__name")
  if type(name) == "string" then
    keys_of(manual.types()[name], false, names)
    for _, page in ipairs(manual.pages()) do
      for _, entry in ipairs(page.entries) do
        local owner, mark, field = entry.name:match "^(.-)([.:])([%a_][%w_]*)$"
        if owner == name and not field:match "^__" and (mark == ":" or sign == ".") then names[#names + 1] = field end
      end
    end
    if name == "cnas.Tensor" then
      for _, row in ipairs(cnas.ops()) do names[#names + 1] = row.name .. (row.kind == "inplace" and "_" or "") end
    end
  end
  return names
end

-- The options of the call within whose braces the text ends, where a key may stand: those not given yet.
local function option_keys(tokens, last, environment)
  local depth, given = 0, {}
  local mark = tokens[last] and tokens[last].kind
  if mark ~= "{" and mark ~= "," and mark ~= ";" then return {} end
  for i = last, 1, -1 do
    local kind = tokens[i].kind
    if closing[kind] then depth = depth + 1 end
    if depth == 0 and kind == "=" and tokens[i - 1] then given[tokens[i - 1].text] = true end
    if kind == "(" or kind == "{" or kind == "[" then depth = depth - 1 end
    if depth < 0 then
      if kind ~= "{" then return {} end
      local callee = i - 1
      if tokens[callee] and tokens[callee].kind == "," or tokens[callee] and tokens[callee].kind == "(" then
        depth = 0 -- f(a, b, {: back to the bracket of the arguments
        while callee > 0 and depth >= 0 do
          if closing[tokens[callee].kind] then depth = depth + 1 end
          if tokens[callee].kind == "(" or tokens[callee].kind == "{" or tokens[callee].kind == "[" then
            depth = depth - 1
          end
          if depth >= 0 then callee = callee - 1 end
        end
        if callee == 0 or tokens[callee].kind ~= "(" then return {} end
        callee = callee - 1
      end
      local entry = entry_of((evaluate(tokens, callee, environment)))
      local keys = {}
      for _, option in ipairs(entry and entry.options or {}) do
        if not given[option.name] then keys[#keys + 1] = option.name .. " = " end
      end
      return keys
    end
  end
  return {}
end

-- The commands of the loop, without what are short forms of another.
local function commands()
  local list = {}
  for _, word in ipairs(require "cnas.repl".commands()) do
    if word == "time" then
      list[#list + 1] = ":time off"
      list[#list + 1] = ":time on"
    elseif word ~= "q" and word ~= "quit" then list[#list + 1] = ":" .. word end
  end
  return list
end

-- Files and folders that begin with what stands in the string.
local function paths(content, quote)
  local folder, prefix = content:match "^(.*/)([^/]*)$"
  folder, prefix = folder or "", prefix or content
  local place = folder == "" and "." or folder
  local home = os.getenv "HOME"
  if place:sub(1, 2) == "~/" and home then place = home .. place:sub(2) end
  local listed, names = pcall(cnas.file.list, place)
  local list = {}
  for _, name in ipairs(listed and names or {}) do
    if name:sub(1, #prefix) == prefix and (prefix:sub(1, 1) == "." or name:sub(1, 1) ~= ".") then
      local known, kind = pcall(cnas.file.exists, place .. "/" .. name)
      list[#list + 1] = name .. (known and kind == "folder" and "/" or "")
    end
  end
  if #list == 1 and list[1]:sub(-1) ~= "/" then list[1] = list[1] .. quote end
  return list, #folder
end

--- The candidates for the word that ends at `position` of `text` (default: its end), sorted, and where it begins. Names
--- are those of `environment` (default: the loop's globals).
return function(text, position, environment)
  if type(text) ~= "string" then error("complete: expected a text, got " .. type(text), 2) end
  environment = environment or require "cnas.repl".environment()
  text = text:sub(1, position or #text)
  local shift = 0
  if text:match "^:%a*$" then return matching(commands(), text), 1 end
  if text:match "^%?" then
    shift = 1
    text = text:sub(2)
  end
  local tokens, within = tokens_of(text)
  if within == true then return {}, #text + 1 + shift end
  if within then
    local list, skip = paths(text:sub(within.from), within.quote)
    return list, within.from + skip + shift
  end
  local last, word, first = #tokens, "", #text + 1
  if tokens[last] and tokens[last].kind == "name" and text:match "[%w_]$" then
    word, first = tokens[last].text, tokens[last].from
    last = last - 1
  end
  local before = tokens[last]
  if before and (before.kind == "." or before.kind == ":") then
    local owner = evaluate(tokens, last - 1, environment)
    return owner and matching(members(owner, before.kind), word) or {}, first + shift
  end
  if before and before.kind == "number" and text:sub(-1):match "[%w_]" and word == "" then return {}, first + shift end
  local list = matching(option_keys(tokens, last, environment), word)
  if #list == 0 then
    local names = {}
    keys_of(environment, false, names)
    if environment ~= _G then keys_of(_G, false, names) end
    if shift == 0 and word ~= "" then table.move(keywords, 1, #keywords, #names + 1, names) end
    list = matching(names, word)
    if #list == 0 and shift == 1 then -- ?name finds names of the library too
      for _, entry in ipairs(manual.search("cnas." .. word)) do names[#names + 1] = entry.name:gsub("^cnas%.", "") end
      list = matching(names, word)
    end
  end
  return list, first + shift
end
