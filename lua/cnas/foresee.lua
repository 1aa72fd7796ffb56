-- foresee.lua - how much memory training will take, told before it begins.
--
-- What a step needs is a part that does not depend on the batch (weights, their gradients and momentum, the kernels'
-- own) and as much again for every image. Both follow from the peaks of two steps, on a quarter and on half of a batch,
-- with a copy of the network that is thrown away: small batches alone would promise too much, since what kernels need
-- for themselves is bounded. To that come the batches that the loader has ready.

local cnas = require "cnas"
local args = require "cnas.args"

local ready = 4 -- batches: the loader's, and the one in use

local function peak_of(step, images)
  collectgarbage()
  cnas.reset_peak()
  step(images)
  return cnas.memory().bytes_peak
end

--- The largest number of bytes in tensors while `batch` images at a time are trained on, with all that is alive now.
--- make() builds the network, which gives logits and perhaps auxiliary logits. Images: height x width x channels (3).
return function(given)
  local o = args.check("foresee", given, { "make", "batch", "height", "width", channels = 3 })
  local net = o.make()
  local optimizer = cnas.optim.sgd(net:parameters(), { lr = 0.0, momentum = 0.9 })
  local function step(images)
    local logits, auxiliary = net(cnas.zeros(images, o.height, o.width, o.channels))
    local loss = logits:mean()
    if auxiliary then loss = loss + auxiliary:mean() end
    optimizer:step(loss)
  end
  local few = math.max(2, o.batch // 4)
  local more = math.max(few + 1, o.batch // 2)
  step(2) -- makes the optimizer's state
  local low, high = peak_of(step, few), peak_of(step, more)
  net, optimizer, step = nil, nil, nil -- luacheck: ignore 311 (so that they can be collected)
  collectgarbage()
  cnas.reset_peak()
  return low + (high - low) // (more - few) * (o.batch - few) + ready * o.batch * o.height * o.width * o.channels * 4
end
