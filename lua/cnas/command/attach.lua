-- attach.lua - `cnas attach RUN`: looks into a run that is at work, and changes it, from another terminal.
--
-- Lines are edited here and run there, between two batches (door.lua is the other side). Ctrl-C interrupts the line
-- that runs there; before it runs, it takes it back.

local cnas = require "cnas"
local console = require "cnas.console"
local repl = require "cnas.repl"

local opt = cnas.options {
  about = "Looks into a run that is at work on this machine, and changes it: lines of Lua, run between two batches.",
  folder = false, computes = false,
  { "run", argument = true, help = "the run's folder; it must be your own" },
  { "execute", short = "-e", type = "string", metavar = "CODE", help = "run CODE there, print what it gives, leave" },
  { "patience", default = 600.0, min = 0.1, help = "seconds to wait until the run comes to its next batch" },
  { "color", default = "auto", choices = { "auto", "always", "never" }, help = "colours in what is printed" },
}

local SEND_SECONDS = 5.0
local HINT_SECONDS = 2.0 -- until a person is told what is being waited for

local columns = cnas.terminal()
local colored = opt.color == "always" or opt.color == "auto" and columns ~= nil and os.getenv "TERM" ~= "dumb"
  and (os.getenv "NO_COLOR" or "") == ""
local fail = cnas.args.fail

-- ---- coming in ----

-- Why nobody listens in a folder, in words.
local function explain(why)
  local folder = opt.run
  local function has(name) return cnas.file.exists(folder .. "/" .. name) end
  if not cnas.file.exists(folder) then
    fail("usage", "there is no folder '%s'", folder)
  elseif why == "busy" then
    fail("busy", "the run in %s has not let in those who came before: it measures or saves, perhaps", folder)
  elseif why == "foreign" then
    fail("io", "the run in %s is another user's: only who started a run can attach to it", folder)
  elseif not has "config.json" then
    fail("usage", "%s holds no run (no config.json)", folder)
  elseif cnas.file.holder(folder) then
    fail("io", "the run in %s is at work (%s) and does not listen here: attach on its machine", folder,
         cnas.file.holder(folder))
  elseif why == "none" and has "summary.json" then
    fail("io", "the run in %s is complete: there is nothing to attach to", folder)
  elseif why == "none" or why == "stale" then
    local config = cnas.json.decode(cnas.file.read(folder .. "/config.json"), folder .. "/config.json")
    fail("io", "no run is at work in %s on this machine%s; go on with it by: cnas %s -o %s --resume", folder,
         why == "stale" and " (the one before was killed)" or "", config.recipe or "RECIPE", folder)
  end
  fail("io", "cannot attach to the run in %s: %s", folder, why)
end

local connection, why = console.connect(opt.run)
if not connection then explain(why) end

-- ---- talking ----

local function gone(text)
  io.stdout:write(text or "the run is gone: it has ended, or was killed", "\n")
  os.exit(opt.execute and opt.execute ~= ":stop" and 3 or 0, true)
end

-- The next message from the run; nil at Ctrl-C, and when it did not come in time.
local function hear(seconds, hint)
  local started, hinted = cnas.clock(), hint == nil
  while true do
    local message, reason = connection:receive(0.2)
    if message then
      local answer = cnas.json.decode(message)
      if answer.gone then gone(answer.gone) end
      if not answer.notice then return answer end
      io.stdout:write(answer.notice, "\n")
    elseif reason == "gone" then gone()
    elseif reason == "interrupted" then return nil, reason
    elseif cnas.clock() - started > seconds then return nil, reason end
    if not hinted and cnas.clock() - started > HINT_SECONDS and columns then
      hinted = true
      io.stderr:write(hint, "\n")
    end
  end
end

local function say(message)
  if not connection:send(cnas.json.encode(message), SEND_SECONDS) then gone() end
end

local waiting = "(waiting for the run to come to its next batch; Ctrl-C gives up)"

local function no_answer(reason)
  if reason == "interrupted" then fail("interrupted", "interrupted") end
  fail("io", "the run in %s did not come to its next batch within %g seconds: it measures or saves, perhaps; "
       .. "--patience SECONDS waits longer", opt.run, opt.patience)
end

-- Runs a text there and prints what it gives; whether it ended without an error.
local function run(text)
  say { run = text, columns = columns, color = colored }
  local answer, reason = hear(opt.patience, waiting)
  if not answer and reason == "interrupted" then
    cnas.clear_interrupt()
    say { interrupt = true } -- whatever comes interrupts
    answer, reason = hear(opt.patience, waiting)
  end
  if not answer then no_answer(reason) end
  io.stdout:write(answer.output)
  io.stdout:flush()
  return answer.good
end

local greeting, reason = hear(opt.patience, waiting)
if not greeting then no_answer(reason) end

if opt.execute then os.exit(run(opt.execute) and 0 or 1, true) end

-- ---- the loop ----

-- What is typed: whether it is a whole text, one that needs more lines, or a command.
local function unfinished(text)
  if text:match "^[:?]" and text:sub(1, 2) ~= "::" then return false end
  if load("return " .. text) then return false end
  local _, message = load(text, "=input")
  return message ~= nil and message:sub(-5) == "<eof>"
end

local function read_text()
  local text, ended = console.line("> ")
  while text and unfinished(text) do
    local line
    line, ended = console.line("... ", text .. "\n")
    if not line and ended == "end" then break end
    text = line and text .. "\n" .. line
  end
  return text, ended
end

function repl.complete(text, position) -- the editor asks this: names are those of the run
  say { complete = text, at = position }
  local answer = hear(1.0)
  if not answer or not answer.list then return {}, 1 end
  return answer.list, answer.first
end

if columns then
  io.stdout:write(greeting.hello, "\n", "names: ", table.concat(greeting.names, " "), "\n",
    "each line is run between two batches; :hold keeps the run waiting, :stop saves and stops it, Ctrl-D leaves it ",
    "alone, :help says more\n")
end
while true do
  local text, ended = read_text()
  if not text and ended == "end" or text == ":leave" or cnas.interrupted() == "SIGTERM" then break end
  if not text and columns then io.stdout:write("^C\n") end
  cnas.clear_interrupt()
  if text and text:match "%S" then run(text) end
end
connection:close()
if columns then io.stdout:write("the run goes on\n") end
