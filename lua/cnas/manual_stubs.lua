-- manual_stubs.lua - the manual as annotations for LuaLS (---@meta), which editors read: types, parameters, options.
--
-- The text is a function of the manual alone. lua/stubs/cnas.lua is this text; a test fails when it is not.

local manual = require "cnas.manual"

local function type_text(text)
  return (text:gsub("^(cnas%.[%w.]+)%?$", "%1|nil"):gsub("%f[%w]table%[%]", "table[]"))
end

-- Lines of "---" for paragraphs.
local function comment(out, paragraphs)
  for i, text in ipairs(paragraphs) do
    if i > 1 then out[#out + 1] = "---" end
    out[#out + 1] = "---" .. text
  end
end

local function options_class(name) return name:gsub(":", ".") .. ".options" end

-- The class of an entry's options; nil when it has none.
local function put_options(out, entry)
  if #entry.options == 0 or entry.text[1]:match "^The same as" then return end
  out[#out + 1] = "---@class " .. options_class(entry.name)
  for _, o in ipairs(entry.options) do
    local default = o.default and (" (default %s)"):format(o.default) or ""
    out[#out + 1] = ("---@field %s%s %s %s%s")
      :format(o.name, o.optional and "?" or "", type_text(o.type), o.text, default):gsub("%s+$", "")
  end
  out[#out + 1] = ""
end

-- The class that an entry's options are of.
local function options_type(entry)
  local other = manual.entry(entry.text[1]:match "^The same as `([%w_.:]+)`" or "") or entry
  return #entry.options > 0 and options_class(other.name) or "table"
end

local operators = { "add", "sub", "mul", "div" }

local function put_type(out, entry, fields)
  comment(out, entry.text)
  out[#out + 1] = ("---@class %s%s"):format(entry.name, entry.parent and ": " .. entry.parent or "")
  for _, field in ipairs(fields[entry.name] or {}) do
    if field.kind == "field" then
      out[#out + 1] = ("---@field %s %s %s"):format(field.name:match "[^.]+$", type_text(field.type), field.text[1])
    else -- __call
      local params = {}
      for i, p in ipairs(field.params) do
        params[i] = ("%s%s: %s"):format(p.name, p.optional and "?" or "", type_text(p.type))
      end
      local result = field.returns[1] and ": " .. type_text(field.returns[1].type) or ""
      out[#out + 1] = ("---@overload fun(%s)%s"):format(table.concat(params, ", "), result)
    end
  end
  if entry.name == "cnas.Tensor" then
    for _, sign in ipairs(operators) do
      out[#out + 1] = ("---@operator %s(cnas.Tensor|number): cnas.Tensor"):format(sign)
    end
    out[#out + 1] = "---@operator pow(number): cnas.Tensor\n---@operator unm: cnas.Tensor\n---@operator len: integer"
    out[#out + 1] = "---@field [integer] cnas.Tensor"
  end
  out[#out + 1] = ("local %s = {}\n"):format(entry.name:gsub("^cnas%.", ""):gsub("%.", "_"))
end

-- `function cnas.f(a, b) end` with its annotations; a method is a function of the type's local table.
local function put_function(out, entry, method_of)
  local again = method_of and entry.row -- an operation stands there as a function already
  if not again then put_options(out, entry) end
  comment(out, again and { ("See %s."):format(entry.name) } or entry.text)
  local names = {}
  local params = table.move(entry.params, 1, #entry.params, 1, {})
  if entry.row then
    for _, o in ipairs(entry.options) do
      params[#params + 1] = { name = o.name, type = o.type, optional = o.optional }
    end
  end
  for i, p in ipairs(params) do
    if not (again and i == 1) then
      local kind = p.name == "options" and options_type(entry) or type_text(p.type)
      out[#out + 1] = ("---@param %s%s %s"):format(p.name, p.optional and p.name ~= "..." and "?" or "", kind)
      if p.name == "..." then
        names[#names + 1] = "..."
        for k = i + 1, #params do -- LuaLS knows nothing behind "..."
          if params[k].name == "options" then
            out[#out] = out[#out] .. "|" .. options_type(entry)
          end
        end
        break
      end
      names[#names + 1] = p.name
    end
  end
  for _, r in ipairs(entry.returns) do
    out[#out + 1] = "---@return " .. type_text(r.type) .. (r.name and " " .. r.name or "")
  end
  local name = entry.name
  if method_of then
    name = method_of:gsub("^cnas%.", ""):gsub("%.", "_") .. ":" .. entry.name:match "[^.:]+$"
  end
  out[#out + 1] = ("function %s(%s) end\n"):format(name, table.concat(names, ", "))
end

-- A table that can be called, or holds functions.
local function put_module(out, entry, children)
  comment(out, entry.text)
  out[#out + 1] = "---@class " .. entry.name .. "_module"
  for _, field in ipairs(children) do
    if field.kind == "field" then
      out[#out + 1] = ("---@field %s %s %s"):format(field.name:match "[^.]+$", type_text(field.type), field.text[1])
    end
  end
  if entry.kind == "function" then
    local params = {}
    for i, p in ipairs(entry.params) do
      params[i] = ("%s%s: %s"):format(p.name, p.optional and "?" or "",
        p.name == "options" and options_type(entry) or type_text(p.type))
    end
    out[#out + 1] = ("---@overload fun(%s): %s"):format(table.concat(params, ", "),
      entry.returns[1] and type_text(entry.returns[1].type) or "nil")
  end
  out[#out + 1] = ("%s = {}\n"):format(entry.name)
end

local function owner_of(entry) return entry.name:match "^(.*)[.:][^.:]+$" end

--- The text of the stubs.
return function()
  local out = {
    "---@meta cnas", "", "-- For editors with LuaLS. Made of lua/cnas/manual by: cnas recipes/manual.lua --stubs", "",
    "---@class cnas", "local cnas = {}", "",
  }
  local fields, children, all = {}, {}, {}
  for _, page in ipairs(manual.pages()) do
    for _, entry in ipairs(page.entries) do
      all[#all + 1] = entry
      local owner = owner_of(entry)
      if owner and owner ~= "cnas" then
        children[owner] = children[owner] or {}
        table.insert(children[owner], entry)
        if entry.kind == "field" or entry.name:match "__call$" then
          fields[owner] = fields[owner] or {}
          table.insert(fields[owner], entry)
        end
      end
    end
  end
  local types = {}
  for _, entry in ipairs(all) do if entry.kind == "type" then types[entry.name] = true end end
  for _, entry in ipairs(all) do if entry.kind == "type" then put_type(out, entry, fields) end end
  for _, entry in ipairs(all) do -- tables in front of what is in them
    local holds = children[entry.name] and not types[entry.name]
    if entry.kind == "module" or entry.kind == "function" and holds then
      if entry.kind == "function" then put_options(out, entry) end
      put_module(out, entry, children[entry.name] or {})
    end
  end
  for _, entry in ipairs(all) do
    local owner = owner_of(entry)
    if entry.kind == "function" and not entry.name:match "__call$" and not children[entry.name] then
      put_function(out, entry, entry.name:find(":", 1, true) and owner or nil)
      if entry.row then put_function(out, entry, "cnas.Tensor") end
    elseif entry.kind == "field" and owner == "cnas" then
      comment(out, entry.text)
      out[#out + 1] = ("---@type %s\n%s = nil\n"):format(type_text(entry.type), entry.name)
    end
  end
  out[#out + 1] = "return cnas"
  return table.concat(out, "\n") .. "\n"
end
