-- shares.lua - what was chosen, epoch by epoch: the operations of a cell as a stack of surfaces, its edges as rows
-- whose colour is as strong as the edge was often chosen.
--
-- Shares are of the choices in an epoch; an edge's are of the inputs of the node that it leads to, two for each sampled
-- cell, so that the edges to a node add up to one.

local html = require "cnas.report.html"
local curves = require "cnas.report.curves"
local plot = require "cnas.report.plot"

local shares = {}

local COLUMNS = 300 -- at most; more epochs are shown as means of neighbours
local LEVELS = 12   -- of colour

-- Families of operations have a colour, members of a family a shade; in this order they are stacked.
local families = { { "sep", "^sep_conv" }, { "dil", "^dil_conv" }, { "conv", "conv" }, { "pool", "pool" },
                   { "skip", "skip" }, { "none", "^none$" }, { "own", "" } }
local last = { none = 2, skip = 1 } -- on top

local function family_of(name)
  for i, family in ipairs(families) do
    if name:find(family[2]) then return family[1], i end
  end
end

--- The operations of a list of names in the order in which they are stacked: { name, class } each.
function shares.operations(names)
  local list, members = {}, {}
  table.sort(names)
  for _, name in ipairs(names) do
    local family, order = family_of(name)
    members[family] = (members[family] or 0) + 1
    list[#list + 1] = { name = name, class = ("o-%s-%d"):format(family, (members[family] - 1) % 3 + 1),
                        order = (last[family] or 0) * 100 + order }
  end
  table.sort(list, function(a, b)
    if a.order ~= b.order then return a.order < b.order end
    return a.name < b.name
  end)
  return list
end

