-- training.lua - learning curves beside PyTorch's: the same small network, schedule and images, several seeds each.
--
--   PEER=…/torch_peer.py PEER_PYTHON=…/bin/python ./cnas tests/bench/training.lua --root ~/data --keep DIR
--
-- Ours is recipes/evaluate.lua, the peer's training_peer.py; each seed is a process of its own. Initial weights, order,
-- augmentation and drop-path are drawn by each in its own way, so curves can only agree as two samples of the same
-- distribution do. They are said to agree when neither the last epoch nor the mean over all epochs differs by more than
-- chance allows: Welch's t below the quantile that equal means exceed once in a hundred times. What is in DIR already
-- is not computed again.

local cnas = require "cnas"
local bench = require "bench"

local opt = cnas.options { folder = false,
  about = "Learning curves of the CNAS cell's network on CIFAR-10, ours and PyTorch's.",
  { "peer", default = os.getenv "PEER" or "", help = "torch_peer.py; empty: ours alone (or set PEER)" },
  { "python", default = (os.getenv "PEER_PYTHON" or "python3"):match "[^,]*$", help = "a Python with torch" },
  { "root", default = os.getenv "CNAS_DATA" or "data", help = "folder that holds cifar-10-batches-bin" },
  { "keep", type = "string", metavar = "DIR", help = "folder for the curves (default: a temporary one)" },
  { "seeds", default = 3, min = 1, help = "runs of each" },
  { "channels", default = 8, min = 1, help = "channels of the first cell" },
  { "layers", default = 5, min = 3, help = "cells" },
  { "epochs", default = 8, min = 1, help = "passes over the training images" },
  { "batch", default = 96, min = 1, help = "images in a batch" },
  { "images", default = 2880, min = 10, max = 50000, help = "training images" },
  { "test_images", default = 2000, min = 10, max = 10000, help = "test images" },
  { "lr", default = 0.05, min = 0, help = "learning rate; cosine to 0" },
  { "cutout", default = 16, min = 0, help = "side of the square that is cut out" },
  { "drop_path", default = 0.2, min = 0, max = 0.99, help = "drop-path at the end" },
  { "auxiliary", default = 0.4, min = 0, help = "weight of the auxiliary head's loss" },
  { "json", default = false, help = "print one JSON object" } }

local program, here = bench.program()
local folder = opt.keep or cnas.file.temporary()
cnas.file.mkdir(folder)

