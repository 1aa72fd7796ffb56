-- supernet.lua - how long a step of the default supernet takes: one training step (forward, backward, SGD) and one
-- forward-only pass of each path, after a warm-up. Medians in milliseconds.
--
--   ./cnas tests/bench/supernet.lua --json --threads 2 --batch 96 --steps 12 --seed 1
--
-- Paths are drawn from the seed, or read from a file of JSON, [{"normal": [["op", from, to], ...], "reduction": ...}],
-- so that another program can be measured on the same ones (tests/bench/run).

local cnas = require "cnas"

local opt = cnas.options { about = "Times training steps and forward passes of the supernet on random paths.",
  { "batch", default = 96, min = 1, help = "images in a batch" },
  { "steps", default = 12, min = 1, help = "paths" },
  { "channels", default = 16, min = 1, help = "channels of the first cell" },
  { "layers", default = 8, min = 1, help = "cells" },
  { "nodes", default = 4, min = 1, help = "inner nodes of a cell" },
  { "size", default = 32, min = 1, help = "height and width of the images" },
  { "paths", type = "string", metavar = "FILE", help = "JSON of the paths to take instead of random ones" },
  { "json", default = false, help = "print one JSON object" } }

if opt.threads then cnas.threads(opt.threads) end

local space = cnas.space.darts()
local rng = cnas.rng(opt.seed, "bench")

local function random_path()
  local path = {}
  for _, cell in ipairs { "normal", "reduction" } do
    path[cell] = {}
    for t = 2, opt.nodes + 1 do
      for _ = 1, 2 do
        local op = space:names()[rng:integer(#space) + 1]
        table.insert(path[cell], { op, rng:integer(t), t })
      end
    end
  end
  return path
end

local paths = {}
if opt.paths then
  local file <close> = assert(io.open(opt.paths, "rb"))
  paths = cnas.json.decode(file:read "a")
else
  for i = 1, opt.steps do paths[i] = random_path() end
end

local net = cnas.supernet { space = space, channels = opt.channels, layers = opt.layers, nodes = opt.nodes,
                            classes = 10, rng = cnas.rng(opt.seed, "weights") }
local weights = cnas.optim.sgd(net:parameters(), { lr = 0.01, momentum = 0.9, nesterov = true, weight_decay = 3e-4 })
local x = cnas.randn({ opt.batch, opt.size, opt.size, 3 }, { rng = rng })
local classes = {}
for i = 1, opt.batch do classes[i] = rng:integer(10) end
local y = cnas.tensor(classes, { dtype = "i64" })

local function train(path) weights:step(cnas.cross_entropy(net(x, path), y)) end
local function forward(path) cnas.no_grad(net, x, path) end

-- Milliseconds of f on each path.
local function timed(f, list)
  local ms = {}
  for i, path in ipairs(list) do
    collectgarbage()
    local start = cnas.clock()
    f(path)
    ms[i] = (cnas.clock() - start) * 1e3
  end
  return ms
end

local function summary(ms)
  table.sort(ms)
  local middle = (ms[(#ms + 1) // 2] + ms[#ms // 2 + 1]) / 2
  local function rounded(v) return math.floor(v * 1e3 + 0.5) / 1e3 end
  return { median = rounded(middle), min = rounded(ms[1]), max = rounded(ms[#ms]), n = #ms }
end

local warm = { paths[1], paths[#paths] }
timed(train, warm)
timed(forward, warm)
local report = { what = "supernet", threads = cnas.threads(), batch = opt.batch, parameters = net:count(),
                 train_ms = summary(timed(train, paths)), forward_ms = summary(timed(forward, paths)) }
report.bytes_peak = cnas.memory().bytes_peak

if opt.json then
  print(cnas.json.encode(report))
else
  print(("%d paths, batch %d, %d threads, peak %.0f MiB"):format(#paths, opt.batch, report.threads,
                                                                 report.bytes_peak / 2^20))
  for _, what in ipairs { "train", "forward" } do
    local s = report[what .. "_ms"]
    print(("%-8s median %8.1f ms   min %8.1f   max %8.1f"):format(what, s.median, s.min, s.max))
  end
end
