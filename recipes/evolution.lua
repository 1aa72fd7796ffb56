-- evolution.lua - regularized evolution: Real et al., "Regularized Evolution for Image Classifier Architecture Search",
-- AAAI 2019; on a supernet, as in Guo et al., "Single Path One-Shot Neural Architecture Search", ECCV 2020.
--
--   cnas recipes/evolution.lua --preset quick
--   cnas recipes/evolution.lua
--   cnas recipes/evolution.lua --target-macs 5e8 --price 0.07
--
-- Real et al. train every child by itself; here its fitness is its accuracy with the weights that all share, trained by
-- uniform samples before: a child costs seconds instead of hours. The rest is theirs: a child is a mutation of the best
-- of a few members of the population, and the oldest member dies.

local cnas = require "cnas"

local opt = cnas.options {
  about = "Regularized evolution (Real et al., AAAI 2019) with shared weights.",
  presets = {
    paper = {},
    quick = cnas.args.with(cnas.oneshot.quick, { generations = 3, children = 10, population = 8, sample = 3 }),
  },
  cnas.oneshot.options,
  { "generations", default = 20, min = 1, help = "how often" },
  { "children", default = 50, min = 1, help = "so many children are born" },
  { "population", default = 50, min = 2, help = "living architectures" },
  { "sample", default = 10, min = 1, help = "so many of them compete to be a parent" },
}

local shot = cnas.oneshot(opt)
local run, sampler = shot.run, shot.sampler
local population = cnas.population {
  size = opt.population, sample = opt.sample, rng = sampler.rng, revive = cnas.genotype.new,
}
run:keep { population = population }

for stage in run:stages(shot.stages) do
  for _ in run:epochs("train", opt.epochs) do shot:train() end
  for _ in run:epochs("evolve", opt.generations) do
    for _ in run:candidates(opt.children) do
      local child = population:full() and sampler:mutate(population:parent()) or sampler.uniform()
      shot:measure(child, function(arch, reward) population:add(arch, reward) end)
      run:log { population = population:mean() }
    end
  end
  shot:derive(stage)
end
