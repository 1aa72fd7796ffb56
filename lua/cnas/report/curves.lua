-- curves.lua - curves over the epochs of a run: one panel for each kind of number, all with the same axis of epochs.
--
-- A panel is { title, percent, log, series = { { name, label, values = { [x] = v }, low, high } … }, points = … }. Its
-- plot has the stages as bands, what was derived at their ends as points, and changes by hand as dashed lines.

local cnas = require "cnas"
local html = require "cnas.report.html"
local numbers = require "cnas.report.numbers"
local plot = require "cnas.report.plot"

local curves = {}

local FEW = 30 -- epochs of which each is marked

-- Which panel a value belongs to, the first whose pattern its name has; `label` of those whose name does not say it.
local families = {
  { key = "accuracy", title = "Accuracy", percent = true, "accuracy", "^top%d" },
  { key = "loss", title = "Loss", log = true, "loss" },
  { key = "reward", title = "Reward", "^reward$", "^baseline$", "^population$" },
  { key = "entropy", title = "Entropy (nats)", "entropy" },
  { key = "lr", title = "Learning rate", "^lr$" },
  { key = "parameters", title = "Parameters", "^parameters$" },
  { key = "macs", title = "Multiply-adds", "^macs$" },
}

--- What a panel of one value alone is called.
function curves.title(name)
  local titles = { accuracy = "Training accuracy", valid_accuracy = "Validation accuracy", macs = "Multiply-adds",
                   loss = "Training loss", valid_loss = "Loss on the held out images", lr = "Learning rate",
                   top1 = "Top-1 accuracy, held out", top5 = "Top-5 accuracy, held out",
                   population = "Mean reward of the population" }
  return titles[name] or (name:gsub("_", " "):gsub("^%l", string.upper))
end

local labels = {
  accuracy = "training", valid_accuracy = "validation", top1 = "top-1, held out", top5 = "top-5, held out",
  loss = "training", valid_loss = "held out", population = "mean of the population", entropy = "all choices",
  parameters = "mean of what was measured", macs = "mean of what was measured", lr = "of the weights",
  validation_accuracy = "derived, validation", test_accuracy = "derived, test",
  uniform_accuracy = "uniform, validation",
}
local function label_of(name) return labels[name] or (name:gsub("^entropy/", ""):gsub("_", " ")) end

-- The family of a value; one of its own when it has none.
local function family_of(name)
  for order, family in ipairs(families) do
    for _, pattern in ipairs(family) do
      if name:find(pattern) then return family, order end
    end
  end
  return { key = name, title = (name:gsub("_", " "):gsub("^%l", string.upper)) }, #families + 1
end

local first_of_all = { reward = 1, baseline = 2, top1 = 1, top5 = 2, accuracy = 3, entropy = 1, loss = 1 }
local function before(a, b)
  local x, y = first_of_all[a] or 9, first_of_all[b] or 9
  if x ~= y then return x < y end
  return a < b
end