-- "--channels 8 …" of the options that both take by the same name (but for dashes).
local function words(dash, names)
  local list = {}
  for _, name in ipairs(names) do list[#list + 1] = ("--%s %s"):format(name:gsub("_", dash), opt[name]) end
  return table.concat(list, " ")
end

local function tell(text) io.stderr:write(text, "\n") end

local function run(command)
  if not os.execute(command) then error("failed: " .. command, 0) end
end

local function lines(path)
  local list = {}
  if cnas.file.exists(path) then
    for line in cnas.file.read(path):gmatch "[^\n]+" do list[#list + 1] = cnas.json.decode(line) end
  end
  return list
end

local common = { "channels", "layers", "epochs", "batch", "lr", "cutout", "drop_path", "auxiliary",
                 "test_images" }

-- One run as a list by epoch: { loss =, accuracy =, test = }.
local function ours(seed)
  local at = ("%s/ours-%d"):format(folder, seed)
  if #lines(at .. "/metrics.jsonl") < opt.epochs then
    run(("%s %s/../../recipes/evaluate.lua -o %s%s --data cifar10 --root %s --train-images %d --accumulate 1 "
         .. "--nesterov --seed %d %s%s >&2"):format(bench.quote(program), bench.quote(here), bench.quote(at),
         cnas.file.exists(at .. "/config.json") and " --resume" or "", bench.quote(opt.root), opt.images, seed,
         words("-", common), opt.threads and " --threads " .. opt.threads or ""))
  end
  local curve = {}
  for i, line in ipairs(lines(at .. "/metrics.jsonl")) do
    curve[i] = { loss = line.loss, accuracy = line.accuracy, test = line.top1 }
  end
  return curve
end

local function peers(seed)
  local path = ("%s/peer-%d.jsonl"):format(folder, seed)
  if #lines(path) < opt.epochs + 1 then
    run(("%s %s/training_peer.py %s %s/cifar-10-batches-bin --out %s --images %d --seed %d --threads %d %s >&2"):format(
      bench.quote(opt.python), bench.quote(here), bench.quote(opt.peer), bench.quote(opt.root), bench.quote(path),
      opt.images, seed, opt.threads or cnas.threads(), words("_", common)))
  end
  local curve = {}
  for i, line in ipairs(lines(path)) do
    if i > 1 then curve[i - 1] = { loss = line.loss, accuracy = line.accuracy, test = line.test_accuracy } end
  end
  return curve
end

-- Welch's t of two samples, and what |t| exceeds once in a hundred times when the means are equal: Student's quantile
-- for the whole degrees of freedom that the deviations leave.
local quantiles = { 63.66, 9.92, 5.84, 4.60, 4.03, 3.71, 3.50, 3.36, 3.25, 3.17 }
local function welch(a, b)
  local mean_a, deviation_a = cnas.metric.spread(a)
  local mean_b, deviation_b = cnas.metric.spread(b)
  local va, vb = deviation_a ^ 2 / #a, deviation_b ^ 2 / #b
  local freedom = (va + vb) ^ 2 / (va ^ 2 / (#a - 1) + vb ^ 2 / (#b - 1))
  return (mean_a - mean_b) / math.sqrt(va + vb), quantiles[math.max(1, math.min(#quantiles, freedom // 1 | 0))]
end

-- Of each run, what `of(curve)` says.
local function sample(curves, of)
  local list = {}
  for i, curve in ipairs(curves) do list[i] = of(curve) end
  return list
end

local names = { "loss", "accuracy", "test" }
local report = { options = {}, cnas = {}, peer = {}, agree = nil, tests = {} }
for _, name in ipairs(common) do report.options[name] = opt[name] end
report.options.images, report.options.seeds = opt.images, opt.seeds
for seed = 1, opt.seeds do
  tell(("cnas, seed %d"):format(seed))
  report.cnas[seed] = ours(seed)
  if opt.peer ~= "" then
    tell(("PyTorch, seed %d"):format(seed))
    report.peer[seed] = peers(seed)
  end
end

if #report.peer > 1 then
  report.agree = true
  for _, name in ipairs(names) do
    for which, of in pairs {
      ["last epoch"] = function(curve) return curve[opt.epochs][name] end,
      ["mean of all epochs"] = function(curve)
        local sum = 0.0
        for _, epoch in ipairs(curve) do sum = sum + epoch[name] / #curve end
        return sum
      end,
    } do
      local t, limit = welch(sample(report.cnas, of), sample(report.peer, of))
      report.tests[#report.tests + 1] = { what = name .. ", " .. which, t = t, limit = limit }
      if math.abs(t) > limit then report.agree = false end
    end
  end
  table.sort(report.tests, function(a, b) return a.what < b.what end)
end
if not opt.keep then cnas.file.remove_tree(folder) end

if opt.json then
  print(cnas.json.encode(report))
  return
end
local function cell(curves, epoch, name)
  if #curves == 0 then return "" end
  local mean, deviation = cnas.metric.spread(sample(curves, function(curve) return curve[epoch][name] end))
  return ("%.3f ± %.3f"):format(mean, deviation)
end
print(("| epoch | loss: cnas | PyTorch | accuracy: cnas | PyTorch | test: cnas | PyTorch |\n|%s"):format(
  ("---|"):rep(7)))
for epoch = 1, opt.epochs do
  local row = { tostring(epoch) }
  for _, name in ipairs(names) do
    row[#row + 1] = cell(report.cnas, epoch, name)
    row[#row + 1] = cell(report.peer, epoch, name)
  end
  print("| " .. table.concat(row, " | ") .. " |")
end
for _, test in ipairs(report.tests) do
  print(("%-32s t = %6.2f, within ±%.2f: %s"):format(test.what, test.t, test.limit,
    math.abs(test.t) <= test.limit and "yes" or "NO"))
end
if report.agree ~= nil then
  print(report.agree and "the curves agree" or "the curves DIFFER by more than chance allows")
end
