-- metric.lua - numbers that are watched over many steps, which a run can keep (state() and load() are exact), and what
-- is said of whole lists of numbers: spread, rank correlation.

local cnas = require "cnas"
local args = require "cnas.args"

local rank = require "cnas.rank"
local metric = { kendall = rank.kendall, spearman = rank.spearman }

-- One scalar of a state: f64, or i64 for a whole number.
local function entry(name, number)
  return { name = name, tensor = cnas.tensor(number, { dtype = math.type(number) == "integer" and "i64" or "f64" }) }
end

local MovingAverage = { __name = "cnas.MovingAverage" }
MovingAverage.__index = MovingAverage

--- An exponential moving average: calling it with a number moves it and returns it. The first number is taken as it is.
---   local baseline = cnas.metric.moving_average(0.99)
---   local advantage = reward - baseline(reward)
function metric.moving_average(decay)
  if type(decay) ~= "number" or decay < 0 or decay >= 1 then
    error("metric.moving_average: decay must be a number in [0, 1), got " .. tostring(decay), 2)
  end
  return setmetatable({ decay = decay, value = nil }, MovingAverage)
end

function MovingAverage:__call(number)
  self.value = self.value and self.decay * self.value + (1 - self.decay) * number or number
  return self.value
end

function MovingAverage:state() return self.value and { entry("value", self.value) } or {} end

function MovingAverage:load(state) self.value = state.value and state.value:item() or nil end

local Mean = { __name = "cnas.Mean" }
Mean.__index = Mean

--- A weighted mean: add(number, weight), value() (nil before the first).
function metric.mean() return setmetatable({ sum = 0.0, weight = 0.0 }, Mean) end

function Mean:add(number, weight)
  weight = weight or 1
  self.sum, self.weight = self.sum + number * weight, self.weight + weight
end

function Mean:value() return self.weight > 0 and self.sum / self.weight or nil end

function Mean:state() return { entry("sum", self.sum), entry("weight", self.weight) } end

function Mean:load(state) self.sum, self.weight = state.sum:item(), state.weight:item() end

--- Mean and standard deviation (of a sample: over n - 1) of a list of numbers; the deviation of a single one is 0.
function metric.spread(list)
  if #list == 0 then error("metric.spread: expected at least one number", 2) end
  local mean, squares = 0.0, 0.0
  for i, number in ipairs(list) do
    local off = number - mean
    mean = mean + off / i
    squares = squares + off * (number - mean)
  end
  return mean, math.sqrt(squares / math.max(#list - 1, 1))
end

local Best = { __name = "cnas.Best" }
Best.__index = Best

--- The largest number so far: calling it with a number, and with a table of numbers that belong to it, says whether it
--- is larger than all before.
---   local best = cnas.metric.best()
---   if best(accuracy, { epoch = epoch }) then … end       best.value, best.with.epoch
function metric.best() return setmetatable({ value = nil, with = {} }, Best) end

function Best:__call(number, with)
  if self.value and number <= self.value then return false end
  self.value, self.with = number, with or {}
  return true
end

function Best:state()
  if not self.value then return {} end
  local state = { entry("value", self.value) }
  for _, name in ipairs(args.keys(self.with)) do state[#state + 1] = entry("with." .. name, self.with[name]) end
  return state
end

function Best:load(state)
  self.value, self.with = state.value and state.value:item() + 0.0, {}
  for name, tensor in pairs(state) do
    local key = name:match "^with%.(.+)$"
    if key then self.with[key] = tensor:item() end
  end
end

return metric
