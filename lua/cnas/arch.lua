-- arch.lua - the cell that a user means: a published one, a file, or what a run found.
--
--   local genotype, label = cnas.arch("cnas")                  a published name; letter case, - and _ do not matter
--   local genotype, label = cnas.arch("cell.json")             JSON, or the Python text of published genotypes
--   local genotype, label = cnas.arch("runs/my_search")        the best cell of the last stage that the search finished
--
-- A file is data and never run. The label says in a few words where the cell is from.

local cnas = require "cnas"
local args = require "cnas.args"

-- A genotype takes a kilobyte; its file may hold a record beside it.
local most_bytes = 1 << 20

-- Other names that published cells go by. DARTS without a number is its second version, as in its authors' code.
local also = { darts = "DARTS_V2", pcdarts = "PC_DARTS_cifar", pcdartsimagenet = "PC_DARTS_image" }

local function plain(name) return (name:lower():gsub("[-_]", "")) end

local function published(name)
  for _, known in ipairs(cnas.genotype.published()) do
    if plain(known) == plain(name) then return known end
  end
  return also[plain(name)]
end

-- The genotype in a file. Errors name the file.
local function read(path)
  local text = cnas.file.read(path, most_bytes)
  local good, found = pcall(cnas.genotype.parse, text)
  if not good then args.fail("data", "%s: %s", path, tostring(found)) end
  return found, text
end

-- The highest N of genotypes/stage-N.json.
local function last_stage(folder)
  local last
  for _, name in ipairs(cnas.file.list(folder)) do
    local number = math.tointeger(tonumber(name:match("^stage%-(%d+)%.json$")))
    if number and (not last or number > last) then last = number end
  end
  return last
end

local function from_run(folder)
  local genotypes = folder .. "/genotypes"
  local stage = cnas.file.exists(genotypes) == "folder" and last_stage(genotypes)
  if stage then
    local path = ("%s/stage-%d.json"):format(genotypes, stage)
    local found, text = read(path)
    local decoded, record = pcall(cnas.json.decode, text, path)
    local accuracy = decoded and type(record) == "table" and tonumber(record.validation_accuracy)
    return found, ("%s, stage %d%s"):format(folder, stage,
      accuracy and (" (validation %.3f)"):format(accuracy) or "")
  end
  local trained = genotypes .. "/cell.json" -- of an evaluation
  if cnas.file.exists(trained) == "file" then return (read(trained)), folder end
  args.fail("data", "%s: expected the folder of a run with genotypes/stage-N.json, which a search writes at the end of "
            .. "each stage; there is none", folder)
end

--- The genotype that `what` stands for, and a label. An error (usage: no such thing; data: not what it should be) lists
--- the published names.
return function(what)
  if type(what) == "table" then return cnas.genotype.check(cnas.genotype.new(what)), "a table" end
  if type(what) ~= "string" or what == "" then
    error("arch: expected a published name, a file or a run's folder, got " .. tostring(what), 2)
  end
  local name = published(what)
  if name then return cnas.genotype.named(name), name end
  local kind = cnas.file.exists(what)
  if kind == "folder" then return from_run((what:gsub("(.)/+$", "%1"))) end
  if kind then return (read(what)), what end
  local names = cnas.genotype.published()
  args.fail("usage", "arch: '%s' is neither a published cell (%s), nor a file, nor a run's folder%s", what,
            table.concat(names, ", "), args.suggestion(what, names))
end
