-- derive.lua - run:derive: the best of the architectures that a controller proposes at the end of a stage.
--
-- Candidates are chosen by their accuracy on the validation split without augmentation, or by the reward that a recipe
-- makes of it; that on the test set is measured for the chosen ones alone and reported beside it.

local cnas = require "cnas"
local args = require "cnas.args"
local score = require "cnas.score"

-- What a candidate is measured by, besides: a function from an architecture to its accuracy that looks whether the user
-- wants to stop, tells how far it is, and adds what it measures to the front.
local function watched(run, measure, o)
  local known, count = {}, 0
  return function(arch)
    local text = cnas.genotype.text(arch)
    if not known[text] then
      known[text], count = measure(arch), count + 1
      if o.front then
        local values = o.costs and o.costs(arch) or {}
        values.accuracy = known[text]
        o.front:add(arch, values)
      end
      if cnas.interrupted() then run:stop() end
      run.progress:moving(function() return ("deriving: %d architectures measured"):format(count) end)
    end
    return known[text]
  end
end

-- The best of `samples` drawn architectures.
local function best_of(sampler, samples, measure, reward)
  local best = { reward = -math.huge }
  for _ = 1, samples do
    local arch = sampler()
    local accuracy = measure(arch)
    local paid = reward(accuracy, arch)
    if paid > best.reward then best = { arch = arch, accuracy = accuracy, reward = paid } end
  end
  return best
end

--- Derives the stage's cell: `rounds` times the best of `samples` that controller.draw gives, the best of which is
--- returned with its validation accuracy. Writes genotypes/stage-N.json and the drawings.
---
--- Options: images, batch: how candidates are measured, or score (a cnas.score) that measures them; reward, a function
--- of accuracy and architecture by which they are chosen; costs (cnas.costs), which are recorded with the chosen one;
--- front (cnas.pareto of accuracy and costs), to which candidates are added and which is written; compare_uniform, also
--- the mean accuracy of as many uniform samples as a round has.
return function(run, stage, net, controller, valid, test, given)
  local o = args.check("run:derive", given or {}, {
    rounds = 3, samples = 10, images = 10000, batch = 96, compare_uniform = false, score = args.optional,
    reward = function(accuracy) return accuracy end, costs = args.optional, front = args.optional,
  })
  local name = "stage-" .. stage.index
  local path = ("%s/genotypes/%s.json"):format(run.folder, name)
  if run.target then -- the run goes on from a place behind this one
    local text = cnas.file.read(path)
    return cnas.genotype.parse(text), cnas.json.decode(text).validation_accuracy
  end

  local started = cnas.clock()
  local by_images = o.score or score.new { net = net, dataset = valid, batch = o.batch, images = o.images }
  local measure = watched(run, by_images, o)
  local rounds, best = {}, nil
  for round = 1, o.rounds do
    local found = best_of(controller.draw, o.samples, measure, o.reward)
    found.test = score.accuracy_of(net, found.arch, test, o.batch, o.images)
    rounds[round] = { genotype = found.arch, validation_accuracy = found.accuracy, test_accuracy = found.test }
    if not best or found.reward > best.reward then best = found end
  end
  local uniform
  if o.compare_uniform then
    uniform = 0.0
    for _ = 1, o.samples do uniform = uniform + measure(controller.uniform()) / o.samples end
  end

  local arch, cost = best.arch, o.costs and o.costs(best.arch)
  run.record:json("genotypes/" .. name .. ".json", {
    normal = arch.normal, normal_concat = arch.normal_concat,
    reduction = arch.reduction, reduction_concat = arch.reduction_concat,
    stage = stage.index, name = stage.name, nodes = stage.nodes, operations = stage.ops, images = o.images,
    validation_accuracy = best.accuracy, test_accuracy = best.test, uniform_accuracy = uniform, rounds = rounds,
    cost = cost, reward = best.reward,
  })
  run.record:draw(name, arch, run.step)
  if o.front then o.front:write(run) end
  run.record:add {
    stage = stage.index, name = stage.name, phase = "derive", step = run.step, validation_accuracy = best.accuracy,
    test_accuracy = best.test, uniform_accuracy = uniform, parameters = cost and cost.parameters,
    macs = cost and cost.macs, time = { seconds = cnas.clock() - started },
  }
  run.progress:line(("  derived      validation %.3f  test %.3f%s%s  %s"):format(best.accuracy, best.test,
    uniform and ("  (uniform samples %.3f)"):format(uniform) or "",
    cost and ("  %.2fM parameters, %.0fM multiply-adds"):format(cost.parameters / 1e6, cost.macs / 1e6) or "",
    run.progress:paint("dim", run.progress.duration(cnas.clock() - started))))
  return arch, best.accuracy
end
