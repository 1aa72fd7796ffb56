-- recipes/validate.lua: its figures are those that one computes by hand, of every kind of model file.

local cnas = require "cnas"
local T = require "spec"

local function validate(words, about)
  local command = { "recipes/validate.lua", seconds = 600, env = { CNAS_THREADS = 1 } }
  for _, word in ipairs(words) do command[#command + 1] = word end
  local status, out, err = T.run(command)
  if about then T.equal(status, about, err) end
  return out, err
end

local function network(classes)
  return cnas.network { genotype = "CNAS", channels = 4, layers = 4, classes = classes, rng = cnas.rng(5, "weights") }
end

-- A saved network for shapes whose weights are no longer the first ones, so that its answers differ.
local function saved(folder, about)
  local net = network(10)
  net:train(true)
  local _, _, test = cnas.data.load("shapes", { seed = 1, train_images = 10, test_images = 60 })
  local optimizer = cnas.optim.sgd(net:parameters(), { lr = 0.05, momentum = 0.9 })
  for _ = 1, 12 do
    for x, y in cnas.data.loader { dataset = test, batch = 20 } do
      optimizer:step(cnas.cross_entropy(net(x), y))
    end
  end
  local path = folder .. "/net.safetensors"
  cnas.model.save(path, net, about or { genotype = "CNAS", dataset = "shapes" })
  return path, net:train(false), test
end

T.describe("recipes/validate.lua", function()
  T.it("counts as one does by hand", function()
    local path, net, test = saved(T.folder())
    local top1, top5, loss, right = 0, 0, 0, {}
    for i = 1, #test do -- one by one
      local x, y
      for a, b in cnas.data.loader { dataset = test:subset { i }, batch = 1 } do x, y = a, b end
      local logits = cnas.no_grad(net, x)
      local row, label = logits:totable()[1], test:label(i)
      local above = 0
      for k, value in ipairs(row) do if k ~= label + 1 and value > row[label + 1] then above = above + 1 end end
      if above == 0 then top1, right[label] = top1 + 1, (right[label] or 0) + 1 end
      if above < 5 then top5 = top5 + 1 end
      loss = loss + cnas.cross_entropy(logits, y):item()
    end
    T.truthy(top1 > 6 and top1 < 60, "the network should be better than chance, and not perfect: " .. top1)
    local out = validate({ "--model", path, "--images", 60, "--batch", 17, "--json", "--per-class" }, 0)
    local result = cnas.json.decode(out)
    T.equal(result.images, 60)
    T.near(result.top1, top1 / 60, 1e-12)
    T.near(result.top5, top5 / 60, 1e-12)
    T.near(result.loss, loss / 60, 1e-5)
    for class, entry in ipairs(result.per_class) do
      T.equal(entry.images, 6)
      T.near(entry.top1, (right[class - 1] or 0) / 6, 1e-12)
    end
    out = validate({ "--model", path, "--images", 60 }, 0)
    T.contains(out, ("shapes, 60 images: top-1 %.4f  top-5 %.4f"):format(top1 / 60, top5 / 60))
  end)

  T.it("says what is missing or does not fit", function()
    local folder = T.folder()
    local path = saved(folder, {})
    local _, err = validate({}, 2)
    T.contains(err, "--model WHAT is needed")
    _, err = validate({ "--model", path }, 2)
    T.contains(err, "does not say which cell it is made of")
    _, err = validate({ "--model", path, "--arch", "CNAS" }, 2)
    T.contains(err, "does not say its dataset")
    validate({ "--model", path, "--arch", "CNAS", "--data", "shapes", "--images", 5 }, 0)
    _, err = validate({ "--model", path, "--arch", "CNAS", "--channels", 8, "--data", "shapes" }, 2)
    T.contains(err, "has channels = 4, and 8 was given")
    _, err = validate({ "--model", path, "--arch", "DARTS_V2", "--data", "shapes" }, 3)
    T.contains(err, "does not fit this network")
    _, err = validate({ "--model", folder .. "/none", "--data", "shapes" }, 3)
    T.contains(err, "no such file or folder")
    cnas.model.save(path, network(7), { genotype = "CNAS", dataset = "shapes" })
    _, err = validate({ "--model", path }, 2)
    T.contains(err, "has 7 classes, and shapes has 10")
  end)

  T.it("leaves out files of a folder that cannot be decoded, as many as it may", function()
    local folder, rng = T.folder(), cnas.rng(1, "images")
    for _, class in ipairs { "ant", "bee", "cat" } do
      cnas.file.mkdir(folder .. "/val/" .. class)
      for i = 1, 3 do
        local pixels = (cnas.rand({ 40, 36, 3 }, { rng = rng }) * 255):to "u8"
        cnas.image.save(("%s/val/%s/%d.png"):format(folder, class, i), pixels)
      end
    end
    T.write(folder .. "/val/bee/2.png", "no image")
    cnas.model.save(folder .. "/net.safetensors", network(3), { genotype = "CNAS", dataset = "folder", size = 32 })
    local words = { "--model", folder .. "/net.safetensors", "--root", folder, "--batch", 4, "--json", "--per-class" }
    local _, err = validate(words, 3)
    T.contains(err, "bee/2.png")
    words[#words + 1] = "--max-bad=1"
    local result = cnas.json.decode((validate(words, 0)))
    T.equal({ result.images, result.left_out, result.per_class[1].images, result.per_class[2].images }, { 8, 1, 3, 2 })
    T.equal({ result.per_class[3].class, result.top5 }, { "cat", nil })
  end)

  T.it("says when a network computes nonsense", function()
    local path = T.folder() .. "/net.safetensors"
    local net = network(10)
    for _, entry in ipairs(net:state()) do
      if entry.name == "classifier.bias" then cnas.no_grad(function() entry.tensor:fill_(0 / 0) end) end
    end
    cnas.model.save(path, net, { genotype = "CNAS", dataset = "shapes" })
    local _, err = validate({ "--model", path, "--images", 5 }, 4)
    T.contains(err, "the loss of images 1 to 5 is")
  end)
end)
