-- run.lua - runs spec files and closes with "N passed, N failed, N skipped".
--
--   cnas tests/lua/run.lua [--only TEXT] FILE_spec.lua ...
--
-- A file that leaves tensors behind after a full collection has failed, whatever its tests say.

local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = here .. "/?.lua;" .. package.path

local T = require "spec"
local engine = require "cnas.engine"

local files, i = {}, 1
while arg[i] do
  if arg[i] == "--only" then
    T.only(assert(arg[i + 1], "--only needs a text"))
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

for _, file in ipairs(files) do
  local chunk, message = loadfile(file)
  local before = live()
  local ok = chunk ~= nil
  if ok then ok, message = xpcall(chunk, debug.traceback) end
  chunk = nil -- luacheck: ignore 311 (its upvalues may hold tensors)
  if not ok then fail(file, tostring(message)) end
  local after = live()
  if after ~= before then
    fail(file, ("leaves %d tensors alive that were not there before"):format(after - before))
  end
end

print(("%d passed, %d failed, %d skipped"):format(T.passed, T.failed, T.skipped))
os.exit(T.failed == 0 and 0 or 1, true)
