-- metric.lua - numbers that are watched over many steps, which a run can keep (state() and load() are exact), and what
-- is said of whole lists of numbers: spread, rank correlation.

local cnas = require "cnas"

local rank = require "cnas.rank"
local metric = { kendall = rank.kendall, spearman = rank.spearman }

-- One f64 scalar of a state, and back.
local function entry(name, number) return { name = name, tensor = cnas.tensor(number, { dtype = "f64" }) } end

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

return metric
