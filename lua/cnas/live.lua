-- live.lua - a recipe that stands still, as a table of names: its variables to be read and set, the objects it keeps.
--
--   local names = live(run)
--   names.reward = function(accuracy) return accuracy ^ 2 end   -- sets the recipe's local function `reward`
--
-- A name is looked up as the recipe itself would: the locals and upvalues of its functions that are being called, the
-- innermost first; then what the run keeps, `run` and `opt`; then globals. Where the recipe has a variable it is that
-- variable which is read and set, wherever it lies: every function that shares it sees the change. A new name is one of
-- this table. Functions that are typed here look names up each time they run, in the recipe as it then stands.

local cnas = require "cnas"
local args = require "cnas.args"

local library = "@" .. (cnas.home or "?") .. "/lua/cnas/"

-- Whether a function on the stack is of the recipe: not of the library, not C, not typed at the loop.
local function of_recipe(info)
  return info.what ~= "C" and info.source ~= "=input" and info.source:sub(1, #library) ~= library
end

-- The slot of the last local of that name at a level that counts from the caller.
local function local_slot(level, name)
  local slot
  for i = 1, math.huge do
    local found = debug.getlocal(level + 1, i)
    if not found then return slot end
    if found == name then slot = i end
  end
end

local function upvalue_slot(f, name)
  for i = 1, math.huge do
    local found = debug.getupvalue(f, i)
    if not found then return nil end
    if found == name then return i end
  end
end

-- Finds the recipe's variable of that name and, when `write`, sets it: whether there is one, and its value before.
local function variable(name, write, value)
  for level = 2, math.huge do
    local info = debug.getinfo(level, "Sf")
    if not info then return false end
    if of_recipe(info) then
      local slot = local_slot(level, name)
      if slot then
        local _, before = debug.getlocal(level, slot)
        if write then debug.setlocal(level, slot, value) end
        return true, before
      end
      slot = upvalue_slot(info.func, name)
      if slot then
        local _, before = debug.getupvalue(info.func, slot)
        if write then debug.setupvalue(info.func, slot, value) end
        return true, before
      end
    end
  end
end

-- The names of all variables of the recipe, as a set. Those that Lua makes for itself begin with a bracket.
local function variables()
  local names = {}
  local function add(name)
    if name:match "^[%a_][%w_]*$" and name ~= "_" and name ~= "_ENV" then names[name] = true end
  end
  for level = 2, math.huge do
    local info = debug.getinfo(level, "Sf")
    if not info then return names end
    if of_recipe(info) then
      for i = 1, math.huge do
        local name = debug.getlocal(level, i)
        if not name then break end
        add(name)
      end
      for i = 1, math.huge do
        local name = debug.getupvalue(info.func, i)
        if not name then break end
        add(name)
      end
    end
  end
end

-- What is not the recipe's variable but the run's.
local function of_run(meta, name)
  local kept = rawget(meta.run.kept, name)
  if kept ~= nil then return kept end
  if name == "run" then return meta.run end
  if name == "opt" then return meta.run.opt end
end

local function index(meta, name)
  if meta.variables[name] then
    local found, value = variable(name)
    if found then return value end
  end
  local value = of_run(meta, name)
  if value == nil then value = rawget(_G, name) end
  return value
end

-- Whether a name stands for what the run knows by itself and would not know by another value.
local function is_kept(meta, name)
  local value = index(meta, name)
  if value == nil then return false end
  for _, kept in pairs(meta.run.kept) do
    if rawequal(value, kept) then return true end
  end
  return rawequal(value, (of_run(meta, name)))
end

local function newindex(meta, names, name, value)
  local is_variable = meta.variables[name]
  if is_kept(meta, name) then
    args.fail("usage", "'%s' is kept by the run and cannot be another: change what is in it", name)
  end
  if is_variable and variable(name, true, value) then return end
  if rawget(_G, name) ~= nil then
    rawset(_G, name, value)
    return
  end
  rawset(names, name, value)
  if meta.on_new then meta.on_new(name, args.suggestion(name, args.keys(meta.variables))) end
end

--- The names of a run that stands still where this is called from. Fields of the metatable: library (all names that
--- are the run's and the recipe's, sorted), on_new(name, suggestion), called when a name is made that the run does not
--- know.
local function live(run)
  local meta = { run = run, variables = {}, __name = "names of the run" }
  meta.__index = function(_, name) return index(meta, name) end
  meta.__newindex = function(names, name, value) newindex(meta, names, name, value) end
  return setmetatable({}, meta)
end

--- Learns anew which variables there are: the recipe stands elsewhere.
local function refresh(names)
  local meta = getmetatable(names)
  meta.variables = variables()
  local all = { run = true, opt = true }
  for name in pairs(meta.variables) do all[name] = true end
  for name in pairs(meta.run.kept) do all[name] = true end
  meta.library = args.keys(all)
end

return { of = live, refresh = refresh }
