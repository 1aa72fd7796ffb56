-- stopping.lua - recipes that are killed or asked to stop and go on, for specs of resuming.
--
-- A spec gives `command(folder, resume)`, the shell command of a run in that folder, new or resumed, small enough for a
-- second or two. CNAS_KILLS says how often a run is killed, CNAS_KILL_SEED where.
local T = require "spec"
local cnas = require "cnas"

local stopping = {}

--- Runs the command to its end: the seconds that it took.
function stopping.whole(command, folder)
  local started = cnas.clock()
  local status, _, err = T.shell(command(folder) .. " </dev/null")
  T.equal(status, 0, err)
  return cnas.clock() - started
end

--- Runs a new command; when its first checkpoint is there the shell does `action`, which finds the process in $run.
--- Returns the status and the errors.
function stopping.when_saved(command, folder, action)
  local status, _, err = T.shell(([[%s </dev/null & run=$!
    until ls %s/checkpoints/step-*.safetensors >/dev/null 2>&1; do sleep 0.02; done
    %s
    wait $run]]):format(command(folder), T.quote(folder), action))
  return status, err
end

-- Runs the command and kills it after so many seconds, unless it ended before. The shell waits until the process is
-- gone, and its lock with it.
local function killed_after(seconds, line)
  return T.shell(("%s </dev/null & run=$!; sleep %.3f; kill -KILL $run; wait $run"):format(line, seconds))
end

--- Kills runs until there were o.kills deaths, each at a moment drawn from o.first to o.last seconds after its start;
--- a run is resumed until it ends, then o.check(folder, "run N") looks at what it left. Prints the moments.
function stopping.killed(o)
  local kills = tonumber(os.getenv "CNAS_KILLS" or o.kills)
  local seed = tonumber(os.getenv "CNAS_KILL_SEED" or 1)
  local rng, runs, moments = cnas.rng(seed, "kill"), 0, {}
  while #moments < kills do
    local folder = T.folder() .. "/run"
    runs = runs + 1
    local status, _, err
    repeat
      local line = o.command(folder, cnas.file.exists(folder .. "/config.json") ~= false)
      local moment = o.first + rng:uniform() * (o.last - o.first)
      if #moments < kills then
        status, _, err = killed_after(moment, line)
      else
        status, _, err = T.shell(line .. " </dev/null")
      end
      if status == 137 then moments[#moments + 1] = ("%.3f"):format(moment)
      else T.equal(status, 0, err) end
    until status == 0
    o.check(folder, "run " .. runs)
  end
  print(("killed %d times in %d runs, seed %d, after: %s s"):format(#moments, runs, seed, table.concat(moments, " ")))
end

return stopping
