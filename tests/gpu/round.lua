-- round.lua - the round that tests/gpu/run starts: part after part (parts.lua), each within a limit of its own and all
-- within --seconds; what fails does not keep the others from running. The correctness of things is looked at by several
-- processes at once, then times are taken by one at a time.

local here = arg[0]:match "^(.*)/[^/]*$" or "."
package.path = ("%s/?.lua;%s/../bench/?.lua;"):format(here, here) .. package.path

local cnas = require "cnas"
local bench = require "bench"
local jobs = require "jobs"
local parts = require "parts"
local tables = require "tables"

local opt = cnas.options { about = "Shows on a machine with a GPU what cnas does there, and how fast.",
  folder = false, computes = false,
  { "rehearse", default = false, help = "tiny sizes, where the CPU plays the GPU" },
  { "seconds", type = "integer", min = 1, help = "of the whole (default: 470, in a rehearsal 2000)" },
  { "only", type = "string", metavar = "PART,…", help = "some of " .. table.concat(parts.names(), ", ") },
  { "out", default = "round", help = "folder for round.json, round.txt and round.log" } }

local began = cnas.clock()
local all_seconds = opt.seconds or opt.rehearse and 2000 or 470
local patience = opt.rehearse and 5 or 1 -- with parts, beside a machine that does other things
local scratch = (function()
  local pipe <close> = assert(io.popen "mktemp -d")
  return pipe:read "l"
end)()
os.execute(("mkdir -p %s %s/logs"):format(bench.quote(opt.out), bench.quote(scratch)))
jobs.open(scratch .. "/logs")

local wanted = nil
if opt.only then
  wanted = { device = true }
  for name in opt.only:gmatch "[^,%s]+" do
    if not parts.named(name) then
      cnas.args.fail("usage", "--only: expected some of %s, got '%s'", table.concat(parts.names(), ", "), name)
    end
    wanted[name] = true
  end
end

local round = {
  tiny = opt.rehearse, scratch = scratch, tests = here .. "/..", recipes = here .. "/../../recipes",
  program = bench.program(), peer = os.getenv "PEER" ~= "" and os.getenv "PEER" or nil,
  python = os.getenv "PEER_PYTHON" or "python3", results = {},
}

--- Seconds that are left to the whole.
function round.left() return all_seconds - (cnas.clock() - began) end
--- Leaves the part that runs, which cannot be made here.
function round.skip(why) error({ skipped = why }, 0) end

local function say(format, ...)
  io.stderr:write(format:format(...), "\n")
  io.stderr:flush()
end

-- What became of a part: { name, verdict, seconds, why, results }.
local outcomes = {}
local function note(part, verdict, started, why, results)
  local outcome = { name = part.name, about = part.about, verdict = verdict, optional = part.optional,
                    seconds = bench.rounded(cnas.clock() - started), limit = part.seconds, why = why,
                    results = results }
  outcomes[#outcomes + 1] = outcome
  round.results[part.name] = results
  say("%-12s %-8s %6.1f s%s", part.name, verdict, outcome.seconds, why and "  " .. why or "")
end

local function finish(part, started, f, ...)
  local done = table.pack(xpcall(f, function(e)
    if type(e) == "table" and e.skipped then return e end
    return type(e) == "table" and tostring(e) or (e:find "^[^\n]-%.lua:%d+:" and debug.traceback(e) or e)
  end, ...))
  if done[1] then
    note(part, "passed", started, nil, done[2])
  elseif type(done[2]) == "table" then
    note(part, "skipped", started, done[2].skipped)
  else
    note(part, "FAILED", started, tostring(done[2]))
  end
end

-- Seconds for a part that begins now: its own, as far as they are left; nil, noted, where too few are.
local function allowed(part, started)
  local seconds = math.min(part.seconds * patience, round.left() - 3)
  if seconds >= math.min(part.seconds, part.least or 5) then return seconds end
  note(part, "not run", started, ("only %.0f of the round's %d seconds were left"):format(math.max(0, round.left()),
       all_seconds))
end

local function chosen(together)
  local list = {}
  for _, part in ipairs(parts) do
    if (part.start ~= nil) == together and (not wanted or wanted[part.name]) then list[#list + 1] = part end
  end
  return list
end

local function run_alone(part)
  local started = cnas.clock()
  local seconds = allowed(part, started)
  if not seconds then return end
  local stop = started + seconds
  finish(part, started, part.run, round, function() return math.max(1, stop - cnas.clock()) end)
end

-- Every part with `start` gives a list of jobs; what they came to is looked at when its own have ended.
local function run_together(list)
  local running = {}
  for _, part in ipairs(list) do
    local started = cnas.clock()
    local seconds = allowed(part, started)
    local ok, begun = true, nil
    if seconds then ok, begun = pcall(part.start, round, seconds) end
    if not ok then
      finish(part, started, error, begun, 0)
    elseif begun then
      running[#running + 1] = { part = part, jobs = begun, started = started }
    end
  end
  while #running > 0 do
    for i = #running, 1, -1 do
      local one, ended = running[i], true
      for _, job in ipairs(one.jobs) do ended = jobs.ended(job) and ended end
      if ended then
        table.remove(running, i)
        finish(one.part, one.started, one.part.finish, round, one.jobs)
      end
    end
    jobs.pause()
  end
end

-- ---------------------------------------------------------------- the round

local at = os.date "!%Y-%m-%d %H:%M UTC"
local device = parts.named "device"
run_alone(device)
local there = outcomes[1].verdict == "passed"
if there then run_together(chosen(true)) end
for _, part in ipairs(chosen(false)) do
  if part ~= device then
    if there then
      run_alone(part)
    else
      note(part, "not run", cnas.clock(), "there is no device to run it on")
    end
  end
end
if not there then
  for _, part in ipairs(chosen(true)) do note(part, "not run", cnas.clock(), "there is no device to run it on") end
end

local failed = {}
for _, outcome in ipairs(outcomes) do
  local missing = outcome.verdict == "not run" and not outcome.optional
  if outcome.verdict == "FAILED" or missing then failed[#failed + 1] = outcome.name end
end

local report = { at = at, rehearsal = opt.rehearse or nil, seconds = bench.rounded(cnas.clock() - began),
                 passed = #failed == 0, parts = outcomes }
local text = tables.report(report, round.results)
bench.write_json(opt.out .. "/round.json", report)
cnas.file.write(opt.out .. "/round.txt", text)
os.execute(("for f in %s/logs/*.log; do echo \"== ${f##*/}\"; head -c 200000 \"$f\"; echo; done >%s"):format(
           scratch, bench.quote(opt.out .. "/round.log")))
os.execute("rm -rf " .. bench.quote(scratch))
print(text)
os.exit(#failed == 0 and 0 or 1, true)
