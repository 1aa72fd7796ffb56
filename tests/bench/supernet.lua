-- supernet.lua - how long a step of the default supernet takes: one training step (forward, backward, SGD) and one
-- forward-only pass of each path, after a warm-up. train_ms and forward_ms are medians in milliseconds.
--
--   ./cnas tests/bench/supernet.lua --json --threads 2 --batch 96 --steps 12 --seed 1
--
-- Paths are drawn from the seed, or read from a file of JSON, [{"normal": [["op", from, to], ...], "reduction": ...}],
-- so that another program can be measured on the same ones (tests/bench/run). On a GPU, launches_ahead are the kernels
-- that ran before what is measured.

local cnas = require "cnas"
local bench = require "bench"

local opt = cnas.options { about = "Times training steps and forward passes of the supernet on random paths.",
  { "batch", default = 96, min = 1, help = "images in a batch" },
  { "steps", default = 12, min = 1, help = "paths" },
  { "channels", default = 16, min = 1, help = "channels of the first cell" },
  { "layers", default = 8, min = 1, help = "cells" },
  { "nodes", default = 4, min = 1, help = "inner nodes of a cell" },
  { "size", default = 32, min = 1, help = "height and width of the images" },
  { "paths", type = "string", metavar = "FILE", help = "JSON of the paths to take instead of random ones" },
  { "precision", default = "f32", choices = { "f32", "bf16" }, help = "what images within the cells are kept in" },
  { "device", default = "cpu", metavar = "cpu|cuda|cuda:N", help = "where it is computed" },
  { "blocks", default = true, help = "run layers fused; off: each layer by a row of its own" },
  { "json", default = false, help = "print one JSON object" } }

if opt.threads then cnas.threads(opt.threads) end
if not opt.blocks then cnas.nn.blocks(false) end
local program = bench.resident_peak()
local place = bench.place(opt.device)

local space = cnas.space.darts()
local rng = cnas.rng(opt.seed, "bench")
local paths = opt.paths and bench.read_json(opt.paths)
if not paths then
  paths = {}
  for i = 1, opt.steps do paths[i] = bench.random_path(space, opt.nodes, rng) end
end

local net = cnas.supernet { space = space, channels = opt.channels, layers = opt.layers, nodes = opt.nodes,
                            classes = 10, precision = opt.precision ~= "f32" and opt.precision or nil,
                            rng = cnas.rng(opt.seed, "weights") }
net:to(place.name)
local weights = cnas.optim.sgd(net:parameters(), { lr = 0.01, momentum = 0.9, nesterov = true, weight_decay = 3e-4 })
local x, y = bench.batch(opt.batch, opt.size, 10, rng)
x, y = x:to(place.name), y:to(place.name)

local function train(path) weights:step(cnas.cross_entropy(net(x, path), y)) end
local function forward(path) cnas.no_grad(net, x, path) end

local warm = { paths[1], paths[#paths] }
bench.timed(train, warm, place.wait)
bench.timed(forward, warm, place.wait)
local report = { what = "supernet", threads = cnas.threads(), batch = opt.batch, steps = #paths,
                 device = place.name, precision = opt.precision, parameters = net:count(),
                 launches_ahead = place.launches() }
bench.put(report, "train", bench.timed(train, paths, place.wait))
bench.put(report, "forward", bench.timed(forward, paths, place.wait))
bench.put_stream(report, "train", train, paths, place)
bench.put_stream(report, "forward", forward, paths, place)
report.bytes_peak = cnas.memory().bytes_peak
report.resident_peak, report.resident_program = bench.resident_peak(), program
bench.show(report, opt.json)
