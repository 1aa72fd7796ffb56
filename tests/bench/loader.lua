-- loader.lua - how fast batches are made, augmented as for CIFAR-10 (crop, flip), and how long training waits for them.
--
--   ./cnas tests/bench/loader.lua --json --threads 2 --batch 96 --steps 20
--
-- images_per_second  of a loader with one thread of its own, and with as many as the kernels have, when all that is
--                    done with a batch is to let it go
-- wait_ms            for the next batch, in each training step of the default supernet, with the loader as a run has it

local cnas = require "cnas"
local bench = require "bench"

local opt = cnas.options { about = "Times the loader, alone and beside training.",
  { "batch", default = 96, min = 1, help = "images in a batch" },
  { "steps", default = 20, min = 2, help = "training steps" },
  { "images", default = 10000, min = 2, help = "images in the dataset, drawn ones of CIFAR-10's size" },
  { "channels", default = 16, min = 1, help = "channels of the first cell" },
  { "layers", default = 8, min = 1, help = "cells" },
  { "json", default = false, help = "print one JSON object" } }

if opt.threads then cnas.threads(opt.threads) end

local data = cnas.datasets.shapes(opt.seed, "train", math.max(opt.images, opt.batch * opt.steps))
local report = { what = "loader", threads = cnas.threads(), batch = opt.batch, images_per_second = {} }

local function loader(pass, threads)
  return cnas.data.loader { dataset = data, batch = opt.batch, seed = opt.seed, stream = "bench", pass = pass,
                            shuffle = true, augment = true, drop_last = true, threads = threads }
end

for _, threads in ipairs { 1, cnas.threads() } do
  local images, start = 0, cnas.clock()
  for pass = 1, 4 do
    for x in loader(pass, threads) do
      images = images + x:size(1)
      x:close()
    end
  end
  report.images_per_second[threads == 1 and "one" or "all"] = math.floor(images / (cnas.clock() - start))
end

local space, rng = cnas.space.darts(), cnas.rng(opt.seed, "bench")
local net = cnas.supernet { space = space, channels = opt.channels, layers = opt.layers, nodes = 4,
                            classes = data.classes, rng = cnas.rng(opt.seed, "weights") }
local weights = cnas.optim.sgd(net:parameters(), { lr = 0.01, momentum = 0.9, nesterov = true, weight_decay = 3e-4 })
local wait, train = {}, {}
local next_batch = loader(0)
for step = 0, opt.steps - 1 do -- the first step finds nothing made ahead and warms up
  local start = cnas.clock()
  local x, y = next_batch()
  local middle = cnas.clock()
  weights:step(cnas.cross_entropy(net(x, bench.random_path(space, 4, rng)), y))
  if step > 0 then wait[step], train[step] = (middle - start) * 1e3, (cnas.clock() - middle) * 1e3 end
end
next_batch:close()
bench.put(report, "wait", wait)
bench.put(report, "train", train)
if opt.json then
  print(cnas.json.encode(report))
else
  print(("%d images/s with a thread, %s with %d; a training step waits %.2f ms (at most %.2f) of %.1f"):format(
        report.images_per_second.one, report.images_per_second.all or "the same", report.threads, report.wait_ms,
        report.wait_range[2], report.train_ms))
end
