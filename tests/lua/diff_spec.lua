-- diff_spec.lua - cnas diff: what is a difference, what is not, where numbers part, and folders that are no runs.

local T = require "spec"
local cnas = require "cnas"

local genotypes = {
  { normal = { { "sep_conv_3x3", 0, 2 }, { "skip_connect", 1, 2 } }, normal_concat = { 2 },
    reduction = { { "max_pool_3x3", 0, 2 }, { "none", 1, 2 } }, reduction_concat = { 2 } },
  { normal = { { "sep_conv_3x3", 0, 2 }, { "dil_conv_3x3", 0, 2 } }, normal_concat = { 2 },
    reduction = { { "max_pool_3x3", 0, 2 }, { "none", 1, 2 } }, reduction_concat = { 2 } },
}

-- A run's folder as a search leaves it: one stage of `epochs` epochs. `change` is called with its config and lines.
local function make(folder, change)
  local config = {
    recipe = "recipes/x.lua", started = "2026-01-02T03:04:05Z",
    options = { out = folder, seed = 1, lr = 0.1, epochs = 2, threads = 2, data = "shapes" },
    origins = { epochs = "given", lr = "preset", out = "given", threads = "given" },
    machine = { cnas = "0.1.0", lua = "Lua 5.4", kernels = "avx2", threads = 2, cpu = "A", system = "S" },
  }
  local lines = {
    { stage = 1, name = "all", phase = "search", epoch = 1, step = 10, loss = 2.5, time = { seconds = 1.5 } },
    { stage = 1, name = "all", phase = "search", epoch = 2, step = 20, loss = 2.25, reward = 0.5,
      time = { seconds = 1 } },
    { stage = 1, name = "all", phase = "derive", step = 20, validation_accuracy = 0.75, time = { seconds = 1 } },
  }
  local run = { config = config, lines = lines, recipe = "local a = 1\nlocal b = 2\n", genotype = genotypes[1] }
  if change then change(run) end
  cnas.file.mkdir(folder .. "/genotypes")
  T.write(folder .. "/config.json", cnas.json.encode(run.config))
  for i, line in ipairs(run.lines) do run.lines[i] = cnas.json.encode(line) end
  T.write(folder .. "/metrics.jsonl", table.concat(run.lines, "\n") .. "\n")
  T.write(folder .. "/recipe.lua", run.recipe)
  local stage = cnas.args.with(run.genotype, { validation_accuracy = 0.75, test_accuracy = 0.5 })
  T.write(folder .. "/genotypes/stage-1.json", cnas.json.encode(stage))
  return folder
end

-- Status, output and errors of the comparison of a run as made with one that is changed.
local function compare(change, ...)
  local folder = T.folder()
  make(folder .. "/a")
  make(folder .. "/b", change)
  return T.run { "diff", "a", "b", cwd = folder, ... }
end

local function different(change)
  local status, out, err = compare(change)
  T.equal({ status, err }, { 8, "" })
  T.contains(out, "they differ")
  return out
end

