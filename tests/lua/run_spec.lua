-- A run: its folder, its place in the loops, what it keeps. The recipe here counts: each batch draws from a stream, and
-- all it ever did is one list of numbers, so that stopping and going on anywhere can be compared with not stopping.
local T = require "spec"
local cnas = require "cnas"
local journal = require "journal"
local run_files = require "run_files"

local metrics, last_checkpoint = run_files.timeless, run_files.last_checkpoint

-- luacheck: push ignore 122 (fields of io)
local function quiet(f, ...) -- without the lines that a run prints
  local out, err = io.stdout, io.stderr
  local sink <close> = assert(io.open("/dev/null", "w"))
  io.stdout, io.stderr = sink, sink
  local results = table.pack(pcall(f, ...))
  io.stdout, io.stderr = out, err
  collectgarbage() -- an abandoned run lets go of its lock
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end
-- luacheck: pop

-- A dataset of 10 images.
local function dataset() return (cnas.data.load("shapes", { train_images = 20, split = 0.5, seed = 1 })) end

-- Runs the counting recipe; stop(n) is asked at the n-th batch and may raise. Returns the journal's list.
local function count(folder, resume, stop, save_every)
  return quiet(function()
    local data = dataset()
    local run <const> = cnas.run.open {
      out = folder, resume = resume, seed = 1, save_every = save_every or 0, keep = 2,
    }
    local log, rng = journal(), cnas.rng(1, "test")
    run:keep { journal = log, rng = rng }
    local n = 0
    local function pass(mark)
      for x, y in run:batches(data, 4) do
        n = n + 1
        if stop then stop(n, run) end
        local value = mark + x:sum():item() / 1e6 + y:sum():item() + rng:uniform()
        log:add(value)
        run:log { value = value }
      end
    end
    for stage in run:stages { { index = 1, name = "a" }, { index = 2, name = "b" } } do
      for _ in run:epochs("warm-up", 1) do pass(100 * stage.index) end
      for epoch in run:epochs("search", 2) do
        pass(1000 * stage.index + epoch)
        pass(2000 * stage.index + epoch)
      end
      log:add(-rng:uniform())
    end
    run.lock:close()
    return log.list
  end)
end

