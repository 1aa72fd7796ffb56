-- Published networks by name: fetched over the loopback, checked, kept, opened. The file has exactly the layout of the
-- published ImageNet network: 48 channels, 14 cells, auxiliary head, 1000 classes.

local cnas = require "cnas"
local maker = require "pth_maker"
local T = require "spec"

local server = T.program:match "^(.*)/[^/]*$" .. "/tests/serve"

-- Calls f(url) while the file is served; returns what the server counted.
local function served(path, f, cut_after)
  if cnas.file.exists(server) ~= "file" then T.skip("the C tests, and with them tests/serve, are not built") end
  local folder = T.folder()
  local pipe = io.popen(("%s %s %s/url %s >%s/counts"):format(T.quote(server), T.quote(path), folder, cut_after or "",
    folder), "w")
  for _ = 1, 1000 do
    if cnas.file.exists(folder .. "/url") then break end
    os.execute "sleep 0.01"
  end
  local ok, e = pcall(f, T.read(folder .. "/url"))
  pipe:close()
  if not ok then error(e, 0) end
  return T.read(folder .. "/counts")
end

local function sha256(path)
  local _, out = T.shell("sha256sum " .. T.quote(path))
  return out:match "^(%x+)"
end

local function network()
  return cnas.network { genotype = "CNAS", imagenet = true, auxiliary = true, rng = cnas.rng(3, "weights") }
end

-- A file of the published layout, and the network in it.
local function publish(folder, rename)
  local net, path = network(), folder .. "/published.pth"
  cnas.model.save(folder .. "/net.safetensors", net, {})
  return path, maker.legacy(path, folder .. "/net.safetensors", rename), net
end

-- The published model under another sum and address.
local function declare(name, sum, url)
  local known = {}
  for key, value in pairs(cnas.pretrained.models.cnas_imagenet) do known[key] = value end
  known.sha256, known.url, known.file = sum, url, name .. ".pth"
  cnas.pretrained.models[name] = known
end

T.describe("a published network", function()
  T.it("is fetched once, also after a cut, and loaded by name", function()
    local folder, cache = T.folder(), T.folder() .. "/deep/cache"
    local path, entries, net = publish(folder)
    T.equal(entries, 1292)
    T.equal(net:count(), 6579144)
    local told = {}
    local counts = served(path, function(url)
      declare("test_network", sha256(path):sub(1, 8), url)
      local back, about = cnas.pretrained("test_network", {
        folder = cache, progress = function(now, total) told[1], told[2] = now, total end,
      })
      T.equal({ about.name, about.dataset, about.channels, about.layers, about.classes, about.imagenet },
        { "test_network", "imagenet", 48, 14, 1000, true })
      T.equal(about.genotype, cnas.genotype.named "CNAS")
      local other = {}
      for _, entry in ipairs(back:state()) do other[entry.name] = entry.tensor end
      for _, entry in ipairs(net:state()) do
        T.equal(entry.tensor:detach():ne(other[entry.name]:detach()):to "f64":sum():item(), 0.0, entry.name)
      end
    end, 1000000)
    T.equal(counts, "2 requests, 1 ranges\n")
    T.equal(told, { cnas.file.size(path), cnas.file.size(path) })
    T.equal(cnas.file.list(cache), { "test_network.pth" })
    T.truthy(cnas.pretrained("test_network", { folder = cache })) -- the server is gone
    local file <close> = io.open(cache .. "/test_network.pth", "r+b")
    file:seek("set", 20000000)
    file:write "?"
    file:flush()
    T.equal(T.raises("expected the SHA.256 sum", cnas.pretrained, "test_network", { folder = cache }).code, "data")
  end)

  T.it("with a wrong checksum is refused and not kept", function()
    local cache = T.folder()
    local path = T.write(T.folder() .. "/file", "not the network")
    served(path, function(url)
      declare("test_network", "602b7057", url)
      local e = T.raises("expected the SHA.256 sum 602b7057 of the published file", cnas.pretrained, "test_network",
        { folder = cache, progress = function() end })
      T.equal(e.code, "data")
    end)
    T.equal(cnas.file.list(cache), {})
  end)

  T.it("that has other entries is refused with all their names", function()
    local folder = T.folder()
    local path = publish(folder, function(name)
      if name:find "^cells%.13%." then return nil end
      return name == "classifier.bias" and "head.bias" or name
    end)
    declare("test_network", sha256(path), "http://127.0.0.1:9/")
    cnas.file.rename(path, folder .. "/test_network.pth")
    local e = T.raises("does not fit this network", cnas.pretrained, "test_network", { folder = folder })
    T.equal(e.code, "data", tostring(e))
    T.equal(e.unexpected, { "head.bias" })
    T.equal(e.missing[#e.missing], "classifier.bias")
    T.equal(e.missing[1], "cells.13.preprocess0.op.1.weight")
    T.contains(e, ("(%d missing, 1 unexpected, 0 misshapen entries)"):format(#e.missing))
  end)

  T.it("is not taken for another", function()
    T.raises("no published model 'cnas_imagnet'.*did you mean 'cnas_imagenet'", cnas.pretrained, "cnas_imagnet")
    T.raises("has channels = 48, and 36 was given", cnas.pretrained, "cnas_imagenet", { channels = 36 })
    T.raises("made of the cell CNAS, and another", cnas.pretrained, "cnas_imagenet", { arch = "DARTS_V2" })
    T.raises("no published model of that name.*did you mean 'cnas_imagenet'", cnas.model.open, "cnas-imagenet")
  end)

  T.it("lies in the folder that the environment names", function()
    local function folder(env)
      env.HOME = "/home/x"
      local _, out = T.run { "-e", "print(require 'cnas'.pretrained.folder())", env = env }
      return out
    end
    T.equal(folder { CNAS_CACHE = "/a", XDG_CACHE_HOME = "/b" }, "/a\n")
    T.equal(folder { CNAS_CACHE = "", XDG_CACHE_HOME = "/b" }, "/b/cnas\n")
    T.equal(folder { XDG_CACHE_HOME = "" }, "/home/x/.cache/cnas\n")
  end)
end)