--- The panels of the values in epochs { { x, values } … }: a list, the usual ones first.
function curves.panels(epochs)
  local bykey, list = {}, {}
  local names = {}
  for _, epoch in ipairs(epochs) do
    for name in pairs(epoch.values) do names[name] = true end
  end
  local sorted = cnas.args.keys(names)
  table.sort(sorted, before)
  for _, name in ipairs(sorted) do
    local family, order = family_of(name)
    local panel = bykey[family.key]
    if not panel then
      panel = { key = family.key, title = family.title, percent = family.percent, log = family.log, order = order,
                series = {}, points = {} }
      bykey[family.key], list[#list + 1] = panel, panel
    end
    local values = {}
    for _, epoch in ipairs(epochs) do values[epoch.x] = epoch.values[name] end
    panel.series[#panel.series + 1] = { name = name, label = label_of(name), values = values }
  end
  table.sort(list, function(a, b)
    if a.order ~= b.order then return a.order < b.order end
    return a.key < b.key
  end)
  return list
end

local derived = { "validation_accuracy", "test_accuracy", "uniform_accuracy" }

--- Adds what was derived at the stages' ends to the accuracy panel.
function curves.add_derived(panels, stages)
  for _, panel in ipairs(panels) do
    for i, name in ipairs(panel.key == "accuracy" and derived or {}) do
      local places = {}
      for _, stage in ipairs(stages) do
        if stage[name] and stage.x then places[#places + 1] = { stage.x, stage[name] } end
      end
      if #places > 0 then panel.points[#panel.points + 1] = { kind = i, label = label_of(name), places = places } end
    end
  end
end

-- Least and largest of everything that a panel shows.
local function range(panel)
  local low, high = math.huge, -math.huge
  local function see(v) low, high = math.min(low, v), math.max(high, v) end
  for _, series in ipairs(panel.series) do
    for x, v in pairs(series.values) do
      see(v)
      if series.deviation and series.deviation[x] then
        see(v - series.deviation[x])
        see(v + series.deviation[x])
      end
    end
  end
  for _, points in ipairs(panel.points) do
    for _, p in ipairs(points.places) do see(p[2]) end
  end
  return low, high
end

local function axis_of(panel, height)
  local low, high = range(panel)
  if panel.log and low > 0 and high / low > 40 then return numbers.log_axis(low, high, height // 30) end
  return numbers.axis(low, high, height // 30, { percent = panel.percent, whole = true })
end

-- The parts of a series without gaps: lists of places.
local function parts(series, n, axis)
  local list, part = {}, nil
  for x = 1, n do
    local v = series.values[x]
    if not v then
      part = nil
    else
      if not part then
        part = { from = x }
        list[#list + 1] = part
      end
      part[#part + 1] = { (x - 0.5) / n, numbers.place(axis, v) }
    end
  end
  return list
end

-- Mean ± deviation as a surface, for each part.
local function bands_of(p, series, n, axis, class)
  for _, part in ipairs(parts(series, n, axis)) do
    local up, down = {}, {}
    for i, place in ipairs(part) do
      local x = part.from + i - 1
      local v, d = series.values[x], series.deviation[x] or 0
      up[i] = { place[1], numbers.place(axis, v + d) }
      down[i] = { place[1], numbers.place(axis, axis.log and math.max(v - d, axis.low) or v - d) }
    end
    for i = #down, 1, -1 do up[#up + 1] = down[i] end
    if #part > 1 then p:area("band " .. class, up) end
  end
end

--- What all plots over the epochs of a run share: stages as bands, warm-up, axis of epochs, changes. `about` is
--- { n = epochs, stages, changes, warm = { { from, to } … } }. `bare`: only the labels around the plot.
function curves.ground(p, about, bare)
  local n = about.n
  for i, stage in ipairs(about.stages) do
    if stage.first then
      local from, to = (stage.first - 1) / n, stage.last / n
      if i % 2 == 0 and not bare then p:box("stage", from, to, 0, 1) end
      if i > 1 and not bare then p:down("edge", from) end
      local name = stage.name or tostring(stage.index)
      if stage.index and stage.name then name = ("%d: %s"):format(stage.index, stage.name) end
      p.bands[#p.bands + 1] = { from, to, name }
    end
  end
  for _, warm in ipairs(not bare and about.warm or {}) do
    p:box("warm", (warm[1] - 1) / n, warm[2] / n, 0, 4 / p.height)
  end
  local axis = numbers.axis(0, n, 12, { integer = true })
  for _, tick in ipairs(axis.ticks) do
    if tick.value > 0 and tick.value <= n then p.bottom[#p.bottom + 1] = { (tick.value - 0.5) / n, tick.text } end
  end
end

-- Changes by hand, over everything else.
local function mark_changes(p, about)
  for i, change in ipairs(about.changes or {}) do
    local x = math.min(change.x, about.n) / about.n
    p:down("change", x)
    p.texts[#p.texts + 1] = { x, 0, tostring(i), class = "badge" }
  end
end
curves.mark_changes = mark_changes

--- The plot of a panel.
function curves.plot(panel, about, width, height)
  local p, axis = plot.new(width, height), axis_of(panel, height)
  curves.ground(p, about)
  for _, tick in ipairs(axis.ticks) do
    local y = numbers.place(axis, tick.value)
    p:across("grid", y)
    p.left[#p.left + 1] = { y, tick.text }
  end
  for i, series in ipairs(panel.series) do
    if series.deviation then bands_of(p, series, about.n, axis, "s" .. (series.color or i)) end
  end
  for i, series in ipairs(panel.series) do
    local class = "s" .. (series.color or i)
    for _, part in ipairs(parts(series, about.n, axis)) do
      p:line("line " .. class, part)
      if about.n <= FEW and #part > 1 then p:points("line point " .. class, part) end
    end
  end
  for _, points in ipairs(panel.points) do
    local places = {}
    for _, one in ipairs(points.places) do places[#places + 1] = { one[1] / about.n, numbers.place(axis, one[2]) } end
    p:points("point p" .. points.kind, places)
    if points.kind == 3 then p:points("point hole", places) end
  end
  mark_changes(p, about)
  p.log = axis.log
  return p
end

-- Around the plot ---------------------------------------------------------------------------------------------------

local function swatch(shapes)
  return html.svg { class = "swatch", viewBox = "0 0 26 10", width = 26, height = 10, aria_hidden = "true", shapes }
end

--- Entries { class, kind = "line" or "point", label } of a panel's legend.
function curves.legend(panel)
  local list = {}
  for i, series in ipairs(panel.series) do
    list[#list + 1] = { node = { html.path { class = "line s" .. (series.color or i), d = "M0 5H26" } },
                        label = series.label }
  end
  for _, points in ipairs(panel.points) do
    local node = { html.path { class = "point p" .. points.kind, d = "M13 5h0" } }
    if points.kind == 3 then node[2] = html.path { class = "point hole", d = "M13 5h0" } end
    list[#list + 1] = { node = node, label = points.label }
  end
  return list
end

--- A legend as a node of a page.
function curves.legend_node(list)
  local out = { class = "legend" }
  for i, one in ipairs(list) do out[i] = html.li { swatch(one.node), one.label } end
  return html.ul(out)
end

--- Values of series as JSON for the script that shows them: [["label", "percent" or "", [v, null, …]], …].
function curves.data(series, n, percent)
  local list = {}
  for i, one in ipairs(series) do
    local values = {}
    for x = 1, n do values[x] = one.values[x] and ("%.4g"):format(one.values[x]) or "null" end
    list[i] = ("[%s,%q,[%s]]"):format(cnas.json.encode(html.clean(one.label)), percent and "percent" or "",
                                      table.concat(values, ","))
  end
  return "[" .. table.concat(list, ",") .. "]"
end

--- A panel as a figure of a page.
function curves.node(panel, about)
  local p = curves.plot(panel, about, 1000, panel.height or 170)
  local last = {}
  for _, series in ipairs(panel.series) do
    for x = about.n, 1, -1 do
      if series.values[x] then
        last[#last + 1] = ("%s %s"):format(series.label, numbers.form(series.name)(series.values[x]))
        break
      end
    end
  end
  return html.figure {
    class = "panel", data_series = curves.data(panel.series, about.n, panel.percent), data_n = about.n,
    html.figcaption { html.b { panel.title, p.log and ", logarithmic" or "" }, curves.legend_node(curves.legend(panel)),
                      html.output { class = "readout" } },
    p:node(("%s over %d epochs; at the end: %s"):format(panel.title, about.n, table.concat(last, ", "))),
  }
end

return curves
