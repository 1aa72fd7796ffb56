-- validate.lua - how good a trained network is on a dataset: top-1, top-5 and loss.
--
--   cnas recipes/validate.lua --model runs/evaluate                         the best weights of an evaluation
--   cnas recipes/validate.lua --model net.pth --arch CNAS --data cifar10    PyTorch's, which does not say its cell
--   cnas recipes/validate.lua --model cnas_imagenet --root DIR              a published network; DIR/val has the images
--
-- The network is in evaluation mode, the images are those of the test set (ImageNet: the validation set), prepared as
-- the dataset's publishers do.

local cnas = require "cnas"

local opt = cnas.options {
  about = "Top-1, top-5 and loss of a trained network on a dataset.",
  folder = false,
  { "model", type = "string", metavar = "WHAT", help = "an evaluation's folder, a .safetensors, a .pth, or a name" },
  { "arch", type = "string", help = "its cell, where the file does not say it: as for evaluate.lua" },
  { "prefix", type = "string", metavar = "NAME", help = "where in a .pth the tensors are (default: looked for)" },
  { "channels", type = "integer", min = 1, help = "what its first cells must have; the file says it" },
  { "layers", type = "integer", min = 1, help = "how many cells it must have; the file says it" },
  { "precision", default = "f32", choices = { "f32", "bf16" }, help = "what images within the cells are kept in" },
  cnas.declared.device,
  { "data", type = "string", choices = cnas.args.keys(cnas.data.sets), help = "dataset (default: that of the model)" },
  { "root", default = "data", help = "folder of the datasets" },
  { "download", default = false, help = "fetch the dataset when it is not there" },
  { "images", type = "integer", min = 1, help = "use so many images of it (default: all)" },
  { "size", type = "integer", min = 8, help = "of photographs, the middle square of so many pixels [224]" },
  { "resize", type = "integer", min = 8, help = "after their shorter side was brought to this [8/7 of the size]" },
  { "max_bad", default = 0, min = 0, help = "leave out at most so many files that cannot be decoded" },
  { "batch", default = 100, min = 1, help = "images at a time" },
  { "per_class", default = false, help = "the accuracy of each class too" },
  { "json", default = false, help = "print the results as JSON" },
}
if not opt.model then
  cnas.args.fail("usage", "--model WHAT is needed: an evaluation's folder, a .safetensors or .pth file, or one of: %s",
                 table.concat(cnas.args.keys(cnas.pretrained.models), ", "))
end
if opt.threads then cnas.threads(opt.threads) end
local progress = require "cnas.progress".new "auto"

local net, about = cnas.model.open(opt.model, {
  arch = opt.arch, prefix = opt.prefix, channels = opt.channels, layers = opt.layers, precision = opt.precision,
})
local device, why = cnas.device(opt.device)
if why then progress:warn(why) end
net:to(device)
if about.note then progress:warn(about.path .. ": " .. about.note) end

local name = opt.data or about.dataset
if not name then cnas.args.fail("usage", "%s does not say its dataset: give it by --data", opt.model) end
local _, _, test = cnas.data.load(name, {
  root = opt.root, download = opt.download, seed = opt.seed, test_images = opt.images, max_bad = opt.max_bad,
  only = "test",
})
if test.classes ~= about.classes then
  cnas.args.fail("usage", "%s has %d classes, and %s has %d", opt.model, about.classes, name, test.classes)
end

-- How images are prepared: as the dataset's publishers do, unless the network was trained on another size.
local photographs = name == "imagenet" or name == "folder"
local size = opt.size or photographs and about.size
local treatment = false
if opt.size or opt.resize or photographs and size then
  treatment = { size = size or 224, resize = opt.resize or ((size or 224) * 8 + 6) // 7 }
end
for _, key in ipairs { "mean", "std" } do
  for channel, value in ipairs(about[key] or {}) do
    if math.abs(value - test[key][channel]) > 1e-3 then
      progress:warn(("%s was trained on images of another %s than those of %s: %.4f, not %.4f"):format(opt.model, key,
        name, value, test[key][channel]))
      break
    end
  end
end

-- Of each class: images, and how often it was the first of the logits.
local seen, right = {}, {}
for class = 1, test.classes do seen[class], right[class] = 0, 0 end

local images, top1, top5, loss, started = 0, 0, 0, 0.0, cnas.clock()
local few = math.min(5, test.classes)

local function count(logits, labels)
  local first, best = labels:totable(), logits:topk(few):totable()
  for i, label in ipairs(first) do
    seen[label + 1] = seen[label + 1] + 1
    if best[i][1] == label then
      top1 = top1 + 1
      right[label + 1] = right[label + 1] + 1
    end
    for _, class in ipairs(best[i]) do
      if class == label then top5 = top5 + 1 end
    end
  end
end

for x, y in cnas.data.loader { dataset = test, batch = opt.batch, augment = treatment, device = device } do
  local logits = cnas.no_grad(net, x)
  count(logits, y)
  loss = loss + cnas.cross_entropy(logits, y):item() * x:size(1)
  images = images + x:size(1)
  if loss ~= loss or math.abs(loss) == math.huge then
    cnas.args.fail("not-finite", "the loss of images %d to %d is %s: the model's weights are not those of a trained "
                   .. "network, or the images are not what it was trained on", images - x:size(1) + 1, images,
                   tostring(loss))
  end
  if cnas.interrupted() then cnas.args.fail("interrupted", "stopped after %d of %d images", images, #test) end
  progress:moving(function() return ("%d of %d images, top-1 %.4f"):format(images, #test, top1 / images) end)
end
progress:clear()

local seconds = cnas.clock() - started
local result = {
  model = about.name or opt.model, arch = about.arch, dataset = name, images = images, top1 = top1 / images,
  top5 = few == 5 and top5 / images or nil, loss = loss / images, seconds = seconds,
  images_per_second = images / seconds, parameters = net:count(), channels = about.channels, layers = about.layers,
  classes = about.classes, imagenet = about.imagenet, published = about.published,
  left_out = photographs and #test:bad() or nil,
}
if opt.per_class then
  result.per_class = {}
  for class = 1, test.classes do
    result.per_class[class] = {
      class = test.class_names and test.class_names[class] or tostring(class - 1), images = seen[class],
      top1 = seen[class] > 0 and right[class] / seen[class] or nil,
    }
  end
end

if opt.json then
  print(cnas.json.encode(result, { indent = true }))
  return
end
print(("%s: %s network, C = %d, %d cells, %d classes, %d parameters"):format(result.model,
  about.imagenet and "ImageNet" or "CIFAR", about.channels, about.layers, about.classes, result.parameters))
print(("%s, %d images: top-1 %.4f%s  loss %.4f  (%.0f images/s)"):format(name, images, result.top1,
  result.top5 and ("  top-5 %.4f"):format(result.top5) or "", result.loss, result.images_per_second))
if (result.left_out or 0) > 0 then print(("%d files were left out: they cannot be decoded"):format(result.left_out)) end
if about.published then
  print(("published: top-1 %.3f, top-5 %.3f"):format(about.published.top1, about.published.top5))
end
for _, class in ipairs(result.per_class or {}) do
  print(("  %-24s %6d images  top-1 %s"):format(class.class, class.images,
    class.top1 and ("%.4f"):format(class.top1) or "-"))
end
