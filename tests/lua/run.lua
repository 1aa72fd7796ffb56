-- run.lua - runs spec files and closes with "N passed, N failed, N skipped".
--
--   cnas tests/lua/run.lua [--only TEXT] FILE_spec.lua ...
--
-- Several files run each in a process of its own. Those of the GPU (cuda_*) get the module of tests/simt, in which the
-- CPU plays the GPU, unless CNAS_CUDA_MODULE names another (build/lib/cnas/libcnas_cuda.so: the real one). A file that
-- leaves tensors behind after a full collection has failed, whatever its tests say.

local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = here .. "/?.lua;" .. package.path

local T = require "spec"
local engine = require "cnas.engine"

local files, i = {}, 1
local only
while arg[i] do
  if arg[i] == "--only" then
    only = assert(arg[i + 1], "--only needs a text")
    T.only(only)
    i = i + 2
  elseif arg[i]:sub(1, 1) == "-" then
    io.stderr:write("run.lua: unknown option '", arg[i], "'\n")
    os.exit(2)
  else
    files[#files + 1] = arg[i]
    i = i + 1
  end
end

local function live()
  collectgarbage()
  collectgarbage()
  return engine.live and engine.live() or 0
end

local function fail(file, message)
  T.failed = T.failed + 1
  print("FAILED  " .. file .. "\n" .. message)
end

local function run_here(file)
  local chunk, message = loadfile(file)
  local before = live()
  local ok = chunk ~= nil
  if ok then ok, message = xpcall(chunk, debug.traceback) end
  chunk = nil -- luacheck: ignore 311 (its upvalues may hold tensors)
  if not ok then fail(file, tostring(message)) end
  local after = live()
  if after ~= before then fail(file, ("leaves %d tensors alive that were not there before"):format(after - before)) end
end

-- What makes the CPU play the GPU, in front of the program; nothing where this build has no such module.
local function simt()
  local path = T.program:match("^(.*)/") .. "/tests/libcnas_simt.so"
  local there = io.open(path)
  if there then there:close() end
  return there and "CNAS_CUDA_MODULE=" .. T.quote(path) .. " " or ""
end

local function for_gpu(file) return file:find("cuda_[%w_]*spec%.lua$") and not os.getenv "CNAS_CUDA_MODULE" end

-- In a process of its own, so that a crash is one failure and not the end. Adds up its closing line.
local function run_apart(file)
  local words = { T.quote(T.program), T.quote(arg[0]) }
  if only then words[#words + 1] = "--only " .. T.quote(only) end
  words[#words + 1] = T.quote(file)
  local front = for_gpu(file) and simt() or ""
  local pipe <close> = assert(io.popen(front .. table.concat(words, " ") .. " 2>&1"))
  local closed = false
  for line in pipe:lines() do
    local passed, failed, skipped = line:match("^(%d+) passed, (%d+) failed, (%d+) skipped$")
    closed = passed ~= nil
    if closed then
      T.passed, T.failed, T.skipped = T.passed + passed, T.failed + failed, T.skipped + skipped
    else
      print(line)
    end
  end
  local _, how, status = pipe:close()
  if not closed then fail(file, ("ended before its tests did (%s %d)"):format(how, status)) end
end

io.stdout:setvbuf("line")
for _, file in ipairs(files) do
  local start = engine.clock()
  if #files == 1 and not for_gpu(file) then run_here(file) else run_apart(file) end
  if #files > 1 then print(("%-40s %6.1f s"):format(file, engine.clock() - start)) end
end

print(("%d passed, %d failed, %d skipped"):format(T.passed, T.failed, T.skipped))
os.exit(T.failed == 0 and 0 or 1, true)
