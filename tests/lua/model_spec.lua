-- Networks in files: saved and opened again, described by their files, and refused with a table of what does not fit.

local cnas = require "cnas"
local T = require "spec"

local function network(imagenet, seed)
  return cnas.network { genotype = "CNAS", channels = 4, layers = 6, classes = 5, imagenet = imagenet,
                        auxiliary = true, rng = cnas.rng(seed or 1, "weights") }
end

local function about(imagenet)
  return { genotype = "CNAS", channels = 4, layers = 6, classes = 5, imagenet = imagenet, auxiliary = true,
           dataset = "shapes", mean = { 0.25, 0.5, 0.75 }, top1 = 0.125 }
end

-- Raises unless both networks have the same state, to the bit.
local function same_state(a, b)
  local other = {}
  for _, entry in ipairs(b:state()) do other[entry.name] = entry.tensor end
  for _, entry in ipairs(a:state()) do
    T.equal(entry.tensor:detach():ne(other[entry.name]:detach()):to "f64":sum():item(), 0.0, entry.name)
  end
end

-- A saved network's path, and the network.
local function saved(imagenet, known)
  local path, net = T.folder() .. "/net.safetensors", network(imagenet)
  cnas.model.save(path, net, known or about(imagenet))
  return path, net
end

T.describe("a model's file", function()
  for _, imagenet in ipairs { false, true } do
    T.it(("gives the network back (%s)"):format(imagenet and "imagenet" or "cifar"), function()
      local path, net = saved(imagenet)
      local back, said = cnas.model.open(path)
      same_state(net, back)
      T.equal(said.dataset, "shapes")
      T.equal(said.mean, { 0.25, 0.5, 0.75 })
      T.equal(said.top1, 0.125)
      T.equal(said.genotype, cnas.genotype.named "CNAS")
      T.equal({ said.channels, said.layers, said.classes, said.imagenet, said.auxiliary }, { 4, 6, 5, imagenet, true })
    end)
  end

  T.it("has PyTorch's names and layouts", function()
    local tensors, metadata = cnas.model.read((saved(false)))
    T.equal(tensors["stem.0.weight"]:shape(), { 12, 3, 3, 3 })
    T.equal(tensors["cells.0._ops.0.op.1.weight"]:shape(), { 4, 1, 3, 3 })
    T.equal(tensors["classifier.weight"]:shape(), { 5, 64 })
    T.equal(tensors["stem.1.num_batches_tracked"]:shape(), {})
    T.equal(metadata.format, "pt")
  end)

  T.it("of an evaluation's folder is the best one, else the last", function()
    local folder = T.folder()
    cnas.file.mkdir(folder .. "/weights")
    T.raises("holds no weights/best", cnas.model.open, folder)
    local last, best = network(false, 1), network(false, 2)
    cnas.model.save(folder .. "/weights/last.safetensors", last, about(false))
    same_state(last, (cnas.model.open(folder)))
    cnas.model.save(folder .. "/weights/best.safetensors", best, about(false))
    same_state(best, (cnas.model.open(folder)))
  end)

  T.it("without a description is inferred, but for its cell", function()
    local path, net = saved(true, {})
    T.raises("does not say which cell", cnas.model.open, path)
    local back, said = cnas.model.open(path, { arch = "CNAS", channels = 4, imagenet = true })
    same_state(net, back)
    T.equal({ said.channels, said.layers, said.classes, said.imagenet, said.auxiliary }, { 4, 6, 5, true, true })
  end)

  T.it("is compared with what was given", function()
    local path = saved(false)
    local e = T.raises("has channels = 4, and 8 was given", cnas.model.open, path, { channels = 8 })
    T.equal(e.code, "usage")
    T.raises("has imagenet = false, and true was given", cnas.model.open, path, { imagenet = true })
  end)

  T.it("may not contradict itself", function()
    local lie = about(false)
    lie.layers = 9
    local e = T.raises("its metadata says layers = 9, its tensors 6", cnas.model.open, (saved(false, lie)))
    T.equal(e.code, "data")
  end)

  T.it("that is none is refused", function()
    local folder = T.folder()
    for _, text in ipairs { "", "x", "PK", ("{"):rep(100), "\x80\x02\x8a\x0a", ("A"):rep(1000) } do
      T.equal(T.raises("", cnas.model.open, T.write(folder .. "/file", text)).code, "data")
    end
    cnas.safetensors.save(folder .. "/other", { x = cnas.zeros(3) })
    T.raises("not one of our networks", cnas.model.open, folder .. "/other")
  end)
end)

T.describe("tensors that do not fit", function()
  T.it("are told in one table, and change nothing", function()
    local path = saved(false)
    local tensors = cnas.model.read(path)
    tensors["classifier.weight"] = cnas.zeros(5, 63)
    tensors["more.weight"], tensors["classifier.bias"] = tensors["classifier.bias"], nil
    for name in pairs(tensors) do
      if name:find "^cells%.3%." then tensors[name] = nil end
    end
    local net, untouched = network(false, 3), network(false, 3)
    local e = T.raises("does not fit", cnas.model.fill, net, tensors, "the file")
    T.equal(e.code, "data")
    T.equal(e.unexpected, { "more.weight" })
    T.equal(e.misshapen, { "classifier.weight is (5,63), must be (5,64)" })
    T.equal(e.missing[#e.missing], "classifier.bias")
    T.contains(e, ("the file does not fit this network (%d missing, 1 unexpected, 1 misshapen entries)")
      :format(#e.missing))
    T.contains(e, ("… and %d more"):format(#e.missing - 8))
    same_state(net, untouched)
  end)
end)
