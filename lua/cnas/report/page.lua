-- page.lua - the report: one HTML file about one run or several, with everything in it.

local cnas = require "cnas"
local cells = require "cnas.report.cells"
local compare = require "cnas.report.compare"
local curves = require "cnas.report.curves"
local html = require "cnas.report.html"
local numbers = require "cnas.report.numbers"
local scatter = require "cnas.report.scatter"
local shares = require "cnas.report.shares"
local style = require "cnas.report.style"

local page = {}

-- Of a run without stages, its phases in their place: those that follow each other.
local function phases_of(run)
  local list = {}
  for x, epoch in ipairs(run.epochs) do
    local last = list[#list]
    if last and last.name == epoch.phase then last.last = x
    else list[#list + 1] = { name = epoch.phase, first = x, last = x } end
  end
  return list
end

--- What the plots over a run's epochs share: see curves.ground.
function page.about(run)
  local about = { n = math.max(#run.epochs, 1), stages = run.stages, changes = run.changes, warm = {} }
  if #run.stages <= 1 and #run.phases > 1 then about.stages = phases_of(run) end
  local list = about.warm
  for x, epoch in ipairs(run.epochs) do
    if epoch.phase == "warm-up" then
      if #list > 0 and list[#list][2] == x - 1 then list[#list][2] = x else list[#list + 1] = { x, x } end
    end
  end
  return about
end

--- The panels of a run's curves.
function page.panels(run)
  local panels = curves.panels(run.epochs)
  curves.add_derived(panels, run.stages)
  return panels
end

-- Parts of a run's section ------------------------------------------------------------------------------------------

-- { term, description, small } as a list of large numbers.
local function facts(list)
  local out = { class = "facts" }
  for _, one in ipairs(list) do
    out[#out + 1] = html.div { html.dt { one[1] }, html.dd { one[2], one[3] and html.small { one[3] } or "" } }
  end
  return html.dl(out)
end

-- Names and values, in columns.
local function key_values(list)
  local out = { class = "key" }
  for i, one in ipairs(list) do
    local long = #one[1] + #one[2] > 34 -- takes a line of its own
    out[i] = html.div { class = long and "long" or nil, html.dt { one[1] }, html.dd { one[2] } }
  end
  return html.dl(out)
end

local function state(run) return html.span { class = "state " .. run.state, run.state } end

local function facts_of(run)
  local list, found, stage = {}, compare.results(run)
  local function put(name, value, small) if value then list[#list + 1] = { name, value, small } end end
  local function form(name) return found[name] and numbers.form(name)(found[name]) end
  put("Top-1, best", form "top1", found.best_epoch and "after epoch " .. numbers.value(found.best_epoch))
  put("Top-5", form "top5")
  put("Validation", form "validation_accuracy", stage and ("of the cell of stage %d"):format(stage.index))
  put("Test", form "test_accuracy", "of the same cell")
  put("Parameters", form "parameters", "of its network")
  put("Multiply-adds", form "macs", "of one image")
  put("Latency", form "latency", "of one image")
  put("Time", run.seconds and numbers.duration(run.seconds),
      run.epochs[1] and ("%s epochs"):format(numbers.count(#run.epochs)))
  put("Memory", run.memory.resident_peak and numbers.bytes(run.memory.resident_peak), "at most")
  return facts(list)
end

-- The stages' genotypes as a table; the best by validation accuracy is bold.
local function genotypes_table(run)
  local best, rows = nil, {}
  local has = {}
  for _, stage in ipairs(run.stages) do
    local accuracy = stage.validation_accuracy
    if accuracy and (not best or accuracy > best.validation_accuracy) then best = stage end
    for key in pairs(stage) do has[key] = true end
  end
  local head = { html.th { scope = "col", class = "name", "Stage" }, html.th { scope = "col", "Validation" },
                 html.th { scope = "col", "Test" } }
  local more = {}
  for _, one in ipairs { { "uniform_accuracy", "Uniform samples" }, { "parameters", "Parameters" },
                         { "macs", "Multiply-adds" }, { "latency", "Latency" } } do
    if has[one[1]] then
      more[#more + 1] = one[1]
      head[#head + 1] = html.th { scope = "col", one[2] }
    end
  end
  for _, stage in ipairs(run.stages) do
    local function cell(key) return html.td { stage[key] and numbers.form(key)(stage[key]) or "" } end
    local row = { html.th { scope = "row", class = "name", ("%d  %s"):format(stage.index, stage.name or "") },
                  cell "validation_accuracy", cell "test_accuracy" }
    for _, key in ipairs(more) do row[#row + 1] = cell(key) end
    rows[#rows + 1] = html.tr { class = stage == best and "best" or nil, row }
  end
  return html.grid(head, rows), best
end

local function pair(genotype, about)
  return html.div { class = "pair", cells.figure(genotype, "normal", "Normal cell" .. about),
                    cells.figure(genotype, "reduction", "Reduction cell" .. about) }
end

-- What was found: of a search the cell of its last stage, of an evaluation the one that is trained.
local function found(run)
  local out = { facts_of(run) }
  for i = #run.stages, 1, -1 do
    local stage = run.stages[i]
    if stage.genotype then
      out[#out + 1] = html.h3 { ("The cell of stage %d"):format(stage.index), stage.name and ", " .. stage.name or "" }
      out[#out + 1] = pair(stage.genotype, (" of stage %d"):format(stage.index))
      out[#out + 1] = cells.text(stage.genotype)
      return out
    end
  end
  if run.cell then
    out[#out + 1] = html.h3 { "The cell", run.cell.label and ": " .. run.cell.label or "" }
    out[#out + 1] = pair(run.cell.genotype, "")
    out[#out + 1] = cells.text(run.cell.genotype)
  end
  return out
end

local function curves_of(run, about)
  local out = {}
  for _, panel in ipairs(page.panels(run)) do out[#out + 1] = curves.node(panel, about) end
  if #out > 0 and #about.warm > 0 then
    table.insert(out, 1, html.p { class = "note", "All plots have the same axis: the epochs of all phases in their "
      .. "order. Shading and the labels above mark the stages; the thick part of an axis is warm-up." })
  end
  if #run.changes > 0 then
    local list = { class = "changes" }
    for _, change in ipairs(run.changes) do
      local words = {}
      if change.step then words[1] = "at step " .. numbers.count(change.step) end
      if change.by then words[#words + 1] = "from the " .. (change.by == "attach" and "outside" or change.by) end
      if change.at then words[#words + 1] = change.at:gsub("T", " "):gsub("Z$", " UTC") end
      if change.failed then words[#words + 1] = "which ended with an error" end
      list[#list + 1] = html.li { html.code { change.text }, " ",
                                  html.span { class = "soft", table.concat(words, ", ") } }
    end
    out[#out + 1] = html.h3 { "Changed by hand" }
    out[#out + 1] = html.ol(list)
  end
  return out
end

local function choices_of(run, about)
  local out = {}
  for _, cell in ipairs { "normal", "reduction" } do
    for _, node in ipairs(shares.nodes(run.epochs, about, cell)) do out[#out + 1] = node end
  end
  if #out > 0 then
    table.insert(out, 1, html.p { class = "note", "How often each operation and each edge was in the cells that were "
      .. "trained and measured, as a share of an epoch's choices. An edge's share is of the two inputs of the node "
      .. "that it leads to; k\u{2212}2 and k\u{2212}1 are the outputs of the two cells before." })
  end
  return out
end

local function stages_of(run)
  local out = {}
  for _, stage in ipairs(run.stages) do
    if stage.genotype then
      local words = {}
      for _, one in ipairs { { "validation_accuracy", "validation" }, { "test_accuracy", "test" },
                             { "parameters", "parameters" }, { "macs", "multiply-adds" }, { "latency", "latency" } } do
        local value = stage[one[1]]
        if value then words[#words + 1] = ("%s %s"):format(one[2], numbers.form(one[1])(value)) end
      end
      out[#out + 1] = html.article { class = "stage-card",
        html.h3 { ("Stage %d"):format(stage.index), stage.name and ", " .. stage.name or "" },
        html.p { class = "note", table.concat(words, " · ") },
        pair(stage.genotype, (" of stage %d"):format(stage.index)), cells.text(stage.genotype) }
    end
  end
  return html.div { class = "stages", out }
end

local function setting(value)
  if type(value) == "boolean" then return value and "yes" or "no" end
  if math.type(value) == "float" then return ("%.10g"):format(value) end
  return tostring(value)
end

local function settings(fields)
  local list = {}
  for _, name in ipairs(cnas.args.keys(fields)) do list[#list + 1] = { name, setting(fields[name]) } end
  return key_values(list)
end

local function configuration(run)
  local out = {}
  local function put(title, fields)
    if next(fields) then
      out[#out + 1] = html.h3 { title }
      out[#out + 1] = settings(fields)
    end
  end
  put("Options" .. (run.preset and (", preset " .. run.preset) or ""), run.options)
  put("Machine and versions", run.machine)
  local times = { recipe = run.recipe, folder = run.folder, started = run.started, finished = run.finished,
                  ["held by"] = run.holder }
  if run.memory.resident_peak then times["memory, process"] = numbers.bytes(run.memory.resident_peak) end
  if run.memory.tensors_peak then times["memory, tensors"] = numbers.bytes(run.memory.tensors_peak) end
  put("The run", times)
  for _, move in ipairs(run.moves) do
    out[#out + 1] = html.p { ("Went on at step %s with %s processes instead of %s."):format(
      setting(move.step or "?"), setting(move.processes or "?"), setting(move.before or "?")) }
  end
  if run.source then
    out[#out + 1] = html.details { html.summary { "The recipe as it was run" }, html.pre { html.code { run.source } } }
  end
  return out
end

local function problems_of(run)
  if #run.problems == 0 then return "" end
  local list = {}
  for i, text in ipairs(run.problems) do list[i] = html.li { text } end
  return html.div { class = "problems", html.b { "Not everything could be read" }, html.ul(list) }
end

-- Names of the epochs for the script.
local function epoch_names(run)
  local names = cnas.json.array {}
  for x, epoch in ipairs(run.epochs) do
    names[x] = html.clean(("epoch %d%s, %s %d"):format(x, epoch.stage and (", stage %d"):format(epoch.stage) or "",
                                                      epoch.phase, epoch.epoch))
  end
  return cnas.json.encode(names)
end

-- The run -----------------------------------------------------------------------------------------------------------

-- Headings and contents of a run's section, those that have any.
local function parts_of(run)
  local about, list = page.about(run), {}
  local function put(id, title, content)
    if #content > 0 then list[#list + 1] = { id, title, content } end
  end
  put("found", run.kind == "search" and "What it found" or "Results", found(run))
  local genotypes, best = nil, nil
  if #run.stages > 0 then genotypes, best = genotypes_table(run) end
  if best then
    put("genotypes", "The best genotypes", { genotypes, html.p { class = "note",
      "Bold: the best by validation accuracy, with the shared weights of the search. Parameters and multiply-adds are "
      .. "those of the network that a cell is trained in by itself; the latency is that of one image." } })
  end
  put("curves", "Curves", curves_of(run, about))
  put("choices", "What was chosen", choices_of(run, about))
  if run.front then
    local plots = scatter.nodes(run.front, run.stages)
    put("front", "Accuracy and cost", {
      html.p { class = "note", ("Of %s measured architectures %d are beaten by none in everything."):format(
        run.front.seen and numbers.count(run.front.seen) or "the", #run.front.members) },
      html.div { class = "halves", plots }, scatter.table(run.front, 20),
    })
  end
  if #run.stages > 1 then put("stages", "The cells of every stage", { stages_of(run) }) end
  put("configuration", "Configuration", configuration(run))
  return list
end

local function subtitle(run)
  local words = { state(run), " ", run.recipe and run.recipe:match "[^/]+$" or "a run" }
  for _, name in ipairs { "data", "seed", "arch" } do
    local value = run.options[name]
    if value ~= nil and not (name == "arch" and run.cell) then
      words[#words + 1] = (" · %s %s"):format(name, setting(value))
    end
  end
  if run.started then words[#words + 1] = " · started " .. run.started:gsub("T", " "):gsub("Z$", " UTC") end
  return html.p { class = "soft", words }
end

local function section(run, prefix)
  local out, links = {}, {}
  for _, part in ipairs(parts_of(run)) do
    local id = prefix .. part[1]
    out[#out + 1] = { prefix == "" and html.h2 { id = id, part[2] } or html.h3 { id = id, part[2] }, part[3] }
    links[#links + 1] = html.a { href = "#" .. id, part[2] }
  end
  return html.section { data_epochs = epoch_names(run), problems_of(run), out }, links
end

-- The file ----------------------------------------------------------------------------------------------------------

-- Bytes given as hexadecimal digits in base64.
local function base64(digits)
  local letters, bits, out = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", {}, {}
  for digit in digits:gmatch "%x" do
    local value = tonumber(digit, 16)
    for i = 3, 0, -1 do bits[#bits + 1] = value >> i & 1 end
  end
  for i = 1, #bits, 6 do
    local value = 0
    for k = i, i + 5 do value = value << 1 | (bits[k] or 0) end
    out[#out + 1] = letters:sub(value + 1, value + 1)
  end
  return table.concat(out) .. ("="):rep(-#out % 4)
end

-- No script but ours runs, and nothing is fetched, whatever a run folder may have brought into the page.
local policy = ("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-%s'; img-src data:; "
  .. "base-uri 'none'; form-action 'none'"):format(base64(style.script_sha256))

local function document(title, theme, body)
  return "<!DOCTYPE html>\n" .. html.render(html.html {
    lang = "en", xmlns = "http://www.w3.org/1999/xhtml",
    html.head {
      html.meta { charset = "utf-8" }, html.meta { http_equiv = "Content-Security-Policy", content = policy },
      html.meta { name = "viewport", content = "width=device-width, initial-scale=1" },
      html.meta { name = "generator", content = "cnas " .. cnas.version },
      html.title { title }, html.style { html.raw("\n" .. style.page(theme)) },
    },
    html.body { body, html.script { html.raw(style.script) } },
  }) .. "\n"
end

local function footer()
  return html.footer { ("cnas %s · %s"):format(cnas.version, os.date("!%Y-%m-%d %H:%M UTC")) }
end

local function of_one(run, o)
  local node, links = section(run, "")
  local title = o.title or run.name
  return document(title, o.theme, {
    html.header { class = "top", html.h1 { title }, subtitle(run) },
    html.nav { links, aria_label = "Parts of the report" }, html.main { node }, footer(),
  })
end

local function of_many(runs, o)
  local groups, places, links, sections = compare.groups(runs), {}, {}, {}
  for i, run in ipairs(runs) do places[run] = "run-" .. i end
  links[1] = html.a { href = "#runs", "All runs" }
  for i, run in ipairs(runs) do
    links[#links + 1] = html.a { href = "#" .. places[run], run.name }
    sections[i] = { html.h2 { id = places[run], run.name }, subtitle(run), (section(run, places[run] .. "-")) }
  end
  local title = o.title or ("%d runs"):format(#runs)
  local options = compare.options(runs)
  return document(title, o.theme, {
    html.header { class = "top", html.h1 { title } }, html.nav { links, aria_label = "Parts of the report" },
    html.main {
      html.section { data_epochs = "[]",
        html.h2 { id = "runs", "Side by side" }, compare.table(groups, places),
        html.p { class = "note", "Of a search: the cell of its last stage. Curves are means over the runs that differ "
          .. "in the seed alone; the surface around them is one deviation." },
        compare.nodes(groups), options and { html.h3 { "Options that differ" }, options } or "",
      },
      sections,
    },
    footer(),
  })
end

--- The page about runs (see folder.lua) as text. Options: title; theme, "light" or "dark" (what the reader prefers).
function page.text(runs, o) return #runs == 1 and of_one(runs[1], o) or of_many(runs, o) end

return page
