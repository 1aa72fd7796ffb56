-- manual.lua - the text about every public name, from one source: help at the prompt, completion of options, the HTML
-- manual and the editor stubs are all made of it.
--
-- The source is the Markdown files in the folder manual/ beside this file; rows of ops.def come from cnas.ops():
--
--   # Title
--   About all of it.
--   ## cnas.zeros(size: integer, ...: integer, options?: table) -> cnas.Tensor
--   What it does.
--   - `dtype: string = "f32"` a field of the table `options`; `name?: type` has no default, `name: type` is required
--
-- and examples in ```lua blocks, where `expression --> text` states what the prompt would print. Other headings:
-- `## cnas.Tensor:sum(…)` a method, `## cnas.Tensor.dtype: string` a field, `## type cnas.Tensor`, `## type
-- cnas.Controller: cnas.Sampler`, `## module cnas.nn`.
-- `- inside: `a`, `b`` under a type names methods that are its own business and have no entry.
-- A test fails for a public name without an entry, an entry without its name, and options that are not the function's.

local cnas = require "cnas"

local manual = {}

-- ---- reading the source ----

local function trim(s) return (s:gsub("^%s+", ""):gsub("%s+$", "")) end

-- "a: x, b?: {y, z}" cut at the commas outside of brackets.
local function cut(text)
  local parts, depth, from = {}, 0, 1
  for at, c in text:gmatch "()([%(%){}<>,])" do
    if c == "," and depth == 0 then
      parts[#parts + 1] = trim(text:sub(from, at - 1))
      from = at + 1
    elseif c == "(" or c == "{" or c == "<" then depth = depth + 1
    elseif c == ")" or c == "}" or (c == ">" and text:sub(at - 1, at - 1) ~= "-") then depth = depth - 1 end
  end
  local last = trim(text:sub(from))
  if last ~= "" then parts[#parts + 1] = last end
  return parts
end

-- "name?: type" -> { name =, type =, optional = }
local function parameter(text)
  local name, optional, kind = text:match "^([%w_%.]+)(%??)%s*:%s*(.+)$"
  if not name then
    name, optional = text:match "^([%w_%.]+)(%??)$"
  end
  return { name = name or text, type = kind or "any", optional = optional == "?" }
end

local function map(list, f)
  local out = {}
  for i, v in ipairs(list) do out[i] = f(v) end
  return out
end

-- What a heading says.
local function heading(text)
  local kind, name, parent = text:match "^(%l+) ([%w_%.]+):?%s*([%w_%.]*)$"
  if kind == "type" or kind == "module" then
    return { kind = kind, name = name, signature = text, parent = parent ~= "" and parent or nil }
  end
  local before, rest = text:match "^([%w_%.:]+)(.*)$"
  local inside, behind = rest:match "^(%b())%s*(.*)$"
  if inside then
    local returns = behind:match "^%->%s*(.+)$"
    return { kind = "function", name = before, signature = text, params = map(cut(inside:sub(2, -2)), parameter),
             returns = map(cut(returns or ""), function(r)
               local label, of = r:match "^([%a_][%w_]*):%s*(.+)$"
               return { name = label, type = of or r }
             end) }
  end
  name, kind = text:match "^([%w_%.]+):%s*(.+)$"
  if name then return { kind = "field", name = name, signature = text, type = kind } end
  error("manual: this heading is no signature: " .. text, 0)
end

-- "- `dtype: string = "f32"` text" as an option, or nil.
local function option(line)
  local code, text = line:match "^%- `([^`]+)`:?%s*(.*)$"
  local name, optional, rest = (code or ""):match "^([%a_][%w_]*)(%??)%s*:%s*(.+)$"
  if not name then return nil end
  local kind, default = rest:match "^(.-)%s+=%s+(.+)$"
  return { name = name, type = kind or rest, default = default, optional = optional == "?" or default ~= nil,
           text = text }
end

local function takes_options(entry)
  for _, p in ipairs(entry.params or {}) do if p.name == "options" then return true end end
  return false
end

-- Adds the lines under a heading (from line i on) to the entry; returns the first line that is not its own.
local function body(entry, lines, i)
  entry.text, entry.options, entry.examples = {}, {}, {}
  local paragraph, target = {}, nil
  local function finish()
    if #paragraph > 0 then entry.text[#entry.text + 1] = table.concat(paragraph, " ") end
    paragraph, target = {}, nil
  end
  while lines[i] and not lines[i]:match "^##? " do
    local line = lines[i]
    if line:match "^```" then
      finish()
      local code = {}
      i = i + 1
      while lines[i] and not lines[i]:match "^```" do
        code[#code + 1] = lines[i]
        i = i + 1
      end
      entry.examples[#entry.examples + 1] = table.concat(code, "\n")
    elseif line:match "^%s*$" then
      finish()
    elseif entry.kind == "type" and line:match "^%- inside: " then -- methods that are no one else's business
      finish()
      entry.inside = {}
      for name in line:gmatch "`([%w_]+)`" do entry.inside[name] = true end
    elseif line:match "^%- " then
      local o = takes_options(entry) and option(line)
      finish()
      if o then
        entry.options[#entry.options + 1] = o
        target = o
      else
        paragraph = { line }
      end
    elseif target then
      target.text = target.text .. " " .. trim(line)
    else
      paragraph[#paragraph + 1] = trim(line)
    end
    i = i + 1
  end
  finish()
  return i
end

--- A page of the source as { title =, text =, entries = }.
function manual.parse(text, file)
  local lines = {}
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  local page = { title = (lines[1] or ""):match "^# (.+)$", entries = {}, file = file }
  if not page.title then error(("manual: %s does not begin with '# Title'"):format(file), 0) end
  local i = body(page, lines, 2)
  while lines[i] do
    local entry = heading(lines[i]:match "^## (.+)$" or error(("manual: %s:%d: expected '## signature', got %s")
      :format(file, i, lines[i]), 0))
    entry.page, entry.line = page, i
    i = body(entry, lines, i + 1)
    page.entries[#page.entries + 1] = entry
  end
  return page
end

-- ---- rows of ops.def ----

local kinds = { int = "integer", float = "number", bool = "boolean", dtype = "string", pair = "integer|integer[]",
                dim = "integer", dims = "integer|integer[]", ints = "integer[]", rng = "cnas.Rng" }
local defaults = { bool = { ["0"] = "false", ["1"] = "true" }, dims = { ["0"] = "all" } }

local function operation(row, page)
  local name = "cnas." .. row.name .. (row.kind == "inplace" and "_" or "")
  local entry = { kind = "function", name = name, page = page, row = row, params = {}, returns = {}, options = {},
                  examples = {}, text = { row.doc:gsub("^%l(%l+[ ,])", function(rest)
                    return row.doc:sub(1, 1):upper() .. rest
                  end) .. "." } }
  local words = {}
  for input in row.inputs:gmatch "%S+" do
    local of = input:match "^[%a_][%w_]*"
    local many, optional = input:find("...", 1, true), input:find("?", 1, true)
    entry.params[#entry.params + 1] = { name = many and "..." or of, type = "cnas.Tensor", optional = optional ~= nil }
    words[#words + 1] = many and of .. "..." or of .. (optional and "?" or "")
  end
  for attr in row.attrs:gmatch "%S+" do
    local of, kind, default = attr:match "^([%w_]+):(%w+)=?(.*)$"
    default = default ~= "" and default or nil
    default = default and (defaults[kind] or {})[default] or default
    entry.options[#entry.options + 1] = { name = of, type = kinds[kind] or "any", default = default,
                                          optional = default ~= nil, text = "" }
    words[#words + 1] = default and of .. " = " .. default or of
  end
  if #entry.options > 0 then
    entry.text[#entry.text + 1] = "What follows the tensors may be given by position or in one table of names."
  end
  local results = {}
  for output in row.outputs:gmatch "%S+" do
    local of = output:match "^[%a_][%w_]*"
    if not output:find("*", 1, true) then
      entry.returns[#entry.returns + 1] = { name = of, type = "cnas.Tensor" }
      results[#results + 1] = of
    end
  end
  if row.kind == "inplace" then
    entry.returns[1] = { type = "cnas.Tensor" }
    results[1] = "x"
  end
  entry.signature = ("%s(%s)%s"):format(name, table.concat(words, ", "),
    #results > 0 and " -> " .. table.concat(results, ", ") or "")
  return entry
end

-- ---- the whole ----

-- In which order pages are read; others follow by name.
local order = { "tensors", "operations", "random", "modules", "optimizers", "networks", "profile", "kernels", "data",
                "search", "searches", "runs", "files", "onnx", "processes", "program" }

local folder = debug.getinfo(1, "S").source:match "^@(.*)%.lua$"
local pages, byname, aliases

local function load_all()
  pages, byname, aliases = {}, {}, {}
  for _, file in ipairs(cnas.file.list(folder)) do
    if file:match "%.md$" then
      local page = manual.parse(cnas.file.read(folder .. "/" .. file), file)
      page.name = file:match "^(.*)%.md$"
      pages[#pages + 1] = page
    end
  end
  local rank = {}
  for i, name in ipairs(order) do rank[name] = i end
  table.sort(pages, function(a, b)
    local ra, rb = rank[a.name] or math.huge, rank[b.name] or math.huge
    if ra ~= rb then return ra < rb end
    return a.name < b.name
  end)
  for _, page in ipairs(pages) do
    for _, entry in ipairs(page.entries) do
      if byname[entry.name] then error(("manual: %s has two entries"):format(entry.name), 0) end
      byname[entry.name] = entry
    end
    if page.name == "operations" then
      for _, row in ipairs(cnas.ops()) do
        local entry = operation(row, page)
        page.entries[#page.entries + 1] = entry
        byname[entry.name] = entry
        aliases[entry.name:gsub("^cnas%.", "cnas.Tensor:")] = entry
      end
    end
  end
  for _, entry in pairs(byname) do -- "The same as `cnas.x`" has its options too
    local other = byname[(entry.text[1] or ""):match "^The same as `([%w_.:]+)`" or ""]
    if other and #entry.options == 0 then entry.options = other.options end
  end
end

--- All pages, in order: { name =, title =, text = paragraphs, entries = }.
function manual.pages()
  if not pages then load_all() end
  return pages
end

--- The entry of a name as "cnas.zeros", "cnas.Tensor:sum" or "zeros"; nil when there is none.
function manual.entry(name)
  manual.pages()
  return byname[name] or aliases[name] or byname["cnas." .. name] or aliases["cnas." .. name]
end

-- ---- from values to names ----

-- Methods of a metatable: its table __index, or the first table that a C function there has at hand.
local function methods_of(meta)
  local index = rawget(meta, "__index")
  if type(index) == "table" then return index end
  for i = 1, type(index) == "function" and debug.getinfo(index, "S").what == "C" and 4 or 0 do
    local _, value = debug.getupvalue(index, i)
    if type(value) == "table" then return value end
  end
  return {}
end

local function is_class(value)
  return type(value) == "table" and type(rawget(value, "__name")) == "string" and value.__name:match "^cnas%.%u"
end

--- All types by name, as tables of their methods: those of the engine, and the classes that the loaded Lua modules use.
function manual.types()
  local types = {}
  for _, part in ipairs(getmetatable(cnas).library) do pcall(require, "cnas." .. part) end
  for name, meta in pairs(debug.getregistry()) do
    if is_class(meta) and meta.__name == name then types[name] = methods_of(meta) end
  end
  local function look(f)
    for i = 1, 60 do
      local name, value = debug.getupvalue(f, i)
      if not name then break end
      if is_class(value) then types[value.__name] = methods_of(value) end
    end
  end
  for name, module in pairs(package.loaded) do
    if name:match "^cnas%." and type(module) == "function" then look(module) end
    for _, value in next, name:match "^cnas%." and type(module) == "table" and module or {} do
      if type(value) == "function" then look(value)
      elseif is_class(value) then types[value.__name] = methods_of(value) end
    end
    local meta = name:match "^cnas%." and type(module) == "table" and getmetatable(module)
    if type(meta) == "table" and type(meta.__call) == "function" then look(meta.__call) end
  end
  for _, methods in pairs(types) do -- a method may make things of another type
    for _, f in next, methods do if type(f) == "function" then look(f) end end
  end
  return types
end

--- Every public name of the library, sorted: functions, modules and values below `cnas`, types and their methods.
function manual.public()
  manual.pages()
  local names, found = {}, {}
  local function add(name)
    if not found[name] then names[#names + 1] = name end
    found[name] = true
  end
  local types = manual.types()
  for _, part in ipairs(getmetatable(cnas).library) do local _ = cnas[part] end
  for key, value in next, cnas do
    local name = "cnas." .. key
    add(name)
    if type(value) == "table" and not is_class(value) then
      for field, inner in next, value do
        if type(field) == "string" and not is_class(inner) then add(name .. "." .. field) end
      end
    end
  end
  for name, methods in pairs(types) do
    for method, f in next, methods do
      local inside = byname[name] and byname[name].inside or {}
      if type(f) == "function" and type(method) == "string" and not method:match "^__" and not inside[method] then
        add(name)
        add(name .. ":" .. method)
      end
    end
  end
  table.sort(names)
  return names
end

--- The value of a name, or nil. `types` is what manual.types() gave, for who asks often.
function manual.resolve(name, types)
  types = types or manual.types()
  local owner, method = name:match "^(.*):(.*)$"
  if owner then return (types[owner] or {})[method] end
  if types[name] then return types[name] end
  local value = { cnas = cnas }
  for word in name:gmatch "[^.]+" do
    if type(value) ~= "table" then return nil end
    local known, inner = pcall(function() return value[word] end)
    value = known and inner or nil
  end
  return value
end

local byvalue, loaded -- entries by value; how many modules were loaded when they were looked up

local function look_up_values()
  local count = 0
  for _ in next, package.loaded do count = count + 1 end
  if count == loaded then return end
  byvalue, loaded = setmetatable({}, { __mode = "k" }), count
  local types = manual.types()
  for _, list in ipairs { aliases, byname } do
    for name, entry in pairs(list) do
      local value = entry.kind ~= "type" and manual.resolve(name, types)
      if type(value) == "function" or type(value) == "table" then byvalue[value] = entry end
    end
  end
end

--- The entry about a value: a function or module of the library, or the type of an object. Nil for others.
function manual.of(value)
  manual.pages()
  if value == nil or type(value) == "string" then return nil end
  look_up_values()
  local meta = debug.getmetatable(value)
  local name = type(meta) == "table" and rawget(meta, "__name")
  return byvalue[value] or name and byname[name] or nil
end

--- Entries whose name or text has the word, those with it in the name first.
function manual.search(word)
  local first, rest = {}, {}
  word = word:lower()
  for _, page in ipairs(manual.pages()) do
    for _, entry in ipairs(page.entries) do
      if entry.name:lower():find(word, 1, true) then first[#first + 1] = entry
      elseif (entry.text[1] or ""):lower():find(word, 1, true) then rest[#rest + 1] = entry end
    end
  end
  return table.move(rest, 1, #rest, #first + 1, first)
end

return manual
