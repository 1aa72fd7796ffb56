-- evaluate.lua - trains a cell from scratch and says how good it is: the evaluation of Guo et al., ICML 2020, which is
-- that of Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019.
--
--   cnas recipes/evaluate.lua --preset quick                    a small network on drawn shapes, in a minute
--   cnas recipes/evaluate.lua --arch CNAS                       the published evaluation on CIFAR-10
--   cnas recipes/evaluate.lua --arch runs/curriculum_search     the same of the cell that a search found
--   cnas recipes/evaluate.lua --preset imagenet --root DIR      on ImageNet: DIR/train and DIR/val hold class folders
--   cnas recipes/evaluate.lua -o DIR --resume                   goes on where the run in DIR stopped
--
-- The weights are in DIR/weights: best.safetensors, by top-1, and last.safetensors.

local cnas = require "cnas"

local opt = cnas.options {
  about = "Trains a cell from scratch and says how good it is (Guo et al., ICML 2020).",
  presets = {
    cifar = {},
    imagenet = { data = "imagenet", imagenet = true, channels = 48, layers = 14, epochs = 250, schedule = "linear",
                 accumulate = 4, bias_decay = false, cutout = 0 },
    quick = { data = "shapes", train_images = 3000, test_images = 1000, channels = 8, layers = 5, epochs = 8,
              batch = 32, accumulate = 1, cutout = 8, drop_path = 0.1 },
  },
  -- data
  { "data", default = "cifar10", choices = { "cifar10", "cifar100", "imagenet", "folder", "shapes" },
    help = "dataset; folder: photographs in train and val" },
  { "root", default = "data", free = true, help = "folder of the datasets" },
  { "download", default = false, free = true, help = "fetch the dataset when it is not there" },
  { "train_images", type = "integer", min = 10, help = "use so many training images (default: all)" },
  { "test_images", type = "integer", min = 1, help = "and so many test images (default: all)" },
  { "split", default = 1.0, min = 0.01, max = 1, help = "train on this part, measure on the rest; 1: on the test set" },
  { "size", type = "integer", min = 8, max = 4096, help = "photographs become squares of this side (default: 224)" },
  { "max_bad", default = 0, min = 0, free = true, help = "so many photographs may turn out bad; they are left out" },
  { "cutout", default = 16, min = 0, help = "side of the square that is cut out of each image; 0: none" },
  -- network
  { "arch", default = "CNAS", help = "a published cell, a genotype's file, or a search's run folder" },
  { "channels", default = 36, min = 1, help = "channels of the first cells" },
  { "layers", default = 20, min = 3, help = "cells" },
  { "imagenet", default = false, help = "the network for large images: three more halvings at its stem" },
  { "auxiliary", default = 0.4, min = 0, help = "weight of the auxiliary head's loss; 0: no such head" },
  { "drop_path", default = 0.2, min = 0, max = 0.99, help = "drop-path at the end; it grows from 0" },
  { "precision", default = "f32", choices = { "f32", "bf16" }, help = "what images within the cells are kept in" },
  cnas.declared.device,
  { "init", type = "string", metavar = "FILE", help = "begin with the weights of a file, a run or a published name" },
  { "new_classifier", default = false, help = "with --init: draw the classifiers anew, for other classes" },
  -- training
  { "epochs", default = 600, min = 1, help = "passes over the training set" },
  { "batch", default = 64, min = 1, help = "images at a time" },
  { "accumulate", default = 2, min = 1, help = "so many batches make one step" },
  { "lr", default = 0.05, min = 0, help = "learning rate" },
  { "schedule", default = "cosine", choices = { "cosine", "linear", "constant" }, help = "how it changes" },
  { "warmup", default = 0, min = 0, help = "epochs in which it first rises" },
  { "momentum", default = 0.9, min = 0, max = 0.9999, help = "of the weights" },
  { "nesterov", default = false, help = "as Nesterov's" },
  { "weight_decay", default = 3e-4, min = 0, help = "of the weights" },
  { "bias_decay", default = true, help = "let weight decay pull at biases too" },
  { "clip", default = 5.0, min = 0, help = "largest gradient norm; 0: any" },
  { "smoothing", default = 0.0, min = 0, max = 0.99, help = "label smoothing: so much goes to the other classes" },
}

