-- network.lua - the same for the evaluation network of the published cell: C = 36, 20 cells, auxiliary head.
--
--   ./cnas tests/bench/network.lua --json --threads 2 --batch 96 --steps 3

local cnas = require "cnas"
local bench = require "bench"

local opt = cnas.options { about = "Times training steps and forward passes of the evaluation network.",
  { "batch", default = 96, min = 1, help = "images in a batch" },
  { "steps", default = 3, min = 1, help = "steps of each kind" },
  { "channels", default = 36, min = 1, help = "channels of the first cell" },
  { "layers", default = 20, min = 3, help = "cells" },
  { "size", default = 32, min = 1, help = "height and width of the images" },
  { "genotype", default = "CNAS", help = "name of a published cell" },
  { "precision", default = "f32", choices = { "f32", "bf16" }, help = "what images within the cells are kept in" },
  { "device", default = "cpu", metavar = "cpu|cuda|cuda:N", help = "where it is computed" },
  { "blocks", default = true, help = "run layers fused; off: each layer by a row of its own" },
  { "json", default = false, help = "print one JSON object" } }

if opt.threads then cnas.threads(opt.threads) end
if not opt.blocks then cnas.nn.blocks(false) end
local program = bench.resident_peak()
local place = bench.place(opt.device)

local rng = cnas.rng(opt.seed, "bench")
local net = cnas.network { genotype = opt.genotype, channels = opt.channels, layers = opt.layers, classes = 10,
                           auxiliary = true, precision = opt.precision ~= "f32" and opt.precision or nil,
                           rng = cnas.rng(opt.seed, "weights") }
net:to(place.name)
local weights = cnas.optim.sgd(net:parameters(), { lr = 0.01, momentum = 0.9, nesterov = true, weight_decay = 3e-4 })
local x, y = bench.batch(opt.batch, opt.size, 10, rng)
x, y = x:to(place.name), y:to(place.name)

local function train()
  local logits, auxiliary = net(x)
  weights:step(cnas.cross_entropy(logits, y) + cnas.cross_entropy(auxiliary, y) * 0.4)
end
local function forward() cnas.no_grad(net, x) end

local steps = {}
for i = 1, opt.steps do steps[i] = i end
bench.timed(train, { 1 }, place.wait)
bench.timed(forward, { 1 }, place.wait)
local report = { what = "network", threads = cnas.threads(), batch = opt.batch, steps = opt.steps,
                 device = place.name, precision = opt.precision, parameters = net:cost().parameters }
bench.put(report, "train", bench.timed(train, steps, place.wait))
bench.put(report, "forward", bench.timed(forward, steps, place.wait))
bench.put_stream(report, "train", train, steps, place)
bench.put_stream(report, "forward", forward, steps, place)
report.bytes_peak = cnas.memory().bytes_peak
report.resident_peak, report.resident_program = bench.resident_peak(), program
bench.show(report, opt.json)
