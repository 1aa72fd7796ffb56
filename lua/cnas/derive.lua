-- derive.lua - run:derive: the best of the architectures that a controller proposes at the end of a stage.
--
-- Candidates are chosen by their accuracy on the validation split without augmentation, or by the reward that a recipe
-- makes of it; that on the test set is measured for the chosen ones alone and reported beside it.
-- Several processes share the candidates out: rank 0 draws them, each is measured by one process, and all learn how
-- good it is. So the result is that of one process.

local cnas = require "cnas"
local args = require "cnas.args"
local choices = require "cnas.choices"
local score = require "cnas.score"

-- What candidates are measured by, besides: a function from a list of architectures to their accuracies that measures
-- each once, as many at a time as there are processes, looks whether the user wants to stop, tells how far it is, and
-- adds what it measures to the front.
local function watched(run, measure, o)
  local known, count = {}, 0
  local function note(one, accuracy)
    known[one.text], count = accuracy, count + 1
    if not o.front then return end
    local values = o.costs and o.costs(one.arch) or {}
    values.accuracy = accuracy
    o.front:add(one.arch, values)
  end
  return function(archs)
    local texts, new = {}, {}
    for i, arch in ipairs(archs) do
      texts[i] = cnas.genotype.text(arch)
      if known[texts[i]] == nil then
        known[texts[i]] = false
        new[#new + 1] = { arch = arch, text = texts[i] }
      end
    end
    for first = 1, #new, run.world.size do
      local some = table.move(new, first, math.min(first + run.world.size - 1, #new), 1, {})
      for i, accuracy in ipairs(run:divide(some, function(one) return measure(one.arch) end)) do
        note(some[i], accuracy)
      end
      if run:agree(run:asked_to_stop(false)) then run:stop() end
      run.progress:moving(function() return ("deriving: %d architectures measured"):format(count) end)
    end
    local accuracies = {}
    for i, text in ipairs(texts) do accuracies[i] = known[text] end
    return accuracies
  end
end

-- Architectures that rank 0 draws.
local function drawn(run, sampler, count)
  local archs = {}
  local texts = run:told(function()
    local list = {}
    for i = 1, count do
      archs[i] = sampler()
      list[i] = cnas.genotype.json(archs[i])
    end
    return list
  end)
  if not run.writes then
    for i, text in ipairs(texts) do archs[i] = cnas.genotype.parse(text) end
  end
  return archs
end

-- The first of the best paid.
local function best_of(archs, accuracies, reward)
  local best = { reward = -math.huge }
  for i, arch in ipairs(archs) do
    local paid = reward(accuracies[i], arch)
    if paid > best.reward then best = { arch = arch, accuracy = accuracies[i], reward = paid } end
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
    local text = run:told(function() return { cnas.file.read(path) } end)[1]
    return cnas.genotype.parse(text), cnas.json.decode(text).validation_accuracy
  end

  local started, chosen = cnas.clock(), {}
  local by_images = o.score or score.new { net = net, dataset = valid, batch = o.batch, images = o.images }
  local measure = watched(run, by_images, o)
  local found, rounds, best = {}, {}, nil
  for round = 1, o.rounds do
    local archs = drawn(run, controller.draw, o.samples)
    for _, arch in ipairs(archs) do choices.add(chosen, arch) end
    found[round] = best_of(archs, measure(archs), o.reward)
  end
  local tests = run:divide(found, function(one)
    return (score.accuracy_of(net, one.arch, test, o.batch, o.images))
  end)
  for round, one in ipairs(found) do
    one.test = tests[round]
    rounds[round] = { genotype = one.arch, validation_accuracy = one.accuracy, test_accuracy = one.test }
    if not best or one.reward > best.reward then best = one end
  end
  local uniform
  if o.compare_uniform then
    uniform = 0.0
    for _, accuracy in ipairs(measure(drawn(run, controller.uniform, o.samples))) do
      uniform = uniform + accuracy / o.samples
    end
  end

  local arch, cost = best.arch, o.costs and o.costs(best.arch)
  local times = { seconds = cnas.clock() - started }
  if run.writes and type(o.costs) == "table" then -- milliseconds of an image through the network of this cell
    times.latency = cost.latency or o.costs:measure_latency(arch)
  end
  run.record:json("genotypes/" .. name .. ".json", {
    normal = arch.normal, normal_concat = arch.normal_concat,
    reduction = arch.reduction, reduction_concat = arch.reduction_concat,
    stage = stage.index, name = stage.name, nodes = stage.nodes, operations = stage.ops, images = o.images,
    validation_accuracy = best.accuracy, test_accuracy = best.test, uniform_accuracy = uniform, rounds = rounds,
    cost = cost, reward = best.reward,
  })
  run.record:draw(name, arch, run.step)
  if o.front and run.writes then o.front:write(run) end
  run.record:add {
    stage = stage.index, name = stage.name, phase = "derive", step = run.step, validation_accuracy = best.accuracy,
    test_accuracy = best.test, uniform_accuracy = uniform, parameters = cost and cost.parameters,
    macs = cost and cost.macs, chosen = choices.tree(chosen), time = times,
  }
  run.progress:line(("  derived      validation %.3f  test %.3f%s%s  %s"):format(best.accuracy, best.test,
    uniform and ("  (uniform samples %.3f)"):format(uniform) or "",
    cost and ("  %.2fM parameters, %.0fM multiply-adds"):format(cost.parameters / 1e6, cost.macs / 1e6) or "",
    run.progress:paint("dim", run.progress.duration(cnas.clock() - started))))
  return arch, best.accuracy
end
