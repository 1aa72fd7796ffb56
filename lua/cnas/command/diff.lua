-- diff.lua - `cnas diff RUN RUN`: what differs between two runs, what made the difference first, then what it made.
--
-- The exit status is 0 when nothing differs that counts, else 8: an error in the runs' own folders has a status of its
-- own (3), and a script can tell "they differ" from "they could not be compared".

local cnas = require "cnas"
local args = cnas.args

local DIFFERENT = 8

local opt = cnas.options {
  about = "What differs between two runs: options, machine, recipe, changes by hand, numbers, results.\n"
    .. "Exit status: 0 when they are the same run, 8 when they differ. Times, memory, the number of threads and\n"
    .. "where a run lies are told, but do not count.",
  folder = false, computes = false,
  { "first", argument = true, metavar = "RUN", help = "a run's folder" },
  { "second", argument = true, metavar = "RUN", help = "another one" },
  { "all", default = false, help = "every line of the recipes that differs, not the first 60" },
  { "json", default = false, help = "print it as JSON" },
}

-- The one run that a path means.
local function read(path)
  local runs = cnas.folder.find(path)
  if #runs > 1 then
    args.fail("usage", "%s has the runs of %d seeds: name one of them, %s for example", path, #runs, runs[1])
  end
  return cnas.folder.read(runs[1])
end

local a, b = read(opt.first), read(opt.second)
local result = cnas.compare(a, b)

-- What the program diff says about the files of the recipes; nothing when there is no such program.
local function source_lines()
  local function quoted(path) return "'" .. path:gsub("'", "'\\''") .. "'" end
  local lines = {}
  for _, name in ipairs(result.sources) do
    local pipe <close> = io.popen(("LC_ALL=C diff -uN --label %s --label %s -- %s %s 2>/dev/null"):format(
      quoted("a/" .. name), quoted("b/" .. name), quoted(a.folder .. "/" .. name), quoted(b.folder .. "/" .. name)))
    for line in pipe:lines() do lines[#lines + 1] = line end
  end
  return lines
end

result.source_lines = source_lines()
if opt.json then
  print(cnas.json.encode(result, { indent = true }))
  os.exit(result.same and 0 or DIFFERENT, true)
end

-- For people ----------------------------------------------------------------------------------------------------------

-- Texts of a run's folder are whatever somebody wrote there: nothing of them controls the terminal.
local function put(text) print((text:gsub("[%c\127]", "?"))) end

-- A value as text; of a number the shortest that is this one, so that two which differ look different.
local function exact(value)
  if value == nil then return "-" end
  if math.type(value) ~= "float" then return tostring(value) end
  for digits = 6, 17 do
    local text = ("%." .. digits .. "g"):format(value)
    if tonumber(text) == value then return text end
  end
end

-- Rows in columns: what, a, b, and a remark.
local function table_of(rows)
  local widths = { 0, 0, 0 }
  for _, row in ipairs(rows) do
    for i = 1, 3 do widths[i] = math.max(widths[i], utf8.len(row[i]) or #row[i]) end
  end
  for _, row in ipairs(rows) do
    local words = {}
    for i = 1, 3 do words[i] = row[i] .. (" "):rep(widths[i] - (utf8.len(row[i]) or #row[i])) end
    put(("  %s   %s"):format(table.concat(words, "   "), row[4] or ""):match "^(.-)%s*$")
  end
end

local function of_fields(rows, name_of)
  local out = {}
  for i, row in ipairs(rows) do
    local function value(side)
      local origin = row["origin_" .. side]
      return exact(row[side]) .. (origin and origin ~= "given" and (" (%s)"):format(origin) or "")
    end
    out[i] = { name_of and name_of(row.name) or row.name, value "a", value "b",
               row.counts == false and "does not count" or nil }
  end
  table_of(out)
end

local function dashed(name) return "--" .. name:gsub("_", "-") end

local function seconds(value) return value and ("%.0f s"):format(value) or "" end

for _, side in ipairs { "a", "b" } do
  local run = result[side]
  put(("%s  %s: %s, %s%s"):format(side, run.folder, run.recipe or "recipe unknown", run.state,
    run.started and ", begun " .. run.started or ""))
  for _, problem in ipairs(run.problems) do put("     " .. problem) end
end

local function section(title, differs, same)
  print()
  put(title .. (differs and "" or ": " .. (same or "the same")))
  return differs
end

if section("options", #result.options > 0) then of_fields(result.options, dashed) end
if section("versions and machine", #result.machine > 0) then of_fields(result.machine) end

if section("recipe", #result.sources > 0) then
  local most = opt.all and math.huge or 60
  for i, line in ipairs(result.source_lines) do
    if i > most then
      put(("  … %d more lines (--all)"):format(#result.source_lines - most))
      break
    end
    put("  " .. line)
  end
  if #result.source_lines == 0 then
    put("  " .. table.concat(result.sources, ", ") .. ": they differ; the program diff would show how")
  end
end

if section("changes by hand", #result.changes.a + #result.changes.b > 0, "none") then
  for _, side in ipairs { "a", "b" } do
    for _, text in ipairs(result.changes[side]) do put(("  %s  %s"):format(side, text)) end
  end
end

-- "stage 2, search epoch 1, steps 300 to 340"
local function place(at)
  local words = {}
  if at.stage then words[#words + 1] = "stage " .. at.stage end
  words[#words + 1] = at.epoch and ("%s epoch %d"):format(at.phase, at.epoch) or at.phase
  local from = at.from and at.step and at.from < at.step and ("steps %d to "):format(at.from)
  if at.step then words[#words + 1] = (from or "step ") .. at.step end
  return table.concat(words, ", ")
end

local numbers = result.numbers
local more = numbers.more_a > 0 and ("; a has %d more"):format(numbers.more_a)
  or numbers.more_b > 0 and ("; b has %d more"):format(numbers.more_b) or ""
if section("numbers", numbers.different > 0 or more ~= "", ("the same in all %d lines"):format(numbers.lines)) then
  if numbers.different == 0 then
    put(("  the same in the %d lines that both have%s"):format(numbers.lines, more))
  else
    put(("  part at %s (line %d of %d; %d differ%s)"):format(place(numbers.place), numbers.line, numbers.lines,
      numbers.different, more))
    if numbers.place_b then put("  where b is at " .. place(numbers.place_b)) end
    local rows = {}
    for i, row in ipairs(numbers.values) do
      local x, y = row.a, row.b
      local off = x and y and math.abs(x - y) / math.max(math.abs(x), 1e-300)
      rows[i] = { row.name, exact(x), exact(y), off and ("off by %.1e of it"):format(off) or nil }
    end
    table_of(rows)
  end
end

if section("results", #result.results.rows + #result.results.stages + #result.results.cell > 0) then
  of_fields(result.results.rows)
  if #result.results.cell > 0 then put("  the cell that was trained") end
  of_fields(result.results.cell, function(name) return "  " .. name end)
  for _, stage in ipairs(result.results.stages) do
    put(("  stage %d%s%s"):format(stage.index, stage.name and " (" .. stage.name .. ")" or "",
      #stage.cells > 0 and ": another cell" or ""))
    local rows = {}
    for _, list in ipairs { stage.cells, stage.rows } do
      for _, row in ipairs(list) do rows[#rows + 1] = { "  " .. row.name, exact(row.a), exact(row.b) } end
    end
    table_of(rows)
  end
end
if a.seconds or b.seconds then
  print()
  put(("time: %s, %s"):format(seconds(a.seconds), seconds(b.seconds)))
end
print(result.same and "\nthe same run, in all that counts" or "\nthey differ")
os.exit(result.same and 0 or DIFFERENT, true)
