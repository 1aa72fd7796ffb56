-- schedule.lua - learning rates as functions of the epoch, which counts from 0: `weights.lr = rate(epoch - 1)`.

local args = require "cnas.args"

local schedule = {}

local function check(who, lr, epochs)
  if type(lr) ~= "number" or lr < 0 then error(who .. ": lr must be a number >= 0, got " .. tostring(lr), 3) end
  if epochs and (type(epochs) ~= "number" or epochs < 1) then
    error(who .. ": epochs must be a number >= 1, got " .. tostring(epochs), 3)
  end
end

--- Always lr.
function schedule.constant(lr)
  check("schedule.constant", lr)
  return function() return lr end
end

--- From lr to 0 along half a cosine: Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts.
function schedule.cosine(lr, epochs)
  check("schedule.cosine", lr, epochs)
  return function(epoch) return 0.5 * lr * (1 + math.cos(math.pi * epoch / epochs)) end
end

--- Falls linearly towards 0 at the fifth epoch from the end; the last five fall linearly from lr/(epochs - 5) to 0.
function schedule.linear(lr, epochs)
  check("schedule.linear", lr, epochs)
  if epochs <= 5 then args.fail("usage", "schedule.linear: needs more than 5 epochs, got %g", epochs) end
  local tail = 5
  return function(epoch)
    local left = epochs - epoch
    if left > tail then return lr * (left - tail) / (epochs - tail) end
    return lr * left / ((epochs - tail) * tail)
  end
end

--- Before a schedule: `epochs` epochs that rise linearly to its value at the first epoch after them. There must be one:
--- `all` is how many epochs there are, when that is known.
function schedule.warmup(rate, epochs, all)
  if type(rate) ~= "function" then error("schedule.warmup: expected a schedule, got " .. type(rate), 2) end
  check("schedule.warmup", 0, epochs)
  if all and epochs >= all then
    args.fail("usage", "schedule.warmup: %g epochs of warm-up leave none of all %g", epochs, all)
  end
  return function(epoch)
    if epoch < epochs then return rate(epochs) * (epoch + 1) / epochs end
    return rate(epoch)
  end
end

return schedule
