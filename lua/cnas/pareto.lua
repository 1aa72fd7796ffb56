-- pareto.lua - the architectures that nobody beats in everything: better in one thing, they are worse in another.
--
--   local front = cnas.pareto { accuracy = "most", parameters = "least", macs = "least" }
--   front:add(arch, { accuracy = 0.91, parameters = 3.2e6, macs = 5.1e8 })
--   front:write(run)               -- pareto.json in the run's folder
--
-- A run can keep it. An item is whatever JSON can say; genotypes come back as such.

local cnas = require "cnas"
local args = require "cnas.args"
local packed = require "cnas.packed"

local Pareto = { __name = "cnas.Pareto" }
Pareto.__index = Pareto

local function new(aims)
  if type(aims) ~= "table" or next(aims) == nil then
    error("cnas.pareto: expected what is aimed at, like { accuracy = \"most\", parameters = \"least\" }", 3)
  end
  local self = setmetatable({ aims = {}, names = args.keys(aims), members = {}, seen = 0 }, Pareto)
  for name, aim in pairs(aims) do
    if aim ~= "most" and aim ~= "least" then
      error(("cnas.pareto: %s: expected \"most\" or \"least\", got %s"):format(tostring(name), tostring(aim)), 3)
    end
    self.aims[name] = aim == "most" and 1 or -1
  end
  return self
end

-- Whether a is nowhere worse than b.
local function as_good(self, a, b)
  for name, sign in pairs(self.aims) do
    if sign * a[name] < sign * b[name] then return false end
  end
  return true
end

--- Adds an item with its values; true when nobody there is as good in everything. Those that it beats leave.
function Pareto:add(item, values)
  local own = {}
  for _, name in ipairs(self.names) do
    local value = values[name]
    if type(value) ~= "number" or value ~= value then
      error(("pareto:add: %s must be a number, got %s"):format(name, tostring(value)), 2)
    end
    own[name] = value
  end
  self.seen = self.seen + 1
  for _, member in ipairs(self.members) do
    if as_good(self, member.values, own) then return false end
  end
  local left = {}
  for _, member in ipairs(self.members) do
    if not as_good(self, own, member.values) then left[#left + 1] = member end
  end
  left[#left + 1] = { item = item, values = own }
  self.members = left
  return true
end

--- The members { item =, values = }, sorted by the value with that name (the first in the alphabet), the best first.
function Pareto:list(name)
  name = name or self.names[1]
  local sign = self.aims[name]
  if not sign then
    name = tostring(name)
    error(("pareto:list: there is no aim '%s'%s"):format(name, args.suggestion(name, self.names)), 2)
  end
  local list, order = table.move(self.members, 1, #self.members, 1, {}), {}
  for i, member in ipairs(list) do order[member] = i end
  table.sort(list, function(a, b)
    if a.values[name] ~= b.values[name] then return sign * a.values[name] > sign * b.values[name] end
    return order[a] < order[b]
  end)
  return list
end

--- Writes the members to pareto.json in the run's folder: { seen =, front = [ { genotype =, accuracy =, … } ] }.
function Pareto:write(run)
  local front = {}
  for i, member in ipairs(self:list()) do
    front[i] = { genotype = member.item }
    for name, value in pairs(member.values) do front[i][name] = value end
  end
  run.record:json("pareto.json", { seen = self.seen, aims = self:spoken(), front = front })
end

-- The aims as they were given.
function Pareto:spoken()
  local aims = {}
  for name, sign in pairs(self.aims) do aims[name] = sign > 0 and "most" or "least" end
  return aims
end

function Pareto:state()
  return { { name = "all", tensor = packed.tensor { seen = self.seen, members = self.members } } }
end

function Pareto:load(state)
  local all = packed.value(state.all or args.fail("data", "pareto: the state has no 'all'"))
  self.seen, self.members = all.seen, all.members
  for _, member in ipairs(self.members) do
    if type(member.item) == "table" and member.item.normal then member.item = cnas.genotype.new(member.item) end
  end
end

function Pareto:__len() return #self.members end

function Pareto:__tostring() return ("cnas.Pareto: %d of %d"):format(#self.members, self.seen) end

return setmetatable({ new = new }, { __call = function(_, aims) return new(aims) end })
