-- compare.lua - several runs beside each other: which belong together, what they found, and their mean curves.
--
-- Runs that differ in nothing but the seed (and in what does not change a result) are a group: its numbers are given as
-- mean ± deviation, and its curves are means with the deviation around them.

local cnas = require "cnas"
local curves = require "cnas.report.curves"
local html = require "cnas.report.html"
local numbers = require "cnas.report.numbers"

local compare = {}

-- Options that do not make runs different ones.
local aside = { seed = true, seeds = true, out = true, resume = true, overwrite = true, threads = true,
                save_every = true, keep = true, color = true, root = true, download = true, max_bad = true }

local function recipe_of(run) return run.recipe and run.recipe:match "([^/]+)%.lua$" or run.recipe or "?" end

-- What a run is apart from its seed, as a text.
local function identity(run)
  local words = { recipe_of(run) }
  for _, name in ipairs(cnas.args.keys(run.options)) do
    if not aside[name] then words[#words + 1] = ("%s=%s"):format(name, tostring(run.options[name])) end
  end
  return table.concat(words, "\0")
end

--- The options that differ between runs: a list of names.
function compare.differing(runs)
  local seen, list = {}, {}
  for _, run in ipairs(runs) do
    for name in pairs(run.options) do seen[name] = true end
  end
  for _, name in ipairs(cnas.args.keys(seen)) do
    local differs = false
    for _, run in ipairs(runs) do differs = differs or run.options[name] ~= runs[1].options[name] end
    if differs and name ~= "out" then list[#list + 1] = name end
  end
  return list
end

--- Groups of runs in their order: { label, runs }.
function compare.groups(runs)
  local byname, list = {}, {}
  for _, run in ipairs(runs) do
    local name = identity(run)
    if not byname[name] then
      byname[name] = { runs = {} }
      list[#list + 1] = byname[name]
    end
    table.insert(byname[name].runs, run)
  end
  for _, group in ipairs(list) do
    local own, words = recipe_of(group.runs[1]), { recipe_of(group.runs[1]) }
    local alike = {} -- groups of the same recipe are told apart by the options in which they differ
    for _, other in ipairs(list) do
      if recipe_of(other.runs[1]) == own then alike[#alike + 1] = other.runs[1] end
    end
    for _, name in ipairs(compare.differing(alike)) do
      if not aside[name] and #words < 4 then
        words[#words + 1] = ("%s %s"):format(name, tostring(group.runs[1].options[name]))
      end
    end
    group.label = table.concat(words, ", ")
  end
  return list
end

--- What a run found in the end: numbers by name; of a search, those of its last derived stage, and that stage.
function compare.results(run)
  local found, derived = {}, nil
  for i = #run.stages, 1, -1 do
    local stage = run.stages[i]
    if stage.validation_accuracy then
      for _, key in ipairs { "validation_accuracy", "test_accuracy", "parameters", "macs", "latency" } do
        found[key] = stage[key]
      end
      derived = stage
      break
    end
  end
  for name, value in pairs(run.results or {}) do
    if type(value) == "number" then found[name == "multiply_adds" and "macs" or name] = value end
  end
  if not found.top1 then -- an evaluation that is not over: the best so far
    for _, epoch in ipairs(run.epochs) do
      local top1 = epoch.values.top1
      if top1 and top1 > (found.top1 or -1) then
        found.top1, found.top5, found.best_epoch = top1, epoch.values.top5, epoch.epoch
      end
    end
  end
  return found, derived
end

local columns = {
  { "validation_accuracy", "Validation" }, { "test_accuracy", "Test" }, { "top1", "Top-1" }, { "top5", "Top-5" },
  { "parameters", "Parameters" }, { "macs", "Multiply-adds" }, { "latency", "Latency" },
}

-- "46.6 ± 1.2 %", "5.15 ± 0.47M": the deviation with the digits and in the unit of the mean.
local function spread_text(name, values)
  local mean, deviation = cnas.metric.spread(values)
  local text = numbers.form(name)(mean)
  local shown, digits, unit = text:match "^%-?(%d+%.?(%d*))(.*)$"
  if not shown or tonumber(shown) == 0 then return text end
  local one = mean / tonumber(shown) -- of the unit
  return ("%s ± %." .. #digits .. "f%s"):format(shown, deviation / math.abs(one), unit)
end

--- The table of all runs, with the mean of each group of several. places[run] is its section's anchor.
function compare.table(groups, places)
  local known, used = {}, {}
  for _, group in ipairs(groups) do
    for _, run in ipairs(group.runs) do
      known[run] = (compare.results(run))
      for name in pairs(known[run]) do used[name] = true end
    end
  end
  local shown = {}
  for _, column in ipairs(columns) do if used[column[1]] then shown[#shown + 1] = column end end
  local head = { html.th { scope = "col", class = "name", "Run" }, html.th { scope = "col", "Seed" } }
  for _, column in ipairs(shown) do head[#head + 1] = html.th { scope = "col", column[2] } end
  head[#head + 1] = html.th { scope = "col", "Epochs" }
  head[#head + 1] = html.th { scope = "col", "Time" }
  local rows = {}
  for _, group in ipairs(groups) do
    for _, run in ipairs(group.runs) do
      local state = run.state ~= "complete" and html.span { class = "state " .. run.state, run.state } or ""
      local link = html.a { href = "#" .. places[run], run.name }
      local row = { html.th { scope = "row", class = "name", link, " ", state },
                    html.td { run.options.seed and tostring(run.options.seed) or "" } }
      for _, column in ipairs(shown) do
        local value = known[run][column[1]]
        row[#row + 1] = html.td { value and numbers.form(column[1])(value) or "" }
      end
      row[#row + 1] = html.td { numbers.count(#run.epochs) }
      row[#row + 1] = html.td { run.seconds and numbers.duration(run.seconds) or "" }
      rows[#rows + 1] = html.tr { row }
    end
    if #group.runs > 1 then
      local row = { html.th { scope = "row", class = "name", group.label, html.br {},
                              html.span { class = "note", "mean ± deviation" } },
                    html.td { ("%d seeds"):format(#group.runs) } }
      for _, column in ipairs(shown) do
        local values = {}
        for _, run in ipairs(group.runs) do values[#values + 1] = known[run][column[1]] end
        row[#row + 1] = html.td { #values == #group.runs and spread_text(column[1], values) or "" }
      end
      row[#row + 1], row[#row + 2] = html.td {}, html.td {}
      rows[#rows + 1] = html.tr { class = "sum", row }
    end
  end
  return html.grid(head, rows)
end

--- The options that differ, run by run; nil when none does, or when only the seed does.
function compare.options(runs)
  local names = {}
  for _, name in ipairs(compare.differing(runs)) do if not aside[name] then names[#names + 1] = name end end
  if #names == 0 then return nil end
  local head, rows = { html.th { scope = "col", class = "name", "Option" } }, {}
  for i, run in ipairs(runs) do head[i + 1] = html.th { scope = "col", run.name } end
  for i, name in ipairs(names) do
    local row = { html.th { scope = "row", class = "name", name } }
    for k, run in ipairs(runs) do
      local value = run.options[name]
      row[k + 1] = html.td { value == nil and "" or tostring(value) }
    end
    rows[i] = html.tr { row }
  end
  return html.grid(head, rows)
end

-- Curves ------------------------------------------------------------------------------------------------------------

local worth = { accuracy = 1, valid_accuracy = 2, top1 = 3, reward = 4, loss = 5, valid_loss = 6, entropy = 7, lr = 8 }

-- Mean and deviation of a value over the runs of a group, at the epochs that all of them have.
local function series_of(group, name, color)
  local several = #group.runs > 1 and (", mean of %d"):format(#group.runs) or ""
  local series = { name = name, label = group.label .. several, values = {}, deviation = #group.runs > 1 and {} or nil,
                   color = (color - 1) % 6 + 1 }
  local n = math.huge
  for _, run in ipairs(group.runs) do n = math.min(n, #run.epochs) end
  for x = 1, n do
    local values = {}
    for _, run in ipairs(group.runs) do values[#values + 1] = run.epochs[x].values[name] end
    if #values == #group.runs then
      local mean, deviation = cnas.metric.spread(values)
      series.values[x] = mean
      if series.deviation then series.deviation[x] = deviation end
    end
  end
  return next(series.values) and series
end

--- One panel for each value that the runs logged, with a curve for each group; and what they share.
function compare.panels(groups)
  local names, about = {}, { n = 0, stages = {}, changes = {} }
  for _, group in ipairs(groups) do
    for _, run in ipairs(group.runs) do
      about.n = math.max(about.n, #run.epochs)
      for _, epoch in ipairs(run.epochs) do
        for name in pairs(epoch.values) do names[name] = true end
      end
    end
  end
  if #groups == 1 then -- the stages are the same; their names are, when they open the same
    for i, stage in ipairs(groups[1].runs[1].stages) do
      local name = stage.name
      for _, run in ipairs(groups[1].runs) do
        if not run.stages[i] or run.stages[i].name ~= name then name = nil end
      end
      about.stages[i] = { index = stage.index, name = name, first = stage.first, last = stage.last }
    end
  end
  local list = {}
  for name in pairs(names) do
    if not name:find "/" then
      local panel = { key = name, points = {}, series = {}, percent = numbers.form(name) == numbers.percent,
                      title = curves.title(name), log = name:find "loss" ~= nil }
      for i, group in ipairs(groups) do panel.series[#panel.series + 1] = series_of(group, name, i) or nil end
      if #panel.series > 0 then list[#list + 1] = panel end
    end
  end
  table.sort(list, function(a, b)
    local x, y = worth[a.key] or 99, worth[b.key] or 99
    if x ~= y then return x < y end
    return a.key < b.key
  end)
  return list, about
end

--- The panels as nodes of a page.
function compare.nodes(groups)
  local panels, about = compare.panels(groups)
  local out = {}
  if about.n > 0 then
    for i, panel in ipairs(panels) do out[i] = curves.node(panel, about) end
  end
  return out
end

return compare
