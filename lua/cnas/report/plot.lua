-- plot.lua - one rectangle of a chart and what stands around it, drawn in two ways.
--
-- In a page the rectangle is stretched to the width there is: its lines keep their thickness, and its texts are HTML
-- beside it, so they keep their size on any screen. As a figure for papers everything is one SVG of a fixed size. Both
-- are made of the same plot:
--
--   { width, height,          units of the shapes; y grows downwards
--     shapes,                 SVG nodes (see html.lua) in classes of style.lua
--     left = { { place, text } … },     labels at the left, place from 0 (bottom) to 1
--     bottom = { { place, text } … },   and below, from 0 (left) to 1
--     bands = { { from, to, text } … }, labels above parts of the width
--     texts = { { x, y, text } … } }    within, both from 0 to 1, y from the top
--
-- Shapes that must not be distorted (points) are lines of no length with round or square ends.

local html = require "cnas.report.html"

local plot = {}

local Plot = {}
Plot.__index = Plot

--- An empty plot; `width` is that of its shapes: 1000 for a page, what there is for a figure.
function plot.new(width, height)
  return setmetatable({
    width = width, height = height, shapes = {}, left = {}, bottom = {}, bands = {}, texts = {},
  }, Plot)
end

local function coordinate(v)
  local text = ("%.1f"):format(v)
  return text:sub(-2) == ".0" and text:sub(1, -3) or text
end

--- A path through places { x, y } from 0 to 1, y from the bottom; `closed` back to its beginning.
function Plot:path(places, closed)
  local out = {}
  for i, p in ipairs(places) do
    out[i] = ("%s%s %s"):format(i == 1 and "M" or "L", coordinate(p[1] * self.width),
                                coordinate((1 - p[2]) * self.height))
  end
  return table.concat(out) .. (closed and "Z" or "")
end

function Plot:add(node) self.shapes[#self.shapes + 1] = node end

--- A line through places, in a class.
function Plot:line(class, places)
  if #places == 1 then return self:points(class .. " point", places) end
  self:add(html.path { class = class, d = self:path(places) })
end

--- Points of one kind.
function Plot:points(class, places)
  local out = {}
  for i, p in ipairs(places) do
    out[i] = ("M%s %sh0"):format(coordinate(p[1] * self.width), coordinate((1 - p[2]) * self.height))
  end
  if #out > 0 then self:add(html.path { class = class, d = table.concat(out) }) end
end

--- A surface through places.
function Plot:area(class, places)
  self:add(html.path { class = class, d = self:path(places, true) })
end

--- A rectangle between places.
function Plot:box(class, x0, x1, y0, y1)
  self:add(html.rect { class = class, x = coordinate(x0 * self.width), width = coordinate((x1 - x0) * self.width),
                       y = coordinate((1 - y1) * self.height), height = coordinate((y1 - y0) * self.height) })
end

--- A line across at a height, and one down at a place.
function Plot:across(class, y) self:line(class, { { 0, y }, { 1, y } }) end
function Plot:down(class, x) self:line(class, { { x, 0 }, { x, 1 } }) end

-- In a page ---------------------------------------------------------------------------------------------------------

local function percent(place) return ("%.2f%%"):format(place * 100) end

--- The plot as a node of a page. `label` says to those who cannot see it what it shows.
function Plot:node(label)
  local out = { html.svg {
    viewBox = ("0 0 %d %d"):format(self.width, self.height), preserveAspectRatio = "none", role = "img",
    aria_label = label, self.shapes,
  } }
  for _, one in ipairs(self.left) do
    out[#out + 1] = html.span { class = "yl", style = "bottom:" .. percent(one[1]), one[2] }
  end
  for i, one in ipairs(self.bottom) do
    local class = "xl" .. (i % 2 == 0 and " odd" or "") .. (one[1] > 0.97 and " end" or "")
    out[#out + 1] = html.span { class = class, style = "left:" .. percent(one[1]), one[2] }
  end
  for _, one in ipairs(self.bands) do
    local number, name = one[3]:match "^(%d+)(: .*)$"
    out[#out + 1] = html.span { class = "bl", title = one[3], number or one[3], name and html.i { name } or "",
                                style = ("left:%s;width:%s"):format(percent(one[1]), percent(one[2] - one[1])) }
  end
  for _, one in ipairs(self.texts) do
    out[#out + 1] = html.span { class = "tl " .. (one.class or ""), one[3],
                                style = ("left:%s;top:%s"):format(percent(one[1]), percent(one[2])) }
  end
  return html.div { class = #self.bands > 0 and "plot banded" or "plot", style = ("height:%dpx"):format(self.height),
                    out }
end

-- As a figure -------------------------------------------------------------------------------------------------------

--- The plot as a list of SVG nodes whose rectangle's upper left corner is at (x, y); texts around it included.
function Plot:figure(x, y)
  local out = { html.g { transform = ("translate(%s %s)"):format(coordinate(x), coordinate(y)), self.shapes } }
  local function text(class, at_x, at_y, anchor, content)
    out[#out + 1] = html.text { class = class, x = coordinate(x + at_x), y = coordinate(y + at_y), text_anchor = anchor,
                                content }
  end
  for _, one in ipairs(self.left) do text("label", -6, (1 - one[1]) * self.height + 4, "end", one[2]) end
  for _, one in ipairs(self.bottom) do text("label", one[1] * self.width, self.height + 15, "middle", one[2]) end
  for _, one in ipairs(self.bands) do
    local room = (one[2] - one[1]) * self.width // 6 -- letters that fit
    local name = one[3]
    if utf8.len(name) and utf8.len(name) > room then
      name = name:match "^%d+" or name
      if #name > room then name = "" end
    end
    text("label", one[1] * self.width + 3, -5, "start", name)
  end
  for _, one in ipairs(self.texts) do
    local at_x, at_y = one[1] * self.width, one[2] * self.height
    if one.class == "badge" then
      out[#out + 1] = html.circle { class = "badge", cx = coordinate(x + at_x), cy = coordinate(y + at_y), r = 6.5 }
    end
    text("label " .. (one.class or ""), at_x, at_y + 4, "middle", one[3])
  end
  return out
end

return plot
