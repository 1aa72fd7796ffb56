-- export.lua - a network in a format that other programs read.
--
--   cnas recipes/export.lua --model runs/evaluate --to net.onnx --fold         for ONNX Runtime and its like
--   cnas recipes/export.lua --model cnas_imagenet --to net.safetensors         for PyTorch, in its names and layouts
--   cnas recipes/export.lua --arch runs/curriculum_search --to cell.json       the cell alone
--
-- The ending of --to says which. An ONNX file takes images (N,3,H,W), any N, normalised as its metadata says, and gives
-- logits. It is read back and run before it gets its name: what it computes is what the network computes.

local cnas = require "cnas"
local args = cnas.args

local opt = cnas.options(cnas.subject.declare {
  about = "Writes a network as ONNX or safetensors, or its cell as JSON.",
  folder = false,
  { "to", type = "string", metavar = "FILE", help = "what is written: .onnx, .safetensors or .json" },
  { "fold", default = false, help = "ONNX: batch normalisations become part of the convolutions" },
  { "size", type = "integer", min = 1, help = "ONNX: height and width of the images (default: the network's)" },
  { "check", default = true, help = "read the file back and compare" },
  { "force", default = false, help = "replace the file when there is one" },
})
cnas.threads(opt.threads or cnas.threads())

-- What is written, by the file's ending ------------------------------------------------------------------------------

local formats = {}

-- Texts about the network for the file's metadata.
local function texts(about)
  local t = { input = "images (N,C,H,W): RGB from 0 to 1, less mean, divided by std" }
  for _, key in ipairs { "genotype", "mean", "std" } do
    if about[key] then t[key] = cnas.json.encode(about[key]) end
  end
  for _, key in ipairs { "arch", "channels", "classes", "dataset", "epoch", "imagenet", "layers", "top1", "top5" } do
    if about[key] ~= nil then t[key] = tostring(about[key]) end
  end
  return t
end

function formats.onnx(path)
  local net, about = cnas.subject.open(opt)
  local size = opt.size or about.size
  local r = cnas.onnx.export(path, net, {
    size = size, channels = about.in_channels, fold = opt.fold, check = opt.check, metadata = texts(about),
    genotype = about.genotype, layers = about.layers,
  })
  print(("%s: opset %d, %d nodes, %d parameters, images (N,%d,%d,%d), %.1f MB"):format(path, r.opset, r.nodes,
    r.parameters, about.in_channels or 3, type(size) == "table" and size[1] or size,
    type(size) == "table" and size[2] or size, r.bytes / 1e6))
  if r.difference then
    print(("checked on 5 random images in batches of 2 and 3: logits within %.2g of the network's, which reach %.2g "
           .. "and differ by up to %.2g from image to image"):format(r.difference, r.largest, r.spread))
  end
  return about
end

-- Logits of a file's network and of ours on the same images.
local function compare(path, net, about)
  local size = type(about.size) == "table" and about.size or { about.size, about.size }
  local x = cnas.randn(2, size[1], size[2], about.in_channels or 3, { rng = cnas.rng(1, "export") })
  local again = cnas.model.open(path)
  return (cnas.no_grad(again, x) - cnas.no_grad(net, x)):abs():reshape(-1):max():item()
end

function formats.safetensors(path)
  local net, about = cnas.subject.open(opt)
  local said = {}
  for key, value in pairs(about) do if key ~= "path" and key ~= "fresh" then said[key] = value end end
  cnas.model.save(path, net, said)
  print(("%s: %d parameters, %.1f MB"):format(path, net:count(), cnas.file.size(path) / 1e6))
  if opt.check and compare(path, net, about) ~= 0 then
    args.fail("data", "%s: read back, it does not give the same logits", path)
  end
  return about
end

function formats.json(path)
  if not opt.model and not opt.arch then args.fail("usage", "which cell? --arch or --model") end
  local genotype, label
  if opt.model then
    local _, about = cnas.subject.open(opt)
    genotype, label = about.genotype, opt.model
  else
    genotype, label = cnas.arch(opt.arch)
  end
  cnas.file.write(path, cnas.genotype.json(genotype) .. "\n")
  print(("%s: the cell of %s"):format(path, label))
end

-- ---------------------------------------------------------------------------------------------------------------------

if not opt.to then args.fail("usage", "--to FILE is needed: .onnx, .safetensors or .json") end
local write = formats[opt.to:match "%.([%a]+)$"]
if not write then
  args.fail("usage", "--to: expected a file ending in .onnx, .safetensors or .json, got '%s'", opt.to)
end
local there = cnas.file.exists(opt.to)
if there == "folder" then args.fail("usage", "--to: %s is a folder", opt.to) end
if there and not opt.force then args.fail("usage", "%s is there already: --force replaces it", opt.to) end
local about = write(opt.to)
if about and about.fresh then
  print(("its weights are fresh (seed %d): --model takes trained ones"):format(opt.seed))
end
