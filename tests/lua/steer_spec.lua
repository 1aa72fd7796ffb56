-- A person's hand in a run: names of a recipe that stands still, changes and what a resumed run makes of them. Other
-- terminals are in attach_spec.lua, what needs a terminal of its own in tests/c/test_steer.c.
local T = require "spec"
local cnas = require "cnas"
local console = require "cnas.console"
local journal = require "journal"
local live = require "cnas.live"
local repl = require "cnas.repl"
local run_files = require "run_files"

local metrics, last_checkpoint = run_files.timeless, run_files.last_checkpoint

local stdout, stderr = io.stdout, io.stderr

-- luacheck: push ignore 122 (fields of io)
local function quiet(f, ...) -- without the lines that a run prints; they are the last result
  local out, err, path = io.stdout, io.stderr, T.folder() .. "/said"
  local file = assert(io.open(path, "w"))
  io.stdout, io.stderr = file, file
  local results = table.pack(pcall(f, ...))
  io.stdout, io.stderr = out, err
  file:close()
  collectgarbage() -- an abandoned run lets go of its lock
  if not results[1] then error(results[2], 0) end
  results[results.n + 1] = T.read(path)
  return table.unpack(results, 2, results.n + 1)
end

-- Types a text where a run stands still; what was printed, and whether it ended without an error.
local function typed(run, text)
  local output, good
  run:stand_still("attach", function(names)
    repl.begin(names, false, 80)
    local out, err = io.stdout, io.stderr
    io.stdout, io.stderr = stdout, stderr
    local results = table.pack(console.caught(console.typed, text, names, false))
    output, good = results[1], results[3]
    io.stdout, io.stderr = out, err
  end)
  return output, good
end
-- luacheck: pop

