-- subject.lua - the network that a recipe is about: one from a file, or one made of a cell with fresh weights.
--
--   local opt = cnas.options(cnas.subject.declare { about = "…", { "size", … } })
--   local net, about = cnas.subject.open(opt)
--
-- declare puts the options model, arch, channels, layers, classes and imagenet in front of a recipe's own.

local cnas = require "cnas"
local args = require "cnas.args"

local subject = {}

local own = {
  { "model", type = "string", metavar = "WHAT",
    help = "an evaluation's folder, a .safetensors or .pth file, or a published model" },
  { "arch", type = "string", metavar = "WHAT", help = "a published cell, a genotype's file or a search's folder" },
  { "channels", type = "integer", min = 1, help = "of the first cells (default: 36; with --imagenet 48)" },
  { "layers", type = "integer", min = 1, help = "cells (default: 20; with --imagenet 14)" },
  { "classes", type = "integer", min = 1, help = "that are told apart (default: 10; with --imagenet 1000)" },
  { "imagenet", default = false, help = "the network for ImageNet, with --arch alone" },
}

--- `spec`, which is for cnas.options, with these options in front.
function subject.declare(spec)
  for i, option in ipairs(own) do table.insert(spec, i, option) end
  return spec
end

--- The network, for evaluation, and what is known about it: genotype, channels, layers, classes, imagenet; size, the
--- images' height and width; fresh = true where its weights are not from a file; and what a file says.
function subject.open(opt)
  local net, about
  if opt.model then
    net, about = cnas.model.open(opt.model, {
      arch = opt.arch, channels = opt.channels, layers = opt.layers, classes = opt.classes,
      imagenet = opt.imagenet or nil,
    })
  elseif opt.arch then
    local imagenet = opt.imagenet
    about = { imagenet = imagenet, channels = opt.channels or imagenet and 48 or 36, fresh = true,
              layers = opt.layers or imagenet and 14 or 20, classes = opt.classes or imagenet and 1000 or 10 }
    about.genotype, about.arch = cnas.arch(opt.arch)
    net = cnas.network { genotype = about.genotype, channels = about.channels, layers = about.layers,
                         classes = about.classes, imagenet = imagenet, rng = cnas.rng(opt.seed, "weights") }
    net:train(false)
  else
    args.fail("usage", "which network? --model FILE for one with weights, or --arch CELL for one with fresh weights")
  end
  about.size = about.size or about.imagenet and 224 or 32
  return net, about
end

return subject