local run = cnas.run.open(opt)
local rate = cnas.schedule[opt.schedule](opt.lr, opt.epochs) -- by the epoch, which counts from 0
if opt.warmup > 0 then rate = cnas.schedule.warmup(rate, opt.warmup, opt.epochs) end
local genotype, label = run:arch(opt.arch)
local train, rest, test = cnas.data.load(opt.data, {
  root = opt.root, download = opt.download, split = opt.split, seed = opt.seed,
  train_images = opt.train_images, test_images = opt.test_images, max_bad = opt.max_bad,
})
local valid = opt.split < 1 and rest or test
local size = opt.size or train.height

-- How images are brought into batches, for training and for measuring.
local augment, plain = { crop = 4, flip = true, cutout = opt.cutout }, false
if train:path(1) then -- photographs of any size
  augment, plain = { size = size, cutout = opt.cutout }, { size = size, resize = size * 8 // 7 }
elseif size ~= train.height then
  cnas.args.fail("usage", "--size %d: the images of %s are %dx%d", size, opt.data, train.height, train.width)
end

local shape = { genotype = genotype, channels = opt.channels, layers = opt.layers, classes = train.classes,
                imagenet = opt.imagenet, auxiliary = opt.auxiliary > 0 }
local drops = cnas.rng(opt.seed, "drop-path")
local function network(rng)
  local o = { precision = opt.precision, noise = drops, rng = rng }
  for name, value in pairs(shape) do o[name] = value end
  return cnas.network(o)
end
local cost = run:announce(label, network,
  { batch = opt.batch, accumulate = opt.accumulate, height = size, width = size })
local net = network(cnas.rng(opt.seed, "weights"))
if opt.init then run:init(net, opt.init, { arch = genotype, new_classifier = opt.new_classifier }) end
net:to(run.device)

-- Parameters in groups that the optimizer treats differently.
local function groups()
  local all, others, biases = net:parameters(), { names = {} }, { names = {} }
  for i, name in ipairs(all.names) do
    local group = not opt.bias_decay and name:find "%.bias$" and biases or others
    group[#group + 1], group.names[#group.names + 1] = all[i], name
  end
  return { { params = others }, { params = biases, weight_decay = 0.0 } }
end
local weights = cnas.optim.sgd(groups(),
  { lr = opt.lr, momentum = opt.momentum, nesterov = opt.nesterov, weight_decay = opt.weight_decay })
local best = cnas.metric.best()

run:keep { net = net, weights = weights, drops = drops, best = best }

local function train_weights()
  net:train(true)
  local last = #train % (opt.batch * run.world.size)
  local lonely = last > 0 and last < 2 * run.world.size -- batch norm has no statistics of a process's only image
  local passing = { augment = augment, accumulate = opt.accumulate, drop_last = lonely }
  for x, y, share, complete in run:batches(train, opt.batch, passing) do
    local logits, auxiliary = net(x)
    local loss = cnas.cross_entropy(logits, y, opt.smoothing)
    run:log { loss = loss, accuracy = cnas.accuracy(logits, y), lr = weights.lr }
    if auxiliary then loss = loss + cnas.cross_entropy(auxiliary, y, opt.smoothing) * opt.auxiliary end
    if complete then weights:step(loss * share, { clip = opt.clip, wait = false }) else (loss * share):backward() end
  end
end

local function measure()
  net:train(false)
  for x, y in run:batches(valid, opt.batch, { augment = plain, shuffle = false }) do
    local logits = cnas.no_grad(net, x)
    run:log { valid_loss = cnas.cross_entropy(logits, y), top1 = cnas.accuracy(logits, y),
              top5 = cnas.accuracy(logits, y, math.min(5, train.classes)) }
  end
  return run:means()
end

for epoch in run:epochs("train", opt.epochs) do
  weights.lr = rate(epoch - 1)
  net:drop_path(opt.drop_path * (epoch - 1) / opt.epochs)
  train_weights()
  local found = measure()
  local about = { dataset = opt.data, size = size, mean = train.mean, std = train.std, epoch = epoch,
                  top1 = found.top1, top5 = found.top5 }
  for name, value in pairs(shape) do about[name] = value end
  run:save_model("last", net, about)
  if best(found.top1, { epoch = epoch, top5 = found.top5 }) then run:save_model("best", net, about) end
end

run:say(("best top-1 %.4f, top-5 %.4f, after epoch %d of %d"):format(best.value, best.with.top5, best.with.epoch,
  opt.epochs))
run:finish {
  arch = label, top1 = best.value, top5 = best.with.top5, best_epoch = best.with.epoch,
  parameters = cost.parameters, multiply_adds = cost.conv_macs + cost.linear_macs,
}
