-- controller.lua - how long the controller takes beside the networks: an architecture drawn from it, and the update
-- from its reward, as in the recipe of the curriculum search. Medians in milliseconds.
--
--   ./cnas tests/bench/controller.lua --json

local cnas = require "cnas"
local bench = require "bench"

local opt = cnas.options { about = "Times a sample and an update of the controller.",
  { "steps", default = 60, min = 1, help = "how often" },
  { "nodes", default = 4, min = 1, help = "inner nodes of a cell" },
  { "hidden", default = 128, min = 1, help = "hidden units of the controller" },
  { "json", default = false, help = "print one JSON object" } }

if opt.threads then cnas.threads(opt.threads) end

local controller = cnas.controller { space = cnas.space.darts(), nodes = opt.nodes, hidden = opt.hidden,
                                     seed = opt.seed }
local policy = cnas.optim.adam(controller:parameters(), { lr = 3e-4, weight_decay = 5e-4 })
local rng = cnas.rng(opt.seed, "reward")

local sample, update, both = {}, {}, {}
for step = -4, opt.steps do -- the first five warm up
  collectgarbage()
  local start = cnas.clock()
  local _, logp, entropy = controller:sample()
  local middle = cnas.clock()
  policy:step(-(logp * (rng:uniform() - 0.5)) - entropy * 0.005, { clip = 5 })
  local stop = cnas.clock()
  if step > 0 then
    sample[step], update[step], both[step] = (middle - start) * 1e3, (stop - middle) * 1e3, (stop - start) * 1e3
  end
end

local report = { what = "controller", threads = cnas.threads(), steps = opt.steps, nodes = opt.nodes,
                 hidden = opt.hidden }
bench.put(report, "sample", sample)
bench.put(report, "update", update)
bench.put(report, "both", both)
if opt.json then
  print(cnas.json.encode(report))
else
  print(("sample %.2f ms, update %.2f ms, together %.2f ms"):format(report.sample_ms, report.update_ms,
                                                                   report.both_ms))
end
