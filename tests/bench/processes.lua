-- processes.lua - scaling over processes: training on one and on several of them, each with one thread and batches of
-- its own, gradients averaged while backward computes; beside one process with as many threads.
--
--   ./cnas tests/bench/processes.lua --processes 2
--
-- images_per_second of all together. In the supernet each process trains a path of its own, as in a search; the network
-- is that of the evaluation. exchange_ms is what a step takes longer than one without exchange on as many processes.

local cnas = require "cnas"
local bench = require "bench"

local opt = cnas.options { about = "Times training on one and on several processes.", folder = false,
  { "processes", default = 2, min = 1, help = "at most so many, each with one thread" },
  { "seed", default = 1, min = 0, help = "of everything that is random" },
  { "steps", default = 8, min = 2, help = "training steps" },
  { "batch", default = 96, min = 1, help = "images that a process has at a time" },
  { "channels", default = 16, min = 1, help = "channels of the supernet's first cell" },
  { "layers", default = 8, min = 3, help = "its cells" },
  { "network_channels", default = 36, min = 1, help = "channels of the network's first cell" },
  { "network_layers", default = 20, min = 3, help = "its cells" },
  { "network_steps", default = 2, min = 0, help = "training steps of the network; 0: it is left out" },
  { "launcher", default = "mpirun -np", help = "what starts processes; their number follows" },
  { "measure", default = false, help = "be one of the processes" },
  { "json", default = false, help = "print one JSON object" } }

local function measure()
  local world = cnas.dist.world()
  local rng = cnas.rng(opt.seed, "bench " .. world.rank)
  local x, y = bench.batch(opt.batch, 32, 10, rng)

  -- Milliseconds of a step, on all processes at once; `shared` says whether gradients are exchanged.
  local function time(net, arguments, steps, shared)
    local weights = cnas.optim.sgd(net:parameters(), { lr = 0.01, momentum = 0.9 })
    if shared then weights:share() end
    local ms = {}
    for i = 0, steps do -- the first one warms up
      world:barrier()
      local start = cnas.clock()
      weights:step(cnas.cross_entropy(net(x, arguments(i)), y))
      world:barrier()
      if i > 0 then ms[i] = (cnas.clock() - start) * 1e3 end
      collectgarbage()
    end
    return bench.median(ms)
  end

  local function report(net, arguments, steps)
    local with, without = time(net, arguments, steps, true), time(net, arguments, steps, false)
    return { step_ms = bench.rounded(with), exchange_ms = bench.rounded(with - without),
             images_per_second = math.floor(opt.batch * world.size / with * 1e3 + 0.5) }
  end

  local space, paths = cnas.space.darts(), {}
  for i = 0, opt.steps do paths[i] = bench.random_path(space, 4, rng) end
  local result = { processes = world.size, threads = cnas.threads() }
  result.supernet = report(cnas.supernet { space = space, channels = opt.channels, layers = opt.layers, nodes = 4,
    classes = 10, rng = cnas.rng(opt.seed, "weights") }, function(i) return paths[i] end, opt.steps)
  if opt.network_steps > 0 then
    result.network = report(cnas.network { genotype = cnas.genotype.named "CNAS", channels = opt.network_channels,
      layers = opt.network_layers, classes = 10, rng = cnas.rng(opt.seed, "weights") }, function() end,
      opt.network_steps)
  end
  if world.rank == 0 then print(cnas.json.encode(result)) end
end

if opt.measure then
  measure()
  return
end

local program = bench.program()
local words = { bench.quote(arg[0]), "--measure" }
for _, name in ipairs { "seed", "steps", "batch", "channels", "layers", "network_channels", "network_layers",
                        "network_steps" } do
  words[#words + 1] = ("--%s %d"):format(name, opt[name])
end
local options = table.concat(words, " ")
local rows = {}
local function add(processes, threads)
  local launcher = processes > 1 and opt.launcher .. " " .. processes or ""
  rows[#rows + 1] = bench.run(("CNAS_THREADS=%d"):format(threads), launcher, bench.quote(program), options)
end
add(1, 1)
if opt.processes > 1 then
  add(opt.processes, 1)
  add(1, opt.processes)
end

if opt.json then
  print(cnas.json.encode { what = "processes", batch = opt.batch, rows = rows })
  return
end
print "| processes × threads | supernet | network |\n|---|---|---|"
for _, row in ipairs(rows) do
  local cells = {}
  for _, name in ipairs { "supernet", "network" } do
    local found = row[name]
    cells[#cells + 1] = found and ("%d images/s, %.2f×%s"):format(found.images_per_second,
      found.images_per_second / rows[1][name].images_per_second,
      row.processes > 1 and (", exchange %.1f of %.0f ms"):format(found.exchange_ms, found.step_ms) or "") or ""
  end
  print(("| %d × %d | %s |"):format(row.processes, row.threads, table.concat(cells, " | ")))
end
