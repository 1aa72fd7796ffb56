-- run.lua - everything that is measured about speed, in one run: ours beside PyTorch's and beside what the processor
-- can do at most. Everybody gets the same paths, the same batch and the same threads, and is measured in turn.
--
--   tests/bench/run                                                            ours alone
--   PEER=…/torch_peer.py PEER_PYTHON=python3,…/bin/python tests/bench/run --rounds 3
--   tests/bench/run --only supernet,ops --json
--
-- A round measures everybody once; the tables have medians over the rounds of medians over the steps, in milliseconds,
-- and how many times longer than ours that is. The floor is explained in floor.lua.

local cnas = require "cnas"
local args = require "cnas.args"
local progress_of = require "cnas.progress"
local bench = require "bench"
local contest = require "contest"
local floor = require "floor"

local all = { "supernet", "parts", "network", "memory", "scaling", "batch", "ops", "controller", "loader" }

local opt = cnas.options { about = "Measures speed: ours, PyTorch's, and what the processor can do at most.",
  { "only", default = table.concat(all, ","), metavar = "SECTIONS", help = "what to measure" },
  { "batch", default = 96, min = 1, help = "images in a batch" },
  { "steps", default = 12, min = 1, help = "paths" },
  { "rounds", default = 1, min = 1, help = "how often everybody is measured" },
  { "channels", default = 16, min = 1, help = "channels of the supernet's first cell" },
  { "layers", default = 8, min = 3, help = "cells of the supernet" },
  { "network_steps", default = 2, min = 1, help = "steps of the evaluation network" },
  { "network_channels", default = 36, min = 1, help = "channels of its first cell" },
  { "network_layers", default = 20, min = 3, help = "its cells" },
  { "precision", default = "f32", choices = { "f32", "bf16" }, help = "of ours; PyTorch has autocast to bf16" },
  { "peer", default = os.getenv "PEER" or "", help = "path of torch_peer.py (environment: PEER)" },
  { "peer_python", default = os.getenv "PEER_PYTHON" or "python3",
    help = "Pythons with torch, with commas between them (environment: PEER_PYTHON)" },
  { "peak_seconds", default = 0.3, min = 0, help = "for each number about the processor" },
  { "json", default = false, help = "print one JSON object" },
  { "record", type = "string", metavar = "FILE", help = "write the JSON object there" } }

local program, here = bench.program()
local threads = opt.threads or cnas.threads()
local element = opt.precision == "bf16" and 2 or 4 -- bytes of a number of an image
local result = { precision = opt.precision, batch = opt.batch, threads = threads }

local progress = progress_of.new "auto"
local function say(format, ...)
  if not opt.json then progress:line(format:format(...)) end
end
local function tell(who) progress:moving(function() return "measuring " .. who end) end

-- A script of this folder, with the options that all of them have.
local function ours(script, rest)
  return ("%s %s --json --seed %d %s"):format(bench.quote(program), bench.quote(here .. "/" .. script .. ".lua"),
                                              opt.seed, rest or "")
end

-- What the processor does at most. Measured again before each section that needs it: the best counts.
local peak_program = (program:match "^(.*)/[^/]*$" or ".") .. "/tests/peak"
local function peak()
  local file = io.open(peak_program)
  if file then file:close() else
    local build = bench.quote(program:match "^(.*)/[^/]*$" or ".")
    if not os.execute(("cmake --build %s --target peak >&2"):format(build)) then
      error(("%s is missing and could not be built: build the target 'peak'"):format(peak_program), 0)
    end
  end
  tell "the processor"
  result.peak = floor.better(result.peak, bench.run(bench.quote(peak_program), threads, opt.peak_seconds))
  return result.peak
end

-- How many programs wanted to compute in the last minute.
local function load_average()
  local file <close> = assert(io.open "/proc/loadavg")
  return tonumber(file:read "a":match "^[%d.]+")
end

local function processor()
  local file <close> = assert(io.open "/proc/cpuinfo")
  return file:read "a":match "model name%s*:%s*([^\n]*)" or "processor"
end

local paths_file = os.tmpname()
local _ <close> = setmetatable({}, { __close = function() os.remove(paths_file) end })
local peers, paths
if opt.peer ~= "" then
  peers, paths = contest.peers(opt.peer, opt.peer_python, opt.seed, opt.steps, here)
else
  local space, rng = cnas.space.darts(), cnas.rng(opt.seed, "bench")
  peers, paths = {}, {}
  for i = 1, opt.steps do paths[i] = bench.random_path(space, 4, rng) end
