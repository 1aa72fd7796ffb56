-- parts.lua - where a training step of the default supernet goes: milliseconds of each operation, forward and
-- backward, means over the paths. Sums of nodes do the batch normalisation of their edges; inputs of cells are the 1x1
-- convolutions in front. Every row is timed by itself, so that the parts add up to what a step takes.
--
--   ./cnas tests/bench/parts.lua --json --threads 2 --batch 96 --steps 12 --seed 1

local cnas = require "cnas"
local bench = require "bench"

local opt = cnas.options { about = "Times the parts of the supernet's training steps on random paths.",
  { "batch", default = 96, min = 1, help = "images in a batch" },
  { "steps", default = 12, min = 1, help = "paths" },
  { "runs", default = 3, min = 1, help = "how often each path is measured" },
  { "channels", default = 16, min = 1, help = "channels of the first cell" },
  { "layers", default = 8, min = 1, help = "cells" },
  { "nodes", default = 4, min = 1, help = "inner nodes of a cell" },
  { "paths", type = "string", metavar = "FILE", help = "JSON of the paths to take instead of random ones" },
  { "precision", default = "f32", choices = { "f32", "bf16" }, help = "what images within the cells are kept in" },
  { "json", default = false, help = "print one JSON object" } }

if opt.threads then cnas.threads(opt.threads) end
local space, rng = cnas.space.darts(), cnas.rng(opt.seed, "bench")
local paths = opt.paths and bench.read_json(opt.paths)
if not paths then
  paths = {}
  for i = 1, opt.steps do paths[i] = bench.random_path(space, opt.nodes, rng) end
end
local net = cnas.supernet { space = space, channels = opt.channels, layers = opt.layers, nodes = opt.nodes,
                            classes = 10, precision = opt.precision ~= "f32" and opt.precision or nil,
                            rng = cnas.rng(opt.seed, "weights") }

local report = { what = "parts", threads = cnas.threads(), batch = opt.batch, steps = #paths, train_ms = 0, parts = {} }
for _, path in ipairs(paths) do
  local profile = cnas.profile(net, { arch = path, space = space, layers = opt.layers, batch = opt.batch,
                                      runs = opt.runs, warmup = 1 })
  for _, sum in ipairs(profile.operations) do
    local part = report.parts[sum.name] or { forward_ms = 0, backward_ms = 0 }
    part.forward_ms = part.forward_ms + sum.train_forward_ms / #paths
    part.backward_ms = part.backward_ms + sum.train_backward_ms / #paths
    report.parts[sum.name] = part
  end
  report.train_ms = report.train_ms + profile.train.rows_ms / #paths
end

if opt.json then
  print(cnas.json.encode(report))
else
  for name, part in pairs(report.parts) do
    print(("%-16s forward %8.2f   backward %8.2f"):format(name, part.forward_ms, part.backward_ms))
  end
end
