-- ops.lua - each operation of the DARTS space alone, as the supernet has it: forward with a graph, backward with all
-- gradients. Medians in milliseconds.
-- What comes out of an operation that stands alone is normalised; in a cell the sum of the node does that on the way.
--
--   ./cnas tests/bench/ops.lua --json --threads 2 --batch 96 --channels 16 --size 32

local cnas = require "cnas"
local bench = require "bench"

local opt = cnas.options { about = "Times every operation of the DARTS space alone.",
  { "batch", default = 96, min = 1, help = "images in a batch" },
  { "steps", default = 12, min = 1, help = "how often each is measured" },
  { "channels", default = 16, min = 1, help = "channels in and out" },
  { "size", default = 32, min = 1, help = "height and width" },
  { "device", default = "cpu", metavar = "cpu|cuda|cuda:N", help = "where it is computed" },
  { "json", default = false, help = "print one JSON object" } }

if opt.threads then cnas.threads(opt.threads) end

local place = bench.place(opt.device)
local space = cnas.space.darts()
local rng = cnas.rng(opt.seed, "bench")
local shape = { opt.batch, opt.size, opt.size, opt.channels }
local g = cnas.randn(shape, { rng = rng }):to(place.name)
local report = { what = "ops", threads = cnas.threads(), device = place.name, batch = opt.batch,
                 channels = opt.channels, size = opt.size }

for _, name in ipairs(space:names()) do
  local op = space:build(name, { channels = opt.channels, affine = false, track = false, supernet = true, rng = rng })
  op:to(place.name)
  local x = cnas.randn(shape, { rng = rng }):to(place.name):requires_grad_(true)
  local forward, backward = {}, {}
  for step = -1, opt.steps do -- the first two warm up
    local start = cnas.clock()
    local y = op(x)
    place.wait()
    local middle = cnas.clock()
    if y.requires_grad and y ~= x then y:backward(g) end
    place.wait()
    local stop = cnas.clock()
    if step > 0 then forward[step], backward[step] = (middle - start) * 1e3, (stop - middle) * 1e3 end
    x:set_grad(nil)
    collectgarbage()
  end
  report[name] = {}
  bench.put(report[name], "forward", forward)
  bench.put(report[name], "backward", backward)
end

if opt.json then
  print(cnas.json.encode(report))
else
  print(("C = %d, %dx%d, batch %d, %d threads; medians in ms"):format(opt.channels, opt.size, opt.size, opt.batch,
                                                                     report.threads))
  for _, name in ipairs(space:names()) do
    print(("%-14s forward %8.2f   backward %8.2f"):format(name, report[name].forward_ms, report[name].backward_ms))
  end
end
