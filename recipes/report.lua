-- report.lua - what runs have found, as one HTML file that needs no network: curves, what was chosen, cells, costs.
--
--   cnas recipes/report.lua runs/curriculum_search                    writes runs/curriculum_search/report.html
--   cnas recipes/report.lua runs/ten_seeds                            a run of --seeds: mean and deviation
--   cnas recipes/report.lua runs/enas runs/evolution -o both.html     several runs side by side
--   cnas recipes/report.lua runs/curriculum_search --png              also every chart and cell, as PNG and SVG
--
-- A run may still be going: the report says what there is.

local cnas = require "cnas"
local report = require "cnas.report.page"

local opt = cnas.options {
  about = "What runs have found, as one HTML file that needs no network.",
  folder = false, computes = false,
  { "runs", argument = "many", metavar = "RUN", help = "run folders, and those of --seeds" },
  { "out", short = "-o", type = "string", metavar = "FILE", help = "the report (default: RUN/report.html)" },
  { "title", type = "string", help = "its title (default: the run's name)" },
  { "theme", default = "auto", choices = { "auto", "light", "dark" }, help = "its colours; auto: the reader's" },
  { "png", default = false, help = "also charts and cells as PNG and SVG, in the folder figures beside the report" },
  { "scale", default = 3.0, min = 0.5, max = 10, help = "pixels of a PNG file to a unit: 3 are 288 dpi" },
}

local runs = {}
for _, path in ipairs(opt.runs) do
  for _, folder in ipairs(cnas.folder.find(path)) do runs[#runs + 1] = cnas.folder.read(folder) end
end
local out = opt.out or opt.runs[1]:gsub("(.)/+$", "%1") .. "/report.html"
local text = report.text(runs, { title = opt.title, theme = opt.theme })
cnas.file.write(out, text)
print(("%s: %d run%s, %.0f kB"):format(out, #runs, #runs > 1 and "s" or "", #text / 1e3))
if opt.png then
  local figures = (out:match "^(.*)/[^/]*$" or ".") .. "/figures"
  local count = require "cnas.report.figures".write(runs, figures, opt.scale)
  print(("%s: %d figures, each as PNG and SVG"):format(figures, count))
end
for _, run in ipairs(runs) do
  for _, problem in ipairs(run.problems) do io.stderr:write(run.folder, ": ", problem, "\n") end
end
