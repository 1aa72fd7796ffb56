-- finalists.lua - the best few architectures that a search has seen, each once: among them the last choice is made.
--
--   local finalists = cnas.finalists(10)
--   finalists:add(arch, reward)
--   run:derive(stage, net, finalists, valid, test, { rounds = 1, samples = #finalists })
--
-- A run can keep them.

local cnas = require "cnas"
local args = require "cnas.args"
local packed = require "cnas.packed"

local Finalists = { __name = "cnas.Finalists" }
Finalists.__index = Finalists

local function new(size)
  if math.type(size) ~= "integer" or size < 1 then
    error("cnas.finalists: expected how many, an integer above 0, got " .. tostring(size), 3)
  end
  local self = setmetatable({ size = size, list = {}, drawn = 0 }, Finalists)
  -- A sampler: one after the other, the best first.
  self.draw = function()
    if #self.list == 0 then error("finalists: there are none", 2) end
    self.drawn = self.drawn % #self.list + 1
    return self.list[self.drawn].arch
  end
  return self
end

--- An architecture and its reward: it is among the finalists if it is better than the worst of them.
function Finalists:add(arch, reward)
  if type(reward) ~= "number" or reward ~= reward then
    error("finalists:add: reward must be a number, got " .. tostring(reward), 2)
  end
  local text, place = cnas.genotype.text(arch), #self.list + 1
  for _, one in ipairs(self.list) do
    if one.text == text then return end
  end
  while place > 1 and self.list[place - 1].reward < reward do place = place - 1 end
  if place > self.size then return end
  table.insert(self.list, place, { arch = arch, reward = reward, text = text })
  self.list[self.size + 1] = nil
end

--- The best reward so far, and its architecture; nil before the first.
function Finalists:best()
  local first = self.list[1]
  if first then return first.reward, first.arch end
end

function Finalists:state() return { { name = "all", tensor = packed.tensor(self.list) } } end

function Finalists:load(state)
  self.list = packed.value(state.all or args.fail("data", "finalists: the state has no 'all'"))
  for _, one in ipairs(self.list) do one.arch = cnas.genotype.new(one.arch) end
end

function Finalists:__len() return #self.list end

function Finalists:__tostring() return ("cnas.Finalists: %d of at most %d"):format(#self.list, self.size) end

return setmetatable({ new = new }, { __call = function(_, size) return new(size) end })
