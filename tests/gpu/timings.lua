-- timings.lua - the parts of the round that measure: ours and PyTorch in turn, the recipe, the schedule.

local cnas = require "cnas"
local bench = require "bench"
local jobs = require "jobs"

local quote = bench.quote
local timings = {}

-- What the peer is asked for: precisions with what it needs to compute in them, layouts of images.
local precisions = {
  { name = "f32", front = "NVIDIA_TF32_OVERRIDE=0 ", words = "" },
  { name = "tf32", front = "", words = "" }, -- PyTorch's default: convolutions of cuDNN
  { name = "bf16", front = "", words = " --amp" },
}
local layouts = { "nhwc", "nchw" }

-- Runs a contestant once more; keeps its times.
local function measure(contestant, seconds)
  local report = cnas.json.decode(jobs.wait(jobs.start(contestant.name, seconds, contestant.command)))
  local function median(name) return type(report[name]) == "table" and report[name].median or report[name] end
  for _, name in ipairs { "train", "forward" } do
    contestant[name .. "_rounds"] = contestant[name .. "_rounds"] or {}
    table.insert(contestant[name .. "_rounds"], median(name .. "_ms"))
    contestant[name .. "_ms"] = bench.median(contestant[name .. "_rounds"])
  end
  for _, name in ipairs { "train_stream_ms", "forward_stream_ms", "train_launches", "forward_launches",
                          "launches_ahead", "bytes_peak", "parameters", "torch" } do
    contestant[name] = report[name]
  end
end

-- The fastest of the peer in a precision.
local function best(list, precision)
  local found
  for _, c in ipairs(list) do
    local better = c.peer and c.precision == precision and c.train_ms and
                   (not found or c.train_ms < found.train_ms)
    if better then found = c end
  end
  return found
end

-- Everybody once, then ours and the faster layouts of the peer again while there is time. A contestant of the peer that
-- cannot be measured keeps its error; one of ours is the part's.
local function contest(list, left)
  local longest = 0
  local function turn(c)
    local started = cnas.clock()
    local ok, message = pcall(measure, c, left())
    longest = math.max(longest, cnas.clock() - started)
    if not ok and not c.peer then error(message, 0) end
    if not ok then c.failed = message end
  end
  for _, c in ipairs(list) do
    if not c.peer or left() > longest + 2 then turn(c) else c.failed = "no time was left" end
  end
  for _ = 1, 2 do
    for _, c in ipairs(list) do
      local worth = not c.peer or c == best(list, c.precision)
      if worth and not c.failed and left() > 2 * longest + 2 then turn(c) end
    end
  end
  local parameters = list[1].parameters
  local results = { contestants = list, against = {} }
  for _, c in ipairs(list) do
    if c.parameters and parameters and c.parameters ~= parameters then
      error(("%s has a network of %d parameters, ours has %d: not the same work"):format(c.name, c.parameters,
            parameters), 0)
    end
    c.command = nil
  end
  for _, c in ipairs(list) do
    for _, precision in ipairs(c.peer and {} or { c.precision, c.precision == "f32" and "tf32" or nil }) do
      local other = best(list, precision)
      if other then
        table.insert(results.against, { ours = c.name, peer = other.name, train = other.train_ms / c.train_ms,
                                        forward = other.forward_ms / c.forward_ms, precision = precision,
                                        equal = precision == c.precision })
      end
    end
  end
  return results
end

local function ours(round, what, settings)
  local list = {}
  for _, precision in ipairs { "f32", "bf16" } do
    list[#list + 1] = { name = "cnas " .. precision, precision = precision,
                        command = ("%s %s/bench/%s.lua --json --device cuda --precision %s %s"):format(
                          quote(round.program), quote(round.tests), what, precision, settings) }
  end
  return list
end

local function peers(round, what, settings)
  local list = {}
  if not round.peer then return list end
  for _, precision in ipairs(precisions) do
    for _, layout in ipairs(layouts) do
      list[#list + 1] = { name = ("PyTorch %s %s"):format(precision.name, layout), precision = precision.name,
                          peer = true, command = ("%s%s %s/bench/peer.py %s %s --device %s --layout %s%s %s"):format(
                            precision.front, quote(round.python), quote(round.tests), quote(round.peer), what,
                            round.tiny and "cpu" or "cuda", layout, precision.words, settings) }
    end
  end
  return list
end

