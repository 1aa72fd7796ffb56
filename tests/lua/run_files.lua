-- run_files.lua - what a run left in its folder, for specs that compare runs.
local T = require "spec"
local cnas = require "cnas"

local run_files = {}

--- The lines of metrics.jsonl, each a table.
function run_files.metrics(folder)
  local lines = {}
  for line in T.read(folder .. "/metrics.jsonl"):gmatch("[^\n]+") do lines[#lines + 1] = cnas.json.decode(line) end
  return lines
end

--- The same as texts and without the times, which differ from run to run; every line must have them.
function run_files.timeless(folder)
  local lines = run_files.metrics(folder)
  for i, fields in ipairs(lines) do
    T.truthy(fields.time, "line " .. i)
    fields.time = nil
    lines[i] = cnas.json.encode(fields)
  end
  return lines
end

--- The names of the checkpoints, the oldest first.
function run_files.checkpoints(folder)
  local names = cnas.file.list(folder .. "/checkpoints")
  table.sort(names)
  return names
end

--- The bytes of the newest checkpoint, and its name.
function run_files.last_checkpoint(folder)
  local names = run_files.checkpoints(folder)
  return T.read(folder .. "/checkpoints/" .. names[#names]), names[#names]
end

--- Everything of a finished run that must not depend on when it ran, nor on how often it was stopped: a table of name
--- -> bytes; `metrics` has the lines of `timeless`.
function run_files.essence(folder)
  local checkpoint, name = run_files.last_checkpoint(folder)
  local parts = { metrics = table.concat(run_files.timeless(folder), "\n"), [name] = checkpoint }
  for _, genotype in ipairs(cnas.file.list(folder .. "/genotypes")) do
    parts[genotype] = T.read(folder .. "/genotypes/" .. genotype)
  end
  return parts
end

--- Fails where a finished run's essence is not the expected one; `about` says which run it is.
function run_files.same(folder, expected, about)
  local parts = run_files.essence(folder)
  T.equal(parts.metrics, expected.metrics, about)
  for name, bytes in pairs(expected) do T.truthy(parts[name] == bytes, ("%s: %s differs"):format(about, name)) end
  for name in pairs(parts) do T.truthy(expected[name], ("%s: %s should not be there"):format(about, name)) end
end

return run_files
