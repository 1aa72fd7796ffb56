-- scatter.lua - what a search found about accuracy and cost: the Pareto set, and the cells of the stages beside it.

local cnas = require "cnas"
local html = require "cnas.report.html"
local curves = require "cnas.report.curves"
local numbers = require "cnas.report.numbers"
local plot = require "cnas.report.plot"

local scatter = {}

-- What costs are called.
local names = { parameters = "Parameters", macs = "Multiply-adds", latency = "Latency in ms" }
scatter.names = names

-- Members with both values, by the cost from the left.
local function members_of(front, cost)
  local list = {}
  for _, member in ipairs(front.members) do
    if member.values.accuracy and member.values[cost] then list[#list + 1] = member end
  end
  table.sort(list, function(a, b)
    if a.values[cost] ~= b.values[cost] then return a.values[cost] < b.values[cost] end
    return a.values.accuracy > b.values.accuracy
  end)
  return list
end

-- The stairs of those that nobody beats in these two values alone.
local function stairs(list, cost)
  local out, best = {}, -math.huge
  for _, member in ipairs(list) do
    local accuracy = member.values.accuracy
    if accuracy > best then
      if #out > 0 then out[#out + 1] = { member.values[cost], best } end
      out[#out + 1] = { member.values[cost], accuracy }
      best = accuracy
    end
  end
  return out
end

--- The plot of accuracy against a cost ("macs", "parameters", "latency"): the front's members and the stages' cells;
--- nil with fewer than two members.
function scatter.plot(front, stages, cost, width, height)
  local list = members_of(front, cost)
  if #list < 2 then return nil end
  local low, high, left, right = math.huge, -math.huge, math.huge, -math.huge
  local derived = {}
  for _, stage in ipairs(stages) do
    if stage.validation_accuracy and stage[cost] then derived[#derived + 1] = stage end
  end
  local function see(x, y)
    left, right, low, high = math.min(left, x), math.max(right, x), math.min(low, y), math.max(high, y)
  end
  for _, member in ipairs(list) do see(member.values[cost], member.values.accuracy) end
  for _, stage in ipairs(derived) do see(stage[cost], stage.validation_accuracy) end
  local margin = (right - left) * 0.04
  local across = numbers.axis(left - margin, right + margin, 7)
  local up = numbers.axis(low, high, height // 35, { percent = true, whole = true })
  local function at(x, y) return { numbers.place(across, x), numbers.place(up, y) } end

  local p = plot.new(width, height)
  for _, tick in ipairs(up.ticks) do
    local y = numbers.place(up, tick.value)
    p:across("grid", y)
    p.left[#p.left + 1] = { y, tick.text }
  end
  for _, tick in ipairs(across.ticks) do
    p.bottom[#p.bottom + 1] = { numbers.place(across, tick.value), tick.text }
  end
  local steps = {}
  for i, step in ipairs(stairs(list, cost)) do steps[i] = at(step[1], step[2]) end
  p:line("line s1", steps)
  for _, member in ipairs(list) do
    local x, y = member.values[cost], member.values.accuracy
    p:add(html.path { class = "point p5", d = p:path { at(x, y) } .. "h0",
                      html.title { ("%s, %s %s"):format(numbers.percent(y), numbers.short(x), names[cost]:lower()) } })
  end
  for _, stage in ipairs(derived) do
    local x, y = stage[cost], stage.validation_accuracy
    p:add(html.path { class = "point p4", d = p:path { at(x, y) } .. "h0",
                      html.title { ("stage %d: %s, %s"):format(stage.index, numbers.percent(y), numbers.short(x)) } })
  end
  return p, #derived > 0
end

function scatter.legend(with_stages)
  local list = { { node = html.path { class = "point p5", d = "M13 5h0" }, label = "in the Pareto set" } }
  if with_stages then
    list[2] = { node = html.path { class = "point p4", d = "M13 5h0" }, label = "cell of a stage" }
  end
  return list
end

--- The figures of a page: accuracy against each cost that was measured.
function scatter.nodes(front, stages)
  local out = {}
  for _, cost in ipairs { "macs", "parameters", "latency" } do
    local p, derived = scatter.plot(front, stages, cost, 1000, 240)
    if p then
      out[#out + 1] = html.figure {
        class = "panel half",
        html.figcaption { html.b { "Accuracy against " .. names[cost]:lower() },
                          curves.legend_node(scatter.legend(derived)) },
        p:node(("Accuracy on the validation split against %s"):format(names[cost]:lower())),
      }
    end
  end
  return out
end

--- The members as a table, the most accurate first, at most `most` of them.
function scatter.table(front, most)
  local list = {}
  for _, member in ipairs(front.members) do
    if member.values.accuracy then list[#list + 1] = member end
  end
  table.sort(list, function(a, b) return a.values.accuracy > b.values.accuracy end)
  local columns = { "accuracy" }
  for _, name in ipairs(cnas.args.keys(front.members[1].values)) do
    if name ~= "accuracy" then columns[#columns + 1] = name end
  end
  local head, rows = {}, {}
  for i, name in ipairs(columns) do
    head[i] = html.th { scope = "col", (names[name] or name:gsub("^%l", string.upper)) }
  end
  for i = 1, math.min(#list, most) do
    local row = {}
    for k, name in ipairs(columns) do
      local value = list[i].values[name]
      row[k] = html.td { value and numbers.form(name)(value) or "" }
    end
    row[#row + 1] = html.td { class = "code", html.details { html.summary { "genotype" },
      html.code { (cnas.genotype.text(list[i].genotype, { style = "darts" })) } } }
    rows[i] = html.tr { row }
  end
  head[#head + 1] = html.th { scope = "col", class = "code", "Cell" }
  return html.grid(head, rows)
end

return scatter
