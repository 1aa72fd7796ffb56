-- data.lua - datasets by name, split for a search; loaders that make batches of them.
--
--   local train, valid, test = cnas.data.load("cifar10", { root = "data", split = 0.4, seed = 1 })
--   for x, y in cnas.data.loader { dataset = train, batch = 96, shuffle = true, augment = true } do … end
--
-- A dataset d: #d, d:image(i) (u8, (H,W,C)), d:label(i) (0 … d.classes-1), d.name, d.class_names, d.mean, d.std,
-- d:subset{ … }, d:split(fraction, seed). Add your own to cnas.data.sets: a function of load's options that returns a
-- training set and a test set.

local cnas = require "cnas"
local args = require "cnas.args"
local progress = require "cnas.progress"

local data = { loader = cnas.datasets.loader, sets = {} }

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
  return cnas.datasets.shapes(o.seed, "train", o.train_images or 10000),
    cnas.datasets.shapes(o.seed, "test", o.test_images or 2000)
end

--- Training, validation and test set. Options: root = "data", the folder of the files; split = 1, the part of the
--- training set that is trained on, the rest is for validation; seed = 0, which draws the split; train_images and
--- test_images, how many to use at all; download = false, whether missing files are fetched, from url, which must have
--- the sum md5 (both known for the named sets), telling progress(bytes, total), which may return false to stop.
function data.load(name, options)
  local o = args.check("data.load", options or {}, {
    root = "data", split = 1, seed = 0, train_images = args.optional, test_images = args.optional, download = false,
    url = args.optional, md5 = args.optional, progress = args.optional,
  })
  local make = data.sets[name]
  if not make then
    local known = args.keys(data.sets)
    error(("data.load: there is no dataset '%s': expected %s%s"):format(tostring(name), table.concat(known, ", "),
      args.suggestion(tostring(name), known)), 2)
  end
  local all, test = make(o)
  local train, valid = all:split(o.split, o.seed)
  return train, valid, test
end

return data
