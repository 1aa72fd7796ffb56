-- The evaluation as people run it: what it prints and leaves, that it trains as it says, how it goes on after a kill.
--
-- CNAS_KILLS (8) says how often it is killed, CNAS_KILL_SEED (1) where: the moments are drawn from it and printed.
local T = require "spec"
local cnas = require "cnas"
local run_files = require "run_files"
local stopping = require "stopping"

local metrics = run_files.metrics
local here = arg[0]:match("^(.*)/tests/lua/[^/]*$") or "."
local recipe = here .. "/recipes/evaluate.lua"
local tiny = {}
for word in ([[--data shapes --train-images 60 --test-images 30 --channels 4 --layers 3 --epochs 2 --batch 12
  --accumulate 2 --cutout 8 --threads 1]]):gmatch("%S+") do
  tiny[#tiny + 1] = word
end

-- Runs the recipe with the tiny options and others; returns status, output, errors.
local function evaluate(folder, more, o)
  local words = { recipe, "-o", folder }
  table.move(tiny, 1, #tiny, #words + 1, words)
  table.move(more or {}, 1, #(more or {}), #words + 1, words)
  words.seconds = 600
  for k, v in pairs(o or {}) do words[k] = v end
  return T.run(words)
end

-- The tensors of a run's weights by name.
local function weights_of(folder, name)
  return (cnas.safetensors.load(("%s/weights/%s.safetensors"):format(folder, name or "last")))
end

T.describe("the evaluation", function()
  T.it("runs from beginning to end and leaves a whole run folder", function()
    local folder = T.folder() .. "/run"
    local status, out, err = evaluate(folder, { "--arch", "darts-v2" })
    T.equal(status, 0, err)
    T.equal(err, "")
    T.contains(out, "DARTS_V2: ")
    T.contains(out, "best top-1 ")
    T.contains(out, "done in")
    local text = table.concat(cnas.file.list(folder), " ")
    for _, name in ipairs { "checkpoints", "config.json", "drawings", "genotypes", "lock", "metrics.jsonl",
                            "recipe.lua", "summary.json", "tfevents", "weights" } do
      T.contains(text, name)
    end
    T.equal(cnas.arch(folder), cnas.genotype.named "DARTS_V2")
    T.equal(#cnas.file.list(folder .. "/drawings"), 4)
    local lines = metrics(folder)
    T.equal(#lines, 2)
    for i, line in ipairs(lines) do
      T.equal({ line.phase, line.epoch, line.step }, { "train", i, i * (5 + 3) })
      for _, name in ipairs { "accuracy", "top1", "top5" } do T.truthy(line[name] >= 0 and line[name] <= 1) end
      T.truthy(line.loss > 0 and line.valid_loss > 0 and line.top5 >= line.top1)
    end
    T.near(lines[1].lr, 0.05, 1e-12)
    T.near(lines[2].lr, 0.025, 1e-12)
    local results = cnas.json.decode(T.read(folder .. "/summary.json")).results
    local best = lines[lines[2].top1 > lines[1].top1 and 2 or 1]
    T.equal({ results.top1, results.top5, results.best_epoch, results.arch },
            { best.top1, best.top5, best.epoch, "DARTS_V2" })
    T.contains(out, ("best top-1 %.4f, top-5 %.4f, after epoch %d of 2"):format(best.top1, best.top5, best.epoch))
  end)

  T.it("writes weights that measure again what it says", function()
    local folder = T.folder() .. "/run"
    T.equal(evaluate(folder, { "--split", "0.8" }), 0)
    local train, valid = cnas.data.load("shapes", { train_images = 60, seed = 1, split = 0.8 })
    T.equal({ #train, #valid }, { 48, 12 })
    for _, name in ipairs { "best", "last" } do
      local net, about = cnas.model.open(folder .. "/weights/" .. name .. ".safetensors")
      local right = 0
      for x, y in cnas.data.loader { dataset = valid, batch = 5, augment = false } do
        right = right + cnas.accuracy(cnas.no_grad(net, x), y):item() * x:size(1)
      end
      T.near(about.top1, right / 12, 1e-6)
      T.equal({ about.dataset, about.classes, about.size, about.imagenet }, { "shapes", 10, 32, false })
    end
    T.equal(select(2, cnas.model.open(folder .. "/weights/last.safetensors")).epoch, 2)
  end)

  T.it("shows the published sizes of the CNAS cell", function()
    local _, out = evaluate(T.folder() .. "/run", { "--channels", "36", "--layers", "20", "--train-images", "10",
                                                    "--test-images", "2", "--epochs", "1", "--batch", "10" })
    T.contains(out, "CNAS: 3,695,374 parameters, 564,019,200 multiply-adds (+5,760 in the classifier) an image of "
               .. "32x32\n")
    local said = {}
    require "cnas.trainee".announce({ say = function(_, text) said[#said + 1] = text end }, "CNAS", function(rng)
      return cnas.network { genotype = "CNAS", imagenet = true, auxiliary = true, rng = rng }
    end, { batch = 2, height = 224, width = 224 })
    T.equal(said[1], "CNAS: 5,318,368 parameters, 576,390,528 multiply-adds (+768,000 in the classifier) an image of "
            .. "224x224")
  end)

  T.it("foresees its memory", function()
    local function make(rng)
      return cnas.network { genotype = "CNAS", channels = 16, layers = 5, auxiliary = true, rng = rng }
    end
    collectgarbage()
    local foreseen = cnas.foresee { make = function() return make(false) end, batch = 32, height = 32, width = 32 }
    local net = make(cnas.rng(1, "weights"))
    local weights = cnas.optim.sgd(net:parameters(), { lr = 0.01, momentum = 0.9 })
    local data = cnas.data.load("shapes", { train_images = 96 })
    for x, y in cnas.data.loader { dataset = data, batch = 32, augment = true } do
      local logits, auxiliary = net(x)
      weights:step(cnas.cross_entropy(logits, y) + cnas.cross_entropy(auxiliary, y))
    end
    local peak = cnas.memory().bytes_peak
    T.truthy(foreseen > 0.9 * peak and foreseen < 1.25 * peak, ("foreseen %d, came %d"):format(foreseen, peak))
  end)

  T.it("trains every published cell", function()
    for _, name in ipairs(cnas.genotype.published()) do
      local status, out, err = evaluate(T.folder() .. "/run",
                                        { "--arch", name, "--epochs", "1", "--train-images", "12" })
      T.equal(status, 0, err)
      T.contains(out, name .. ": ")
    end
  end)

  T.it("trains the cell that a search found, and its own again", function()
    local search = T.folder() .. "/search"
    local words = { here .. "/recipes/curriculum_search.lua", "-o", search, "--grow", "fix" }
    for word in ([[--data shapes --train-images 40 --channels 2 --layers 3 --nodes 2 --hidden 8 --batch 20 --warmup 0
      --epochs 1 --derive-images 20 --derive-samples 2 --derive-rounds 1 --threads 1]]):gmatch("%S+") do
      words[#words + 1] = word
    end
    T.equal(T.run(words), 0)
    local folder = T.folder() .. "/run"
    local status, out, err = evaluate(folder, { "--arch", search })
    T.equal(status, 0, err)
    T.contains(out, search .. ", stage 1 (validation ")
    local again = T.folder() .. "/run"
    T.equal(evaluate(again, { "--arch", folder }), 0)
    T.truthy(T.read(again .. "/weights/last.safetensors") == T.read(folder .. "/weights/last.safetensors"))
    T.run { "-e", "require 'cnas'.file.remove_tree(arg[1])", search } -- the run remembers its cell
    T.equal(T.run { recipe, "-o", folder, "--resume" }, 0)
  end)

  T.it("has the same bits with 1, 2 and 3 threads", function()
    local first
    for threads = 1, 3 do
      local folder = T.folder() .. "/run"
      T.equal(evaluate(folder, { "--threads", tostring(threads) }), 0)
      local bytes = T.read(folder .. "/weights/last.safetensors")
      first = first or bytes
      T.truthy(bytes == first, threads .. " threads differ from one")
    end
  end)

  T.it("has its options: smoothing, bf16, no auxiliary head, no drop-path, the linear schedule", function()
    local folder = T.folder() .. "/run"
    local status, _, err = evaluate(folder, { "--smoothing", "0.1", "--precision", "bf16", "--auxiliary", "0",
      "--drop-path", "0", "--schedule", "linear", "--epochs", "6", "--warmup", "2", "--train-images", "12" })
    T.equal(status, 0, err)
    local rates = {}
    for i, line in ipairs(metrics(folder)) do rates[i] = line.lr end
    T.near(rates, { 0.04 / 2, 0.04, 0.04, 0.03, 0.02, 0.01 }, 1e-12) -- 0.05 (6 - e)/((6 - 5) 5) in the last five
    T.equal(weights_of(folder)["auxiliary_head.classifier.weight"], nil)
  end)

  T.it("lets no decay pull at biases when told so", function()
    local function biases(...)
      local folder = T.folder() .. "/run"
      local words = { "--epochs", "1", "--clip", "1e-12", "--lr", "0.1", "--weight-decay", "0.5", "--momentum", "0",
                      ... }
      T.equal(evaluate(folder, words), 0)
      local tensors = weights_of(folder)
      return tensors["classifier.bias"]:totable(), tensors["classifier.weight"]:totable()
    end
    local decayed, weight = biases()
    local free, same = biases("--no-bias-decay")
    T.equal(weight, same)
    for i, value in ipairs(free) do T.near(decayed[i], value * 0.95 ^ 3, 1e-5) end -- three steps
    T.truthy(math.abs(free[1]) > 1e-6)
  end)
end)

T.describe("accumulation", function()
  local data = cnas.data.load("shapes", { train_images = 20 })

  -- The weights after one pass over 20 images with frozen BN, in batches of `batch`, `accumulate` of them a step; and
  -- the shares that came.
  local function pass(batch, accumulate)
    local folder, shares = T.folder() .. "/run", {}
    local run <const> = cnas.run.open { out = folder, seed = 1, color = "never" }
    local net = cnas.network { genotype = "CNAS", channels = 4, layers = 3, rng = cnas.rng(3, "weights") }
    local weights = cnas.optim.sgd(net:parameters(), { lr = 0.1, momentum = 0.9 })
    net:train(false)
    for x, y, share, complete in run:batches(data, batch, { accumulate = accumulate }) do
      local loss = cnas.cross_entropy(net(x), y, 0.1) * share
      shares[#shares + 1] = share .. (complete and "!" or "")
      if complete then weights:step(loss, { clip = 5 }) else loss:backward() end
    end
    run.lock:close()
    local values = {}
    for i, entry in ipairs(net:state()) do values[i] = entry.tensor:totable() end
    return values, table.concat(shares, " ")
  end

  T.it("of small batches is one large batch, where BN is frozen", function()
    local large, whole = pass(16, 1)
    local small, parts = pass(4, 4)
    T.equal(whole, "1.0! 1.0!")
    T.equal(parts, "0.25 0.25 0.25 0.25! 1.0!")
    T.near(small, large, 1e-5)
    local uneven, shares = pass(8, 2)
    T.equal(shares, "0.5 0.5! 1.0!")
    T.near(uneven, large, 1e-5)
    T.raises("off by", T.near, pass(4, 2), large, 1e-5) -- other steps are another result
  end)
end)

T.describe("label smoothing", function()
  T.it("gives e/(K-1) to each of the other classes", function()
    local x, e = { 1.0, -0.5, 2.0, 0.25 }, 0.1
    local sum, loss = 0, 0
    for _, v in ipairs(x) do sum = sum + math.exp(v) end
    for i, v in ipairs(x) do loss = loss - (i == 3 and 1 - e or e / 3) * (v - math.log(sum)) end
    local logits = cnas.tensor({ x }, { dtype = "f64" })
    T.near(cnas.cross_entropy(logits, cnas.tensor({ 2 }, { dtype = "i64" }), e):item(), loss, 1e-12)
  end)
end)

T.describe("drop-path", function()
  T.it("draws for each image and every operation that is not an identity", function()
    local noise = cnas.rng(1, "drop-path")
    local net = cnas.network { genotype = "CNAS", channels = 4, layers = 3, classes = 5, drop_path = 0.2, noise = noise,
                               rng = cnas.rng(1, "weights") }
    net(cnas.zeros(6, 8, 8, 3))
    -- One normal cell with one identity among 8 operations; two reduction cells, whose skip connections have stride 2.
    -- A turn of the counter is four numbers.
    T.equal(noise.counter, math.ceil(6 / 4) * (7 + 8 + 8))
  end)
end)

T.describe("fine-tuning", function()
  -- Weights of a network for so many classes.
  local function weights(classes, auxiliary)
    local path = T.folder() .. "/weights.safetensors"
    local about = { genotype = cnas.genotype.named "CNAS", channels = 4, layers = 3, classes = classes,
                    imagenet = false, auxiliary = auxiliary }
    local o = { rng = cnas.rng(7, "weights") }
    for key, value in pairs(about) do o[key] = value end
    cnas.model.save(path, cnas.network(o), about)
    return path
  end

  T.it("begins with the weights of a file", function()
    local path, folder = weights(10, true), T.folder() .. "/run"
    local status, out, err = evaluate(folder, { "--init", path, "--lr", "0", "--epochs", "1" })
    T.equal(status, 0, err)
    T.contains(out, "begins with the weights of " .. path .. "\n")
    local before, after = cnas.safetensors.load(path), weights_of(folder)
    for name, tensor in pairs(before) do
      if not name:find "running_" then T.equal(after[name]:totable(), tensor:totable(), name) end
    end
    os.remove(path)
    T.equal(T.run { recipe, "-o", folder, "--resume" }, 0) -- which needs it no more
  end)

  T.it("takes other classes and draws their classifiers", function()
    local path, folder = weights(7, true), T.folder() .. "/run"
    local status, _, err = evaluate(folder, { "--init", path })
    T.equal(status, 3)
    T.contains(err, "for other classes let --new-classifier draw it anew")
    local out
    status, out, err = evaluate(folder, { "--init", path, "--new-classifier", "--lr", "0" })
    T.equal(status, 0, err)
    T.contains(out, "; drawn anew: auxiliary_head.classifier, classifier\n")
    T.equal(weights_of(folder)["stem.0.weight"]:totable(),
            cnas.safetensors.load(path)["stem.0.weight"]:totable())
    status, out, err = evaluate(T.folder() .. "/run", { "--init", weights(10, false), "--epochs", "1" })
    T.equal(status, 0, err)
    T.contains(out, "; drawn anew: auxiliary_head\n")
  end)

  T.it("refuses weights of another network and files that are none", function()
    local status, _, err = evaluate(T.folder() .. "/run", { "--init", weights(10, true), "--channels", "6" })
    T.equal(status, 3)
    T.contains(err, "the network's is")
    status, _, err = evaluate(T.folder() .. "/run", { "--init", weights(10, true), "--arch", "PDARTS" })
    T.equal(status, 3)
    T.contains(err, "does not fit this network")
    status, _, err = evaluate(T.folder() .. "/run", { "--init", recipe })
    T.equal(status, 3)
    T.contains(err, "not a model")
    status = evaluate(T.folder() .. "/run", { "--init", "/nowhere.pth" })
    T.equal(status, 3)
  end)
end)

T.describe("wrong input to the evaluation", function()
  T.it("is refused by name with status 2 or 3", function()
    for _, case in ipairs {
      { 2, "'DARTS_V3' is neither a published cell", "--arch", "DARTS_V3" },
      { 3, "expected the folder of a run with genotypes/stage-N.json", "--arch", here .. "/engine" },
      { 3, recipe .. ": genotype", "--arch", recipe },
      { 2, "--epochs: expected at least 1, got '-1'", "--epochs", "-1" },
      { 2, "--drop-path: expected at most 0.99", "--drop-path", "1" },
      { 2, "--batch: expected at least 1", "--batch", "0" },
      { 2, "--accumulate: expected at least 1", "--accumulate", "0" },
      { 2, "--schedule: expected one of cosine, linear, constant", "--schedule", "cosin" },
      { 2, "schedule.linear: needs more than 5 epochs, got 2", "--schedule", "linear" },
      { 2, "2 epochs of warm-up leave none of all 2", "--warmup", "2" },
      { 2, "unknown option '--droppath' (did you mean '--drop-path'?)", "--droppath", "0.1" },
      { 3, "cifar-10-batches-bin", "--data", "cifar10", "--root", "/nowhere" },
      { 3, "imagenet: expected the folders train and val in /nowhere", "--data", "imagenet", "--root", "/nowhere" },
      { 2, "--size 64: the images of shapes are 32x32", "--size", "64" },
    } do
      local status, _, err = evaluate(T.folder() .. "/run", { table.unpack(case, 3) })
      T.equal(status, case[1], err)
      T.contains(err, case[2])
      if status == 2 then T.equal(err:find "traceback", nil, err) end
    end
  end)

  T.it("that is not finite ends it with status 4; the last good checkpoint stays", function()
    local folder = T.folder() .. "/run"
    local status, _, err = evaluate(folder, { "--lr", "1e30", "--clip", "0", "--save-every", "0" })
    T.equal(status, 4, err)
    T.contains(err, "train epoch 1, step ")
    T.contains(err, "the last good checkpoint is " .. folder .. "/checkpoints/step-")
    local names = cnas.file.list(folder .. "/checkpoints")
    T.truthy(next((cnas.safetensors.load(folder .. "/checkpoints/" .. names[#names]))))
  end)
end)

T.describe("an evaluation on CIFAR-10", function()
  T.it("trains on real images", function()
    local root = os.getenv "CNAS_DATA"
    if not root then T.skip "CNAS_DATA names no folder that holds cifar-10-batches-bin" end
    local status, out, err = evaluate(T.folder() .. "/run", { "--data", "cifar10", "--root", root, "--train-images",
                                                              "600", "--test-images", "200", "--batch", "50" })
    T.equal(status, 0, err)
    T.contains(out, "best top-1")
  end)
end)

T.describe("an evaluation on photographs", function()
  T.it("trains the network for large images", function()
    local root = os.getenv "CNAS_DATA"
    local sample = root and root .. "/imagenet-sample"
    if not sample or not cnas.file.exists(sample) then T.skip "there is no imagenet-sample in CNAS_DATA" end
    local both = T.folder() -- the same pictures as training and validation set
    T.equal(T.shell(("ln -s %s %s/train && ln -s %s %s/val"):format(T.quote(sample), both, T.quote(sample), both)), 0)
    local status, out, err = evaluate(T.folder() .. "/run", { "--data", "imagenet", "--imagenet", "--root", both,
      "--size", "64", "--auxiliary", "0", "--train-images", "24", "--test-images", "6", "--batch", "6" })
    T.equal(status, 0, err)
    T.contains(out, "an image of 64x64")
    T.contains(out, "best top-1")
  end)
end)

-- What is left of an evaluation must not depend on how often it was stopped: all but the times.
local function essence(folder)
  return { checkpoint = run_files.last_checkpoint(folder), metrics = table.concat(run_files.timeless(folder), "\n"),
           best = T.read(folder .. "/weights/best.safetensors"), last = T.read(folder .. "/weights/last.safetensors"),
           results = cnas.json.encode(cnas.json.decode(T.read(folder .. "/summary.json")).results) }
end

T.describe("an evaluation that is stopped", function()
  local options = table.concat(tiny, " ") .. " --train-images 240 --epochs 3 --save-every 0.05 --drop-path 0.3"

  local function command(folder, resume)
    return ("%s %s -o %s %s"):format(T.quote(T.program), T.quote(recipe), T.quote(folder),
                                     resume and "--resume --save-every 0.05" or options)
  end

  local function same(folder, expected, about)
    local found = essence(folder)
    for name, bytes in pairs(expected) do T.truthy(found[name] == bytes, about .. ": its " .. name .. " differs") end
  end

  T.it("goes on to the same bits, killed wherever it was", function()
    local undisturbed = T.folder() .. "/run"
    local seconds = stopping.whole(command, undisturbed)
    local expected = essence(undisturbed)
    stopping.killed { command = command, kills = 8, first = 0.1, last = 0.1 + seconds / 2,
                      check = function(folder, about) same(folder, expected, about) end }
  end)

  T.it("by Ctrl-C saves itself, says how to go on, and is complete once", function()
    local folder = T.folder() .. "/run"
    local status, err = stopping.when_saved(command, folder, "kill -INT $run")
    T.equal(status, 5, err)
    T.contains(err, "go on with: cnas " .. recipe .. " -o " .. folder .. " --resume")
    T.equal(T.shell(command(folder, true) .. " </dev/null"), 0)
    local undisturbed = T.folder() .. "/run"
    stopping.whole(command, undisturbed)
    same(folder, essence(undisturbed), "after Ctrl-C")
    local summary = T.read(folder .. "/summary.json")
    local out
    status, out, err = T.shell(command(folder, true) .. " </dev/null")
    T.equal(status, 0, err)
    T.contains(out, "the run in " .. folder .. " is complete")
    T.equal(T.read(folder .. "/summary.json"), summary)
  end)
end)
