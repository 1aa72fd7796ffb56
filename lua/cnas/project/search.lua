-- search.lua - the loop of the search. What makes it yours is in parts.lua.
--
--   cnas search.lua                searches on drawn shapes, in a minute; leaves runs/search
--   cnas search.lua --resume       goes on where it was stopped
--   cnas search.lua --data cifar10 --download --help

local cnas = require "cnas"
local parts = require "parts"

cnas.options.defaults { data = "shapes", train_images = 3000, split = 0.7, batch = 32, channels = 8, layers = 3,
                        nodes = 2, lr = 0.05, clip = 5.0, hidden = 32, policy_lr = 5e-3, entropy = 0.0,
                        baseline_decay = 0.9 }
local opt = cnas.options {
  about = "A search of your own.",
  cnas.declared.data,
  cnas.declared.supernet,
  cnas.declared.device,
  cnas.declared.controller,
  { "epochs", default = 3, min = 1, help = "epochs of a stage" },
  { "price", default = 0.05, min = 0, help = "exponent of the multiply-adds in the reward" },
}
local run = cnas.run.open(opt)

local train, valid, test = cnas.data.load(opt.data, {
  root = opt.root, download = opt.download, split = opt.split, seed = opt.seed, train_images = opt.train_images,
})
local space = parts.space()
local net = cnas.supernet {
  space = space, channels = opt.channels, layers = opt.layers, nodes = opt.nodes, classes = train.classes,
  precision = opt.precision, rng = cnas.rng(opt.seed, "weights"),
}
net:to(run.device)
local controller = cnas.controller { space = space, nodes = opt.nodes, hidden = opt.hidden, seed = opt.seed }
local weights = cnas.optim.sgd(net:parameters(), { lr = opt.lr, momentum = opt.momentum, nesterov = opt.momentum > 0,
                                                   weight_decay = opt.weight_decay })
local policy = cnas.optim.adam(controller:parameters(), { lr = opt.policy_lr, weight_decay = opt.policy_decay })
local baseline = cnas.metric.moving_average(opt.baseline_decay)
run:keep { net = net, controller = controller, weights = weights, policy = policy, baseline = baseline }

-- The network that a cell is trained in afterwards, and what a cell of this space typically costs there.
local costs = cnas.costs { space = space, channels = 16, layers = 8, classes = train.classes }
local target = costs(cnas.sampler({ space = space, nodes = opt.nodes, seed = opt.seed }).draw()).macs

local function reward(accuracy, arch) return parts.reward(accuracy, costs(arch).macs, target, opt.price) end

local function train_weights()
  for x, y in run:batches(train, opt.batch) do
    local logits = net(x, controller.draw())
    local loss = weights:step(cnas.cross_entropy(logits, y), { clip = opt.clip })
    run:log { loss = loss, accuracy = cnas.accuracy(logits, y) }
  end
end

local function train_controller()
  for x, y in run:batches(valid, opt.batch) do
    local arch, logp, entropy = controller:sample()
    local r = reward(cnas.accuracy(cnas.no_grad(net, x, arch), y):item(), arch)
    local advantage = r - baseline(run:mean(r))
    policy:step(-(logp * advantage) - entropy * opt.entropy, { clip = opt.policy_clip })
    run:log { reward = r, entropy = entropy }
  end
end

for stage in run:stages(parts.stages(opt.nodes)) do
  controller:open(stage)
  for epoch in run:epochs("search", opt.epochs) do
    weights.lr = parts.rate(opt.lr, epoch, opt.epochs)
    train_weights()
    train_controller()
  end
  run:derive(stage, net, controller, valid, test, { samples = 5, images = 320, batch = opt.batch, reward = reward,
                                                    costs = costs })
end