end
bench.write_json(paths_file, paths)

-- Medians of the floors of several works, in milliseconds by kind: total, compute, near, far; by_name: means of a
-- training step's.
local function floors(works)
  local best, report = peak(), {}
  for _, kind in ipairs { "train", "forward" } do
    report[kind] = {}
    for _, field in ipairs { "total", "compute", "near", "far", "macs", "bytes" } do
      local list = {}
      for i, work in ipairs(works) do list[i] = floor.of(best, work)[kind][field] end
      report[kind][field] = bench.median(list)
    end
  end
  report.train_ms, report.forward_ms = report.train.total, report.forward.total
  report.by_name = {}
  for _, work in ipairs(works) do
    for name, sum in pairs(floor.by_name(best, work)) do
      local mean = report.by_name[name] or {}
      report.by_name[name] = mean
      for field, value in pairs(sum) do mean[field] = (mean[field] or 0) + value / #works end
    end
  end
  return report
end

-- Everybody's times of a script and of the peer's work of that name; rest: what only ours is told.
local function compete(what, settings, rest)
  return contest.run { ours = ours(what, ("--precision %s %s"):format(opt.precision, rest or "")), peers = peers,
                       what = what .. (opt.precision == "bf16" and " --amp" or ""), settings = settings,
                       rounds = opt.rounds, tell = tell,
                       unfused = what == "supernet" and opt.precision == "f32" and cnas.nn.blocks ~= nil }
end

local function show_contest(title, list, lowest)
  say("\n%s\n%-38s %10s %8s %10s %8s %10s", title, "", "train", "ratio", "forward", "ratio", "MiB")
  for _, c in ipairs(list) do
    say("%-38s %10.1f %7.2fx %10.1f %7.2fx %10.0f", c.name, c.train_ms, c.train_ratio, c.forward_ms, c.forward_ratio,
        c.resident_peak / 2^20)
  end
  say("%-38s %10.1f %7.2fx %10.1f %7.2fx", "floor", lowest.train_ms, lowest.train_ms / list[1].train_ms,
      lowest.forward_ms, lowest.forward_ms / list[1].forward_ms)
  for _, kind in ipairs { "train", "forward" } do
    local f = lowest[kind]
    say("  %-8s %7.2f times the floor: %.2f GMAC are %.1f ms, %.2f GB in caches %.1f ms%s", kind,
        list[1][kind .. "_ms"] / f.total, f.macs * 1e-9, f.compute, f.bytes * 1e-9, f.near,
        f.far > 0 and (", what is kept %.1f ms"):format(f.far) or "")
  end
end

local sections = {}

