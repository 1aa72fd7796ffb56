-- cells.lua - cells as pictures within a page. They are always drawn anew of the genotype: a drawing that lies in a
-- run's folder may hold anything.

local cnas = require "cnas"
local html = require "cnas.report.html"

local cells = {}

local WIDE = 660 -- wider ones have a row of their own

-- Graphviz's SVG without what belongs to a file of its own: declarations, comments, names of elements, tooltips.
local function inner(text)
  local body = text:match "<svg.->(.*)</svg>"
  body = body:gsub("<!%-%-.-%-%->", ""):gsub("<title>.-</title>", ""):gsub(' id="[^"]*"', ""):gsub(' class="[^"]*"', "")
  return (body:gsub(' font%-family="[^"]*"', ""):gsub("\n+", "\n"))
end

--- One cell as an SVG node, and its width. `down`: from the inputs above to the output below. Its colours are those of
--- the file, which style.lua replaces in the dark.
function cells.picture(genotype, cell, label, down)
  local text = cnas.draw.svg(genotype, cell, { down = down })
  local width = text:match '<svg width="([%d.]+)pt"'
  local box = text:match 'viewBox="([%d.%- ]+)"'
  if not box then return html.p { class = "note", "graphviz gave no picture" }, 0 end
  width = tonumber(width) or 600
  return html.svg {
    class = "cell " .. (down and "down" or "across"), viewBox = box, role = "img", aria_label = label,
    style = ("max-width:%.0fpx"):format(down and width or width * 0.95), html.raw(inner(text)),
  }, width
end

--- Both directions of one cell; the page shows the one that fits.
function cells.figure(genotype, cell, label)
  local across, width = cells.picture(genotype, cell, label, false)
  return html.figure {
    class = width > WIDE and "drawing wide" or "drawing",
    html.figcaption { (cell:gsub("^%l", string.upper)) .. " cell" }, across,
    (cells.picture(genotype, cell, label, true)),
  }
end

--- A genotype as text, to copy.
function cells.text(genotype)
  return html.details { class = "text", html.summary { "as text" },
                        html.pre { (cnas.genotype.text(genotype, { style = "darts" })) } }
end

return cells