T.describe("cnas diff", function()
  T.it("calls runs the same that differ in time, threads and place alone", function()
    local status, out, err = compare(function(run)
      run.config.options.threads, run.config.machine.threads, run.config.machine.cpu = 7, 7, "B"
      run.config.started, run.lines[1].time.seconds = "2027-01-01T00:00:00Z", 99
    end)
    T.equal({ status, err }, { 0, "" })
    T.contains(out, "the same run, in all that counts")
    T.contains(out, "numbers: the same in all 3 lines")
    T.truthy(out:find "%-%-threads +2 +7 +does not count\n")
  end)

  T.it("shows options that differ, and which are defaults or a preset's", function()
    local out = different(function(run)
      run.config.options.lr, run.config.options.seed = 0.2, 7
      run.config.origins = { lr = "given", seed = "given" }
    end)
    T.truthy(out:find "%-%-lr +0.1 %(preset%) +0.2\n")
    T.truthy(out:find "%-%-seed +1 %(default%) +7\n")
    T.equal(out:find("--epochs", 1, true), nil)
  end)

  T.it("shows versions, kernels and the recipe's lines", function()
    local out = different(function(run)
      run.config.machine.kernels, run.recipe = "avx512", "local a = 1\nlocal b = 3\n"
    end)
    T.truthy(out:find "kernels +avx2 +avx512\n")
    T.contains(out, "  -local b = 2\n  +local b = 3\n")
  end)

  T.it("shows the modules beside the recipe too, and those that one of them lacks", function()
    local folder = T.folder()
    for _, name in ipairs { "a", "b" } do
      make(folder .. "/" .. name)
      cnas.file.mkdir(folder .. "/" .. name .. "/modules")
      T.write(folder .. "/" .. name .. "/modules/same.lua", "return 1\n")
      T.write(folder .. "/" .. name .. "/modules/parts.lua", ("return %q\n"):format(name))
    end
    T.write(folder .. "/b/modules/new.lua", "return 7\n")
    local status, out = T.run { "diff", "a", "b", cwd = folder }
    T.equal(status, 8)
    T.contains(out, '  -return "a"\n  +return "b"\n')
    T.contains(out, "  +++ b/modules/new.lua\n")
    T.equal(out:find("same.lua", 1, true), nil)
    status, out = T.run { "diff", "a", "b", "--json", cwd = folder }
    T.equal({ status, cnas.json.decode(out).sources }, { 8, { "modules/new.lua", "modules/parts.lua" } })
  end)

  T.it("says where numbers part, and tells two that are near apart", function()
    local out = different(function(run) run.lines[2].loss = 2.25 + 2 ^ -51 end)
    T.contains(out, "part at stage 1, search epoch 2, steps 11 to 20 (line 2 of 3; 1 differ)")
    T.truthy(out:find "loss +2.25 +2.2500000000000004 +off by 2.0e%-16")
    T.equal(out:find("reward ", 1, true), nil)
    out = different(function(run) run.lines[1].loss = nil end)
    T.truthy(out:find "loss +2.5 +%-\n")
  end)

  T.it("compares as far as both have come", function()
    local out = different(function(run) table.remove(run.lines) table.remove(run.lines) end)
    T.contains(out, "the same in the 1 lines that both have; a has 2 more")
    out = different(function(run) table.insert(run.lines, { phase = "search", stage = 2, epoch = 1, step = 30 }) end)
    T.contains(out, "b has 1 more")
    out = different(function(run) run.lines[1].step = 11 end)
    T.contains(out, "where b is at stage 1, search epoch 1, step 11")
  end)

  T.it("shows cells and results", function()
    local out = different(function(run)
      run.genotype, run.lines[3].validation_accuracy = genotypes[2], 0.25
    end)
    T.truthy(out:find "normal 2 +skip_connect 1 to 2 +dil_conv_3x3 0 to 2\n")
    T.truthy(out:find "validation_accuracy +0.75 +0.25\n")
    T.equal(out:find("normal 1", 1, true), nil)
  end)

  T.it("lists changes by hand", function()
    local out = different(function(run)
      table.insert(run.lines, 2, { phase = "change", step = 10, stage = 1, epoch = 1, text = "weights.lr = 0.5",
                                   by = "attach" })
    end)
    T.contains(out, "  b  step 10: weights.lr = 0.5\n")
    T.contains(out, "numbers: the same in all 3 lines")
  end)

  T.it("compares evaluations: the cell, the results, and where they went on with other processes", function()
    local folder = T.folder()
    for i, name in ipairs { "a", "b" } do
      make(folder .. "/" .. name, function(run)
        run.lines = { { phase = "train", epoch = 1, step = 10, loss = 2.5, top1 = 0.5 } }
        if i == 2 then run.config.changes = { { step = 7, processes = 2, before = 1 } } end
      end)
      T.shell("rm " .. folder .. "/" .. name .. "/genotypes/*")
      T.write(folder .. "/" .. name .. "/genotypes/cell.json", cnas.json.encode(genotypes[i]))
      T.write(folder .. "/" .. name .. "/summary.json", cnas.json.encode { results = { top1 = 0.5 + i / 8 } })
    end
    local status, out = T.run { "diff", "a", "b", cwd = folder }
    T.equal(status, 8)
    T.truthy(out:find "top1 +0.625 +0.75\n")
    T.truthy(out:find "the cell that was trained\n +normal 2 +skip_connect 1 to 2 +dil_conv_3x3 0 to 2\n")
    T.contains(out, "  b  step 7: went on with 2 processes instead of 1\n")
  end)

  T.it("gives all of it as JSON", function()
    local status, out = compare(function(run) run.lines[2].loss = 7 end, "--json")
    T.equal(status, 8)
    local result = cnas.json.decode(out)
    T.equal(result.same, false)
    T.equal(result.numbers.place, { stage = 1, phase = "search", epoch = 2, step = 20, from = 11 })
    T.equal(result.numbers.values, { { name = "loss", a = 2.25, b = 7, counts = true } })
    T.equal(result.b.folder, "b")
    status, out = compare(nil, "--json")
    T.equal({ status, cnas.json.decode(out).same }, { 0, true })
  end)

  T.it("lets nothing of a folder control the terminal", function()
    local out = different(function(run)
      run.config.recipe, run.config.machine.kernels = "\27[2Jx.lua", "a\27]0;b\7"
      run.recipe = "-- \27[31m\n"
    end)
    T.equal(out:find "[\27\7]", nil)
  end)

  T.it("names a run of several seeds, and refuses what is no run", function()
    local folder = T.folder()
    for seed = 1, 2 do make(folder .. "/all/seed-" .. seed) end
    make(folder .. "/a")
    local status, _, err = T.run { "diff", "a", "all", cwd = folder }
    T.equal(status, 2)
    T.contains(err, "all has the runs of 2 seeds: name one of them, all/seed-1 for example")
    T.equal((T.run { "diff", "a", "all/seed-2", cwd = folder }), 0)
    cnas.file.mkdir(folder .. "/empty")
    for _, name in ipairs { "empty", "nowhere", "a/config.json" } do
      status, _, err = T.run { "diff", "a", name, cwd = folder }
      T.equal(status, 3)
      T.contains(err, name)
    end
    status, _, err = T.run { "diff", "a", cwd = folder }
    T.equal(status, 2)
    T.contains(err, "RUN is missing")
  end)

  T.it("survives damaged files, and says so", function()
    local folder = T.folder()
    make(folder .. "/a")
    make(folder .. "/b")
    T.write(folder .. "/b/metrics.jsonl", '{"phase":"search"\n[1,2]\n{"phase":7,"loss":"x"}\n{"phase":"se')
    local status, out = T.run { "diff", "a", "b", cwd = folder }
    T.equal(status, 8)
    T.contains(out, "metrics.jsonl")
    T.write(folder .. "/b/config.json", "{")
    status, out = T.run { "diff", "b", "a", cwd = folder }
    T.equal(status, 8)
    T.contains(out, "config.json")
  end)

  T.it("finds two runs of one recipe the same, to the bit, and a third one not", function()
    local folder = T.folder()
    local recipe = cnas.home .. "/recipes/random_search.lua"
    for name, seed in pairs { a = 1, b = 1, c = 2 } do
      local words = { recipe, "-o", folder .. "/" .. name, "--seed", tostring(seed) }
      for word in ([[--data shapes --train-images 96 --channels 2 --layers 3 --nodes 2 --batch 24 --epochs 1 --threads 1
        --derive-images 24 --cost-channels 2 --cost-layers 3 --rounds 1 --samples 2 --finalists 1]]):gmatch "%S+" do
        words[#words + 1] = word
      end
      local status, _, err = T.run(words)
      T.equal(status, 0, err)
    end
    T.equal((T.run { "diff", folder .. "/a", folder .. "/b" }), 0)
    local status, out = T.run { "diff", folder .. "/a", folder .. "/c" }
    T.equal(status, 8)
    T.truthy(out:find "%-%-seed +1 %(given%)" or out:find "%-%-seed +1 +2\n")
    T.contains(out, "part at stage 1")
  end)
end)