function sections.supernet()
  if result.supernet then return end
  local settings = ("--threads %d --batch %d --seed %d --steps %d --channels %d --layers %d"):format(threads, opt.batch,
                   opt.seed, opt.steps, opt.channels, opt.layers)
  local space = cnas.space.darts()
  local net = cnas.supernet { space = space, channels = opt.channels, layers = opt.layers, nodes = 4, classes = 10 }
  local works = {}
  for i, path in ipairs(paths) do
    works[i] = floor.network { batch = opt.batch, size = 32, channels = opt.channels, layers = opt.layers, arch = path,
                               supernet = true, element = element, parameters = net:cost(path).parameters }
  end
  peak()
  local list = compete("supernet", settings, "--paths " .. bench.quote(paths_file))
  result.supernet = { contestants = list, floor = floors(works) }
  show_contest(("Supernet: C = %d, %d cells, %d paths"):format(opt.channels, opt.layers, #paths), list,
               result.supernet.floor)
end

-- Names of the floor's items for parts that have another one.
local floor_names = { ["inputs of cells"] = "preprocess", ["sums of nodes"] = "node", pool = "head" }

-- Where a training step goes: how long each operation takes in it, and what keeps it from taking less.
function sections.parts()
  sections.supernet()
  tell "the parts of a step"
  local r = bench.run(ours("parts", ("--threads %d --batch %d --paths %s --channels %d --layers %d --precision %s")
                      :format(threads, opt.batch, bench.quote(paths_file), opt.channels, opt.layers, opt.precision)))
  local lowest, names = result.supernet.floor.by_name, args.keys(r.parts)
  local function ms(name) return r.parts[name].forward_ms + r.parts[name].backward_ms end
  table.sort(names, function(a, b) return ms(a) > ms(b) end)
  say("\nParts of a training step, means over the paths: %.1f ms", r.train_ms)
  say("%-16s %8s %8s %8s  of which %8s %8s %8s", "", "ms", "floor", "ratio", "compute", "caches", "memory")
  for _, name in ipairs(names) do
    local f = lowest[floor_names[name] or name]
    r.parts[name].floor = f
    if f and f.total > 0 then
      say("%-16s %8.2f %8.2f %7.2fx %9s%8.2f %8.2f %8.2f", name, ms(name), f.total, ms(name) / f.total, "", f.compute,
          f.near, f.far)
    elseif ms(name) >= 0.005 then
      say("%-16s %8.2f", name, ms(name))
    end
  end
  result.parts = r
end

function sections.network()
  if result.network then return end
  local settings = ("--threads %d --batch %d --seed %d --steps %d --channels %d --layers %d"):format(threads, opt.batch,
                   opt.seed, opt.network_steps, opt.network_channels, opt.network_layers)
  local cost = cnas.cost.network { genotype = "CNAS", channels = opt.network_channels, layers = opt.network_layers }
  local work = floor.network { batch = opt.batch, size = 32, channels = opt.network_channels,
                               layers = opt.network_layers, arch = cnas.genotype.named "CNAS",
                               element = element, parameters = cost.parameters }
  local list = compete("network", settings)
  result.network = { contestants = list, floor = floors { work } }
  show_contest(("Evaluation network: C = %d, %d cells, auxiliary head"):format(opt.network_channels,
               opt.network_layers), list, result.network.floor)
end

function sections.memory()
  if not result.supernet and not result.network then sections.supernet() end
  say("\nMemory, MiB\n%-49s %10s %8s %12s %8s", "", "resident", "ratio", "program", "tensors")
  for _, what in ipairs { "supernet", "network" } do
    for i, c in ipairs(result[what] and result[what].contestants or {}) do
      local first = result[what].contestants[1]
      say("%-10s %-38s %10.0f %7.2fx %12.0f %8s", i == 1 and what or "", c.name, c.resident_peak / 2^20,
          c.resident_peak / first.resident_peak, c.resident_program / 2^20,
          c.bytes_peak and ("%.0f"):format(c.bytes_peak / 2^20) or "")
    end
  end
end

-- The supernet's report for each case { threads, batch, programs = 1 }, in each round one of each; medians over the
-- rounds. Several programs run at the same time, and the slowest of them counts.
local function ours_by(cases)
  local times = {}
  local net = ("--precision %s --paths %s --channels %d --layers %d"):format(opt.precision, bench.quote(paths_file),
              opt.channels, opt.layers)
  for round = 1, opt.rounds do
    for i, case in ipairs(cases) do
      local programs = case.programs or 1
      tell(("%d threads, batch %d%s"):format(case.threads, case.batch,
                                             programs > 1 and (", %d programs at once"):format(programs) or ""))
      local command = ours("supernet", ("%s --threads %d --batch %d"):format(net, case.threads, case.batch))
      times[i] = times[i] or { train = {}, forward = {} }
      for _, kind in ipairs { "train", "forward" } do times[i][kind][round] = 0 end
      for _, r in ipairs(bench.run_at_once(programs, command)) do
        for _, kind in ipairs { "train", "forward" } do
          times[i][kind][round] = math.max(times[i][kind][round], r[kind .. "_ms"])
        end
      end
    end
  end
  for i, case in ipairs(cases) do
    case.train_ms, case.forward_ms = bench.median(times[i].train), bench.median(times[i].forward)
  end
  return cases
end

-- How much faster more threads are, and what they could be at most: programs with a part of the batch each, one on
-- each core, wait for nobody and share nothing but the memory and the caches.
function sections.scaling()
  local cases = {}
  for n = 1, threads do
    if n == 1 or n == threads or n & (n - 1) == 0 then cases[#cases + 1] = { threads = n, batch = opt.batch } end
  end
  local part = math.max(1, opt.batch // threads)
  local apart = threads > 1 and { { threads = 1, batch = part }, { threads = 1, batch = part, programs = threads } }
  result.scaling = ours_by(cases)
  say("\nThreads\n%-38s %10s %8s %10s %8s", "", "train", "speedup", "forward", "speedup")
  for _, c in ipairs(result.scaling) do
    say("%-38d %10.1f %7.2fx %10.1f %7.2fx", c.threads, c.train_ms, cases[1].train_ms / c.train_ms, c.forward_ms,
        cases[1].forward_ms / c.forward_ms)
  end
  if not apart then return end
  result.apart = ours_by(apart)
  for _, c in ipairs(result.apart) do
    say("%-38s %10.1f %8s %10.1f", ("%d program%s, batch %d, 1 thread"):format(c.programs or 1,
        c.programs and "s at once" or " alone", c.batch), c.train_ms, "", c.forward_ms)
  end
  local alone, together = result.apart[1], result.apart[2]
  say("  sharing the memory costs %.2fx of a step and %.2fx of a forward pass; %d threads cost %.2fx and %.2fx of that",
      together.train_ms / alone.train_ms, together.forward_ms / alone.forward_ms, threads,
      cases[#cases].train_ms / together.train_ms, cases[#cases].forward_ms / together.forward_ms)
end

function sections.batch()
  local cases = {}
  for i, times in ipairs { 1, 2, 3, 4, 8 } do cases[i] = { threads = threads, batch = opt.batch * times // 3 } end
  if cases[1].batch < 1 then cases[1].batch = 1 end
  result.by_batch = ours_by(cases)
  say("\nBatch: milliseconds for an image\n%-38s %10s %19s", "", "train", "forward")
  for _, c in ipairs(result.by_batch) do
    say("%-38d %10.3f %19.3f", c.batch, c.train_ms / c.batch, c.forward_ms / c.batch)
  end
end

function sections.ops()
  result.operations = {}
  local best = peak()
  for factor = 0, 2 do
    local channels, size = opt.channels << factor, 32 >> factor
    local settings = ("--threads %d --batch %d --channels %d --size %d --steps %d"):format(threads, opt.batch, channels,
                     size, opt.steps)
    local list = contest.operations { ours = ours "ops", peers = peers, settings = settings, tell = tell }
    local rooflines = {}
    result.operations[factor + 1] = { channels = channels, size = size, measured = list, roofline = rooflines }
    say("\nOperations, C = %d, %dx%d: forward + backward", channels, size, size)
    local heads = { ("%-14s %15s"):format("", "roofline") }
    for _, times in ipairs(list.none) do heads[#heads + 1] = ("%17s"):format(times.name) end
    say("%s", table.concat(heads, " "))
    for _, op in ipairs(cnas.space.darts():names()) do
      local f = floor.of(best, floor.operation(op, { batch = opt.batch, channels = channels, size = size }))
      rooflines[op] = { forward_ms = f.forward.total, backward_ms = f.train.total - f.forward.total }
      local words = { ("%-14s %6.2f + %6.2f"):format(op, f.forward.total, f.train.total - f.forward.total) }
      for _, times in ipairs(list[op]) do
        words[#words + 1] = (" %7.2f + %6.2f"):format(times.forward_ms, times.backward_ms)
      end
      say("%s", table.concat(words, " "))
    end
  end
end

function sections.controller()
  local r = bench.run(ours("controller", ("--threads %d"):format(threads)))
  result.controller = r
  say("\nController: a sample %.2f ms, an update %.2f ms, both %.2f ms", r.sample_ms, r.update_ms, r.both_ms)
end

function sections.loader()
  local r = bench.run(ours("loader", ("--threads %d --batch %d --channels %d --layers %d"):format(threads, opt.batch,
                                                                                     opt.channels, opt.layers)))
  result.loader = r
  say("\nLoader: %d images/s with one thread%s; a training step of %.1f ms waits %.3f ms for its batch",
      r.images_per_second.one,
      r.images_per_second.all and (", %d with %d"):format(r.images_per_second.all, threads) or "", r.train_ms,
      r.wait_ms)
end

local chosen = {}
for name in opt.only:gmatch "[^,%s]+" do
  if not sections[name] then
    args.fail("usage", "--only: expected some of %s, got '%s'", table.concat(all, ","), name)
  end
  chosen[name] = true
end
result.processor, result.load_average = processor(), load_average()
say("%s, %d threads, batch %d, %s, %d rounds; medians in milliseconds", result.processor, threads, opt.batch,
    opt.precision, opt.rounds)
if result.load_average > 0.7 then
  say("This machine computed in the last minute (load average %.1f). If others still do, do not trust what follows.",
      result.load_average)
end
for _, name in ipairs(all) do if chosen[name] then sections[name]() end end
if result.peak then
  local p = result.peak
  say("\nThe processor (%s): %.0f GFLOP/s on one thread, %.0f on %d; GB/s by MiB:", p.isa, p.gflops.one, p.gflops.all,
      threads)
  for _, b in ipairs(p.bandwidth) do
    say("%10.0f MiB   read %6.1f   write %6.1f   copy %6.1f", b.bytes / 2^20, b.read, b.write, b.copy)
  end
end
if opt.record then bench.write_json(opt.record, result) end
if opt.json then print(cnas.json.encode(result)) end
