-- The recipe as people run it: from the command line, into a folder, and how it ends when something is wrong.
local T = require "spec"
local cnas = require "cnas"
local run_files = require "run_files"

local here = arg[0]:match("^(.*)/tests/lua/[^/]*$") or "."
local recipe = here .. "/recipes/curriculum_search.lua"
local tiny = {}
for word in ([[--data shapes --train-images 96 --channels 2 --layers 3 --nodes 2 --hidden 8 --batch 24 --warmup 1
  --epochs 1 --derive-images 24 --derive-samples 2 --derive-rounds 1 --threads 1 --cost-channels 2
  --cost-layers 3]]):gmatch("%S+") do
  tiny[#tiny + 1] = word
end

-- Runs the recipe with the tiny options and others; returns status, output, errors.
local function search(folder, more, o)
  local words = { recipe, "-o", folder }
  table.move(tiny, 1, #tiny, #words + 1, words)
  table.move(more or {}, 1, #(more or {}), #words + 1, words)
  words.seconds = 600
  for k, v in pairs(o or {}) do words[k] = v end
  return T.run(words)
end

T.describe("the curriculum search", function()
  T.it("runs from beginning to end and leaves a whole run folder", function()
    local folder = T.folder() .. "/run"
    local status, out, err = search(folder, { "--compare-uniform" })
    T.equal(status, 0, err)
    T.contains(out, "stage 8 of 8")
    T.contains(out, "done in")
    T.equal(err, "")
    local names = cnas.file.list(folder)
    local text = table.concat(names, " ")
    for _, name in ipairs { "checkpoints", "config.json", "drawings", "genotypes", "lock", "metrics.jsonl",
                            "recipe.lua", "summary.json", "tfevents" } do
      T.contains(text, name)
    end
    T.equal(#cnas.file.list(folder .. "/checkpoints"), 3)
    T.equal(#cnas.file.list(folder .. "/genotypes"), 8)
    T.equal(#cnas.file.list(folder .. "/drawings"), 32)
    T.equal(T.read(folder .. "/recipe.lua"), T.read(recipe))
    local open = {}
    for stage = 1, 8 do
      local found = cnas.json.decode(T.read(("%s/genotypes/stage-%d.json"):format(folder, stage)))
      local arch = cnas.genotype.parse(T.read(("%s/genotypes/stage-%d.json"):format(folder, stage)))
      cnas.genotype.check(arch, cnas.space.darts())
      for _, op in ipairs(found.operations) do open[op] = true end
      for _, cell in ipairs { "normal", "reduction" } do
        for _, triple in ipairs(arch[cell]) do T.truthy(open[triple[1]], triple[1] .. " was not open") end
      end
      T.equal(#found.operations, stage)
      for _, name in ipairs { "validation_accuracy", "test_accuracy", "uniform_accuracy" } do
        T.truthy(found[name] >= 0 and found[name] <= 1)
      end
    end
    local lines = run_files.metrics(folder)
    for _, fields in ipairs(lines) do
      if fields.phase == "search" then
        T.truthy(fields.loss and fields.accuracy and fields.reward and fields.entropy)
      end
    end
    T.equal(#lines, 8 * 3)
    T.truthy(cnas.json.decode(T.read(folder .. "/summary.json")).memory.tensors_peak > 0)
  end)

  T.it("has the same bits with 1, 2 and 3 threads", function()
    local sums = {}
    for threads = 1, 3 do
      local folder = T.folder() .. "/run"
      T.equal(search(folder, { "--grow", "fix", "--threads", tostring(threads) }), 0)
      local names = cnas.file.list(folder .. "/checkpoints")
      sums[threads] = T.read(folder .. "/checkpoints/" .. names[#names])
      T.truthy(sums[threads] == sums[1], threads .. " threads differ from one")
    end
  end)

  T.it("opens nodes, or everything at once", function()
    local folder = T.folder() .. "/run"
    T.equal(search(folder, { "--grow", "node" }), 0)
    local first = cnas.json.decode(T.read(folder .. "/genotypes/stage-1.json"))
    T.equal(#first.normal, 2)
    T.equal(#cnas.json.decode(T.read(folder .. "/genotypes/stage-2.json")).normal, 4)
    T.truthy(not cnas.file.exists(folder .. "/genotypes/stage-3.json"))
  end)

  T.it("refuses what it does not know with status 2", function()
    local folder = T.folder() .. "/run"
    local status, _, err = search(folder, { "--epoch", "3" })
    T.equal(status, 2)
    T.contains(err, "unknown option '--epoch' (did you mean '--epochs'?)")
    T.equal(err:find("traceback"), nil)
    status, _, err = search(folder, { "--grow", "nodes" })
    T.equal(status, 2)
    T.contains(err, "--grow: expected one of op, node, fix")
    T.truthy(not cnas.file.exists(folder))
  end)

  T.it("shows every option with --help", function()
    local status, out = T.run { recipe, "--help" }
    T.equal(status, 0)
    for _, part in ipairs { "--warmup N", "epochs of a stage with uniform samples [20]", "--policy-lr X",
                            "--max-skip N", "--precision f32|bf16", "quick", "paper", "--resume", "-o, --out DIR" } do
      T.contains(out, part)
    end
  end)

  T.it("refuses a folder that holds a run before it loads data", function()
    local folder = T.folder() .. "/run"
    T.equal(search(folder, { "--grow", "fix" }), 0)
    local status, out, err = search(folder, { "--data", "cifar10", "--root", "/nowhere" })
    T.equal(status, 2)
    T.contains(err, "holds a run already: go on with it by --resume, delete it by --overwrite")
    T.equal(out, "")
  end)

  T.it("says with status 3 that data is missing, also when it is tried again in the same folder", function()
    local folder = T.folder() .. "/run"
    T.equal(search(folder, { "--data", "cifar10", "--root", T.folder() }), 3)
    local status, _, err = search(folder, { "--data", "cifar10", "--root", T.folder() })
    T.equal(status, 3)
    T.contains(err, "cifar-10-batches-bin")
  end)

  T.it("says when it goes on with other kernels", function()
    local folder = T.folder() .. "/run"
    T.equal(T.run { recipe, "--preset", "quick", "--epochs", "0", "--warmup", "0", "--train-images", "60",
                    "--derive-images", "8", "-o", folder, env = { CNAS_ISA = "portable" } }, 0)
    local _, _, err = T.run { recipe, "-o", folder, "--resume", env = { CNAS_ISA = "portable" } }
    T.equal(err, "")
    if cnas.isa() == "portable" then T.skip("this processor has no other kernels") end
    _, _, err = T.run { recipe, "-o", folder, "--resume", env = { CNAS_ISA = cnas.isa() } }
    T.contains(err, "begun with portable kernels, going on with " .. cnas.isa())
  end)

  T.it("keeps images in bf16 where it is asked to, to the same bits with 1, 2 and 3 threads", function()
    local folder, last
    for threads = 1, 3 do
      folder = T.folder() .. "/run"
      T.equal(search(folder, { "--grow", "fix", "--precision", "bf16", "--threads", tostring(threads) }), 0)
      local names = cnas.file.list(folder .. "/checkpoints")
      local saved = T.read(folder .. "/checkpoints/" .. names[#names])
      T.truthy(saved == (last or saved), threads .. " threads differ from one")
      last = saved
    end
    T.equal(cnas.json.decode(T.read(folder .. "/config.json")).options.precision, "bf16")
    local status, _, err = T.run { recipe, "-o", folder, "--resume", "--precision", "f32" }
    T.equal(status, 2)
    T.contains(err, "--precision f32: the run in " .. folder .. " was started with bf16")
    T.equal(T.run { recipe, "-o", folder, "--resume" }, 0)
    local plain = T.folder() .. "/run"
    T.equal(search(plain, { "--grow", "fix" }), 0)
    local names = cnas.file.list(plain .. "/checkpoints")
    T.truthy(T.read(plain .. "/checkpoints/" .. names[#names]) ~= last, "bf16 has the very bits of f32: was it used?")
    status, _, err = search(plain, { "--precision", "f16" })
    T.equal(status, 2)
    T.contains(err, "--precision: expected one of f32, bf16")
  end)

  T.it("refuses to go on with other options", function()
    local folder = T.folder() .. "/run"
    T.equal(search(folder, { "--grow", "fix" }), 0)
    local status, _, err = T.run { recipe, "-o", folder, "--resume", "--channels", "3" }
    T.equal(status, 2)
    T.contains(err, "--channels 3: the run in " .. folder .. " was started with 2")
    local before = T.read(folder .. "/metrics.jsonl")
    T.equal(T.run { recipe, "-o", folder, "--resume" }, 0) -- with those it had
    T.equal(T.read(folder .. "/metrics.jsonl"), before)
  end)

  T.it("stops where a loss is not finite with status 4, and keeps the last good checkpoint", function()
    local folder = T.folder() .. "/run"
    local status, _, err = search(folder, { "--grow", "fix", "--lr", "1e30" })
    T.equal(status, 4)
    T.truthy(err:find("stage 1 of 1 %(everything%), warm%-up epoch 1, step %d+ %(batch %d+%)"), err)
    folder = T.folder() .. "/run"
    local source = T.read(recipe):gsub("local logits = net%b()",
                                       "%0\n    if run.step == 4 then logits = logits * (0 / 0) end")
    local mine = T.write(T.folder() .. "/mine.lua", source)
    local words = { mine, "-o", folder, "--grow", "fix" }
    table.move(tiny, 1, #tiny, #words + 1, words)
    status, _, err = T.run(words)
    T.equal(status, 4)
    T.truthy(err:find("step 4 %(batch 2%)"), err)
    T.contains(err, "the last good checkpoint is " .. folder .. "/checkpoints/step-00000002.safetensors")
    T.truthy(next((cnas.safetensors.load(folder .. "/checkpoints/step-00000002.safetensors"))))
  end)

  T.it("shows a Lua error with the recipe's line", function()
    local source = T.read(recipe):gsub("return costs.paid%(accuracy, arch%)", "return accuracy.value.of")
    local mine = T.write(T.folder() .. "/mine.lua", source)
    local words = { mine, "-o", T.folder() .. "/run", "--grow", "fix" }
    table.move(tiny, 1, #tiny, #words + 1, words)
    local status, _, err = T.run(words)
    T.equal(status, 1)
    local line = 0
    for text in T.read(mine):gmatch("([^\n]*)\n") do
      line = line + 1
      if text:find("accuracy.value.of", 1, true) then break end
    end
    T.contains(err, "mine.lua:" .. line .. ":")
    T.contains(err, "stack traceback")
    T.contains(err, "train_controller")
  end)

  T.it("catches a global by mistake", function()
    local source = T.read(recipe):gsub("local advantage =", "advantage =")
    local words = { T.write(T.folder() .. "/mine.lua", source), "-o", T.folder() .. "/run", "--grow", "fix" }
    table.move(tiny, 1, #tiny, #words + 1, words)
    local status, _, err = T.run(words)
    T.equal(status, 1)
    T.contains(err, "advantage")
  end)

  T.it("prints plain lines off a terminal, without colours", function()
    local _, out, err = search(T.folder() .. "/run", { "--grow", "fix" })
    T.equal((out .. err):find("\27"), nil)
    T.equal(out:find("\r"), nil)
    local _, colored = search(T.folder() .. "/run", { "--grow", "fix", "--color", "always" })
    T.truthy(colored:find("\27%[1m"))
  end)

  T.it("keeps to the guards", function()
    local folder = T.folder() .. "/run"
    T.equal(search(folder, { "--grow", "fix", "--no-none", "--no-duplicate-edges", "--max-skip", "0" }), 0)
    local arch = cnas.json.decode(T.read(folder .. "/genotypes/stage-1.json"))
    for _, round in ipairs(arch.rounds) do
      for i, triple in ipairs(round.genotype.normal) do
        T.truthy(triple[1] ~= "none" and triple[1] ~= "skip_connect")
        if i % 2 == 0 then T.truthy(triple[2] ~= round.genotype.normal[i - 1][2]) end
      end
    end
  end)
end)

T.describe("examples", function()
  for _, name in ipairs(cnas.file.list(here .. "/examples")) do
    T.it(name .. " runs", function()
      local status, out, err = T.run { here .. "/examples/" .. name, seconds = 300 }
      T.equal(status, 0, err)
      T.truthy(#out > 0)
    end)
  end
end)
