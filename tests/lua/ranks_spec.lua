-- ranks_spec.lua - runs on several processes of this machine: the same numbers as one process, the same bytes each
-- time, and an end when one of them is lost.

local T = require "spec"
local cnas = require "cnas"
local run_files = require "run_files"

local checkpoints, metrics = run_files.checkpoints, run_files.metrics
local essence, same = run_files.essence, run_files.same
local here = arg[0]:match("^(.*)/tests/lua/[^/]*$") or "."
local search = here .. "/recipes/curriculum_search.lua"
local tiny = "--data shapes --train-images 192 --channels 3 --layers 3 --nodes 2 --hidden 8 --batch 12 --warmup 1 "
  .. "--epochs 1 --derive-images 24 --derive-samples 3 --derive-rounds 2 --compare-uniform --keep 100"

-- A small training loop, as plain as recipes are. Batch norm is frozen, so a batch in two parts is one batch.
local training = [[
local cnas = require "cnas"
local opt = cnas.options { about = "Trains.", { "batch", default = 16 }, { "images", default = 129 } }
local run = cnas.run.open(opt)
local train = cnas.data.load("shapes", { train_images = opt.images, test_images = 10 })
local net = cnas.network { genotype = cnas.genotype.named "CNAS", channels = 3, layers = 3, classes = 10,
                           rng = cnas.rng(1, "weights") }
local weights = cnas.optim.sgd(net:parameters(), { lr = 0.05, momentum = 0.9, weight_decay = 1e-3 })
run:keep { net = net, weights = weights }
net:train(false)
for _ in run:stages { { name = "all", index = 1 } } do
  for _ in run:epochs("train", 2) do
    for x, y in run:batches(train, opt.batch) do
      local logits = net(x)
      weights:step(cnas.cross_entropy(logits, y), { clip = 5 })
      run:log { loss = cnas.cross_entropy(logits:detach(), y), accuracy = cnas.accuracy(logits, y) }
    end
  end
end
]]

local function need_mpi()
  if T.shell("command -v mpirun") ~= 0 then T.skip("no mpirun") end
  if not cnas.dist.mpi then T.skip("this build has no MPI") end
end

-- Processes share the processors as the system likes; each computes with one thread.
local settings = "CNAS_THREADS=1 ASAN_OPTIONS=detect_leaks=0 OMPI_ALLOW_RUN_AS_ROOT=1 "
  .. "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 "
  .. "OMPI_MCA_hwloc_base_binding_policy=none "

-- The shell command that runs a recipe on `count` processes.
local function command(count, recipe, options)
  local launcher = count > 1 and ("mpirun -np %d "):format(count) or ""
  return ("env %s %s%s %s %s"):format(settings, launcher, T.quote(T.program), T.quote(recipe), options)
end

local function run(count, recipe, options)
  return T.shell("timeout -k 5 240 " .. command(count, recipe, options) .. " </dev/null")
end

local function finished(count, recipe, options)
  local status, out, err = run(count, recipe, options)
  T.equal(status, 0, err .. out)
  return out, err
end

local function last_weights(folder)
  local _, name = run_files.last_checkpoint(folder)
  return (cnas.safetensors.load(folder .. "/checkpoints/" .. name))
end

T.describe("training on two processes", function()
  T.it("of batch 16 is training on one of batch 32, with uneven and borrowed images at the end of a pass", function()
    need_mpi()
    local folder = T.folder()
    local recipe = T.write(folder .. "/train.lua", training)
    for _, images in ipairs { 129, 151 } do -- 4 whole batches and one of 1 image, of 23 images
      local one, two = folder .. "/one" .. images, folder .. "/two" .. images
      finished(1, recipe, ("--images %d --batch 32 -o %s"):format(images, one))
      finished(2, recipe, ("--images %d --batch 16 -o %s"):format(images, two))
      local expected, count = last_weights(one), 0
      for name, tensor in pairs(last_weights(two)) do
        T.near(tensor, expected[name], 2e-4, name)
        count = count + 1
      end
      T.truthy(count > 100)
      for i, line in ipairs(metrics(one)) do
        T.near(metrics(two)[i].loss, line.loss, 1e-5)
        T.near(metrics(two)[i].accuracy, line.accuracy, 1e-6)
        T.equal(metrics(two)[i].step, line.step)
      end
    end
  end)

  T.it("gives the same bits each time, prints once, and writes once", function()
    need_mpi()
    local folder = T.folder()
    local recipe = T.write(folder .. "/train.lua", training .. "print 'the end'")
    local out = finished(2, recipe, "-o " .. folder .. "/a")
    finished(2, recipe, "-o " .. folder .. "/b")
    same(folder .. "/b", essence(folder .. "/a"), "the second run")
    local _, times = out:gsub("the end", "")
    T.equal(times, 1)
    _, times = out:gsub("done in", "")
    T.equal(times, 1)
  end)
end)

