-- population.lua - the population of regularized evolution (Real et al., AAAI 2019): a queue, in which the oldest dies.
--
--   local population = cnas.population { size = 10, sample = 3, rng = rng }
--   while not population:full() do population:add(random(), fitness) end
--   while … do child = mutate(population:parent()); population:add(child, fitness_of(child)) end
--
-- Nobody survives by being good: a bad measurement that looked good dies with its age. An individual is whatever the
-- search makes of it, if JSON can say it; a run can keep a population.

local args = require "cnas.args"
local packed = require "cnas.packed"

local Population = { __name = "cnas.Population" }
Population.__index = Population

--- size: of the population; sample: how many of them, drawn with replacement, compete to be a parent; rng: who draws;
--- revive: makes an individual of what JSON said of it, when a kept population is loaded (nothing, if not given).
local function new(given)
  local self = args.check("cnas.population", given, { "size", "sample", "rng", revive = function(x) return x end })
  for _, name in ipairs { "size", "sample" } do
    if math.type(self[name]) ~= "integer" or self[name] < 1 then
      error(("cnas.population: %s must be an integer above 0, got %s"):format(name, tostring(self[name])), 3)
    end
  end
  self.members, self.born = {}, 0 -- the oldest first; how many there ever were
  return setmetatable(self, Population)
end

--- Whether there are as many as there may be.
function Population:full() return #self.members >= self.size end

--- A new individual; beyond `size` the oldest leaves.
function Population:add(individual, fitness)
  if type(fitness) ~= "number" or fitness ~= fitness then
    error("population:add: fitness must be a number, got " .. tostring(fitness), 2)
  end
  self.members[#self.members + 1] = { individual = individual, fitness = fitness }
  self.born = self.born + 1
  if #self.members > self.size then table.remove(self.members, 1) end
end

--- The fittest of `sample` drawn members, and its fitness.
function Population:parent()
  if #self.members == 0 then error("population:parent: nobody is there", 2) end
  local best
  for _ = 1, self.sample do
    local one = self.members[self.rng:integer(#self.members) + 1]
    if not best or one.fitness > best.fitness then best = one end
  end
  return best.individual, best.fitness
end

--- Mean fitness of the living.
function Population:mean()
  local sum = 0.0
  for _, one in ipairs(self.members) do sum = sum + one.fitness end
  return sum / #self.members
end

function Population:state()
  return { { name = "all", tensor = packed.tensor { born = self.born, members = self.members } } }
end

function Population:load(state)
  local all = packed.value(state.all or args.fail("data", "population: the state has no 'all'"))
  self.born, self.members = all.born, all.members
  for _, one in ipairs(self.members) do one.individual = self.revive(one.individual) end
end

function Population:__tostring()
  return ("cnas.Population: %d of %d, %d were born"):format(#self.members, self.size, self.born)
end

return setmetatable({ new = new }, { __call = function(_, given) return new(given) end })