local function everybody(round, what, settings, more)
  local list = ours(round, what, settings .. (more or ""))
  table.move(peers(round, what, settings), 1, 6, #list + 1, list)
  return list
end

-- What the supernet is measured with. PyTorch chooses its convolutions when it first sees a shape: in so many steps
-- that is the exception, and medians do not see it.
local function supernet_settings(round)
  return round.tiny and "--batch 2 --steps 1 --channels 4 --layers 3 --seed 1"
         or "--batch 96 --steps 60 --channels 16 --layers 8 --seed 1"
end

function timings.supernet(round, left)
  local paths
  if round.peer then -- both on the paths that the peer draws
    local command = ("%s %s/bench/peer.py %s paths --seed 1 --steps %d"):format(quote(round.python),
                    quote(round.tests), quote(round.peer), round.tiny and 1 or 60)
    local drawn = cnas.json.decode(jobs.wait(jobs.start("paths", left(), command)))
    paths = round.scratch .. "/paths.json"
    bench.write_json(paths, drawn.paths)
  end
  local more = (paths and " --paths " .. quote(paths) or "") .. (round.tiny and " --size 8" or "")
  return contest(everybody(round, "supernet", supernet_settings(round), more), left)
end

function timings.network(round, left)
  local settings = round.tiny and "--batch 2 --steps 1 --channels 2 --layers 3"
                   or "--batch 96 --steps 20 --channels 36 --layers 20"
  return contest(everybody(round, "network", settings), left)
end

--- A command of one training step of the supernet in f32, from the seed alone.
function timings.step(round, steps)
  return ("%s %s/bench/supernet.lua --json --device cuda %s%s"):format(quote(round.program), quote(round.tests),
         supernet_settings(round):gsub("%-%-steps %d+", "--steps " .. steps), round.tiny and " --size 8" or "")
end

--- The recipe itself with its own loader, at full size: milliseconds of a batch by phase.
function timings.recipe(round, left)
  local folder = round.scratch .. "/recipe"
  local words = round.tiny and "--train-images 12 --channels 2 --layers 3 --nodes 1 --batch 6 --hidden 8" or
                "--train-images 19200 --channels 16 --layers 8 --batch 96"
  jobs.wait(jobs.start("recipe", left(), ([[%s %s/curriculum_search.lua --data shapes --split 0.5 --grow fix --warmup 1
    --epochs 1 --derive-rounds 1 --derive-samples 1 --derive-images 6 --cost-channels 2 --cost-layers 3
    --device cuda -o %s %s]]):gsub("%s*\n%s*", " "):format(quote(round.program), quote(round.recipes), quote(folder),
    words)))
  local results = {}
  for line in cnas.file.read(folder .. "/metrics.jsonl"):gmatch "[^\n]+" do
    local epoch = cnas.json.decode(line)
    if epoch.phase and epoch.time then
      results[#results + 1] = { phase = epoch.phase, seconds = epoch.time.seconds,
                                images_per_second = epoch.time.images_per_second,
                                loader_seconds = epoch.time.loader_seconds }
    end
  end
  if #results == 0 then error("metrics.jsonl has no epochs", 0) end
  return results
end

--- Utilization that nvidia-smi saw while training steps ran: the share of time in which some kernel did.
function timings.busy(round, left)
  local log = round.scratch .. "/busy"
  local steps = round.tiny and 1 or 600
  jobs.wait(jobs.start("busy", left(), ([[
    nvidia-smi --query-gpu=utilization.gpu,clocks.sm,memory.used --format=csv,noheader,nounits -lms 100 >%s & smi=$!
    %s >/dev/null; status=$?; kill $smi; exit $status]]):format(quote(log), timings.step(round, steps))))
  local seen = { utilization = {}, clock = {}, memory = {} }
  for utilization, clock, memory in cnas.file.read(log):gmatch "(%d+), (%d+), (%d+)" do
    if tonumber(utilization) > 0 then
      table.insert(seen.utilization, tonumber(utilization))
      table.insert(seen.clock, tonumber(clock))
      table.insert(seen.memory, tonumber(memory))
    end
  end
  if #seen.utilization == 0 then error("nvidia-smi saw no work", 0) end
  return { samples = #seen.utilization, percent = bench.median(seen.utilization), mhz = bench.median(seen.clock),
           mib = bench.median(seen.memory) }
end

-- The published search in batches of 96: eight stages of 60 epochs of weights on 20,000 images, in 40 of them paths are
-- sampled and the controller learns on 30,000; 30 architectures are derived on 10,000.
local published = { weights = 8 * 60 * 209, sampled = 8 * 40 * 209, controller = 8 * 40 * 313, derive = 8 * 30 * 105 }
timings.published = published

--- Seconds of the published schedule, from what the supernet and the controller took, when the controller's work on the
--- CPU and the GPU's take turns.
function timings.schedule(round)
  local supernet, controller = round.results.supernet, round.results.controller
  if not supernet or not controller then round.skip "needs the parts supernet and controller" end
  local results = {}
  for _, c in ipairs(supernet.contestants) do
    if not c.peer and c.train_ms then
      local train, forward = c.train_stream_ms or c.train_ms, c.forward_stream_ms or c.forward_ms
      local weights = (published.weights * train + published.sampled * controller.sample_ms) * 1e-3
      local derive = published.derive * forward * 1e-3
      local policy = published.controller * (forward + controller.both_ms) * 1e-3
      results[#results + 1] = { name = c.name, precision = c.precision, weights_seconds = bench.rounded(weights),
                                controller_seconds = bench.rounded(policy), derive_seconds = bench.rounded(derive),
                                minutes = bench.rounded((weights + policy + derive) / 60) }
    end
  end
  return results
end

return timings
