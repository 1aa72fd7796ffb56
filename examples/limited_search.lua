-- limited_search.lua - accuracy, latency, parameters and multiply-adds at once: a reward with prices, a hard limit, and
-- the set of architectures that nobody beats in everything.
--
--   cnas examples/limited_search.lua
--
-- The limit is kept by masking: a choice after which it could not be kept any more has probability zero, so that the
-- controller's log-probabilities stay those of what it really does. The recipes have all this as options:
-- --max-parameters, --max-macs, --max-latency, --target-macs … --price, and leave the set in pareto.json.

local cnas = require "cnas"

local seed = 1
local train, valid = cnas.data.load("shapes", { train_images = 1600, split = 0.7, seed = seed })
local space = cnas.space.darts()
local net = cnas.supernet {
  space = space, channels = 8, layers = 3, nodes = 2, classes = 10, rng = cnas.rng(seed, "weights"),
}

-- What counts is the network that will be trained with the cell: here 8 channels and 5 cells; measured on this machine.
local costs = cnas.costs { space = space, channels = 8, layers = 5, latency = true }
local typical = costs(cnas.sampler({ space = space, nodes = 2, seed = 7 }).draw())
local limit = typical.parameters
local reward = costs:reward { macs = typical.macs, latency = typical.latency, price = 0.1 }

local controller = cnas.controller {
  space = space, nodes = 2, hidden = 32, seed = seed, costs = costs, max_parameters = limit,
}
local weights = cnas.optim.sgd(net:parameters(), { lr = 0.05, momentum = 0.9, nesterov = true })
local policy = cnas.optim.adam(controller:parameters(), { lr = 0.01 })
local baseline = cnas.metric.moving_average(0.9)
local front = cnas.pareto { accuracy = "most", parameters = "least", macs = "least", latency = "least" }

for pass = 1, 4 do
  for x, y in cnas.data.loader { dataset = train, batch = 32, seed = seed, pass = 2 * pass, shuffle = true } do
    weights:step(cnas.cross_entropy(net(x, controller.draw()), y), { clip = 5 })
  end
  for x, y in cnas.data.loader { dataset = valid, batch = 32, seed = seed, pass = 2 * pass + 1, shuffle = true } do
    local arch, logp = controller:sample()
    assert(costs(arch).parameters <= limit)
    local r = reward(cnas.accuracy(cnas.no_grad(net, x, arch), y):item(), arch)
    policy:step(-(logp * (r - baseline(r))), { clip = 5 })
  end
  print(("pass %d: baseline %.3f"):format(pass, baseline.value))
end

local score = cnas.score { net = net, dataset = valid, batch = 32, images = 240 }
for _ = 1, 20 do
  local arch = controller.draw()
  local values = costs(arch)
  values.accuracy = score(arch)
  front:add(arch, values)
end
print(("%d of 20 are on the front; none has more than %d parameters"):format(#front, limit))
for _, member in ipairs(front:list("accuracy")) do
  local v = member.values
  print(("  accuracy %.3f  %6d parameters  %8d multiply-adds  %.2f ms"):format(v.accuracy, v.parameters, v.macs,
                                                                                v.latency))
end
