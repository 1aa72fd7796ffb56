-- Reading run folders: what a run wrote, what a run that is going on has so far, and folders that are damaged, foreign
-- or hostile.
local T = require "spec"
local cnas = require "cnas"

local here = arg[0]:match("^(.*)/tests/lua/[^/]*$") or "."

local tiny = {}
for word in ([[--data shapes --split 0.5 --train-images 96 --channels 2 --layers 3 --nodes 2 --batch 24 --warmup 1
  --epochs 1 --derive-images 24 --derive-samples 2 --derive-rounds 1 --hidden 8 --cost-channels 2 --cost-layers 3
  --threads 1]]):gmatch("%S+") do
  tiny[#tiny + 1] = word
end

local function search(folder, more)
  local words = { here .. "/recipes/curriculum_search.lua", "--grow", "node", "-o", folder }
  for _, list in ipairs { tiny, more or {} } do table.move(list, 1, #list, #words + 1, words) end
  local status, _, err = T.run(words)
  T.equal(status, 0, err)
end

local function write(folder, files)
  for name, text in pairs(files) do
    cnas.file.mkdir((folder .. "/" .. name):match "^(.*)/")
    T.write(folder .. "/" .. name, text)
  end
  return folder
end

T.describe("folder.read", function()
  T.it("tells what a search left", function()
    local folder = T.folder() .. "/run"
    search(folder)
    local run = cnas.folder.read(folder .. "/")
    T.equal({ run.kind, run.state, run.name, run.folder }, { "search", "complete", "run", folder })
    T.equal(run.problems, {})
    T.equal(run.options.grow, "node")
    T.equal(run.phases, { "warm-up", "search" })
    T.equal(#run.epochs, 4)
    T.equal(#run.stages, 2)
    for i, stage in ipairs(run.stages) do
      T.equal({ stage.first, stage.last, stage.x }, { 2 * i - 1, 2 * i, 2 * i })
      T.equal(#stage.genotype.normal, 2 * i)
      for _, key in ipairs { "validation_accuracy", "test_accuracy", "parameters", "macs", "latency", "name" } do
        T.truthy(stage[key], key)
      end
    end
    T.truthy(run.epochs[2].values.reward and run.epochs[2].values["entropy/normal nodes"])
    T.truthy(run.seconds > 0 and run.machine.kernels and run.started and run.finished)
    T.contains(run.source, "curriculum_search.lua")
    T.truthy(run.front and #run.front.members > 0)
  end)

  T.it("tells how often what was chosen", function()
    local folder = T.folder() .. "/run"
    search(folder)
    for _, epoch in ipairs(cnas.folder.read(folder).epochs) do
      local nodes = epoch.stage
      local batches = epoch.phase == "search" and 4 or 2 -- 48 images of each part, 24 at a time
      for _, cell in ipairs { "normal", "reduction" } do
        local sums = {}
        for kind, counts in pairs(epoch.chosen[cell]) do
          sums[kind] = 0
          for _, n in pairs(counts) do sums[kind] = sums[kind] + n end
        end
        T.equal(sums, { operations = batches * 2 * nodes, edges = batches * 2 * nodes })
        T.equal(epoch.chosen[cell].edges["2 3"] ~= nil and nodes < 2, false)
      end
    end
  end)

  T.it("reads a run that is going on, and says who holds it", function()
    local folder = write(T.folder(), {
      ["config.json"] = '{"recipe":"r.lua","options":{"seed":3}}',
      ["metrics.jsonl"] = '{"phase":"train","epoch":1,"step":4,"loss":2.5}\n{"phase":"train","epo',
    })
    local lock <close> = cnas.file.lock(folder) -- luacheck: ignore
    local run = cnas.folder.read(folder)
    T.equal({ run.state, run.kind, #run.epochs, run.epochs[1].values.loss }, { "running", "run", 1, 2.5 })
    T.contains(run.holder, "process ")
    T.equal(run.problems, {})
    lock:close()
    run = cnas.folder.read(folder)
    T.equal(run.state, "stopped")
    T.equal(run.problems, { "metrics.jsonl: the last line is not whole: left out" })
  end)

  T.it("marks changes by hand where they were made", function()
    local run = cnas.folder.read(write(T.folder(), { ["metrics.jsonl"] = [[
{"phase":"train","epoch":1,"step":4,"loss":2.5}
{"phase":"change","step":6,"epoch":2,"text":"weights.lr = 0.1","by":"terminal","time":{}}
{"phase":"train","epoch":2,"step":8,"loss":2.0}
]] }))
    T.equal(run.changes, { { x = 1.5, text = "weights.lr = 0.1", by = "terminal", step = 6, epoch = 2 } })
    T.equal(#run.epochs, 2)
  end)

  T.it("leaves out what is not what it should be, and says so", function()
    local run = cnas.folder.read(write(T.folder(), {
      ["config.json"] = '{"recipe":7,"options":{"a":{"b":1},"c":true,"d":"x"},"machine":"none","started":[]}',
      ["metrics.jsonl"] = '[]\n7\nnull\n{"phase":{},"epoch":1}\n{"phase":"a","epoch":1.5}\n'
        .. '{"phase":"a","epoch":1,"x":"text","y":1,"time":3,"chosen":{"normal":{"edges":{"<b>":1,"0 2":-1}}}}\n\n{\n',
      ["summary.json"] = "\0\1\2", ["pareto.json"] = '{"front":[{"genotype":{"normal":"no"}},7]}',
      ["genotypes/stage-1.json"] = "{}", ["genotypes/stage-x.json"] = "{}", ["genotypes/cell.json"] = "Genotype(",
    }))
    T.equal({ run.recipe, run.started, run.options, run.machine, run.state, #run.stages },
            { nil, nil, { c = true, d = "x" }, {}, "stopped", 0 })
    T.equal(#run.epochs, 1)
    T.equal({ run.epochs[1].values, run.epochs[1].chosen }, { { y = 1 }, nil })
    local text = table.concat(run.problems, "\n")
    for _, part in ipairs { "metrics.jsonl: 2 lines are not a JSON object, the first is line 2", "summary.json: ",
                            "pareto.json: ", "genotypes/stage-1.json: ", "genotypes/cell.json: " } do
      T.contains(text, part)
    end
  end)

  T.it("reads every beginning of a folder's files", function()
    local folder = T.folder() .. "/run"
    search(folder)
    local names = { "config.json", "metrics.jsonl", "summary.json", "pareto.json", "genotypes/stage-2.json" }
    for _, name in ipairs(names) do
      local whole = T.read(folder .. "/" .. name)
      for bytes = 0, #whole - 2, math.max(1, #whole // 20) do
        T.write(folder .. "/" .. name, whole:sub(1, bytes))
        T.equal(#cnas.folder.read(folder).epochs <= 4, true)
      end
      T.write(folder .. "/" .. name, whole)
    end
    T.equal(cnas.folder.read(folder).problems, {})
  end)

  T.it("says when there is no run", function()
    local empty = T.folder()
    local e = T.raises("is no run's folder: it has no config.json", cnas.folder.read, empty)
    T.contains(e, "is no run's folder")
    T.raises("expected a run's folder, there is none", cnas.folder.read, empty .. "/none")
    T.raises("expected a run's folder, there is none", cnas.folder.find, empty .. "/none")
    T.raises("got nil", cnas.folder.read)
  end)
end)

T.describe("folder.find", function()
  T.it("gives the runs of --seeds in their order", function()
    local folder = T.folder()
    for _, name in ipairs { "seed-10", "seed-2", "other", "seed-x" } do
      write(folder .. "/" .. name, { ["config.json"] = "{}" })
    end
    T.equal(cnas.folder.find(folder), { folder .. "/seed-2", folder .. "/seed-10" })
    T.equal(cnas.folder.find(folder .. "/other/"), { folder .. "/other" })
  end)
end)
