-- seeds.lua - --seeds N: a recipe run with N seeds, one after the other, and what the runs say together.
--
-- Seed S runs in DIR/seed-S exactly as --seed S -o DIR/seed-S would run it, by the same file read anew. seeds.json in
-- DIR and the closing table have each run's results, their mean and deviation. --resume goes on with those that are
-- not complete, and with more seeds when N has grown.

local cnas = require "cnas"
local args = require "cnas.args"

local seeds = {}

-- Numbers that a run's summary has to say: its `results`, or those of its last derived architecture.
local about_the_run = { stage = true, step = true, epoch = true }
local function results_of(folder)
  local path = folder .. "/summary.json"
  if not cnas.file.exists(path) then return nil end
  local summary = cnas.json.decode(cnas.file.read(path), path)
  local derived = summary.derived or {}
  local found = {}
  for _, source in ipairs { derived[#derived] or {}, summary.results or {} } do
    for name, value in pairs(source) do
      if type(value) == "number" and not about_the_run[name] then found[name] = value end
    end
  end
  return found
end

-- Whether a column is of counts: whole numbers beyond 0 and 1, which accuracies are too.
local function counts(list, name)
  local large = false
  for _, one in ipairs(list) do
    local value = one.results[name]
    if value and value % 1 ~= 0 then return false end
    large = large or value ~= nil and math.abs(value) > 1
  end
  return large
end

local function print_table(list, names, spread)
  local rows = { { "", table.unpack(names) } }
  for _, one in ipairs(list) do
    local row = { "seed " .. one.seed }
    for _, name in ipairs(names) do
      row[#row + 1] = (counts(list, name) and "%.0f" or "%.4f"):format(one.results[name])
    end
    rows[#rows + 1] = row
  end
  local last = { "mean ± deviation" }
  for _, name in ipairs(names) do
    last[#last + 1] = (counts(list, name) and "%.0f ± %.0f" or "%.4f ± %.4f"):format(spread[name].mean,
                      spread[name].deviation)
  end
  rows[#rows + 1] = last
  local widths = {}
  for _, row in ipairs(rows) do
    for i, text in ipairs(row) do widths[i] = math.max(widths[i] or 0, utf8.len(text)) end
  end
  for _, row in ipairs(rows) do
    local line = {}
    for i, text in ipairs(row) do
      local blank = (" "):rep(widths[i] - utf8.len(text))
      line[i] = i == 1 and text .. blank or blank .. text
    end
    print(table.concat(line, "   "))
  end
end

--- What the runs in folder/seed-S, first <= S < first + count, say together: { runs = { { seed =, results = } … },
--- NAME = { mean =, deviation =, count = } … }; also written to folder/seeds.json. The names are those of numbers that
--- every run has.
function seeds.summary(folder, first, count)
  local list, names, spread = {}, {}, {}
  for seed = first, first + count - 1 do
    local results = results_of(("%s/seed-%d"):format(folder, seed))
    if results then list[#list + 1] = { seed = seed, results = results } end
  end
  for _, name in ipairs(args.keys(list[1] and list[1].results or {})) do
    local values = {}
    for _, one in ipairs(list) do values[#values + 1] = one.results[name] end
    if #values == #list then
      names[#names + 1] = name
      local mean, deviation = cnas.metric.spread(values)
      spread[name] = { mean = mean, deviation = deviation, count = #values }
    end
  end
  local summary = { runs = list, spread = spread }
  cnas.file.write(folder .. "/seeds.json", cnas.json.encode(summary, { indent = true }) .. "\n")
  return summary, names
end

-- Says at once when a seed's folder holds a run and nothing says what to do with it.
local function inspect(folder, opt)
  local metrics = folder .. "/metrics.jsonl"
  if cnas.file.exists(metrics) and cnas.file.size(metrics) > 0 and not opt.resume and not opt.overwrite then
    args.fail("usage", "%s holds a run already: go on with all of them by --resume, delete them by --overwrite, or "
              .. "choose another folder by -o DIR", folder)
  end
end

-- The words of the command line that all seeds share, from the first start on, and the first seed: --resume need not
-- repeat them.
local function shared_words(folder, opt, words, seed_given)
  local path = folder .. "/command.json"
  if opt.resume and not opt.overwrite and cnas.file.exists(path) then
    local before = cnas.json.decode(cnas.file.read(path), path)
    before.words[#before.words + 1] = "--no-overwrite" -- which was meant once
    return table.move(words, 1, #words, #before.words + 1, before.words), seed_given and opt.seed or before.seed
  end
  cnas.file.mkdir(folder)
  cnas.file.write(path, cnas.json.encode { words = table.move(words, 1, #words, 1, {}), seed = opt.seed } .. "\n")
  return words, opt.seed
end

--- Runs the recipe words[0] with the command line `words` for opt.seeds seeds from opt.seed on, in subfolders of
--- `folder`; then prints the summary. seed_given: whether the command line had the seed.
function seeds.run(opt, words, folder, seed_given)
  local script, outer, size = words[0], rawget(_G, "arg"), cnas.dist.world().size
  if size > 1 then
    args.fail("usage", "--seeds: expected one process, got %d: start each seed by itself, with --seed and -o", size)
  end
  local function folder_of(seed) return ("%s/seed-%d"):format(folder, seed) end
  for seed = opt.seed, opt.seed + opt.seeds - 1 do inspect(folder_of(seed), opt) end
  local shared, first = shared_words(folder, opt, words, seed_given)
  for seed = first, first + opt.seeds - 1 do
    print(("seed %d (%d of %d), in %s"):format(seed, seed - first + 1, opt.seeds, folder_of(seed)))
    local mine = table.move(shared, 1, #shared, 1, { [0] = script })
    for _, word in ipairs { "--seed", tostring(seed), "--out", folder_of(seed) } do mine[#mine + 1] = word end
    if opt.resume and not cnas.file.exists(folder_of(seed) .. "/config.json") then mine[#mine + 1] = "--no-resume" end
    local chunk, message = loadfile(script)
    if not chunk then error(message, 0) end
    rawset(_G, "arg", mine)
    local good, e = xpcall(chunk, function(e)
      if type(e) ~= "table" then return debug.traceback(e, 2) end
      if rawget(e, "message") then
        e.message = ("seed %d: %s\nthe same command with --resume goes on with all seeds"):format(seed, e.message)
      end
      return e
    end, table.unpack(mine))
    rawset(_G, "arg", outer)
    if not good then error(e, 0) end
    chunk = nil -- luacheck: ignore 311 (what it made goes, before the next one makes as much)
    collectgarbage()
    collectgarbage()
  end
  local summary, names = seeds.summary(folder, first, opt.seeds)
  print()
  if #names > 0 then print_table(summary.runs, names, summary.spread) end
  print(("%d seeds; everything is in %s"):format(opt.seeds, folder))
end

return seeds
