-- pretrained.lua - published networks by name: fetched once, checked, kept, opened.
--
--   local net, about = cnas.pretrained("cnas_imagenet")
--
-- Files are kept in $CNAS_CACHE, else $XDG_CACHE_HOME/cnas, else ~/.cache/cnas. One gets there when its SHA-256 sum is
-- that of the published file, and the sum is compared again whenever it is opened.

local cnas = require "cnas"
local args = require "cnas.args"
local progress = require "cnas.progress"

local pretrained = {}

--- What there is, by name; a recipe may add its own. `sha256`: the sum's first digits, at least 8.
pretrained.models = {
  cnas_imagenet = {
    url = "https://github.com/guoyongcs/CNAS/releases/download/models/cnas-imagenet-602b7057.pth",
    sha256 = "602b7057", file = "cnas-imagenet-602b7057.pth", max_bytes = 64000000, arch = "CNAS",
    about = { dataset = "imagenet", imagenet = true, channels = 48, layers = 14, classes = 1000, auxiliary = true,
              size = 224, mean = { 0.485, 0.456, 0.406 }, std = { 0.229, 0.224, 0.225 },
              published = { top1 = 0.754, top5 = 0.926 } },
  },
}

--- The folder of the files.
function pretrained.folder()
  local function of(name)
    local value = os.getenv(name)
    return value and value ~= "" and value or nil
  end
  local cache = of "XDG_CACHE_HOME" or of "HOME" and of "HOME" .. "/.cache"
  local folder = of "CNAS_CACHE" or cache and cache .. "/cnas"
  return folder or args.fail("usage", "there is no place for downloads: set CNAS_CACHE to a folder")
end

local function known(name)
  local published = pretrained.models[name]
  if published then return published end
  local names = args.keys(pretrained.models)
  args.fail("usage", "there is no published model '%s': expected %s%s", tostring(name), table.concat(names, ", "),
            args.suggestion(tostring(name), names))
end

--- The path of the model's file, fetched when it is not there. Options: folder; url, another place to get it from;
--- progress(bytes, total), which may return false to stop.
function pretrained.fetch(name, options)
  local published = known(name)
  local o = args.check("pretrained", options or {}, { folder = args.optional, url = published.url,
                                                      progress = progress.of_download(name) })
  local folder = o.folder or pretrained.folder()
  local path = folder .. "/" .. published.file
  if cnas.file.exists(path) then
    local fits, reason = cnas.file.has_sha256(path, published.sha256)
    if not fits then args.fail("data", "%s", reason) end
    return path
  end
  cnas.file.mkdir(folder)
  cnas.file.download { url = o.url, path = path, sha256 = published.sha256, max_bytes = published.max_bytes,
                       progress = o.progress }
  return path
end

-- Options of `fetch`, and those of `model.open`.
local function split(options)
  local fetching, opening = {}, {}
  for key, value in pairs(options or {}) do
    local mine = key == "folder" or key == "url" or key == "progress"
    if mine then fetching[key] = value else opening[key] = value end
  end
  return fetching, opening
end

--- The network with its weights, for evaluation, and what is known about it. Options: as for `fetch`, and as for
--- cnas.model.open.
function pretrained.open(name, options)
  local published = known(name)
  local fetching, opening = split(options)
  for key, value in pairs(published.about) do
    if opening[key] ~= nil and opening[key] ~= value then
      args.fail("usage", "%s has %s = %s, and %s was given", name, key, tostring(value), tostring(opening[key]))
    end
  end
  if opening.arch and cnas.arch(opening.arch) ~= cnas.arch(published.arch) then
    args.fail("usage", "%s is made of the cell %s, and another one was given", name, published.arch)
  end
  local about = { name = name }
  for key, value in pairs(published.about) do about[key] = value end
  about.genotype, about.arch = cnas.arch(published.arch)
  return cnas.model.open_file(pretrained.fetch(name, fetching), opening, about)
end

return setmetatable(pretrained, { __call = function(_, ...) return pretrained.open(...) end })
