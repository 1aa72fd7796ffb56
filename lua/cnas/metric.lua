-- metric.lua - numbers that are watched over many steps. All can be kept by a run: state() and load() are exact.

local cnas = require "cnas"

local metric = {}

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

return metric
