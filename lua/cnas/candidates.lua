-- candidates.lua - run:candidates: a loop over architectures that are measured one after the other.
--
-- To the run it is what a pass over a dataset is, a step for each item: it is saved and stopped between two of them.

-- What stands in for a loop that is over.
local function nothing() end

--- Candidates 1 … count, each a step of the run.
return function(run, count)
  local level = run:enter()
  if not level then return nothing end
  local item = level.item - 1
  level.close = function() run.batch = nil end
  return function()
    if item >= count then return nil end
    item = item + 1
    level.item = item
    run:pause()
    run.step, run.batch = run.step + 1, item
    run.progress:moving(function() return run:status(item, count) end)
    return item
  end, nil, nil, run:leaving(level)
end
