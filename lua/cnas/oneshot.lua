-- oneshot.lua - a search in which no architecture is trained alone: a supernet is trained by architectures drawn
-- uniformly, then architectures are measured with the weights they share. How they are proposed is the recipe's.
--
--   local shot = cnas.oneshot(opt)                          -- opt has the options cnas.oneshot.options
--   for stage in shot.run:stages(shot.stages) do
--     for _ in shot.run:epochs("train", opt.epochs) do shot:train() end
--     for _ in shot.run:epochs("search", opt.rounds) do
--       for _ in shot.run:candidates(opt.samples) do shot:measure(shot.sampler.uniform()) end
--     end
--     shot:derive(stage)
--   end
--
-- It opens the run and makes its parts, all fields of `shot`: run; train_set, valid_set, test_set; space, net, weights
-- (their optimizer); sampler; costs, reward(accuracy, arch), score(arch); finalists, front. What changes is kept by the
-- run: a recipe keeps its own objects beside them.

local cnas = require "cnas"
local declared = require "cnas.declared"

local Shot = { __name = "cnas.OneShot" }
Shot.__index = Shot

local options = {
  declared.data,
  declared.supernet,
  declared.device,
  { "epochs", default = 150, min = 0, help = "epochs that train the weights" },
  { "derive_images", default = 10000, min = 1, help = "images on which an architecture is measured" },
  { "finalists", default = 10, min = 1, help = "the last choice is made among the best so many" },
  declared.guards,
  declared.costs,
}

-- The settings with which a quick look takes a minute or two.
local quick = {
  data = "shapes", train_images = 3600, split = 0.7, channels = 8, layers = 4, nodes = 2, batch = 32, epochs = 12,
  lr = 0.02, clip = 5.0, no_none = true, derive_images = 320, cost_channels = 8, cost_layers = 4,
}

local function new(opt)
  local self = setmetatable({ opt = opt, run = cnas.run.open(opt) }, Shot)
  self.train_set, self.valid_set, self.test_set = cnas.data.load(opt.data, {
    root = opt.root, download = opt.download, split = opt.split, seed = opt.seed, train_images = opt.train_images,
  })
  self.space = cnas.space.darts()
  self.net = cnas.supernet {
    space = self.space, channels = opt.channels, layers = opt.layers, nodes = opt.nodes,
    classes = self.train_set.classes, precision = opt.precision, rng = cnas.rng(opt.seed, "weights"),
  }
  self.net:to(self.run.device)
  self.weights = cnas.optim.sgd(self.net:parameters(),
    { lr = opt.lr, momentum = opt.momentum, nesterov = opt.momentum > 0, weight_decay = opt.weight_decay })
  self.costs = cnas.costs.declared(opt, self.space, self.train_set.classes)
  self.reward = self.costs.paid
  self.sampler = cnas.sampler {
    space = self.space, nodes = opt.nodes, seed = opt.seed, max_skip = opt.max_skip, no_none = opt.no_none,
    no_duplicate_edges = opt.no_duplicate_edges, costs = self.costs, max_parameters = opt.max_parameters,
    max_macs = opt.max_macs, accept = self.costs.accept,
  }
  self.score = cnas.score {
    net = self.net, dataset = self.valid_set, batch = opt.batch, images = opt.derive_images, run = self.run,
  }
  self.finalists, self.front = cnas.finalists(opt.finalists), cnas.pareto(self.costs:aims())
  self.stages = { { index = 1, name = "everything", nodes = opt.nodes, ops = self.space:names() } }
  self.run:keep {
    net = self.net, weights = self.weights, sampler = self.sampler, finalists = self.finalists, front = self.front,
  }
  return self
end

--- One pass over the training split: an architecture for each batch, drawn uniformly or by `sample`.
function Shot:train(sample)
  sample = sample or self.sampler.uniform
  self.score:forget()
  for x, y in self.run:batches(self.train_set, self.opt.batch) do
    local logits = self.net(x, self.run:chose(sample()))
    local loss = self.weights:step(cnas.cross_entropy(logits, y), { clip = self.opt.clip, wait = false })
    self.run:log { loss = loss, accuracy = cnas.accuracy(logits, y) }
  end
end

-- What every process has measured, in the order of the ranks: { arch, accuracy } each.
local function of_all(run, arch, accuracy)
  if run.world.size == 1 then return { { arch, accuracy } } end
  local all = run.world:gather(cnas.json.encode { arch, accuracy })
  for rank, text in ipairs(all) do
    all[rank] = cnas.json.decode(text)
    all[rank][1] = cnas.genotype.new(all[rank][1])
  end
  return all
end

--- Measures an architecture on the validation split: its reward is noted in the front, among the finalists and in the
--- epoch's means, and told to each(arch, reward). Several processes measure one each at a time, and all note all.
function Shot:measure(arch, each)
  local accuracy = self.score(self.run:chose(arch))
  for _, one in ipairs(of_all(self.run, arch, accuracy)) do
    local reward, values = self.reward(one[2], one[1]), self.costs(one[1])
    values.accuracy = one[2]
    self.front:add(one[1], values)
    self.finalists:add(one[1], reward)
    if each then each(one[1], reward) end
  end
  local cost = self.costs(arch)
  self.run:log { reward = self.reward(accuracy, arch), valid_accuracy = accuracy, parameters = cost.parameters,
                 macs = cost.macs }
end

--- The last choice: the best of the finalists, its test accuracy, and the front, into the run's folder.
function Shot:derive(stage)
  return self.run:derive(stage, self.net, { draw = self.finalists.draw, uniform = self.sampler.uniform },
    self.valid_set, self.test_set, {
      rounds = 1, samples = math.max(#self.finalists, 1), score = self.score, batch = self.opt.batch,
      images = self.opt.derive_images, reward = self.reward, costs = self.costs, front = self.front,
    })
end

return setmetatable({ new = new, options = options, quick = quick }, { __call = function(_, opt) return new(opt) end })
