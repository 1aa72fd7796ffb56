-- custom_reward.lua - a search of your own: another reward and another curriculum, in fifty lines.
--
--   cnas examples/custom_reward.lua
--
-- The reward here is accuracy times a price on multiply-adds, as in MnasNet (Tan et al., CVPR 2019); the curriculum
-- opens two operations a stage. Nothing but these two functions differs from any other search.

local cnas = require "cnas"

local seed, size = 1, 32
local train, valid = cnas.data.load("shapes", { train_images = 480, split = 0.5, seed = seed })
local space = cnas.space.darts()
local net = cnas.supernet {
  space = space, channels = 4, layers = 3, nodes = 2, classes = 10, rng = cnas.rng(seed, "weights"),
}
local controller = cnas.controller { space = space, nodes = 2, hidden = 32, seed = seed }
local weights = cnas.optim.sgd(net:parameters(), { lr = 0.05, momentum = 0.9, nesterov = true })
local policy = cnas.optim.adam(controller:parameters(), { lr = 0.01 })
local baseline = cnas.metric.moving_average(0.9)

local function cost(arch) return net:cost(arch, { height = size, width = size }).conv_macs end

-- Paid in accuracy; an architecture of twice the target's cost gets (1/2)^0.3 = 0.81 of it.
local target = cost(controller.uniform())
local function reward(accuracy, arch) return accuracy * (math.max(cost(arch), 1) / target) ^ -0.3 end

-- A stage opens two more operations.
local curriculum = cnas.curriculum.stages(space, { seed = seed, nodes = 2 }, function(i, order, nodes)
  if i <= 4 then return nodes, table.move(order, 1, 2 * i, 1, {}), ("%d operations"):format(2 * i) end
end)

local pass = 0
local function batches(dataset)
  pass = pass + 1
  return cnas.data.loader { dataset = dataset, batch = 48, seed = seed, pass = pass, shuffle = true }
end

for _, stage in ipairs(curriculum) do
  controller:open(stage)
  for x, y in batches(train) do weights:step(cnas.cross_entropy(net(x, controller.draw()), y)) end
  local paid = cnas.metric.mean()
  for x, y in batches(valid) do
    local arch, logp = controller:sample()
    local r = reward(cnas.accuracy(cnas.no_grad(net, x, arch), y):item(), arch)
    policy:step(-(logp * (r - baseline(r))), { clip = 5 })
    paid:add(r)
  end
  print(("%-14s mean reward %.3f"):format(stage.name, paid:value()))
end
print(controller.draw())