T.describe("a run", function()
  T.it("goes on after every batch as if it had not been stopped", function()
    local whole = T.folder()
    local expected = count(whole)
    local batches = 2 * (1 + 2 * 2) * 3
    T.equal(#expected, batches + 2)
    for at = 1, batches do
      local folder = T.folder()
      T.raises("^stop here", count, folder, false, function(n) if n == at then error("stop here", 0) end end)
      T.equal(count(folder, true), expected, "stopped at batch " .. at)
      T.equal(metrics(folder), metrics(whole), "metrics, stopped at batch " .. at)
      T.truthy(last_checkpoint(folder) == last_checkpoint(whole), "checkpoints differ, stopped at batch " .. at)
    end
  end)

  T.it("goes on from the last checkpoint when there were batches after it", function()
    local whole, folder = T.folder(), T.folder()
    local expected = count(whole, false, nil, 1e9)
    T.raises("stop here", count, folder, false, function(n) if n == 12 then error("stop here", 0) end end, 1e9)
    T.raises("stop again", count, folder, true, function(n) if n == 5 then error("stop again", 0) end end, 1e9)
    T.equal(count(folder, true, nil, 1e9), expected)
    T.equal(metrics(folder), metrics(whole))
  end)

  T.it("removes what a killed process was writing when it goes on", function()
    local folder = T.folder()
    T.raises("^stop here", count, folder, false, function(n) if n == 3 then error("stop here", 0) end end)
    local left = {}
    for i, name in ipairs { "", "checkpoints/", "genotypes/", "drawings/" } do
      left[i] = folder .. "/" .. name .. ".part.7-1.tmp"
      assert(io.open(left[i], "w")):close()
    end
    count(folder, true)
    for _, path in ipairs(left) do T.equal(cnas.file.exists(path), false, path) end
  end)

  T.it("tells how long it waited for batches", function()
    local folder = T.folder()
    count(folder)
    for i, line in ipairs(run_files.metrics(folder)) do
      local time = line.time
      T.truthy(time.loader_seconds > 0 and time.loader_seconds < time.seconds, "line " .. i)
    end
    T.equal(require "cnas.progress".Progress.waiting(0.25, 50), "waited 0.5%")
  end)

  T.it("is over when it is over: resuming does nothing more", function()
    local folder = T.folder()
    local list = count(folder)
    local before, summary = last_checkpoint(folder), T.read(folder .. "/summary.json")
    T.equal(count(folder, true, function() error("no batch is left") end), list)
    T.truthy(last_checkpoint(folder) == before)
    T.equal(T.read(folder .. "/summary.json"), summary)
  end)

  T.it("falls back to the checkpoint before when the newest is damaged", function()
    local whole, folder = T.folder(), T.folder()
    local expected = count(whole)
    T.raises("stop here", count, folder, false, function(n) if n == 9 then error("stop here", 0) end end)
    local names = cnas.file.list(folder .. "/checkpoints")
    T.equal(#names, 2)
    local path = folder .. "/checkpoints/" .. names[2]
    local bytes = T.read(path)
    T.write(path, bytes:sub(1, -3) .. string.char(bytes:byte(-2) ~ 1) .. bytes:sub(-1))
    T.equal(count(folder, true), expected)
    T.truthy(cnas.file.exists(path .. ".bad"))
    T.truthy(last_checkpoint(whole):len() > 0)
  end)

  T.it("keeps the last k checkpoints", function()
    local folder = T.folder()
    count(folder)
    T.equal(#cnas.file.list(folder .. "/checkpoints"), 2)
  end)

  T.it("refuses a folder that holds a run, one that holds something else, and one in use", function()
    local folder = T.folder()
    count(folder)
    local e = T.raises("holds a run already: go on with it by %-%-resume, delete it by %-%-overwrite", count, folder)
    T.equal(e.code, "usage")
    T.equal(#quiet(cnas.run.open, { out = folder, overwrite = true, seed = 1 }).record.kept, 0)
    collectgarbage()
    local other = T.folder()
    T.write(other .. "/thesis.tex", "x")
    T.raises("is not empty and holds no run", count, other)
    T.raises("is not empty and holds no run", count, other, true)
    T.equal(T.read(other .. "/thesis.tex"), "x")
    local used = T.folder()
    local run <const> = quiet(cnas.run.open, { out = used, seed = 1 })
    T.equal(T.raises("", count, used, true).code, "busy")
    run.lock:close()
  end)

  T.it("that was killed as it began is begun again in the same folder", function()
    local whole, folder = T.folder(), T.folder()
    count(whole)
    T.write(folder .. "/config.json", T.read(whole .. "/config.json")) -- what is written first, and nothing more
    count(folder, true)
    T.truthy(last_checkpoint(folder) == last_checkpoint(whole))
  end)

  T.it("writes its configuration, its metrics and a summary", function()
    local folder = T.folder()
    count(folder)
    local config = cnas.json.decode(T.read(folder .. "/config.json"))
    T.equal(config.options.seed, 1)
    T.truthy(config.machine.threads >= 1)
    local lines = metrics(folder)
    T.equal(#lines, 6)
    local line = cnas.json.decode(lines[2])
    T.equal({ line.stage, line.name, line.phase, line.epoch, line.step }, { 1, "a", "search", 1, 9 })
    local summary = cnas.json.decode(T.read(folder .. "/summary.json"))
    T.equal(summary.step, 30)
    T.truthy(summary.memory.tensors_peak > 0)
  end)

  T.it("means are weighted by the images of a batch, and exact", function()
    local folder = T.folder()
    quiet(function()
      local run <const> = cnas.run.open { out = folder, seed = 1 }
      for _ in run:epochs("train", 1) do
        local value = 0
        for _ in run:batches(dataset(), 4) do -- 4, 4 and 2 images
          value = value + 1
          run:log { value = value }
        end
      end
      run.lock:close()
    end)
    T.equal(cnas.json.decode(metrics(folder)[1]).value, (4 * 1 + 4 * 2 + 2 * 3) / 10)
  end)

  T.it("stops at a value that is not finite, and says where", function()
    local folder = T.folder()
    local e = T.raises("", function()
      quiet(function()
        local run <const> = cnas.run.open { out = folder, seed = 1 }
        for _ in run:stages { { index = 1, name = "only" } } do
          for _ in run:epochs("search", 3) do
            for _ in run:batches(dataset(), 4) do run:log { loss = run.step == 5 and 0 / 0 or 1.0 } end
          end
        end
      end)
    end)
    T.equal(e.code, "not-finite")
    T.contains(e.message, "stage 1 of 1 (only), search epoch 2, step 5 (batch 2): loss is")
    T.contains(e.message, "the last good checkpoint is " .. folder .. "/checkpoints/step-00000003.safetensors")
    collectgarbage()
  end)

  T.it("refuses to keep what has no state, and to go on without what was kept", function()
    local folder = T.folder()
    T.raises("'table' is a table without state%(%)", function()
      quiet(function()
        local run <const> = cnas.run.open { out = folder, seed = 1 }
        run:keep { table = {} }
        run:save()
      end)
    end)
    collectgarbage()
    folder = T.folder()
    count(folder)
    T.raises("has the state of 'journal', which the recipe does not keep", function()
      quiet(function()
        local run <const> = cnas.run.open { out = folder, resume = true, seed = 1 }
        for _ in run:stages { { index = 1, name = "a" }, { index = 2, name = "b" } } do end
      end)
    end)
    collectgarbage()
  end)
end)
