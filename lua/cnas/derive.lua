-- derive.lua - run:derive: the best of the architectures that a controller proposes at the end of a stage.
--
-- Candidates are chosen by their accuracy on the validation split without augmentation; that on the test set is
-- measured for the chosen ones alone and reported beside it. Batch norm uses the statistics of the batch, as in the
-- search.

local cnas = require "cnas"
local args = require "cnas.args"

-- The fraction of the first `images` images of the dataset that the path classifies rightly.
local function accuracy_of(net, arch, dataset, batch, images)
  local right, seen = 0.0, 0
  for x, y in cnas.data.loader { dataset = dataset, batch = batch, augment = false, shuffle = false } do
    right = right + cnas.accuracy(cnas.no_grad(net, x, arch), y):item() * x:size(1)
    seen = seen + x:size(1)
    if seen >= images then break end
  end
  if seen == 0 then args.fail("usage", "run:derive: %s has no images", tostring(dataset)) end
  return right / seen
end

-- Scores candidates: a function from an architecture to its validation accuracy. Each is measured once.
local function scorer(run, net, valid, o)
  local known, measured = {}, 0
  return function(arch)
    local text = cnas.genotype.text(arch)
    if not known[text] then
      known[text] = accuracy_of(net, arch, valid, o.batch, o.images)
      measured = measured + 1
      if cnas.interrupted() then run:stop() end
      run.progress:moving(function() return ("deriving: %d architectures measured"):format(measured) end)
    end
    return known[text]
  end
end

-- The best of `samples` drawn architectures.
local function best_of(sampler, samples, score)
  local best = { accuracy = -1 }
  for _ = 1, samples do
    local arch = sampler()
    local accuracy = score(arch)
    if accuracy > best.accuracy then best = { arch = arch, accuracy = accuracy } end
  end
  return best
end

-- Derives the stage's cell: `rounds` times the best of `samples`, the best of which is returned with its validation
-- accuracy. Writes genotypes/stage-N.json and the drawings. With compare_uniform, also the mean accuracy of as many
-- uniform samples as a round has.
return function(run, stage, net, controller, valid, test, given)
  local o = args.check("run:derive", given or {},
                       { rounds = 3, samples = 10, images = 10000, batch = 96, compare_uniform = false })
  local name = "stage-" .. stage.index
  local path = ("%s/genotypes/%s.json"):format(run.folder, name)
  if run.target then -- the run goes on from a place behind this one
    local text = cnas.file.read(path)
    return cnas.genotype.parse(text), cnas.json.decode(text).validation_accuracy
  end

  local started, score = cnas.clock(), scorer(run, net, valid, o)
  local rounds, best = {}, nil
  for round = 1, o.rounds do
    local found = best_of(controller.draw, o.samples, score)
    found.test = accuracy_of(net, found.arch, test, o.batch, o.images)
    rounds[round] = { genotype = found.arch, validation_accuracy = found.accuracy, test_accuracy = found.test }
    if not best or found.accuracy > best.accuracy then best = found end
  end
  local uniform
  if o.compare_uniform then
    uniform = 0.0
    for _ = 1, o.samples do uniform = uniform + score(controller.uniform()) / o.samples end
  end

  local arch = best.arch
  run.record:json("genotypes/" .. name .. ".json", {
    normal = arch.normal, normal_concat = arch.normal_concat,
    reduction = arch.reduction, reduction_concat = arch.reduction_concat,
    stage = stage.index, name = stage.name, nodes = stage.nodes, operations = stage.ops, images = o.images,
    validation_accuracy = best.accuracy, test_accuracy = best.test, uniform_accuracy = uniform, rounds = rounds,
  })
  run.record:draw(name, arch, run.step)
  run.record:add {
    stage = stage.index, name = stage.name, phase = "derive", step = run.step, validation_accuracy = best.accuracy,
    test_accuracy = best.test, uniform_accuracy = uniform, time = { seconds = cnas.clock() - started },
  }
  run.progress:line(("  derived      validation %.3f  test %.3f%s  %s"):format(best.accuracy, best.test,
    uniform and ("  (uniform samples %.3f)"):format(uniform) or "",
    run.progress:paint("dim", run.progress.duration(cnas.clock() - started))))
  return arch, best.accuracy
end
