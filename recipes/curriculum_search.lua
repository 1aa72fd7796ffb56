-- curriculum_search.lua - a search whose space opens stage by stage: Guo et al., "Breaking the Curse of Space
-- Explosion: Towards Efficient NAS with Curriculum Search", ICML 2020.
--
--   cnas recipes/curriculum_search.lua --preset quick       eight stages on drawn shapes, in minutes
--   cnas recipes/curriculum_search.lua                      the published search on CIFAR-10
--   cnas recipes/curriculum_search.lua -o DIR --resume      goes on where the run in DIR stopped
--
-- Copy it and change what you like: the reward, the loops, the curriculum, the space.

local cnas = require "cnas"

local opt = cnas.options {
  about = "Curriculum search of a cell (Guo et al., ICML 2020).",
  presets = {
    paper = {},
    quick = { data = "shapes", train_images = 3600, split = 0.7, channels = 8, layers = 4, nodes = 2, batch = 32,
              warmup = 1, epochs = 2, lr = 0.02, clip = 5.0, policy_lr = 5e-3, baseline_decay = 0.9,
              derive_rounds = 2, derive_images = 320, compare_uniform = true },
  },
  -- data
  { "data", default = "cifar10", choices = { "cifar10", "cifar100", "shapes" }, help = "dataset" },
  { "root", default = "data", free = true, help = "folder of the datasets" },
  { "download", default = false, free = true, help = "fetch the dataset when it is not there" },
  { "train_images", type = "integer", min = 10, help = "use so many training images (default: all)" },
  { "split", default = 0.4, min = 0.01, max = 0.99, help = "part of them for the weights; the rest: controller" },
  { "augment_valid", default = true, help = "augment the controller's part too" },
  -- curriculum
  { "grow", default = "op", choices = { "op", "node", "fix" }, help = "what a stage opens: an operation, a node, all" },
  { "base", default = "sep_conv_3x3", help = "the operation that is open from the beginning" },
  { "warmup", default = 20, min = 0, help = "epochs of a stage with uniform samples" },
  { "epochs", default = 40, min = 0, help = "epochs of a stage with the controller" },
  { "batch", default = 96, min = 1, help = "images in a batch" },
  -- supernet
  { "channels", default = 16, min = 1, help = "channels of the first cells" },
  { "layers", default = 8, min = 3, help = "cells" },
  { "nodes", default = 4, min = 1, max = 12, help = "inner nodes of a cell" },
  { "precision", default = "f32", choices = { "f32", "bf16" }, help = "what images within the cells are kept in" },
  { "lr", default = 0.01, min = 0, help = "learning rate of the weights" },
  { "momentum", default = 0.9, min = 0, max = 1, help = "Nesterov momentum of the weights" },
  { "weight_decay", default = 3e-4, min = 0, help = "weight decay of the weights" },
  { "clip", default = 0.0, min = 0, help = "largest gradient norm of the weights; 0: any" },
  -- controller
  { "hidden", default = 128, min = 1, help = "hidden units of the controller" },
  { "policy_lr", default = 3e-4, min = 0, help = "learning rate of the controller" },
  { "policy_decay", default = 5e-4, min = 0, help = "weight decay of the controller" },
  { "policy_clip", default = 5.0, min = 0, help = "largest gradient norm of the controller; 0: any" },
  { "entropy", default = 0.005, min = 0, help = "weight of the entropy in the controller's loss" },
  { "baseline_decay", default = 0.99, min = 0, max = 0.9999, help = "how slowly the reward's baseline moves" },
  { "temperature", type = "number", min = 1e-3, help = "the controller's logits are divided by it" },
  { "tanh_constant", type = "number", min = 1e-3, help = "its logits become X tanh(logits)" },
  { "op_tanh_reduce", type = "number", min = 1e-3, help = "for operations that X is divided by this" },
  -- guards: what may not be sampled
  { "max_skip", type = "integer", min = 0, help = "at most so many skip_connect in a cell" },
  { "no_none", default = false, help = "never the operation none" },
  { "no_duplicate_edges", default = false, help = "two different inputs for every node" },
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
local controller = cnas.controller {
  space = space, nodes = opt.nodes, hidden = opt.hidden, seed = opt.seed,
  temperature = opt.temperature, tanh_constant = opt.tanh_constant, op_tanh_reduce = opt.op_tanh_reduce,
  max_skip = opt.max_skip, no_none = opt.no_none, no_duplicate_edges = opt.no_duplicate_edges,
}
local weights = cnas.optim.sgd(net:parameters(),
  { lr = opt.lr, momentum = opt.momentum, nesterov = opt.momentum > 0, weight_decay = opt.weight_decay })
local policy = cnas.optim.adam(controller:parameters(), { lr = opt.policy_lr, weight_decay = opt.policy_decay })
local baseline = cnas.metric.moving_average(opt.baseline_decay)

run:keep { net = net, controller = controller, weights = weights, policy = policy, baseline = baseline }

-- What the controller is paid for. Edit me: e.g. accuracy * (latency(arch) / target) ^ -0.07
local function reward(accuracy, arch) -- luacheck: ignore 212
  return accuracy
end

local function train_weights(sample)
  for x, y in run:batches(train, opt.batch) do
    local logits = net(x, sample())
    local loss = weights:step(cnas.cross_entropy(logits, y), { clip = opt.clip })
    run:log { loss = loss, accuracy = cnas.accuracy(logits, y) }
  end
end

local function train_controller()
  for x, y in run:batches(valid, opt.batch, { augment = opt.augment_valid }) do
    local arch, logp, entropy = controller:sample()
    local accuracy = cnas.accuracy(cnas.no_grad(net, x, arch), y):item()
    local r = reward(accuracy, arch)
    local advantage = r - baseline(r)
    policy:step(-(logp * advantage) - entropy * opt.entropy, { clip = opt.policy_clip })
    run:log { reward = r, baseline = baseline.value, entropy = entropy }
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
    compare_uniform = opt.compare_uniform,
  })
end
