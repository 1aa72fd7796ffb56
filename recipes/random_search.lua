-- random_search.lua - random search with shared weights: Li and Talwalkar, "Random Search and Reproducibility for
-- Neural Architecture Search", UAI 2019.
--
--   cnas recipes/random_search.lua --preset quick            on drawn shapes, in a minute or two
--   cnas recipes/random_search.lua                           on CIFAR-10
--   cnas recipes/random_search.lua --max-parameters 3.5e6    only cells of networks that small
--
-- The supernet is trained by an architecture drawn uniformly for each batch; then architectures are drawn and measured
-- with the weights they share. Nothing is learnt about architectures: this is what every other search has to beat.

local cnas = require "cnas"

local opt = cnas.options {
  about = "Random search with shared weights (Li and Talwalkar, 2019).",
  presets = { paper = {}, quick = cnas.args.with(cnas.oneshot.quick, { rounds = 3, samples = 10 }) },
  cnas.oneshot.options,
  { "rounds", default = 20, min = 1, help = "how often" },
  { "samples", default = 50, min = 1, help = "so many architectures are drawn and measured" },
}

local shot = cnas.oneshot(opt)
local run, sampler = shot.run, shot.sampler

for stage in run:stages(shot.stages) do
  for _ in run:epochs("train", opt.epochs) do shot:train() end
  for _ in run:epochs("search", opt.rounds) do
    for _ in run:candidates(opt.samples) do shot:measure(sampler.uniform()) end
  end
  shot:derive(stage)
end
