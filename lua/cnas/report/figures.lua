-- figures.lua - the report's charts and cells as files for papers: each as SVG and as PNG, in the light.

local cnas = require "cnas"
local compare = require "cnas.report.compare"
local curves = require "cnas.report.curves"
local html = require "cnas.report.html"
local page = require "cnas.report.page"
local scatter = require "cnas.report.scatter"
local shares = require "cnas.report.shares"
local style = require "cnas.report.style"

local figures = {}

local WIDTH, LEFT, RIGHT, BELOW = 640, 58, 16, 36 -- units, of which 96 are an inch
local LETTER = 6.6                                -- the mean width of one at 11 units

-- Legend entries in rows from (LEFT, y) on: nodes, and the y below them.
local function legend_rows(list, y)
  local out, x = {}, LEFT
  for _, one in ipairs(list) do
    local wide = 32 + LETTER * (utf8.len(html.clean(one.label)) or 0) + 14
    if x + wide > WIDTH and x > LEFT then x, y = LEFT, y + 16 end
    out[#out + 1] = html.g { transform = ("translate(%.1f %d)"):format(x, y - 9), one.node }
    out[#out + 1] = html.text { x = ("%.1f"):format(x + 32), y = y, one.label }
    x = x + wide
  end
  return out, #list > 0 and y + 8 or y - 8
end

-- One chart: make(width) gives the plot.
local function chart(name, title, legend, make, below)
  local y = 20
  local shapes = { html.text { class = "title", x = LEFT, y = y, title } }
  local rows
  rows, y = legend_rows(legend, y + 18)
  shapes[2] = rows
  local p = make(WIDTH - LEFT - RIGHT)
  y = y + (#p.bands > 0 and 18 or 6)
  shapes[3] = p:figure(LEFT, y)
  local height = y + p.height + BELOW
  shapes[4] = html.text { x = LEFT + (WIDTH - LEFT - RIGHT) / 2, y = height - 5, text_anchor = "middle", below }
  shapes[5] = html.path { class = "edge", d = ("M%d %dh%d"):format(LEFT, y + p.height, WIDTH - LEFT - RIGHT) }
  local svg = html.svg {
    xmlns = "http://www.w3.org/2000/svg", width = WIDTH, height = height, viewBox = ("0 0 %d %d"):format(WIDTH, height),
    html.style { html.raw(style.figure()) }, html.rect { width = WIDTH, height = height, fill = "#ffffff" }, shapes,
  }
  return { name = name, width = WIDTH, height = height,
           text = '<?xml version="1.0" encoding="UTF-8"?>\n' .. html.render(svg) .. "\n" }
end

local function add_panel(list, name, panel, about)
  list[#list + 1] = chart(name, panel.title, curves.legend(panel), function(width)
    return curves.plot(panel, about, width, 200)
  end, "epoch")
end

local function add_choices(list, prefix, run, about)
  for _, cell in ipairs { "normal", "reduction" } do
    local operations = shares.of_operations(run.epochs, about.n, cell)
    if operations then
      list[#list + 1] = chart(prefix .. "operations-" .. cell, ("Operations, %s cell"):format(cell),
        shares.legend(operations), function(width) return shares.stack(operations, about, width, 180) end, "epoch")
    end
    local edges = shares.of_edges(run.epochs, about.n, cell)
    if edges then
      list[#list + 1] = chart(prefix .. "edges-" .. cell, ("Edges, %s cell"):format(cell), shares.scale(),
        function(width) return shares.rows(edges, about, width) end, "epoch")
    end
  end
end

local function add_front(list, prefix, run)
  for _, cost in ipairs { "macs", "parameters", "latency" } do
    local plot, derived = scatter.plot(run.front, run.stages, cost, WIDTH - LEFT - RIGHT, 240)
    if plot then
      list[#list + 1] = chart(prefix .. "accuracy-" .. cost, "Accuracy against " .. scatter.names[cost]:lower(),
        scatter.legend(derived), function() return plot end, scatter.names[cost]:lower())
    end
  end
end

local function add_cells(list, name, genotype)
  for _, cell in ipairs { "normal", "reduction" } do
    local text = cnas.draw.svg(genotype, cell)
    local width, height = text:match '<svg width="([%d.]+)pt" height="([%d.]+)pt"'
    list[#list + 1] = { name = ("%s-%s"):format(name, cell), text = text, width = tonumber(width) * 96 / 72,
                        height = tonumber(height) * 96 / 72 }
  end
end

-- A run's name as part of a file's.
local function plain(name) return (name:gsub("[^%w_-]+", "-"):gsub("^%-+", "")) end

--- All figures of runs: { name, text (SVG), width, height } each.
function figures.list(runs)
  local list = {}
  if #runs > 1 then
    local panels, about = compare.panels(compare.groups(runs))
    for _, panel in ipairs(panels) do add_panel(list, "all-" .. plain(panel.key), panel, about) end
  end
  for i, run in ipairs(runs) do
    local prefix = #runs > 1 and ("%d-%s-"):format(i, plain(run.name)) or ""
    local about = page.about(run)
    for _, panel in ipairs(page.panels(run)) do
      add_panel(list, prefix .. "curves-" .. plain(panel.key), panel, about)
    end
    add_choices(list, prefix, run, about)
    if run.front then add_front(list, prefix, run) end
    for _, stage in ipairs(run.stages) do
      if stage.genotype then add_cells(list, ("%scell-stage-%d"):format(prefix, stage.index), stage.genotype) end
    end
    if run.cell then add_cells(list, prefix .. "cell", run.cell.genotype) end
  end
  return list
end

--- Writes them into a folder, `scale` pixels to a unit; how many.
function figures.write(runs, folder, scale)
  cnas.file.mkdir(folder)
  local list = figures.list(runs)
  for _, figure in ipairs(list) do
    local path = folder .. "/" .. figure.name
    cnas.file.write(path .. ".svg", figure.text)
    cnas.draw.raster { svg = path .. ".svg", png = path .. ".png", width = figure.width, height = figure.height,
                       scale = scale }
  end
  return #list
end

return figures
