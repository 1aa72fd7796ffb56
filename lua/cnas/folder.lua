-- folder.lua - what a run has left in its folder, or has so far, for whoever reads runs: the report, comparisons.
--
--   local run = cnas.folder.read("runs/curriculum_search")
--   run.epochs[1].values.loss, run.stages[#run.stages].validation_accuracy, run.state
--   for _, one in ipairs(cnas.folder.find("runs/ten_seeds")) do … end
--
-- The folder may be of another program, of a run that is still going or was killed in the middle of a line, or hostile.
-- So nothing in it is trusted: everything is read with a limit to its size, has the type it is said to have here or is
-- not there, and what could not be used is told in `problems`. Texts are as they were found: whoever shows them escapes
-- them. Drawings are not read; genotypes are, and can be drawn.

local cnas = require "cnas"
local args = require "cnas.args"

local folder = {}

local MOST = { json = 4 << 20, metrics = 256 << 20, recipe = 1 << 20, modules = 200 } -- bytes; files
local MOST_CHOICES = 500 -- operations, or edges, that an epoch chose among

-- Values of files -----------------------------------------------------------------------------------------------------

local function text(value) return type(value) == "string" and value or nil end
local function number(value) -- of a size with which one can calculate
  return type(value) == "number" and value == value and math.abs(value) < 1e300 and value or nil
end
local function whole(value)
  value = number(value)
  return value and math.tointeger(value)
end

-- The fields of an object whose values `take` takes; nothing when it is no object.
local function fields(object, take)
  local out = {}
  if type(object) ~= "table" then return out end
  for key, value in pairs(object) do
    if type(key) == "string" then out[key] = take(value) end
  end
  return out
end

local function scalar(value)
  if type(value) == "boolean" then return value end
  return text(value) or number(value)
end

-- Reading -------------------------------------------------------------------------------------------------------------

-- A file's content, or nil: one that is not there is no problem, as a run may not have come so far.
local function content(run, name, most)
  local path = run.folder .. "/" .. name
  local good, kind = pcall(cnas.file.exists, path)
  if not good or kind ~= "file" then return nil end
  local read, found = pcall(cnas.file.read, path, most)
  if read then return found end
  if cnas.file.exists(path) then -- else it went between the two
    run.problems[#run.problems + 1] = ("%s: %s"):format(name, tostring(found))
  end
end

local function names_in(run, name)
  local path = run.folder .. "/" .. name
  local good, list = pcall(cnas.file.list, path)
  return good and list or {}
end

-- The JSON object in a file: a table, and whether there was one.
local function object(run, name)
  local found = content(run, name, MOST.json)
  if not found then return {}, false end
  local good, value = pcall(cnas.json.decode, found, name)
  if good and type(value) == "table" then return value, true end
  run.problems[#run.problems + 1] = ("%s: %s"):format(name, good and "expected a JSON object" or tostring(value))
  return {}, false
end

-- Counts without the entries beyond the first `most` in their order.
local function capped(list, most)
  for i, key in ipairs(args.keys(list)) do
    if i > most then list[key] = nil end
  end
  return list
end

-- { normal = { operations = { NAME = count }, edges = { ["0 2"] = count } }, reduction = … }, or nil.
local function counts(value)
  if type(value) ~= "table" then return nil end
  local out, any = {}, false
  for _, cell in ipairs { "normal", "reduction" } do
    out[cell] = {}
    for _, kind in ipairs { "operations", "edges" } do
      local of_cell = type(value[cell]) == "table" and value[cell][kind]
      out[cell][kind] = fields(of_cell, function(n)
        n = number(n)
        return n and n >= 0 and n or nil
      end)
      capped(out[cell][kind], MOST_CHOICES)
      if kind == "edges" then
        for key in pairs(out[cell].edges) do
          if not key:find "^%d%d? %d%d?$" then out[cell].edges[key] = nil end
        end
      end
      any = any or next(out[cell][kind]) ~= nil
    end
  end
  return any and out or nil
end

local own = { stage = true, epoch = true, step = true, time = true } -- numbers of a line that are no measurement

local function values_of(line)
  local values = fields(line, number)
  for name in pairs(own) do values[name] = nil end
  return values
end

-- Lines of metrics.jsonl that are objects. The last one may be being written.
local function lines_of(run)
  local found, lines, bad, first, at = content(run, "metrics.jsonl", MOST.metrics), {}, 0, nil, 0
  for line in (found or ""):gmatch "[^\n]*\n" do
    at = at + 1
    local good, value = pcall(cnas.json.decode, line, "metrics.jsonl")
    if good and type(value) == "table" then
      lines[#lines + 1] = value
    elseif line:find "%S" then
      bad, first = bad + 1, first or at
    end
  end
  if bad > 0 then
    run.problems[#run.problems + 1] = ("metrics.jsonl: %d line%s not a JSON object, the first is line %d: left out")
      :format(bad, bad > 1 and "s are" or " is", first)
  end
  if found and #found > 0 and found:sub(-1) ~= "\n" and run.state ~= "running" then
    run.problems[#run.problems + 1] = "metrics.jsonl: the last line is not whole: left out"
  end
  return lines
end

local function stage_of(run, index, name)
  for _, stage in ipairs(run.stages) do
    if stage.index == index then
      stage.name = stage.name or name
      return stage
    end
  end
  local stage = { index = index, name = name }
  run.stages[#run.stages + 1] = stage
  return stage
end

-- Sorts the lines into epochs, stages and changes by hand. Epoch number x is the x-th of the run, whatever its phase.
local function take_lines(run, lines)
  for _, line in ipairs(lines) do
    local phase, epoch = text(line.phase), whole(line.epoch)
    local index, name = whole(line.stage), text(line.name)
    local stage = index and stage_of(run, index, name)
    if phase == "change" then
      run.changes[#run.changes + 1] = {
        x = #run.epochs + 0.5, text = text(line.text) or "?", by = text(line.by), step = whole(line.step),
        stage = index, epoch = epoch, failed = line.failed == true or nil, at = text(fields(line.time, scalar).at),
      }
    elseif phase == "derive" and stage then
      local values, time = values_of(line), fields(line.time, number)
      stage.x, stage.step = #run.epochs, whole(line.step)
      for _, key in ipairs { "validation_accuracy", "test_accuracy", "uniform_accuracy", "parameters", "macs" } do
        stage[key] = values[key]
      end
      stage.latency, stage.seconds, stage.chosen = time.latency, time.seconds, counts(line.chosen)
    elseif phase and epoch then
      local x = #run.epochs + 1
      if stage then stage.first, stage.last = stage.first or x, x end
      run.epochs[x] = {
        x = x, phase = phase, epoch = epoch, stage = index, name = name, step = whole(line.step),
        values = values_of(line), time = fields(line.time, number), chosen = counts(line.chosen),
      }
      local seen = false
      for _, known in ipairs(run.phases) do seen = seen or known == phase end
      if not seen then run.phases[#run.phases + 1] = phase end
    end
  end
  table.sort(run.stages, function(a, b) return a.index < b.index end)
end

-- The genotype that a decoded or plain text says, or nil.
local function genotype(run, name, source)
  local good, found = pcall(cnas.genotype.parse, source)
  if good then good, found = pcall(cnas.genotype.check, found) end
  if good then return found end
  run.problems[#run.problems + 1] = ("%s: %s"):format(name, tostring(found))
end

-- genotypes/stage-N.json of each stage, with what was measured of it.
local function take_genotypes(run)
  for _, file in ipairs(names_in(run, "genotypes")) do
    local index, name = whole(tonumber(file:match "^stage%-(%d+)%.json$")), "genotypes/" .. file
    local source = (index or file == "cell.json") and content(run, name, MOST.json)
    local arch = source and genotype(run, name, source)
    if arch then
      local decoded, record = pcall(cnas.json.decode, source, name)
      record = decoded and type(record) == "table" and record or {}
      if not index then
        run.cell = { genotype = arch, label = text(record.label) }
      else
        local stage, cost = stage_of(run, index, text(record.name)), fields(record.cost, number)
        stage.genotype, stage.images, stage.nodes = arch, whole(record.images), whole(record.nodes)
        stage.reward = number(record.reward)
        for _, key in ipairs { "validation_accuracy", "test_accuracy", "uniform_accuracy" } do
          stage[key] = stage[key] or number(record[key])
        end
        stage.parameters, stage.macs = stage.parameters or cost.parameters, stage.macs or cost.macs
        stage.latency = cost.latency or stage.latency
        stage.operations = {}
        for i, op in ipairs(type(record.operations) == "table" and record.operations or {}) do
          stage.operations[i] = text(op)
        end
      end
    end
  end
  table.sort(run.stages, function(a, b) return a.index < b.index end)
end

-- pareto.json: { seen =, aims =, members = { { genotype =, values = } … } }, or nil.
local function take_front(run)
  local record, there = object(run, "pareto.json")
  if not there then return end
  local front = { seen = whole(record.seen), aims = fields(record.aims, text), members = {} }
  for _, one in ipairs(type(record.front) == "table" and record.front or {}) do
    local encoded, source = pcall(cnas.json.encode, type(one) == "table" and one.genotype or nil)
    local arch = encoded and genotype(run, "pareto.json", source)
    if arch then front.members[#front.members + 1] = { genotype = arch, values = fields(one, number) } end
  end
  if #front.members > 0 then run.front = front end
end

local function take_config(run)
  local config, there = object(run, "config.json")
  run.has_config = there
  run.recipe, run.preset, run.started = text(config.recipe), text(config.preset), text(config.started)
  run.origins = fields(config.origins, text)
  run.options, run.machine = fields(config.options, scalar), fields(config.machine, scalar)
  for _, change in ipairs(type(config.changes) == "table" and config.changes or {}) do
    run.moves[#run.moves + 1] = fields(change, number)
  end
end

local function take_summary(run)
  local summary, there = object(run, "summary.json")
  run.results, run.finished = fields(summary.results, scalar), there and text(summary.finished) or nil
  run.seconds, run.memory = number(fields(summary.time, number).seconds), fields(summary.memory, number)
  if not run.seconds then -- of a run that is not over: what its lines say
    local sum = 0.0
    for _, list in ipairs { run.epochs, run.stages } do
      for _, one in ipairs(list) do sum = sum + (one.time and one.time.seconds or one.seconds or 0) end
    end
    run.seconds = sum > 0 and sum or nil
  end
  if run.state ~= "running" then run.state = there and "complete" or "stopped" end
end

-- The folder's own name; that of a seed with the one around it.
local function name_of(path)
  local name = path:match "[^/]+$" or path
  return name:find "^seed%-%d+$" and path:match "([^/]+/[^/]+)$" or name
end

--- What is in a run's folder. An error (data) when it is no folder, or nothing in it is a run's. Fields:
---   folder, name (its last part), kind ("search", "evaluation" or "run"), state ("complete", "running", "stopped"),
---   holder (the process that holds it, when running), recipe, preset, options, origins (of options that are no
---   defaults: "given" or "preset"), machine, started, finished, seconds, memory; results, as the recipe gave them
---   to run:finish; source, the recipe's text; modules, texts of those beside it;
---   epochs  { x, phase, epoch, stage, name, step, values, time, chosen }, x from 1; phases, their names
---   stages  { index, name, first, last (x of its epochs), genotype, validation_accuracy, test_accuracy, … }
---   cell    { genotype, label } of an evaluation;  front  { seen, aims, members }
---   changes { x, text, by, step, epoch, failed, at } made by hand; moves, to other numbers of processes
---   problems, texts about what could not be read
function folder.read(path)
  if type(path) ~= "string" or path == "" then
    error("cnas.folder.read: expected a run's folder, got " .. tostring(path), 2)
  end
  path = path:gsub("(.)/+$", "%1")
  if cnas.file.exists(path) ~= "folder" then args.fail("data", "%s: expected a run's folder, there is none", path) end
  local run = {
    folder = path, name = name_of(path), problems = {}, epochs = {}, phases = {}, stages = {},
    changes = {}, moves = {}, modules = {},
  }
  local asked, holder = pcall(cnas.file.holder, path)
  if asked and holder then run.state, run.holder = "running", holder end
  take_config(run)
  take_lines(run, lines_of(run))
  take_genotypes(run)
  take_front(run)
  take_summary(run)
  run.source = content(run, "recipe.lua", MOST.recipe)
  for i, name in ipairs(names_in(run, "modules")) do
    if i <= MOST.modules then run.modules[name] = content(run, "modules/" .. name, MOST.recipe) end
  end
  if not run.has_config and #run.epochs == 0 and #run.stages == 0 and not run.cell then
    args.fail("data", "%s is no run's folder: it has no config.json, and nothing else that a run writes", path)
  end
  local measured = run.epochs[#run.epochs]
  run.kind = (run.cell or measured and measured.values.top1) and "evaluation"
    or (#run.stages > 0 or run.front) and "search" or "run"
  return run
end

--- The run folders that a path means: its own, or those of --seeds in it (seed-1, seed-2, …). A list of paths; an error
--- (data) when there is none.
function folder.find(path)
  if cnas.file.exists(path) ~= "folder" then args.fail("data", "%s: expected a run's folder, there is none", path) end
  path = path:gsub("(.)/+$", "%1")
  if cnas.file.exists(path .. "/config.json") then return { path } end
  local seeds = {}
  for _, name in ipairs(cnas.file.list(path)) do
    local seed = math.tointeger(tonumber(name:match "^seed%-(%d+)$"))
    if seed and cnas.file.exists(path .. "/" .. name) == "folder" then seeds[#seeds + 1] = { seed, name } end
  end
  table.sort(seeds, function(a, b) return a[1] < b[1] end)
  local list = {}
  for i, one in ipairs(seeds) do list[i] = path .. "/" .. one[2] end
  return #list > 0 and list or { path }
end

return folder
