-- custom_curriculum.lua - a curriculum of your own: operations open from the cheapest to the dearest, in steps; one
-- inner node after the other joins in, and a stage ends when nothing is gained any more.
--
--   cnas examples/custom_curriculum.lua
--
-- A curriculum is a list of stages { index, name, nodes, ops }; controller:open(stage) is all that a stage does. What
-- orders the operations, and when the next stage begins, is up to the recipe: here multiply-adds, and the mean reward.

local cnas = require "cnas"

local seed, nodes = 1, 2
local train, valid = cnas.data.load("shapes", { train_images = 1600, split = 0.7, seed = seed })
local space = cnas.space.darts()
local net = cnas.supernet {
  space = space, channels = 8, layers = 3, nodes = nodes, classes = 10, rng = cnas.rng(seed, "weights"),
}
local controller = cnas.controller { space = space, nodes = nodes, hidden = 32, seed = seed }
local weights = cnas.optim.sgd(net:parameters(), { lr = 0.05, momentum = 0.9, nesterov = true })
local policy = cnas.optim.adam(controller:parameters(), { lr = 0.01 })
local baseline = cnas.metric.moving_average(0.9)

-- The multiply-adds of an operation in a normal cell, beyond those of the space's first.
local costs = cnas.costs { space = space, channels = 8, layers = 3 }
local names, price = space:names(), {}
for k, name in ipairs(names) do price[name] = costs:of("normal", 0, k - 1).macs end
table.sort(names, function(a, b)
  if price[a] ~= price[b] then return price[a] < price[b] end
  return a < b
end)

-- The cheapest operations have no weights: a convolution is open from the beginning, so that something is trained.
local first = "sep_conv_3x3"
local order = { first }
for _, name in ipairs(names) do
  if name ~= first then order[#order + 1] = name end
end

local stages = {}
for _, i in ipairs { 1, 2, 4, 6, 8 } do
  stages[#stages + 1] = {
    index = #stages + 1, nodes = math.min(nodes, #stages + 1), ops = table.move(order, 1, i, 1, {}),
    name = i == 1 and order[1] or ("%d operations, up to %s"):format(i, order[i]),
  }
end

local pass = 0
local function batches(dataset)
  pass = pass + 1
  return cnas.data.loader { dataset = dataset, batch = 32, seed = seed, pass = pass, shuffle = true }
end

-- An epoch's mean reward.
local function epoch()
  for x, y in batches(train) do weights:step(cnas.cross_entropy(net(x, controller.draw()), y), { clip = 5 }) end
  local paid = cnas.metric.mean()
  for x, y in batches(valid) do
    local arch, logp = controller:sample()
    local reward = cnas.accuracy(cnas.no_grad(net, x, arch), y):item()
    policy:step(-(logp * (reward - baseline(reward))), { clip = 5 })
    paid:add(reward)
  end
  return paid:value()
end

for _, stage in ipairs(stages) do
  controller:open(stage)
  local before, epochs, reward = -1, 0, epoch()
  while reward > before and epochs < 6 do before, epochs, reward = reward, epochs + 1, epoch() end
  print(("%-34s %d nodes: %d epochs, mean reward %.3f"):format(stage.name, stage.nodes, epochs + 1, reward))
end
print(controller.draw())
