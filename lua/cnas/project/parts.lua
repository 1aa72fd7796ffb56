-- parts.lua - what makes this search yours: an operation, the reward, and the schedule. search.lua uses them.

local cnas = require "cnas"
local nn = cnas.nn

local parts = {}

-- A function with a gradient of its own: x * sigmoid(x). What backward needs is put into ctx.
parts.swish = cnas.op {
  name = "swish",
  forward = function(ctx, x)
    ctx.x = x
    return x * x:sigmoid()
  end,
  backward = function(ctx, gradient)
    local s = ctx.x:sigmoid()
    return gradient * (s + ctx.x * s * (1 - s))
  end,
}

-- An operation of the space: widen by a 1x1 convolution, filter each channel, narrow again. `o` has channels, stride,
-- affine, track, supernet and rng; the result keeps the channels, and 1/stride of height and width.
local function bottleneck(o)
  local wide = 2 * o.channels
  return nn.sequential {
    nn.conv2d { inp = o.channels, out = wide, kernel = 1, rng = o.rng },
    nn.apply(parts.swish),
    nn.conv2d { inp = wide, out = wide, kernel = 3, stride = o.stride, padding = 1, groups = wide, rng = o.rng },
    nn.conv2d { inp = wide, out = o.channels, kernel = 1, rng = o.rng },
    nn.batch_norm { channels = o.channels, affine = o.affine, track = o.track },
  }
end

-- What cells are made of. `cnas.space.builtin()` lists the names that are there.
function parts.space()
  return cnas.space { "sep_conv_3x3", "max_pool_3x3", "skip_connect", "none", bottleneck = bottleneck }
end

-- What the controller is paid: accuracy, less for a cell that costs more multiply-adds than `target`.
function parts.reward(accuracy, macs, target, price)
  return accuracy * (math.max(macs, 1) / target) ^ -price
end

-- The stages: what is open in each, in the order in which it opens; and the inner nodes, one after the other.
local order = { "sep_conv_3x3", "bottleneck", "max_pool_3x3", "skip_connect", "none" }

function parts.stages(nodes)
  local stages = {}
  for i, open in ipairs { 2, 3, #order } do
    stages[i] = { index = i, name = ("%d operations, up to %s"):format(open, order[open]), nodes = math.min(i, nodes),
                  ops = table.move(order, 1, open, 1, {}) }
  end
  return stages
end

-- The learning rate of an epoch, from 1 to `epochs`, of a stage: down to a tenth along a line.
function parts.rate(lr, epoch, epochs)
  return lr * (1 - 0.9 * (epoch - 1) / math.max(epochs - 1, 1))
end

return parts