local function key_list(set)
  local list = {}
  for key in pairs(set) do list[#list + 1] = key end
  table.sort(list)
  return list
end

-- Columns of at most COLUMNS: { from, to, epochs with `chosen` }, places from 0 to 1.
local function columns_of(epochs, n)
  local every, list = math.ceil(n / COLUMNS), {}
  for first = 1, n, every do
    local column = { from = (first - 1) / n, to = math.min(first + every - 1, n) / n }
    for x = first, math.min(first + every - 1, n) do
      if epochs[x] and epochs[x].chosen then column[#column + 1] = epochs[x].chosen end
    end
    list[#list + 1] = column
  end
  return list
end

-- The counts of a column's epochs, added up.
local function added(column, cell, kind)
  local sum, total = {}, 0
  for _, chosen in ipairs(column) do
    for name, count in pairs(chosen[cell][kind]) do
      sum[name], total = (sum[name] or 0) + count, total + count
    end
  end
  return sum, total
end

-- Operations --------------------------------------------------------------------------------------------------------

--- { operations, columns = { { from, to, [NAME] = share } … }, series } of a cell kind; nil when nothing was logged.
function shares.of_operations(epochs, n, cell)
  local names, any = {}, false
  for _, epoch in ipairs(epochs) do
    for name in pairs(epoch.chosen and epoch.chosen[cell].operations or {}) do names[name], any = true, true end
  end
  if not any then return nil end
  local found = { operations = shares.operations(key_list(names)), columns = {}, series = {} }
  for i, column in ipairs(columns_of(epochs, n)) do
    local sum, total = added(column, cell, "operations")
    local part = { from = column.from, to = column.to, total = total }
    for name, count in pairs(sum) do part[name] = count / total end
    found.columns[i] = part
  end
  for i = #found.operations, 1, -1 do -- from the top of the stack down
    local name, values = found.operations[i].name, {}
    for x, epoch in ipairs(epochs) do
      local sum, total = added({ epoch.chosen }, cell, "operations")
      if total > 0 then values[x] = (sum[name] or 0) / total end
    end
    found.series[#found.series + 1] = { label = name, values = values }
  end
  return found
end

-- Where in its surface an operation's name has the most room: x, y from the top; nil when it has too little.
local function room_for(found, lows, highs, width, height)
  local best, most = nil, 15 / height
  local columns = found.columns
  for i, column in ipairs(columns) do
    local low, high, k = lows[i], highs[i], i
    local needed = width
    while low and k <= #columns and needed > 0 do -- over as many columns as the name is long
      low, high = math.max(low, lows[k] or 1), math.min(high, highs[k] or 0)
      needed = needed - (columns[k].to - columns[k].from)
      k = k + 1
    end
    if low and needed <= 0 and high - low > most then
      most, best = high - low, { column.from + width / 2 + 0.006, 1 - (low + high) / 2 }
    end
  end
  return best
end

--- Where stages begin, over surfaces.
function shares.edges_of_stages(p, about)
  for i, stage in ipairs(about.stages) do
    if i > 1 and stage.first then p:down("cut", (stage.first - 1) / about.n) end
  end
end

--- The stack as a plot.
function shares.stack(found, about, width, height)
  local p = plot.new(width, height)
  curves.ground(p, about, true)
  local bottoms = {}
  for i = 1, #found.columns do bottoms[i] = 0.0 end
  for _, op in ipairs(found.operations) do
    local part, lows, highs = nil, {}, {}
    local function close()
      if part then
        for i = #part.under, 1, -1 do part[#part + 1] = part.under[i] end
        p:area("share " .. op.class, part)
      end
      part = nil
    end
    for i, column in ipairs(found.columns) do
      local share = column[op.name] or 0
      if column.total == 0 or share == 0 then
        close()
      else
        part = part or { under = {} }
        local low, high = bottoms[i], bottoms[i] + share
        lows[i], highs[i] = low, high
        part[#part + 1], part[#part + 2] = { column.from, high }, { column.to, high }
        part.under[#part.under + 1], part.under[#part.under + 2] = { column.from, low }, { column.to, low }
        bottoms[i] = high
      end
    end
    close()
    local place = room_for(found, lows, highs, #op.name * 6.6 / width + 0.012, height)
    if place then p.texts[#p.texts + 1] = { place[1], place[2], op.name, class = "on " .. op.class } end
  end
  for _, share in ipairs { 0, 0.25, 0.5, 0.75, 1 } do
    p.left[#p.left + 1] = { share, ("%.0f%%"):format(share * 100) }
  end
  shares.edges_of_stages(p, about)
  curves.mark_changes(p, about)
  return p
end

function shares.legend(found)
  local list = {}
  for i = #found.operations, 1, -1 do
    local op = found.operations[i]
    list[#list + 1] = { node = { html.rect { class = "share " .. op.class, x = 6, y = 0, width = 14, height = 10 } },
                        label = op.name }
  end
  return list
end

-- Edges -------------------------------------------------------------------------------------------------------------

local function node_name(number) return number < 2 and "k\u{2212}" .. 2 - number or tostring(number - 2) end

--- The edges of a cell kind: { rows = { { from, to, label, [column] = share } }, columns, series }; nil without any.
function shares.of_edges(epochs, n, cell)
  local keys = {}
  for _, epoch in ipairs(epochs) do
    for key in pairs(epoch.chosen and epoch.chosen[cell].edges or {}) do keys[key] = true end
  end
  if next(keys) == nil then return nil end
  local found = { rows = {}, columns = columns_of(epochs, n), series = {} }
  for key in pairs(keys) do
    local from, to = key:match "^(%d+) (%d+)$"
    from, to = math.tointeger(tonumber(from)), math.tointeger(tonumber(to))
    found.rows[#found.rows + 1] = { key = key, from = from, to = to,
                                    label = ("%s \u{2192} %s"):format(node_name(from), node_name(to)) }
  end
  table.sort(found.rows, function(a, b)
    if a.to ~= b.to then return a.to < b.to end
    return a.from < b.from
  end)
  local function share(sum, row)
    local total = 0
    for _, other in ipairs(found.rows) do
      if other.to == row.to then total = total + (sum[other.key] or 0) end
    end
    return total > 0 and (sum[row.key] or 0) / total or nil
  end
  for i, column in ipairs(found.columns) do
    local sum = added(column, cell, "edges")
    for _, row in ipairs(found.rows) do row[i] = share(sum, row) end
  end
  for i, row in ipairs(found.rows) do
    local values = {}
    for x, epoch in ipairs(epochs) do
      if epoch.chosen then values[x] = share(epoch.chosen[cell].edges, row) end
    end
    found.series[i] = { label = row.label, values = values }
  end
  return found
end

--- The height of a row.
function shares.row_height(found) return #found.rows <= 20 and 15 or #found.rows <= 40 and 10 or 6 end

--- The rows as a plot; its height is that of the rows.
function shares.rows(found, about, width)
  local height = shares.row_height(found)
  local p = plot.new(width, height * #found.rows)
  curves.ground(p, about, true)
  local levels = {}
  for r, row in ipairs(found.rows) do
    local y = (r - 1) * height
    if r > 1 and found.rows[r - 1].to ~= row.to then p:across("group", 1 - (r - 1) / #found.rows) end
    if height > 8 or r == 1 or found.rows[r - 1].to ~= row.to then
      p.left[#p.left + 1] = { 1 - (r - 0.5) / #found.rows, row.label }
    end
    local i = 1
    while i <= #found.columns do
      local level = row[i] and math.floor(row[i] * LEVELS + 0.5) or 0
      local k = i
      while k < #found.columns and (row[k + 1] and math.floor(row[k + 1] * LEVELS + 0.5) or 0) == level do k = k + 1 end
      if level > 0 then
        local x = found.columns[i].from * width
        local wide = found.columns[k].to * width - x
        levels[level] = levels[level] or {}
        table.insert(levels[level], ("M%.1f %dh%.1fv%dh%.1fz"):format(x, y + 1, wide, height - 2, -wide))
      end
      i = k + 1
    end
  end
  for level = 1, LEVELS do
    if levels[level] then
      local opacity = ("%.2f"):format(level / LEVELS)
      p:add(html.path { class = "heat", fill_opacity = opacity, d = table.concat(levels[level]) })
    end
  end
  shares.edges_of_stages(p, about)
  curves.mark_changes(p, about)
  return p
end

--- What the strength of the colour means, as a legend.
function shares.scale()
  local list = {}
  for _, share in ipairs { 0.25, 0.5, 1 } do
    local box = html.rect { class = "heat", fill_opacity = share, x = 6, y = 0, width = 14, height = 10 }
    list[#list + 1] = { node = box, label = ("%.0f%%"):format(share * 100) }
  end
  return list
end

-- In a page ---------------------------------------------------------------------------------------------------------

local function figure(title, p, legend, series, n, label)
  return html.figure {
    class = "panel", data_series = curves.data(series, n, true), data_n = n, data_top = 4,
    html.figcaption { html.b { title }, curves.legend_node(legend), html.output { class = "readout" } }, p:node(label),
  }
end

--- Both figures of a cell kind as nodes of a page; none when nothing was logged.
function shares.nodes(epochs, about, cell)
  local out = {}
  local operations = shares.of_operations(epochs, about.n, cell)
  if operations then
    out[1] = figure(("Operations, %s cell"):format(cell), shares.stack(operations, about, 1000, 150),
                    shares.legend(operations), operations.series, about.n,
                    ("How often each operation of the %s cell was chosen, over the epochs"):format(cell))
  end
  local edges = shares.of_edges(epochs, about.n, cell)
  if edges then
    out[#out + 1] = figure(("Edges, %s cell"):format(cell), shares.rows(edges, about, 1000), shares.scale(),
                           edges.series, about.n,
                           ("How often each edge of the %s cell was chosen, over the epochs"):format(cell))
  end
  return out
end

return shares
