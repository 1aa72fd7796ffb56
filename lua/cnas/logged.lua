-- logged.lua - the numbers that a recipe logs within an epoch: methods of a run (see run.lua).
--
-- What is logged is summed by name, in the order in which it came. A value on a GPU is not asked for at once, which
-- would be to wait until the GPU has done all before it: it is owed, and read when a mean is wanted, at the latest when
-- MOST are owed. So a step need not wait, and the sums are the same.

local args = require "cnas.args"
local cnas = require "cnas"

local logged = {}

local MOST = 512

local reserved = { stage = true, phase = true, epoch = true, step = true, time = true, name = true, chosen = true }

local function add(run, name, value, weight, where)
  if value ~= value or value == math.huge or value == -math.huge then
    args.fail("not-finite", "%s is %s%s", name, tostring(value), where or "")
  end
  local pair = run.sums[name]
  if not pair then
    pair = { 0.0, 0.0 }
    run.sums[name] = pair
  end
  pair[1], pair[2] = pair[1] + value * weight, pair[2] + weight
end

--- What was logged in this epoch, { sum, weight } by name, after reading what is owed; with `seconds`, unless something
--- was read so lately.
function logged.summed(run, seconds)
  local owed = run.owed
  if #owed == 0 or seconds and run.read_at and cnas.clock() - run.read_at < seconds then return run.sums end
  run.owed, run.read_at = {}, cnas.clock()
  for _, one in ipairs(owed) do
    local value = one.value
    if type(value) ~= "number" then value = value:item() end
    add(run, one.name, value, one.weight, one.step ~= run.step and (" in step %d"):format(one.step))
  end
  return run.sums
end

--- Begins an epoch's sums.
function logged.start_sums(run) run.sums, run.owed, run.chosen = {}, {}, {} end

--- Adds numbers (or tensors of one element) to the epoch's means, weighted by the images of the present batch. The
--- means are over all processes, each of which logs what it has seen.
function logged.log(run, values)
  for _, name in ipairs(args.keys(values)) do
    local value = values[name]
    if reserved[name] then error(("run:log: the name '%s' is the run's own"):format(name), 2) end
    local late = type(value) ~= "number" and value.device ~= "cpu"
    if late or #run.owed > 0 then -- in order
      value = type(value) == "number" and value or value:detach()
      run.owed[#run.owed + 1] = { name = name, value = value, weight = run.weight, step = run.step }
    else
      add(run, name, type(value) == "number" and value or value:item(), run.weight)
    end
  end
  if #run.owed >= MOST then logged.summed(run) end
end

return logged
