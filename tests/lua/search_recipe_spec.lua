-- The searches beside the curriculum search as people run them: random search, evolution, ENAS; limits and prices; the
-- same bytes with the same seed and after an interruption; several seeds.
local T = require "spec"
local cnas = require "cnas"

local here = arg[0]:match("^(.*)/tests/lua/[^/]*$") or "."

local tiny = {}
for word in ([[--data shapes --train-images 96 --channels 2 --layers 3 --nodes 2 --batch 24 --epochs 1
  --derive-images 24 --cost-channels 2 --cost-layers 3 --threads 1]]):gmatch("%S+") do
  tiny[#tiny + 1] = word
end
local own = {
  random_search = { "--rounds", "2", "--samples", "3", "--finalists", "2" },
  evolution = { "--generations", "2", "--children", "4", "--population", "3", "--sample", "2", "--finalists", "2" },
  enas = { "--derive-samples", "2", "--derive-rounds", "1", "--hidden", "8" },
}

-- Runs a recipe (its name, or the path of another file with the same options) with tiny settings and others.
local function search(name, folder, more, o)
  local file = o and o.file or ("%s/recipes/%s.lua"):format(here, name)
  local words = { file, "-o", folder }
  for _, list in ipairs { tiny, own[name], more or {} } do table.move(list, 1, #list, #words + 1, words) end
  words.seconds = 600
  return T.run(words)
end

-- What must not depend on the clock: the last checkpoint, the front, the genotype.
local function essence(folder)
  local names = cnas.file.list(folder .. "/checkpoints")
  return table.concat { T.read(folder .. "/checkpoints/" .. names[#names]), T.read(folder .. "/pareto.json"),
                        T.read(folder .. "/genotypes/stage-1.json") }
end

local function derived(folder) return cnas.json.decode(T.read(folder .. "/genotypes/stage-1.json")) end

for _, name in ipairs { "random_search", "evolution", "enas" } do
  T.describe(name, function()
    T.it("leaves a cell, its cost and the Pareto set, and the same bytes with the same seed", function()
      local folder = T.folder()
      for _, run in ipairs { "a", "b" } do
        local status, out, err = search(name, folder .. "/" .. run)
        T.equal(status, 0, err)
        T.contains(out, "done in")
      end
      T.truthy(essence(folder .. "/a") == essence(folder .. "/b"), "two runs with the same seed differ")
      T.equal(search(name, folder .. "/c", { "--seed", "2" }), 0)
      T.truthy(essence(folder .. "/a") ~= essence(folder .. "/c"), "two seeds give the same")

      local cell = derived(folder .. "/a")
      local arch = cnas.arch(folder .. "/a") -- as recipes/evaluate.lua --arch DIR will find it
      T.equal(arch.normal, cell.normal)
      local costs = cnas.costs { space = cnas.space.darts(), channels = 2, layers = 3, classes = 10 }
      T.equal(cell.cost, costs(arch))
      local pareto = cnas.json.decode(T.read(folder .. "/a/pareto.json"))
      T.truthy(#pareto.front >= 1 and pareto.seen >= #pareto.front)
      for _, one in ipairs(pareto.front) do
        for _, other in ipairs(pareto.front) do
          T.truthy(one == other or one.accuracy > other.accuracy or one.parameters < other.parameters
                   or one.macs < other.macs)
        end
      end
      for _, line in ipairs { "summary.json", "drawings/stage-1-normal.svg", "metrics.jsonl", "recipe.lua" } do
        T.truthy(cnas.file.exists(folder .. "/a/" .. line), line)
      end
    end)

    T.it("keeps to limits, and says when it cannot", function()
      local folder = T.folder()
      T.equal(search(name, folder .. "/free"), 0)
      local space = cnas.space.darts()
      local costs = cnas.costs { space = space, channels = 2, layers = 3, classes = 10 }
      local most = costs:base(2).parameters * 1.1 // 1
      local status, _, err = search(name, folder .. "/small", { "--max-parameters", tostring(most) })
      T.equal(status, 0, err)
      for _, one in ipairs(cnas.json.decode(T.read(folder .. "/small/pareto.json")).front) do
        T.truthy(one.parameters <= most)
      end
      T.truthy(derived(folder .. "/small").cost.parameters <= most)
      status, _, err = search(name, folder .. "/none", { "--max-parameters", "10" })
      T.equal(status, 2)
      T.contains(err, "the limit of 10 parameters cannot be kept: the cheapest open architecture has")
    end)
  end)
end

T.describe("a search with a price", function()
  T.it("pays for few multiply-adds", function()
    local folder = T.folder()
    T.equal(search("evolution", folder .. "/free", { "--generations", "6" }), 0)
    T.equal(search("evolution", folder .. "/dear", { "--generations", "6", "--target-macs", "1", "--price", "3" }), 0)
    T.truthy(derived(folder .. "/dear").cost.macs < derived(folder .. "/free").cost.macs)
    T.truthy(derived(folder .. "/dear").reward < 1e-6)
  end)

  T.it("takes a measured latency for a limit", function()
    local folder = T.folder() .. "/run"
    local status, _, err = search("random_search", folder, { "--max-latency", "10000", "--samples", "2" })
    T.equal(status, 0, err)
    T.truthy(cnas.json.decode(T.read(folder .. "/pareto.json")).front[1].latency > 0)
  end)
end)

T.describe("a search that is stopped", function()
  -- The recipe, which asks itself to stop before the step STOP_AT.
  local function stopping(name, call)
    local source, count = T.read(("%s/recipes/%s.lua"):format(here, name)):gsub(call, [[(function(...)
      if run.step == tonumber(os.getenv "STOP_AT") then os.execute "kill -TERM $PPID" end
      return %0(...)
    end)]])
    T.equal(count, 1)
    return T.write(T.folder() .. "/" .. name .. ".lua", source)
  end

  for name, call in pairs { evolution = "population:full", random_search = "sampler%.uniform" } do
    T.it("goes on to the same bytes: " .. name, function()
      local folder = T.folder()
      T.equal(search(name, folder .. "/whole"), 0)
      local file = stopping(name, call)
      for _, step in ipairs { 3, 5 } do
        local words = { file, "-o", folder .. "/cut", "--resume", env = { STOP_AT = tostring(step) } }
        table.move(tiny, 1, #tiny, #words + 1, words)
        table.move(own[name], 1, #own[name], #words + 1, words)
        local status, _, err = T.run(words)
        T.equal(status, 5, err)
        T.contains(err, "stopped at stage 1 of 1 (everything)")
      end
      local status, _, err = T.run { file, "-o", folder .. "/cut", "--resume" }
      T.equal(status, 0, err)
      T.truthy(essence(folder .. "/cut") == essence(folder .. "/whole"), "the stopped run differs")
    end)
  end
end)

T.describe("evolution on two processes", function()
  T.it("measures two children at a time and is as reproducible as on one", function()
    if T.shell("command -v mpirun") ~= 0 then T.skip("no mpirun") end
    if not cnas.dist.mpi then T.skip("this build has no MPI") end
    local folder = T.folder()
    for _, run in ipairs { "a", "b" } do
      local words = { here .. "/recipes/evolution.lua", "-o", folder .. "/" .. run, under = "mpirun -np 2", env = {
        OMPI_ALLOW_RUN_AS_ROOT = 1, OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1, OMPI_MCA_rmaps_base_oversubscribe = 1,
        OMPI_MCA_hwloc_base_binding_policy = "none",
        ASAN_OPTIONS = "detect_leaks=0" } }
      table.move(tiny, 1, #tiny, #words + 1, words)
      table.move(own.evolution, 1, #own.evolution, #words + 1, words)
      local status, _, err = T.run(words)
      T.equal(status, 0, err)
    end
    T.truthy(essence(folder .. "/a") == essence(folder .. "/b"), "two runs with the same seed differ")
    -- 2 generations of 4 steps on 2 processes, then the finalists
    T.equal(cnas.json.decode(T.read(folder .. "/a/pareto.json")).seen, 2 * 4 * 2 + 2)
  end)
end)

T.describe("--seeds", function()
  T.it("runs each seed as it would run alone, and tells mean and deviation", function()
    local folder = T.folder()
    local status, out, err = search("random_search", folder .. "/all", { "--seeds", "3", "--seed", "7" })
    T.equal(status, 0, err)
    T.contains(out, "seed 8 (2 of 3)")
    T.contains(out, "mean ± deviation")
    T.contains(out, "3 seeds; everything is in " .. folder .. "/all")
    T.equal(search("random_search", folder .. "/one", { "--seed", "8" }), 0)
    T.truthy(essence(folder .. "/one") == essence(folder .. "/all/seed-8"))
    local summary = cnas.json.decode(T.read(folder .. "/all/seeds.json"))
    T.equal(#summary.runs, 3)
    local accuracies = {}
    for i = 1, 3 do
      accuracies[i] = derived(("%s/all/seed-%d"):format(folder, 6 + i)).test_accuracy
      T.equal(summary.runs[i].seed, 6 + i)
    end
    local mean, deviation = cnas.metric.spread(accuracies)
    T.near(summary.spread.test_accuracy.mean, mean, 1e-12)
    T.near(summary.spread.test_accuracy.deviation, deviation, 1e-9)
  end)

  T.it("goes on with seeds that are missing or stopped, and with more", function()
    local folder = T.folder() .. "/all"
    T.equal(search("evolution", folder, { "--seeds", "2", "--seed", "3" }), 0)
    local first, second = essence(folder .. "/seed-3"), essence(folder .. "/seed-4")
    T.shell("rm -r " .. T.quote(folder .. "/seed-4"))
    local file = here .. "/recipes/evolution.lua"
    local status, out, err = T.run { file, "-o", folder, "--seeds", "3", "--resume" }
    T.equal(status, 0, err)
    T.contains(out, "the run in " .. folder .. "/seed-3 is complete")
    T.truthy(essence(folder .. "/seed-3") == first)
    T.truthy(essence(folder .. "/seed-4") == second)
    T.truthy(essence(folder .. "/seed-5") ~= second)
    T.equal(#cnas.json.decode(T.read(folder .. "/seeds.json")).runs, 3)
  end)

  T.it("refuses a folder with runs at once, and other options for them", function()
    local folder = T.folder() .. "/all"
    T.equal(search("random_search", folder, { "--seeds", "2" }), 0)
    local status, out, err, _ = search("random_search", folder, { "--seeds", "3" })
    T.equal(status, 2)
    T.contains(err, folder .. "/seed-1 holds a run already: go on with all of them by --resume")
    T.equal(out, "")
    status, _, err = search("random_search", folder, { "--seeds", "2", "--resume", "--lr", "0.5" })
    T.equal(status, 2)
    T.contains(err, "seed 1: --lr 0.5: the run in " .. folder .. "/seed-1 was started with 0.01")
    status, _, err = search("random_search", folder, { "--seeds", "0" })
    T.equal(status, 2)
    T.contains(err, "--seeds: expected at least 1")
  end)

  T.it("works for every recipe with a run folder", function()
    local folder = T.folder() .. "/all"
    local status, out, err = search("enas", folder, { "--seeds", "2" })
    T.equal(status, 0, err)
    T.contains(out, "validation_accuracy")
    T.contains(out, "mean ± deviation")
  end)
end)
