-- data.lua - datasets by name, split for a search; loaders that make batches of them.
--
--   local train, valid, test = cnas.data.load("cifar10", { root = "data", split = 0.4, seed = 1 })
--   for x, y in cnas.data.loader { dataset = train, batch = 96, shuffle = true, augment = true } do … end
--
-- A dataset d: #d, d:image(i) (u8, (H,W,C)), d:label(i) (0 … d.classes-1), d.name, d.class_names, d.mean, d.std,
-- d:subset{ … }, d:split(fraction, seed). Add your own to cnas.data.sets: a function of load's options that returns a
-- training set and a test set.
--
-- Sets of photographs ("imagenet", "folder") are folders with one folder for each class: root/train and root/val. Their
-- images have many sizes; d:path(i) says where one is, and a loader makes squares of them:
--
--   augment = true    as published: RandomResizedCrop 224, colour jitter, flip
--   augment = false   the shorter side 256, of that the middle 224
--   augment = { size =, scale = { 0.08, 1 }, ratio = { 3/4, 4/3 }, flip =, jitter = { 0.4, 0.4, 0.4, 0.2 }, cutout =,
--               exact = }  changes of the first; with resize = changes of the second
--
-- A file that cannot be decoded is left out of its batch and named on the standard error output, up to max_bad of them
-- in a set; one more is an error. d:bad() lists what was said of them.

local cnas = require "cnas"
local args = require "cnas.args"
local progress = require "cnas.progress"

local data = { sets = {} }

--- Says that a file was left out, and why. Put a function of yours there to hear of it instead.
function data.on_bad(message) io.stderr:write("left out: ", message, "\n") end

--- Batches of a dataset: an iterator for `for`, which closes itself when the loop is left.
function data.loader(o)
  if type(o) == "table" and o.on_bad == nil then
    local copy = { on_bad = function(message) data.on_bad(message) end }
    for key, value in pairs(o) do copy[key] = value end
    o = copy
  end
  return cnas.datasets.loader(o)
end

local function cifar(name, classes)
  return function(o)
    local train, test = cnas.datasets.cifar(classes, o.root, {
      download = o.download, url = o.url, md5 = o.md5, progress = o.progress or progress.of_download(name),
    })
    if o.train_images then train = train:split(1, o.seed, o.train_images) end
    if o.test_images then test = test:split(1, o.seed, o.test_images) end
    return train, test
  end
end

data.sets.cifar10 = cifar("cifar10", 10)
data.sets.cifar100 = cifar("cifar100", 100)

-- Drawn from the seed; needs no files.
function data.sets.shapes(o)
  local train = o.only ~= "test" and cnas.datasets.shapes(o.seed, "train", o.train_images or 10000)
  return train or nil, cnas.datasets.shapes(o.seed, "test", o.test_images or 2000)
end

-- Whether a folder is there.
local function is_folder(path) return cnas.file.exists(path) == "folder" end

-- Class folders in root/train and in the first of the others that is there.
local function pictures(name, others, advice)
  return function(o)
    local function open(part, classes)
      return cnas.datasets.folder { name = name, root = o.root .. "/" .. part, classes = classes, max_bad = o.max_bad }
    end
    local other
    for _, part in ipairs(others) do
      if not other and is_folder(o.root .. "/" .. part) then other = part end
    end
    local has_train = is_folder(o.root .. "/train")
    if not (has_train or o.only == "test") or not (other or o.only == "train") then
      args.fail("data", "%s: expected the folders train and %s in %s, with a folder for each class in them. %s", name,
        table.concat(others, " or "), o.root, advice)
    end
    local train = has_train and open "train"
    local test = o.only ~= "train" and open(other, train or nil)
    if train and o.train_images then train = train:split(1, o.seed, o.train_images) end
    if test and o.test_images then test = test:split(1, o.seed, o.test_images) end
    return train or nil, test or nil
  end
end

data.sets.folder = pictures("folder", { "val", "valid", "test" }, "What is in the classes' folders may have any name.")
data.sets.imagenet = pictures("imagenet", { "val" }, "It cannot be downloaded without an account: unpack "
  .. "ILSVRC2012_img_train.tar (md5 1d675b47d978889d74fa0da5fadfb00e) and ILSVRC2012_img_val.tar (md5 "
  .. "29b22e2961454d5413ddabcf34fc5622) there, the latter's images moved to the folders of their classes.")

--- Training, validation and test set. Options: root = "data", the folder of the files; split = 1, the part of the
--- training set that is trained on, the rest is for validation; seed = 0, which draws the split; train_images and
--- test_images, how many to use at all; download = false, whether missing files are fetched, from url, which must have
--- the sum md5 (both known for the named sets), telling progress(bytes, total), which may return false to stop. For
--- sets of photographs: max_bad = 0, how many files of a set may turn out bad; only = "test" or "train", what alone is
--- wanted: the rest need not be there and is nil.
function data.load(name, options)
  local o = args.check("data.load", options or {}, {
    root = "data", split = 1, seed = 0, train_images = args.optional, test_images = args.optional, download = false,
    url = args.optional, md5 = args.optional, progress = args.optional, max_bad = 0, only = args.optional,
  })
  local make = data.sets[name]
  if not make then
    local known = args.keys(data.sets)
    error(("data.load: there is no dataset '%s': expected %s%s"):format(tostring(name), table.concat(known, ", "),
      args.suggestion(tostring(name), known)), 2)
  end
  if o.only ~= nil and o.only ~= "train" and o.only ~= "test" then
    error(("data.load: only must be 'train' or 'test', got '%s'"):format(tostring(o.only)), 2)
  end
  local world = cnas.dist.world()
  if o.download and world.size > 1 then -- one process fetches what the others then find; on another machine they fetch
    if world.rank == 0 then make(o) end
    world:barrier()
  end
  local all, test = make(o)
  local train, valid
  if all and o.only ~= "test" then train, valid = all:split(o.split, o.seed) end
  if o.only == "train" then test = nil end
  return train, valid, test
end

return data