-- A recipe that counts: what it pays, scales and adds may be changed by the texts of `script`, by the step in front of
-- which they are typed. stop(n) is asked at the n-th batch. Returns the journal's list and what was said.
local function count(folder, script, more, stop)
  return quiet(function()
    local data = (cnas.data.load("shapes", { train_images = 20, split = 0.5, seed = 1 }))
    local options = { out = folder, seed = 1, save_every = 0, keep = 2 }
    for name, value in pairs(more or {}) do options[name] = value end
    local run <const> = cnas.run.open(options)
    local log, rng = journal(), cnas.rng(1, "test")
    run:keep { journal = log, rng = rng }
    rawset(run, "visited", function()
      local known = false
      for _, change in ipairs(run.changes) do known = known or change.step == run.step and change.by == "attach" end
      return script[run.step] ~= nil and not known
    end)
    rawset(run, "serve", function()
      local output, good = typed(run, script[run.step])
      T.truthy(good, output)
    end)
    local scale, added, n = 1.0, 0.0, 0
    local function pay(value) return value * scale + added end
    local function pass()
      for x, y in run:batches(data, 4) do
        n = n + 1
        if stop then stop(n) end
        local value = pay(x:sum():item() / 1e3 + y:sum():item() + rng:uniform())
        log.list[#log.list + 1] = value
        run:log { value = value }
      end
    end
    for _ in run:stages { { index = 1, name = "a" }, { index = 2, name = "b" } } do
      for epoch in run:epochs("search", 3) do
        added = 100.0 * epoch
        pass()
      end
    end
    run.lock:close()
    return log.list
  end)
end

local script = {
  [2] = "scale = scale * 3",                                                 -- stays
  [5] = "added = -1000.0",                                                   -- until the recipe sets it anew
  [7] = "bonus = 7.5",                                                       -- a name of its own, used by:
  [8] = "local before = pay pay = function(value) return before(value) * 2 + bonus end",
  [10] = "rng:uniform()",                                                    -- an expression that moves a stream
  [13] = "function pay(value) return -value * scale + added + bonus end",
}

T.describe("a run that is changed by hand", function()
  T.it("logs the changes and computes by them", function()
    local folder, plain = T.folder(), T.folder()
    local changed, untouched = count(folder, script), count(plain, {})
    T.equal(changed[1], untouched[1])
    T.equal(changed[2], untouched[2])
    T.near(changed[3], (untouched[3] - 100) * 3 + 100, 1e-9)
    T.truthy(changed[6] < 0, "added was not changed")
    T.near(changed[9], ((untouched[9] - 300) * 3 + 300) * 2 + 7.5, 1e-9) -- twice what it was, and the bonus
    local logged = {}
    for _, line in ipairs(metrics(folder)) do
      local fields = cnas.json.decode(line)
      if fields.phase == "change" then logged[#logged + 1] = fields end
    end
    T.equal(#logged, 6)
    T.equal(logged[2], { phase = "change", text = "added = -1000.0", by = "attach", step = 5, stage = 1, epoch = 2 })
    T.equal(logged[5].text, "rng:uniform()")
  end)

  T.it("and stopped anywhere goes on with the changes made again as if it had not been stopped", function()
    local whole = T.folder()
    local expected = count(whole, script)
    for at = 1, 18 do
      local folder = T.folder()
      T.raises("^stop here", count, folder, script, {}, function(n) if n == at then error("stop here", 0) end end)
      local list, said = count(folder, script, { resume = true, replay = true })
      T.equal(list, expected, "stopped at batch " .. at)
      T.equal(metrics(folder), metrics(whole), "metrics, stopped at batch " .. at)
      T.truthy(last_checkpoint(folder) == last_checkpoint(whole), "checkpoints differ, stopped at batch " .. at)
      if at > 14 then T.contains(said, "6 changes by hand, listed in " .. folder .. "/metrics.jsonl") end
    end
  end)

  T.it("and stopped twice goes on from there too", function()
    local whole, folder = T.folder(), T.folder()
    local expected = count(whole, script)
    local function stop_at(batch) return function(n) if n == batch then error("stop here", 0) end end end
    T.raises("^stop here", count, folder, script, {}, stop_at(9))
    T.raises("^stop here", count, folder, script, { resume = true, replay = true }, stop_at(6))
    T.equal((count(folder, script, { resume = true, replay = true })), expected)
    T.equal(metrics(folder), metrics(whole))
  end)

  T.it("says, when they are not made again, that the recipe's own definitions are in force, and notes it", function()
    local folder, louder = T.folder(), { [2] = "scale = scale * 1e6", [3] = "nothing = 'at all'" }
    T.raises("^stop here", count, folder, louder, {}, function(n) if n == 15 then error("stop here", 0) end end)
    local list, said = count(folder, {}, { resume = true })
    T.contains(said, "2 changes by hand, listed in " .. folder .. "/metrics.jsonl\n")
    T.contains(said, "  step 2, by attach: scale = scale * 1e6\n")
    T.contains(said, "the recipe's own definitions and options are in force again; --replay would")
    T.truthy(list[14] > 1e6 and list[15] < 1e6, "the change was made again, or never")
    local last
    for _, line in ipairs(metrics(folder)) do
      local fields = cnas.json.decode(line)
      if fields.phase == "change" then last = fields end
    end
    T.equal({ last.by, last.step }, { "resume", 14 })
    -- from here on there is nothing to be made again
    said = select(2, count(folder, {}, { resume = true, replay = true }))
    T.contains(said, "3 changes by hand")
    T.equal(said:find("made again", 1, true), nil)
  end)

  T.it("tells which change cannot be made again", function()
    local folder = T.folder()
    local passing = { [3] = "local file = assert(io.open('" .. folder .. "/passing')) file:close()" }
    T.raises("^stop here", count, folder, passing, {}, function(n)
      if n == 1 then T.write(folder .. "/passing", "") end
      if n == 5 then error("stop here", 0) end
    end)
    os.remove(folder .. "/passing")
    local e = T.raises("a change by hand cannot be made again", count, folder, {}, { resume = true, replay = true })
    T.equal(e.code, "data")
    T.contains(e.message, "step 3, by attach: local file")
    T.contains(e.message, "No such file or directory")
    T.contains(e.message, "--no-replay goes on without")
    count(folder, {}, { resume = true, replay = false })
  end)
end)

T.describe("a checkpoint's list of changes", function()
  -- The folder of a stopped run whose newest checkpoint has this list instead.
  local function folder_with(list)
    local folder = T.folder()
    T.raises("^stop here", count, folder, { [3] = "scale = 2" }, {}, function(n)
      if n == 5 then error("stop here", 0) end
    end)
    local names = cnas.file.list(folder .. "/checkpoints")
    local path = folder .. "/checkpoints/" .. names[#names]
    local tensors, metadata = cnas.safetensors.load(path)
    local about = cnas.json.decode(metadata["cnas.run"])
    about.changes = list
    metadata["cnas.run"] = cnas.json.encode(about)
    local entries = {}
    for name, tensor in pairs(tensors) do entries[#entries + 1] = { name = name, tensor = tensor } end
    cnas.safetensors.save(path, entries, metadata)
    return folder
  end

  T.it("from elsewhere is not run unasked, and shown as it is", function()
    local mark = T.folder() .. "/was-here"
    local text = "io.open('" .. mark .. "', 'w'):close() --\27[2K\u{9b}2J\u{202e}harmless"
    local folder = folder_with { { text = text, by = "attach", step = 1, position = { { 1, 1 } } } }
    local _, said = count(folder, {}, { resume = true })
    T.equal(cnas.file.exists(mark), false)
    T.contains(said, "'w'):close() --\\027[2K\\194\\1552J\\226\\128\\174harmless\n")
    count(folder_with { { text = text, by = "attach", step = 1, position = { { 1, 1 } } } }, {},
          { resume = true, replay = true })
    T.equal(cnas.file.exists(mark), "file")
  end)

  T.it("that is none is an error", function()
    for _, list in ipairs { "text", { "text" }, { {} }, { { text = 1, by = "attach", step = 1, position = {} } },
                            { { text = "a", by = "magic", step = 1, position = {} } },
                            { { text = "a", by = "attach", step = 1.5, position = {} } },
                            { { text = "a", by = "attach", step = 1, position = { 1 } } },
                            { { text = "a", by = "attach", step = 1, position = { { 1, "b" } } } } } do
      local e = T.raises("its list of changes by hand is not one", count, folder_with(list), {}, { resume = true })
      T.equal(e.code, "data")
    end
  end)

  T.it("stays as it is when a complete run is resumed", function()
    local folder = T.folder()
    count(folder, script)
    local before = T.read(folder .. "/metrics.jsonl")
    local _, said = count(folder, {}, { resume = true })
    T.contains(said, "is complete")
    T.equal(T.read(folder .. "/metrics.jsonl"), before)
  end)
end)

T.describe("the names of a recipe that stands still", function()
  -- A run that stands still within a function within a function, both with variables.
  local function standing(f)
    return quiet(function()
      local run = cnas.run.open { out = T.folder(), seed = 1 }
      local log = journal()
      run:keep { diary = log }
      local outer, shared, hidden = 1, 2, nil
      local function inner(argument)
        local outer = argument -- luacheck: ignore 431
        shared = shared + 1
        f(run, function() return outer, shared, hidden end)
        return outer
      end
      local result = inner(10)
      run.lock:close()
      return result, outer, shared, hidden
    end)
  end

  T.it("are read and set, the innermost of each name, in locals and in what functions share", function()
    local inner, outer, shared = standing(function(run)
      T.equal({ typed(run, "outer, shared, hidden, argument") }, { "10\n3\nnil\n10\n", true })
      T.equal({ typed(run, "outer, shared = 20, 30") }, { "", true })
      T.equal({ typed(run, "argument = nil") }, { "", true })
      T.equal({ typed(run, "outer, shared, argument") }, { "20\n30\nnil\n", true })
      local names = live.of(run)
      live.refresh(names)
      local known = {}
      for _, name in ipairs(getmetatable(names).library) do known[name] = true end
      T.truthy(known.outer and known.shared and known.diary and known.run and known.opt and not known._ENV)
    end)
    T.equal({ inner, outer, shared }, { 20, 1, 30 })
  end)

  T.it("are those of the recipe at the time when a typed function runs", function()
    local _, _, _, hidden = standing(function(run)
      typed(run, "hidden = function() return shared * 100 + own end")
      typed(run, "own = 5")
    end)
    T.equal(type(hidden), "function")
  end)

  T.it("keep what the run keeps, and say when a name is nobody's", function()
    standing(function(run)
      local output, good = typed(run, "mine = 1")
      T.truthy(good and output:find("mine is new: nothing of the run has this name", 1, true), output)
      for _, name in ipairs { "diary", "log", "run", "opt" } do -- log is the recipe's name for it
        output, good = typed(run, name .. " = {}")
        T.truthy(not good)
        T.equal(output, "'" .. name .. "' is kept by the run and cannot be another: change what is in it\n")
      end
      T.contains(typed(run, "shard = 1"), "shard is new: nothing of the run has this name (did you mean 'shared'?)")
      T.equal(typed(run, "#diary.list, mine, shard, rawequal(run, run), opt.seed"), "0\n1\n1\ntrue\n1\n")
      typed(run, "diary.list[1] = 4.5")
      T.equal(#run.changes, 3) -- what failed changed nothing
      T.equal(typed(run, ":changes"):match "diary.*", "diary.list[1] = 4.5\n")
      T.contains(typed(run, "for _ in run:epochs('more', 2) do end"), "none of its loops can begin here")
      T.equal(typed(run, "run:pause(true)"), "")
      T.contains(typed(run, "os.exit()"), "os.exit would end the run as it stands: :stop saves and stops it")
      T.contains(typed(run, "x = )"), "input:1: unexpected symbol near ')'")
      T.contains(typed(run, ":chnges"), "did you mean 'changes'?")
    end)
  end)

  T.it("are completed", function()
    standing(function(run)
      local names = run:names "attach"
      T.equal({ repl.complete("sha", nil, names) }, { { "shared" }, 1 })
      T.equal({ repl.complete("diary.li", nil, names) }, { { "list" }, 7 })
    end)
  end)

  T.it("list which lines change something: those that only look do not", function()
    standing(function(run)
      for _, text in ipairs { "1 + 1", "outer", "print(shared)", ":who", "help(cnas.zeros)", "-- a remark",
                              "error 'no'", "nothing.field = 1", ":time shared", "'\u{e4}'" } do
        typed(run, text)
        T.equal(#run.changes, 0, text)
      end
      for i, text in ipairs { "table.insert(diary.list, 1.0)", "do diary.list[1] = 2.0 error 'no' end", "own = 1",
                              "opt.seed = 2", ":time function own() end", "s = '\xff'" } do
        typed(run, text)
        T.equal(#run.changes, i, text)
      end
      T.equal(run.changes[2].failed, true)
      T.equal(run.changes[5].text, "function own() end")
      T.equal(run.changes[6].text, "s = '\\255'")
    end)
  end)
end)
