-- curriculum_search.lua - a search whose space opens stage by stage: Guo et al., "Breaking the Curse of Space
-- Explosion: Towards Efficient NAS with Curriculum Search", ICML 2020.
--
--   cnas recipes/curriculum_search.lua --preset quick       eight stages on drawn shapes, in minutes
--   cnas recipes/curriculum_search.lua                      the published search on CIFAR-10
--   cnas recipes/curriculum_search.lua -o DIR --resume      goes on where the run in DIR stopped
--   mpirun -np 4 cnas recipes/curriculum_search.lua         on four processes, each with paths and batches of its own
--
-- Copy it and change what you like: the reward, the loops, the curriculum, the space.

local cnas = require "cnas"

local opt = cnas.options {
  about = "Curriculum search of a cell (Guo et al., ICML 2020).",
  presets = {
    paper = {},
    quick = { data = "shapes", train_images = 3600, split = 0.7, channels = 8, layers = 4, nodes = 2, batch = 32,
              warmup = 1, epochs = 2, lr = 0.02, clip = 5.0, policy_lr = 5e-3, baseline_decay = 0.9,
              derive_rounds = 2, derive_images = 320, compare_uniform = true, cost_channels = 8, cost_layers = 4 },
  },
  cnas.declared.data, -- groups of options that recipes share: see lua/cnas/declared.lua
  { "augment_valid", default = true, help = "augment the controller's part too" },
  -- curriculum
  { "grow", default = "op", choices = { "op", "node", "fix" }, help = "what a stage opens: an operation, a node, all" },
  { "base", default = "sep_conv_3x3", help = "the operation that is open from the beginning" },
  { "warmup", default = 20, min = 0, help = "epochs of a stage with uniform samples" },
  { "epochs", default = 40, min = 0, help = "epochs of a stage with the controller" },
  cnas.declared.supernet,
  cnas.declared.device,
  cnas.declared.controller,
  cnas.declared.guards,
  cnas.declared.costs,
  -- what is derived at the end of a stage
  { "derive_rounds", default = 3, min = 1, help = "how often the best is chosen" },
  { "derive_samples", default = 10, min = 1, help = "from so many samples" },
  { "derive_images", default = 10000, min = 1, help = "by their accuracy on so many images" },
  { "compare_uniform", default = false, help = "measure uniform samples beside them" },
}

local run = cnas.run.open(opt)
local train, valid, test = cnas.data.load(opt.data, {
  root = opt.root, download = opt.download, split = opt.split, seed = opt.seed,
  train_images = opt.train_images,
})
local space = cnas.space.darts() -- or cnas.space { "sep_conv_3x3", …, mine = function(o) … end }
local net = cnas.supernet {
  space = space, channels = opt.channels, layers = opt.layers, nodes = opt.nodes, classes = train.classes,
  precision = opt.precision, rng = cnas.rng(opt.seed, "weights"),
}
net:to(run.device)
local costs = cnas.costs.declared(opt, space, train.classes)
local controller = cnas.controller {
  space = space, nodes = opt.nodes, hidden = opt.hidden, seed = opt.seed,
  temperature = opt.temperature, tanh_constant = opt.tanh_constant, op_tanh_reduce = opt.op_tanh_reduce,
  max_skip = opt.max_skip, no_none = opt.no_none, no_duplicate_edges = opt.no_duplicate_edges,
  costs = costs, max_parameters = opt.max_parameters, max_macs = opt.max_macs, accept = costs.accept,
}
local weights = cnas.optim.sgd(net:parameters(),
  { lr = opt.lr, momentum = opt.momentum, nesterov = opt.momentum > 0, weight_decay = opt.weight_decay })
local policy = cnas.optim.adam(controller:parameters(), { lr = opt.policy_lr, weight_decay = opt.policy_decay })
local baseline = cnas.metric.moving_average(opt.baseline_decay)
local front = cnas.pareto(costs:aims()) -- of all that is measured at the end of a stage

run:keep { net = net, controller = controller, weights = weights, policy = policy, baseline = baseline, front = front }

-- What the controller is paid for. Edit me.
local function reward(accuracy, arch)
  return costs.paid(accuracy, arch) -- accuracy, with --target-macs … times (macs / target) ^ -price
end

local function train_weights(sample)
  for x, y in run:batches(train, opt.batch) do
    local logits = net(x, run:chose(sample()))
    local loss = weights:step(cnas.cross_entropy(logits, y), { clip = opt.clip, wait = false })
    run:log { loss = loss, accuracy = cnas.accuracy(logits, y) }
  end
end

local function train_controller()
  for x, y in run:batches(valid, opt.batch, { augment = opt.augment_valid }) do
    local arch, logp, entropy, parts = controller:sample()
    local accuracy = cnas.accuracy(cnas.no_grad(net, x, run:chose(arch)), y):item()
    local r = reward(accuracy, arch)
    local advantage = r - baseline(run:mean(r)) -- the mean over processes: all have one baseline
    policy:step(-(logp * advantage) - entropy * opt.entropy, { clip = opt.policy_clip })
    run:log { reward = r, baseline = baseline.value, entropy = entropy }
    run:log(controller:entropies(parts))
  end
end

for stage in run:stages(cnas.curriculum[opt.grow](space, opt)) do
  controller:open(stage)
  for _ in run:epochs("warm-up", opt.warmup) do train_weights(controller.uniform) end
  for _ in run:epochs("search", opt.epochs) do
    train_weights(controller.draw)
    train_controller()
  end
  run:derive(stage, net, controller, valid, test, {
    rounds = opt.derive_rounds, samples = opt.derive_samples, images = opt.derive_images, batch = opt.batch,
    compare_uniform = opt.compare_uniform, reward = reward, costs = costs, front = front,
  })
end
