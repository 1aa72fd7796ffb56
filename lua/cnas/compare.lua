-- compare.lua - what differs between two runs: cnas.compare(a, b), of two tables as cnas.folder.read gives them.
--
-- A run is a function of recipe, options, seed, kernels, versions and changes by hand: those are the causes; the
-- numbers of each epoch and what was found are the effects. What depends on the clock alone, on the number of threads
-- or on where the run lies is told, but is no difference.

local cnas = require "cnas"
local args = require "cnas.args"

-- Options and facts of the machine that do not change what is computed.
local harmless = {
  options = { resume = true, overwrite = true, seeds = true, threads = true, save_every = true, keep = true,
              color = true, root = true, download = true },
  machine = { threads = true, cpu = true, system = true },
}

local function same(a, b) return a == b or type(a) == "number" and type(b) == "number" and a ~= a and b ~= b end

-- The rows { name, a, b, counts } of the fields that differ; but the folders, which are told apart already.
local function fields(a, b, unimportant)
  local rows = {}
  for _, name in ipairs(args.keys(args.with(a, b))) do
    if name ~= "out" and not same(a[name], b[name]) then
      rows[#rows + 1] = { name = name, a = a[name], b = b[name], counts = not (unimportant and unimportant[name]) }
    end
  end
  return rows
end

local function set(list)
  local of = {}
  for _, name in ipairs(list) do of[name] = true end
  return of
end

local found = set { "validation_accuracy", "test_accuracy", "uniform_accuracy", "parameters", "macs", "reward" }

-- What a run has logged, in order: epochs, and what was derived behind them.
local function lines_of(run)
  local lines, at = {}, 1
  local function derived(until_x)
    while run.stages[at] and (run.stages[at].x or math.huge) <= until_x do
      local stage, values = run.stages[at], {}
      for name in pairs(found) do values[name] = stage[name] end
      lines[#lines + 1] = { phase = "derive", stage = stage.index, step = stage.step, values = values }
      at = at + 1
    end
  end
  derived(0)
  for _, epoch in ipairs(run.epochs) do
    lines[#lines + 1] = { phase = epoch.phase, epoch = epoch.epoch, stage = epoch.stage, step = epoch.step,
                          values = epoch.values }
    derived(epoch.x)
  end
  return lines
end

local function place_of(line)
  return { stage = line.stage, phase = line.phase, epoch = line.epoch, step = line.step }
end

-- Where the logged numbers part: { lines, more_a, more_b, place, values: the rows that differ there } and how many of
-- the lines that both have differ. A line is about all steps since the one before: `place.from` is the first of them.
local function numbers(a, b)
  local left, right = lines_of(a), lines_of(b)
  local common = math.min(#left, #right)
  local out = { lines = common, more_a = #left - common, more_b = #right - common, different = 0 }
  for i = 1, common do
    local places = fields(place_of(left[i]), place_of(right[i]))
    local values = fields(left[i].values, right[i].values)
    if #places > 0 or #values > 0 then
      out.different = out.different + 1
      if not out.place then
        out.line, out.place = i, place_of(left[i])
        out.place.from = left[i].phase ~= "derive" and (i > 1 and left[i - 1].step or 0) + 1 or nil
        out.place_b = #places > 0 and place_of(right[i]) or nil
        out.values = values
      end
    end
  end
  return out
end

local function cell_text(stage) return stage.genotype and cnas.genotype.json(stage.genotype) end

-- The rows { name = "normal 3", a = "sep_conv_3x3 0 to 2", b } of the choices that differ.
local function choices(a, b)
  local rows = {}
  for _, cell in ipairs { "normal", "reduction" } do
    local left, right = a.genotype and a.genotype[cell] or {}, b.genotype and b.genotype[cell] or {}
    local function text(triple) return triple and ("%s %d to %d"):format(triple[1], triple[2], triple[3]) end
    for i = 1, math.max(#left, #right) do
      local one, other = text(left[i]), text(right[i])
      if one ~= other then rows[#rows + 1] = { name = ("%s %d"):format(cell, i), a = one, b = other } end
    end
  end
  return rows
end

-- What was found: for each stage, and at the end.
local function results(a, b)
  local out = { stages = {}, rows = fields(a.results, b.results), cell = choices(a.cell or {}, b.cell or {}) }
  for i = 1, math.max(#a.stages, #b.stages) do
    local left, right = a.stages[i] or {}, b.stages[i] or {}
    local rows = {}
    for _, row in ipairs(fields(left, right)) do if found[row.name] then rows[#rows + 1] = row end end
    if #rows > 0 or cell_text(left) ~= cell_text(right) then
      out.stages[#out.stages + 1] = { index = left.index or right.index, name = left.name or right.name, rows = rows,
                                      cells = choices(left, right) }
    end
  end
  return out
end

-- The files of the recipe, and modules beside it, that are not the same in both.
local function sources(a, b)
  local names = a.source ~= b.source and { "recipe.lua" } or {}
  for _, row in ipairs(fields(a.modules, b.modules)) do names[#names + 1] = "modules/" .. row.name end
  return names
end

-- Changes by hand, and moves to another number of processes, that one run has had and the other not, or not at the
-- same place.
local function changes(a, b)
  local function texts(run)
    local of = {}
    for _, change in ipairs(run.changes) do
      of[#of + 1] = ("step %s: %s"):format(change.step or "?", change.text)
    end
    for _, move in ipairs(run.moves) do
      of[#of + 1] = ("step %.0f: went on with %.0f processes instead of %.0f"):format(move.step or 0,
        move.processes or 0, move.before or 0)
    end
    return of
  end
  local left, right = texts(a), texts(b)
  return { differ = table.concat(left, "\n") ~= table.concat(right, "\n"), a = left, b = right }
end

local function about(run)
  return { folder = run.folder, recipe = run.recipe, preset = run.preset, state = run.state, started = run.started,
           seconds = run.seconds, memory = run.memory and run.memory.resident_peak, problems = run.problems }
end

local function any_counts(rows)
  for _, row in ipairs(rows) do if row.counts then return true end end
  return false
end

--- What differs: { same, a, b (about each), options, machine (rows { name, a, b, counts }), sources (files), changes,
--- numbers, results }. `same` is whether nothing does that counts.
return function(a, b)
  local out = {
    a = about(a), b = about(b), options = fields(a.options, b.options, harmless.options),
    machine = fields(a.machine, b.machine, harmless.machine), sources = sources(a, b),
    changes = changes(a, b), numbers = numbers(a, b), results = results(a, b),
  }
  for side, run in pairs { a = a, b = b } do
    for _, row in ipairs(out.options) do
      row["origin_" .. side] = run.origins and next(run.origins) and (run.origins[row.name] or "default") or nil
    end
  end
  local n = out.numbers
  out.same = not (any_counts(out.options) or any_counts(out.machine) or #out.sources > 0 or out.changes.differ
    or n.different > 0 or n.more_a > 0 or n.more_b > 0 or #out.results.rows > 0 or #out.results.cell > 0
    or #out.results.stages > 0)
  return out
end
