-- parts.lua - what the round consists of, in order.
--
-- A part is { name, about, seconds = its limit, least = seconds below which it is not begun, optional = to have no time
-- left for it is no failure } with run(round, left) -> results, alone on the machine, or with start(round, seconds) ->
-- jobs and finish(round, jobs) -> results, beside others. It fails by an error and leaves by round.skip(why). `round`
-- has tiny, scratch (a folder), program, tests and recipes (folders), peer, python, results of earlier parts by name.

local cnas = require "cnas"
local bench = require "bench"
local jobs = require "jobs"
local ncu = require "ncu"
local timings = require "timings"

local quote = bench.quote
local parts = {}

local function part(p) parts[#parts + 1] = p end

function parts.names()
  local list = {}
  for i, p in ipairs(parts) do list[i] = p.name end
  return list
end

function parts.named(name)
  for _, p in ipairs(parts) do if p.name == name then return p end end
end

local function installed(tool)
  local pipe <close> = assert(io.popen("command -v " .. tool))
  return pipe:read "l" ~= nil
end

-- ---------------------------------------------------------------- the device

part { name = "device", about = "the GPU, its driver, the versions of libraries", seconds = 25,
  run = function(round, left)
    local machine = cnas.json.decode(jobs.wait(jobs.start("info", left(), quote(round.program) .. " info --json")))
    local gpu
    for _, device in ipairs(machine.devices) do if device.name == "cuda" then gpu = device end end
    if gpu.missing then error(gpu.missing, 0) end
    if #gpu.lacks > 0 then error("the module has no kernels for " .. table.concat(gpu.lacks, ", "), 0) end
    local ok, smi = true, nil
    if installed "nvidia-smi" then
      ok, smi = pcall(jobs.wait, jobs.start("nvidia-smi", math.min(10, left()),
        "nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem --format=csv,noheader"))
    end
    return { gpu = gpu.detail, count = gpu.count, processor = machine.processor.name,
             processors = machine.processor.count, cnas = machine.cnas,
             revision = machine.revision or jobs.content(round.program:match "^(.*)/" .. "/REVISION"):match "%S+",
             system = machine.system, smi = ok and smi and smi:gsub("%s+$", "") or nil }
  end }

-- ---------------------------------------------------------------- right?

-- The counts of a spec file's closing line; an error when a test failed or none was made.
local function counts(job)
  local text = jobs.output(job)
  local passed, failed, skipped = text:match "(%d+) passed, (%d+) failed, (%d+) skipped%s*$"
  if not passed then error(job.name .. ": ended before its tests did" .. jobs.tail(text, 3), 0) end
  if passed == "0" then error(job.name .. ": no test was made" .. jobs.tail(text, 3), 0) end
  return { passed = tonumber(passed), failed = tonumber(failed), skipped = tonumber(skipped) }
end

-- In front of programs that run beside each other.
local beside = "CNAS_THREADS=2 "

local function spec(round, file, only)
  return ("%s %s/lua/run.lua %s %s/lua/%s"):format(quote(round.program), quote(round.tests),
         only and "--only " .. quote(only) or "", quote(round.tests), file)
end

part { name = "specs", about = "every operation, whole networks and devices against the CPU", seconds = 170,
  start = function(round, seconds)
    local list = {}
    if round.tiny then
      list[1] = jobs.start("cuda_spec", seconds, beside .. spec(round, "cuda_spec.lua", "on the GPU relu does"))
      list[2] = jobs.start("device_spec", seconds, beside .. spec(round, "device_spec.lua"))
      return list
    end
    for _, file in ipairs(cnas.file.list(round.tests .. "/lua")) do
      if file:find "^cuda_.*spec%.lua$" or file == "device_spec.lua" then
        list[#list + 1] = jobs.start(file:gsub("%.lua$", ""), seconds, beside .. spec(round, file))
      end
    end
    return list
  end,
  finish = function(_, list)
    local results, wrong = {}, {}
    for _, job in ipairs(list) do
      local ok, answer = pcall(counts, job)
      if ok then
        answer.seconds = bench.rounded(job.seconds)
        results[job.name] = answer
      else
        wrong[#wrong + 1] = answer
      end
    end
    if #wrong > 0 then error(table.concat(wrong, "\n"), 0) end
    return results
  end }

local recipe_words = {
  search = { full = "--train-images 960 --channels 8 --layers 4 --nodes 2 --batch 32 --hidden 32 --derive-images 96",
             tiny = "--train-images 12 --channels 2 --layers 3 --nodes 1 --batch 6 --hidden 8 --derive-images 6",
             all = "--data shapes --split 0.5 --grow fix --warmup 1 --epochs 1 --derive-rounds 1 --derive-samples 2 " ..
                   "--cost-channels 2 --cost-layers 3" },
  evaluate = { full = "--train-images 320 --test-images 96 --channels 8 --layers 5 --batch 32",
               tiny = "--train-images 12 --test-images 4 --channels 2 --layers 3 --batch 4 --auxiliary 0",
               all = "--data shapes --epochs 2" },
}

-- The files of a run that must be the same every time, together.
local function essence(folder)
  local names = cnas.file.list(folder .. "/checkpoints")
  local text = { cnas.file.read(folder .. "/checkpoints/" .. names[#names]) }
  for _, name in ipairs { "genotypes/stage-1.json", "weights/last.safetensors" } do
    if cnas.file.exists(folder .. "/" .. name) then text[#text + 1] = cnas.file.read(folder .. "/" .. name) end
  end
  return table.concat(text, "\n")
end

-- A recipe twice with --device cuda, and its two runs compared bit by bit.
local function twice(name, recipe)
  local words = recipe_words[name]
  part { name = name, about = ("a small run of recipes/%s.lua, twice: the same bits"):format(recipe), seconds = 120,
    start = function(round, seconds)
      local list = {}
      for i, run in ipairs { "a", "b" } do
        list[i] = jobs.start(name .. " " .. run, seconds, ("%s%s %s/%s.lua %s %s --device cuda -o %s/%s-%s"):format(
                             beside, quote(round.program), quote(round.recipes), recipe, words.all,
                             words[round.tiny and "tiny" or "full"], round.scratch, name, run))
      end
      return list
    end,
    finish = function(round, list)
      for _, job in ipairs(list) do jobs.output(job) end
      local a, b = essence(round.scratch .. "/" .. name .. "-a"), essence(round.scratch .. "/" .. name .. "-b")
      if a ~= b then error("two runs with the same seed differ", 0) end
      return { bytes_compared = #a, seconds = bench.rounded(list[1].seconds) }
    end }
end
twice("search", "curriculum_search")
twice("evaluate", "evaluate")

-- A tool of compute-sanitizer on the tests of the operations: each row a process of its own, several at once. Memory
-- comes from the driver, block by block, so that the tool knows where each ends.
local function sanitizer(tool, round, seconds)
  if not installed "compute-sanitizer" then round.skip "compute-sanitizer is not installed" end
  local rows = {}
  for _, row in ipairs(cnas.ops()) do if row.kind ~= "view" then rows[#rows + 1] = row.name end end
  if round.tiny then rows = { "relu", "add" } end
  local folder = round.scratch .. "/" .. tool
  cnas.file.mkdir(folder)
  cnas.file.write(folder .. "/rows", table.concat(rows, "\n") .. "\n")
  local one = ("compute-sanitizer --tool %s --error-exitcode 9 %s"):format(tool,
              spec(round, "cuda_spec.lua", "on the GPU ROW does"))
  one = one:gsub("ROW", "'$1'")
  cnas.file.write(folder .. "/one", ("%sCNAS_GPU_CACHE=0 timeout -k 3 %d %s >%s/$1.log 2>&1; echo $1 $? >>%s/ended"
                  ):format(beside, math.max(5, math.floor(seconds * 0.8)), one, folder, folder))
  return { jobs.start(tool, seconds, ("xargs -P %d -I@ sh %s/one @ <%s/rows"):format(
                      math.max(2, (cnas.machine().processor.count or 2) // 2), folder, folder)) }
end

local function sanitized(tool, round)
  local folder, clean, wrong, cut = round.scratch .. "/" .. tool, 0, {}, {}
  for row, status in jobs.content(folder .. "/ended"):gmatch "(%S+) (%d+)\n" do
    local text = jobs.content(("%s/%s.log"):format(folder, row))
    if status == "0" and text:find "[1-9]%d* passed, 0 failed" then
      clean = clean + 1
    elseif status == "124" or status == "137" then
      cut[#cut + 1] = row
    else
      wrong[#wrong + 1] = ("%s (exit status %s)%s"):format(row, status, jobs.tail(text, 3))
    end
  end
  if #wrong > 0 then error(("%d operations: %s"):format(#wrong, table.concat(wrong, "\n")), 0) end
  if clean == 0 then error("no operation was seen to its end", 0) end
  return { clean = clean, of = #jobs.content(folder .. "/rows"):gsub("[^\n]", ""), cut = #cut > 0 and cut or nil }
end

part { name = "memcheck", about = "compute-sanitizer's memcheck on the operations", seconds = 170,
  start = function(round, seconds) return sanitizer("memcheck", round, seconds) end,
  finish = function(round) return sanitized("memcheck", round) end }

-- ---------------------------------------------------------------- how fast?

part { name = "supernet", about = "training step and forward of the default supernet, in turn with PyTorch",
  seconds = 130, least = 20, run = function(round, left) return timings.supernet(round, left) end }

part { name = "network", about = "the same of the evaluation network, C = 36, 20 cells", seconds = 100, least = 20,
  run = function(round, left) return timings.network(round, left) end }

part { name = "controller", about = "a sample and an update of the controller, on the CPU", seconds = 20,
  run = function(round, left)
    return cnas.json.decode(jobs.wait(jobs.start("controller", left(), ("%s %s/bench/controller.lua --json%s"):format(
      quote(round.program), quote(round.tests), round.tiny and " --steps 2 --hidden 8" or ""))))
  end }

part { name = "recipe", about = "an epoch of each kind of the search's recipe at its full size", seconds = 60,
  least = 20, run = function(round, left) return timings.recipe(round, left) end }

part { name = "busy", about = "how much of the time the GPU computes, by nvidia-smi", seconds = 30,
  run = function(round, left)
    if not installed "nvidia-smi" then round.skip "nvidia-smi is not installed" end
    return timings.busy(round, left)
  end }

part { name = "kernels", about = "time and bandwidth of each kernel of a training step, by ncu", seconds = 60,
  least = 20, optional = true,
  run = function(round, left)
    if not installed "ncu" then round.skip "ncu (Nsight Compute) is not installed" end
    return ncu.measure(round, left)
  end }

part { name = "schedule", about = "the published search, projected", seconds = 5,
  run = function(round) return timings.schedule(round) end }

part { name = "racecheck", about = "compute-sanitizer's racecheck on the operations", seconds = 120, least = 20,
  optional = true,
  run = function(round, left)
    local list = sanitizer("racecheck", round, left())
    local ok, message = pcall(jobs.wait, list[1])
    if not ok and list[1].status ~= 124 then error(message, 0) end
    return sanitized("racecheck", round)
  end }

return parts
