-- check_data.lua - decodes every picture of a folder and lists the bad ones.
--
--   cnas recipes/check_data.lua --root ~/imagenet              a folder with train and val, or with class folders
--   cnas recipes/check_data.lua --root ~/imagenet/val --json > report.json
--
-- Bad is what cannot be decoded: PIL would raise an error, a loader leaves it out or stops (--max-bad). Damage that is
-- decoded with a warning is listed too, but not bad. Ends with status 3 when there is a bad file, an empty class folder
-- in the training set, or a class that the training set does not have.

local cnas = require "cnas"

local opt = cnas.options {
  about = "Decodes every picture of a folder of class folders and lists the bad files.",
  folder = false,
  { "root", type = "string", metavar = "FOLDER", help = "with train and val in it, or with the class folders" },
  { "json", default = false, help = "print one JSON object" },
}
if not opt.root then cnas.args.fail("usage", "--root FOLDER is needed: the folder to be checked") end
if opt.threads then cnas.threads(opt.threads) end
local progress = require "cnas.progress".new "auto"

local extensions = { jpg = "jpeg", jpeg = "jpeg", jpe = "jpeg", jfif = "jpeg", png = "png" }
local counted = { "jpeg", "png", "grey", "cmyk", "palette", "alpha", "deep", "progressive", "rotated" }

local list = cnas.json.array

-- What a path looks like from the root of its set.
local function short(path, root) return path:sub(#root + 2) end

local function count(set, name) set.counts[name] = set.counts[name] + 1 end

local function add(set, path, file)
  local says = extensions[(path:match "%.([^./]*)$" or ""):lower()]
  if file.format ~= "other" and says and says ~= file.format then
    set.lies[#set.lies + 1] = { file = short(path, set.root), is = file.format }
  end
  if file.bad then
    local why = file.bad:sub(1, #path + 2) == path .. ": " and file.bad:sub(#path + 3) or file.bad
    set.bad[#set.bad + 1] = { file = short(path, set.root), why = why }
    return
  end
  count(set, file.format)
  if set.counts[file.colour] then count(set, file.colour) end
  if file.alpha then count(set, "alpha") end
  if file.bits == 16 then count(set, "deep") end
  if file.progressive then count(set, "progressive") end
  if file.orientation > 1 then count(set, "rotated") end
  if file.warnings > 0 then set.warned[#set.warned + 1] = { file = short(path, set.root), warnings = file.warnings } end
  local pixels = file.width * file.height
  if not set.largest or pixels > set.largest[1] * set.largest[2] then set.largest = { file.width, file.height } end
  if not set.smallest or pixels < set.smallest[1] * set.smallest[2] then set.smallest = { file.width, file.height } end
end

-- Everything about the class folders of `root`; classes: the training set, when these are another set's.
local function check(root, classes)
  local files = cnas.datasets.folder { root = root, may_be_empty = true }
  local set = { root = root, images = #files, classes = files.classes, bad = list(), warned = list(), lies = list(),
                empty = list(), unknown = list(), counts = {} }
  for _, name in ipairs(counted) do set.counts[name] = 0 end
  local started, in_class = cnas.clock(), {}
  for first = 1, #files, 256 do
    if cnas.interrupted() then cnas.args.fail("interrupted", "stopped after %d of %d files", first - 1, #files) end
    for i, file in ipairs(cnas.datasets.survey(files, first, math.min(256, #files + 1 - first))) do
      add(set, files:path(first + i - 1), file)
      in_class[files:label(first + i - 1)] = true
    end
    progress:moving(function()
      return ("%s: %d of %d files, %d bad, %.0f files/s"):format(root, math.min(first + 255, #files), #files, #set.bad,
                                                               first / math.max(cnas.clock() - started, 1e-3))
    end)
  end
  progress:clear()
  local known = {}
  for _, name in ipairs(classes and classes.class_names or files.class_names) do known[name] = true end
  for c, name in ipairs(files.class_names) do
    if not in_class[c - 1] then set.empty[#set.empty + 1] = name end
    if not known[name] then set.unknown[#set.unknown + 1] = name end
  end
  set.seconds = cnas.clock() - started
  set.wrong = #set.bad + #set.unknown + (classes and 0 or #set.empty)
  return set, files
end

local function show(set)
  print(("%s: %d files in %d classes, %d bad, in %s"):format(set.root, set.images, set.classes, #set.bad,
        progress.duration(set.seconds)))
  local words = {}
  for _, name in ipairs(counted) do words[#words + 1] = ("%d %s"):format(set.counts[name], name) end
  print("  " .. table.concat(words, ", "))
  if set.largest then
    print(("  from %dx%d to %dx%d pixels"):format(set.smallest[1], set.smallest[2], set.largest[1], set.largest[2]))
  end
  for _, bad in ipairs(set.bad) do print(("  bad: %s: %s"):format(bad.file, bad.why)) end
  for _, w in ipairs(set.warned) do print(("  damaged, but decoded: %s: %d warnings"):format(w.file, w.warnings)) end
  for _, lie in ipairs(set.lies) do print(("  extension: %s is a %s"):format(lie.file, lie.is)) end
  for _, name in ipairs(set.empty) do print("  empty class folder: " .. name) end
  for _, name in ipairs(set.unknown) do print("  not a class of the training set: " .. name) end
end

local root, sets = (opt.root:gsub("(.)/+$", "%1")), list()
if cnas.file.exists(root .. "/train") == "folder" then
  local train, files = check(root .. "/train")
  sets[1] = train
  for _, part in ipairs { "val", "valid", "test" } do
    if cnas.file.exists(root .. "/" .. part) == "folder" then sets[#sets + 1] = check(root .. "/" .. part, files) end
  end
else
  sets[1] = check(root)
end

local wrong, bad = 0, 0
for _, set in ipairs(sets) do wrong, bad = wrong + set.wrong, bad + #set.bad end
if opt.json then print(cnas.json.encode { root = root, bad = bad, sets = sets })
else for _, set in ipairs(sets) do show(set) end end
if wrong > 0 then
  cnas.args.fail("data", "%s: %d bad files, %d things wrong in all", root, bad, wrong)
end
