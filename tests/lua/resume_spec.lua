-- A search that is killed, interrupted or runs out of disk, and goes on: the same bytes as one that was left alone.
--
-- CNAS_KILLS (25) says how often it is killed, CNAS_KILL_SEED (1) where: the moments are drawn from it and printed.
local T = require "spec"
local cnas = require "cnas"
local run_files = require "run_files"
local stopping = require "stopping"

local essence, same = run_files.essence, run_files.same
local here = arg[0]:match("^(.*)/tests/lua/[^/]*$") or "."
local recipe = here .. "/recipes/curriculum_search.lua"
local options = "--data shapes --train-images 192 --channels 3 --layers 3 --nodes 2 --hidden 8 --batch 24 --warmup 1 "
  .. "--epochs 1 --derive-images 24 --derive-samples 2 --derive-rounds 1 --compare-uniform --save-every 0.1 --threads 1"

-- The command of a search in `folder`; resuming, it needs no other option.
local function command(folder, resume)
  return ("%s %s -o %s %s"):format(T.quote(T.program), T.quote(recipe), T.quote(folder),
                                   resume and "--resume --save-every 0.1" or options)
end

local function when_saved(folder, action) return stopping.when_saved(command, folder, action) end

local reference -- { folder's essence, seconds } of a search that nobody disturbed
local function undisturbed()
  if not reference then
    local folder = T.folder() .. "/run"
    local seconds = stopping.whole(command, folder)
    reference = { essence = essence(folder), seconds = seconds }
  end
  return reference
end

T.describe("a search", function()
  T.it("killed at random moments and resumed ends in the same bytes", function()
    local expected = undisturbed()
    stopping.killed { command = command, kills = 25, first = 0.02, last = 0.02 + math.max(0.5, 0.25 * expected.seconds),
                      check = function(folder, about) same(folder, expected.essence, about) end }
  end)

  T.it("stops in good order at Ctrl-C and SIGTERM with status 5, and goes on", function()
    local expected = undisturbed()
    for _, signal in ipairs { "INT", "TERM" } do
      local folder = T.folder() .. "/run"
      local status, err = when_saved(folder, ("kill -%s $run"):format(signal))
      T.equal(status, 5, err)
      T.contains(err, "go on with: cnas " .. recipe .. " -o " .. folder .. " --resume")
      T.equal(err:find("traceback"), nil)
      T.equal(T.shell(command(folder, true) .. " </dev/null"), 0)
      same(folder, expected.essence, signal)
    end
  end)

  T.it("whose newest checkpoint is damaged goes on from the one before", function()
    local expected = undisturbed()
    local folder = T.folder() .. "/run"
    T.equal(when_saved(folder, "sleep 0.3; kill -KILL $run"), 137)
    local names = cnas.file.list(folder .. "/checkpoints")
    local newest
    for _, name in ipairs(names) do if name:find("%.safetensors$") and name:sub(1, 1) ~= "." then newest = name end end
    local path = folder .. "/checkpoints/" .. T.truthy(newest, "no checkpoint was written in time")
    cnas.file.truncate(path, cnas.file.size(path) - 1)
    local status, _, err = T.shell(command(folder, true) .. " </dev/null")
    T.equal(status, 0, err)
    T.contains(err, "checkpoint not used")
    cnas.file.remove(path .. ".bad")
    same(folder, expected.essence, "after a damaged checkpoint")
  end)

  -- What is left when a search could not write: a checkpoint that is whole, and a way on.
  local function goes_on_from(folder, expected)
    local names = cnas.file.list(folder .. "/checkpoints")
    T.truthy(#names > 0, "no checkpoint was written in time")
    T.truthy(next((cnas.safetensors.load(folder .. "/checkpoints/" .. names[#names]))))
    T.equal(T.shell(command(folder, true) .. " </dev/null"), 0)
    same(folder, expected.essence, "after a full disk")
  end

  T.it("that cannot save says so with status 3, keeps the checkpoint before, and goes on later", function()
    local expected = undisturbed()
    local folder = T.folder() .. "/run"
    T.equal(when_saved(folder, "kill -KILL $run"), 137)
    local status, _, err = T.shell("trap '' XFSZ; ulimit -f 8; " .. command(folder, true) .. " </dev/null")
    T.equal(status, 3, err)
    T.contains(err, folder .. "/checkpoints/step-")
    T.contains(err, "the last good checkpoint is " .. folder .. "/checkpoints/step-")
    goes_on_from(folder, expected)
  end)

  T.it("on a full file system keeps the checkpoint before", function()
    local expected = undisturbed()
    local disk = T.folder()
    if T.shell("mount -t tmpfs -o size=16m cnas-test " .. T.quote(disk)) ~= 0 then
      T.skip("no tmpfs may be mounted here")
    end
    local folder = disk .. "/run"
    local ok, message = pcall(function()
      local status, err = when_saved(folder, ("cat /dev/zero >%s/filler 2>/dev/null"):format(T.quote(disk)))
      T.equal(status, 3, err)
      T.contains(err, "No space left on device")
      os.remove(disk .. "/filler")
      goes_on_from(folder, expected)
    end)
    T.shell("umount " .. T.quote(disk))
    if not ok then error(message, 0) end
  end)

  T.it("refuses a folder in use with status 6", function()
    local folder = T.folder() .. "/run"
    cnas.file.mkdir(folder)
    local lock <close> = cnas.file.lock(folder)
    local status, _, err = T.shell(command(folder) .. " </dev/null")
    T.equal(status, 6, err)
    T.contains(err, folder)
    T.truthy(lock)
  end)
end)
