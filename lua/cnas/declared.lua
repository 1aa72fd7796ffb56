-- declared.lua - declarations of options that several recipes share, in groups: put those you want into cnas.options.
--
--   local opt = cnas.options { about = "…", cnas.declared.data, cnas.declared.supernet, { "mine", default = 1 } }

local declared = {}

--- Where it is computed: see cnas.device.
declared.device = {
  { "device", default = "auto", free = true, metavar = "auto|cpu|cuda|cuda:N",
    help = "where networks are computed; auto: on a GPU that has all kernels, else on the CPU" },
}

--- The dataset and its split.
declared.data = {
  { "data", default = "cifar10", choices = { "cifar10", "cifar100", "shapes" }, help = "dataset" },
  { "root", default = "data", free = true, help = "folder of the datasets" },
  { "download", default = false, free = true, help = "fetch the dataset when it is not there" },
  { "train_images", type = "integer", min = 10, help = "use so many training images (default: all)" },
  { "split", default = 0.4, min = 0.01, max = 0.99, help = "part of them for the weights; the rest: architectures" },
  { "batch", default = 96, min = 1, help = "images in a batch" },
}

--- The supernet and how its weights are trained.
declared.supernet = {
  { "channels", default = 16, min = 1, help = "channels of the first cells" },
  { "layers", default = 8, min = 3, help = "cells" },
  { "nodes", default = 4, min = 1, max = 12, help = "inner nodes of a cell" },
  { "precision", default = "f32", choices = { "f32", "bf16" }, help = "what images within the cells are kept in" },
  { "lr", default = 0.01, min = 0, help = "learning rate of the weights" },
  { "momentum", default = 0.9, min = 0, max = 1, help = "Nesterov momentum of the weights" },
  { "weight_decay", default = 3e-4, min = 0, help = "weight decay of the weights" },
  { "clip", default = 0.0, min = 0, help = "largest gradient norm of the weights; 0: any" },
}

--- What may not be sampled.
declared.guards = {
  { "max_skip", type = "integer", min = 0, help = "at most so many skip_connect in a cell" },
  { "no_none", default = false, help = "never the operation none" },
  { "no_duplicate_edges", default = false, help = "two different inputs for every node" },
}

--- What architectures may cost, and what the reward makes of it. For cnas.costs.of.
declared.costs = {
  { "max_parameters", type = "number", min = 0, help = "never more parameters" },
  { "max_macs", type = "number", min = 0, help = "never more multiply-adds" },
  { "max_latency", type = "number", min = 0, help = "never more milliseconds for an image, measured" },
  { "target_parameters", type = "number", min = 1, help = "reward = accuracy (parameters / X)^-PRICE" },
  { "target_macs", type = "number", min = 1, help = "likewise multiply-adds" },
  { "target_latency", type = "number", min = 1e-6, help = "likewise milliseconds for an image, measured" },
  { "price", default = 0.07, min = 0, help = "the exponent" },
  { "cost_channels", default = 36, min = 1, help = "all this for networks of so many channels" },
  { "cost_layers", default = 20, min = 3, help = "and so many cells" },
}

--- Learning rates and the loss of a REINFORCE controller.
declared.controller = {
  { "hidden", default = 128, min = 1, help = "hidden units of the controller" },
  { "policy_lr", default = 3e-4, min = 0, help = "learning rate of the controller" },
  { "policy_decay", default = 5e-4, min = 0, help = "weight decay of the controller" },
  { "policy_clip", default = 5.0, min = 0, help = "largest gradient norm of the controller; 0: any" },
  { "entropy", default = 0.005, min = 0, help = "weight of the entropy in the controller's loss" },
  { "baseline_decay", default = 0.99, min = 0, max = 0.9999, help = "how slowly the reward's baseline moves" },
  { "temperature", type = "number", min = 1e-3, help = "the controller's logits are divided by it" },
  { "tanh_constant", type = "number", min = 1e-3, help = "its logits become X tanh(logits)" },
  { "op_tanh_reduce", type = "number", min = 1e-3, help = "for operations that X is divided by this" },
}

return declared