T.describe("a search on several processes", function()
  T.it("gives the same bytes each time, stopped and resumed or not; other paths than one process", function()
    need_mpi()
    local folder = T.folder()
    finished(2, search, tiny .. " -o " .. folder .. "/whole")
    local expected = essence(folder .. "/whole")

    -- One process is told; all stop at the same batch.
    local stopped = folder .. "/stopped"
    local status, out, err = T.shell(([[%s </dev/null & job=$!
      until [ $(ls %s/checkpoints 2>/dev/null | wc -l) -ge 3 ]; do sleep 0.02; done
      kill -TERM $(pgrep -P $job | tail -n 1)
      wait $job]]):format(command(2, search, tiny .. " -o " .. stopped), stopped))
    T.equal(status, 5, err .. out)
    T.contains(err, "stopped at ")
    local _, times = err:gsub("go on with", "")
    T.equal(times, 1, err)
    finished(2, search, "-o " .. stopped .. " --resume")
    same(stopped, expected, "after the stop")

    finished(1, search, tiny .. " -o " .. folder .. "/alone")
    T.truthy(#metrics(folder .. "/alone") == #metrics(folder .. "/whole"))
    T.truthy(metrics(folder .. "/alone")[1].step > metrics(folder .. "/whole")[1].step)
  end)

  T.it("goes on with another number of processes, and says so", function()
    need_mpi()
    local folder = T.folder() .. "/run"
    finished(3, search, tiny .. " --no-compare-uniform -o " .. folder)
    local names = checkpoints(folder)
    for i = #names // 2, #names do cnas.file.remove(folder .. "/checkpoints/" .. names[i]) end
    local _, err = finished(2, search, "--resume -o " .. folder)
    T.contains(err, "was on 3 processes, going on with 2: not to the last bit")
    _, err = finished(1, search, "--resume -o " .. folder)
    T.contains(err, "was on 2 processes, going on with 1")
    local config = cnas.json.decode(T.read(folder .. "/config.json"))
    T.equal({ config.changes[1].before, config.changes[1].processes, config.changes[2].processes }, { 3, 2, 1 })
  end)
end)

T.describe("an evaluation on two processes", function()
  T.it("measures each image once, with the statistics that it saves; the same bytes each time", function()
    need_mpi()
    local folder = T.folder()
    local options = "--data shapes --train-images 101 --test-images 35 --channels 4 --layers 3 --epochs 2 --batch 8 "
      .. "--accumulate 2 --cutout 8 --drop-path 0.2 -o " .. folder
    finished(2, here .. "/recipes/evaluate.lua", options .. "/a")
    finished(2, here .. "/recipes/evaluate.lua", options .. "/b")
    same(folder .. "/b", essence(folder .. "/a"), "the second run")
    T.truthy(T.read(folder .. "/a/weights/last.safetensors") == T.read(folder .. "/b/weights/last.safetensors"))

    local lines = metrics(folder .. "/a")
    T.near(lines[2].top1 * 35, math.floor(lines[2].top1 * 35 + 0.5), 1e-6)
    local model = cnas.model.open(folder .. "/a/weights/last.safetensors")
    local _, _, test = cnas.data.load("shapes", { train_images = 101, test_images = 35, seed = 1 })
    local right = 0
    for x, y in cnas.data.loader { dataset = test, batch = 35, augment = false } do
      right = right + cnas.accuracy(cnas.no_grad(model:train(false), x), y):item() * 35
    end
    T.near(right, lines[2].top1 * 35, 1e-5)
  end)
end)

T.describe("a process of several", function()
  local function both(code, seconds)
    need_mpi()
    local status, out, err
    for _ = 1, 3 do -- Open MPI 4.1's mpirun itself may crash while it tidies up after a job that ended badly
      status, out, err = T.run { "-e", "local cnas = require 'cnas' local world = cnas.dist.world() " .. code,
        seconds = 90, under = "env " .. settings .. ("CNAS_PATIENCE=%d mpirun -np 3"):format(seconds or 45) }
      if not err:find("(orte_finalize", 1, true) then break end
    end
    return status, out, err
  end

  T.it("that is killed is named", function()
    local start = cnas.clock()
    local status, _, err = both [[if world.rank == 1 then os.execute("kill -KILL $PPID") end
      while true do world:barrier() end]]
    T.truthy(status ~= 0)
    T.contains(err, "lost rank 1 of 3")
    T.contains(err, "it ended without a word")
    T.truthy(cnas.clock() - start < 60)
  end)

  T.it("that is rank 0 and is killed is named by another", function()
    local status, _, err = both [[if world.rank == 0 then os.execute("kill -KILL $PPID") end world:barrier()]]
    T.truthy(status ~= 0)
    T.contains(err, "lost rank 0 of 3")
  end)

  T.it("that is stopped is named, and the others end with a status of their own", function()
    for rank = 0, 2, 2 do
      local status, _, err = both(("if world.rank == %d then os.execute('kill -STOP $PPID') end world:barrier()")
        :format(rank), 3)
      T.equal(status, 7, err)
      T.contains(err, ("lost rank %d of 3"):format(rank))
      T.contains(err, "not been heard of")
    end
  end)

  T.it("that hangs is named", function()
    local status, _, err = both("if world.rank == 1 then while true do end end world:barrier()", 3)
    T.equal(status, 7, err)
    T.contains(err, "lost rank 1 of 3")
    T.contains(err, "it hangs")
  end)

  T.it("that leaves early is named", function()
    local status, _, err = both("if world.rank == 2 then os.exit(0) end world:barrier()", 3)
    T.equal(status, 7, err)
    T.contains(err, "lost rank 2 of 3")
  end)

  T.it("that works long is not lost", function()
    local status, out, err = both([[local t = cnas.ones(200, 200)
      local start = cnas.clock()
      while world.rank == 1 and cnas.clock() - start < 5 do t:matmul(t) end
      world:barrier() io.write "ok "]], 3)
    T.equal({ status, out }, { 0, "ok ok ok " }, err)
  end)

  T.it("that fails says so once, with its rank, and all end with its status", function()
    for code, expected in pairs {
      ["if world.rank == 2 then require('cnas.args').fail('data', 'a bad file') end world:barrier()"] = 3,
      ["if world.rank == 2 then require('cnas.args').fail('not-finite', 'a bad file') end world:barrier()"] = 4,
      ["if world.rank == 2 then error 'a bad file' end world:barrier()"] = 1,
    } do
      local status, _, err = both(code)
      T.equal(status, expected, err)
      local _, times = err:gsub("cnas: rank 2: [^\n]*a bad file", "")
      T.equal(times, 1, err)
    end
  end)

  T.it("that fails as all do says so once", function()
    need_mpi()
    local status, out, err = run(3, search, "--epoch 3")
    T.equal(status, 2, err)
    local _, times = err:gsub("unknown option '%-%-epoch'", "")
    T.equal({ times, out:find("unknown") }, { 1, nil }, err)
    status, out, err = run(2, search, "--help")
    T.equal(status, 0, err)
    _, times = out:gsub("usage: cnas", "")
    T.equal(times, 1)
  end)

  T.it("does not start in a folder that is in use", function()
    need_mpi()
    local folder = T.folder() .. "/run"
    cnas.file.mkdir(folder)
    local lock <close> = cnas.file.lock(folder) -- luacheck: ignore 211
    local status, _, err = run(2, search, tiny .. " -o " .. folder)
    T.equal(status, 6, err)
    T.contains(err, "cnas: rank 0: ")
  end)
end)
