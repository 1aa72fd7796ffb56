-- steer.lua - a person's hand in a run: what Ctrl-C offers on a terminal, texts typed into the run that stands still
-- there or from another terminal (door.lua), and the changes that are made so: methods of a run (see run.lua).
--
-- A run stands still between two batches alone. What is typed then sees the recipe's variables (live.lua). A text that
-- changes something is a *change*: it is noted in metrics.jsonl and, with the place where it was made, in every
-- checkpoint from then on. A checkpoint holds the state of what the run keeps, and nothing of a reward function or an
-- option that was changed. So a resumed run is the same only if the changes are made again: each in front of the first
-- item of the loops that was not in front of it, as if it had been made there; what the run keeps gets its state after
-- that. Texts in a file are code of whoever wrote the file, and a checkpoint may come from anywhere: they are run only
-- when the person who resumes says so (--replay). Else the recipe's own definitions are in force again, which is a
-- change too and is noted as one (by "resume").
--
-- Of several processes each runs the text, so that they stay the same; rank 0 answers.

local cnas = require "cnas"
local args = require "cnas.args"
local checkpoint = require "cnas.checkpoint"
local live = require "cnas.live"
local repl = require "cnas.repl"

local has_console, console = pcall(require, "cnas.console") -- of the program; another one that has the library has none
local door = has_console and require "cnas.door"

local steer = {}

-- So long may a text run on several processes: the others cannot hear who interrupts it, and one that others wait for
-- longer than their patience is lost (see engine/dist/heartbeat.h).
local TOGETHER_SECONDS = math.min(20, (tonumber(os.getenv "CNAS_PATIENCE") or 45) / 2)

-- Changes -------------------------------------------------------------------------------------------------------------

-- What a text might change, as far as it can be compared: the states of what is kept, options, the recipe's variables.
local function picture(run, names)
  local seen = {}
  for name, object in pairs(run.kept) do
    for _, entry in ipairs(checkpoint.state_of(name, object)) do
      seen["state " .. name .. "." .. entry.name] = console.checksum(entry.tensor)
    end
  end
  for name, value in next, run.opt do seen["option " .. name] = value end
  for name in pairs(getmetatable(names).variables) do seen["variable " .. name] = names[name] end
  return seen
end

local function same(a, b)
  for key, value in pairs(a) do
    if not rawequal(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- A text as JSON can hold it. Bytes that are no characters stand in strings alone, where they can be written so.
local function as_utf8(text)
  return utf8.len(text) and text or (text:gsub("[\128-\255]", function(c) return ("\\%03d"):format(c:byte()) end))
end

--- Notes a change by hand at the present place.
function steer:note_change(text, by, failed)
  local change = {
    text = as_utf8(text), by = by, failed = failed or nil, step = self.step, stage = self.stage and self.stage.index,
    epoch = self.epoch, position = self:position(),
  }
  self.changes[#self.changes + 1] = change
  self.unsaved = true
  self.record:add {
    phase = "change", text = change.text, by = by, failed = change.failed, step = change.step, stage = change.stage,
    epoch = change.epoch, time = { at = os.date("!%Y-%m-%dT%H:%M:%SZ") },
  }
end

-- Looks around each text: an expression, or a text that failed, is a change only if something is not as before; another
-- may have changed what cannot be compared.
local function watch(run, names)
  local before
  return {
    before = function() before = picture(run, names) end,
    after = function(text, good)
      local looks = not good or load("return " .. text)
      if run.steered ~= "resume" and not (looks and same(before, picture(run, names))) then
        run:note_change(text, run.steered, not good)
      end
      before = nil
    end,
  }
end

-- Names ---------------------------------------------------------------------------------------------------------------

-- What may stand behind a colon; `by` says where it is typed.
local function commands(run, by)
  local words = {
    stop = function()
      run.stops = true
      return "leave"
    end,
    changes = function()
      for _, change in ipairs(run.changes) do io.stdout:write(run:change_text(change), "\n") end
      if #run.changes == 0 then io.stdout:write("no changes by hand yet\n") end
    end,
  }
  if by ~= "attach" then
    words.go = function() return "leave" end
  else
    words.hold = function() if run.door then run.door:hold(true) end end
    words.go = function() if run.door then run.door:hold(false) end end
  end
  return words
end

local about = {
  terminal = {
    "The run stands still. Names are those of the recipe, what the run keeps, run and opt; assignments change them.",
    "  :go or Ctrl-D goes on with the run    :stop saves and stops it    :changes lists what was changed by hand", "",
  },
  attach = {
    "Each line is run between two batches of the run. Names are those of the recipe, what the run keeps, run and opt.",
    "  :hold keeps the run waiting for you, :go lets it go on    :leave or Ctrl-D leaves it alone",
    "  :stop saves and stops it                                  :changes lists what was changed by hand", "",
  },
}

--- The recipe's names where it stands now, for a loop of that kind: "terminal" or "attach".
function steer:names(by)
  if not self.live then
    self.live = live.of(self)
    getmetatable(self.live).watch = watch(self, self.live)
    getmetatable(self.live).on_new = function(name, suggestion)
      io.stderr:write(("(%s is new: nothing of the run has this name%s)\n"):format(name, suggestion))
    end
  end
  live.refresh(self.live)
  getmetatable(self.live).commands, getmetatable(self.live).about = commands(self, by), about[by]
  return self.live
end

-- Standing still ------------------------------------------------------------------------------------------------------

local function no_exit()
  args.fail("usage", "os.exit would end the run as it stands: :stop saves and stops it, :leave leaves it alone")
end

-- Calls f(names) while the run stands still; `by` is who speaks.
local function while_still(run, by, f)
  local outer, exit = repl.session(), os.exit
  run.steered = by
  rawset(os, "exit", no_exit)
  local good, e = pcall(f, run:names(by))
  rawset(os, "exit", exit)
  run.steered = nil
  repl.session(outer)
  if not good then error(e, 0) end
end

-- Saves what was changed by hand, at once: who is told that it was done can rely on it.
local function save_changes(run)
  local _, unsaved = run:agree(false, run.unsaved)
  if unsaved then run:save() end
end

--- Lets f(names) run what is typed, at the present place; then saves what was changed. The time is not the run's.
--- Returns how many changes there were.
function steer:stand_still(by, f)
  local started, before = cnas.clock(), #self.changes
  self.progress:clear()
  while_still(self, by, f)
  self:take_time_off(cnas.clock() - started)
  save_changes(self)
  return #self.changes - before
end

--- So many seconds were a person's and not the run's.
function steer:take_time_off(seconds)
  for _, name in ipairs { "epoch_started", "stage_started" } do
    if self[name] then self[name] = self[name] + seconds end
  end
end

local function count(n, what) return ("%d %s%s"):format(n, what, n == 1 and "" or "s") end

--- The interactive loop within the run, on its own terminal. Whether the run is to stop.
function steer:look_inside()
  self.progress:line("inside the run: " .. table.concat(getmetatable(self:names "terminal").library, " "))
  self.progress:line(":go or Ctrl-D goes on, :stop saves and stops, :help says more")
  local good
  local changes = self:stand_still("terminal", function(names) good = pcall(cnas.interact, names) end)
  if not good then return true end -- SIGTERM
  local stops = self.stops
  self.stops = nil
  self.progress:line(("%s%s"):format(changes > 0 and count(changes, "change") .. " by hand, saved; " or "",
                                     stops and "stopping" or "the run goes on"))
  return stops
end

--- The place in words, also between two stages.
function steer:where()
  local place = self:place()
  return place ~= "" and place or "the end of a stage"
end

--- Asks at the terminal what Ctrl-C was meant to be. Whether the run is to stop; a second Ctrl-C says so too.
function steer:menu(may_look)
  local question = may_look and "(s)ave and stop, (c)ontinue, (l)ook inside? " or "(s)top, (c)ontinue? "
  self.progress:clear()
  io.stdout:write("\n", self:where(), "\n")
  console.forget_typed()
  while true do
    cnas.clear_interrupt()
    local started = cnas.clock()
    local answer, why = console.ask(question)
    self:take_time_off(cnas.clock() - started)
    if not answer then
      io.stdout:write("\n")
      cnas.clear_interrupt()
      return why == "interrupted"
    end
    answer = answer:match("^%s*(.-)%s*$"):lower()
    if answer == "s" or answer == "stop" or answer == "save" then return true end
    if answer == "c" or answer == "continue" then return false end
    if may_look and (answer == "l" or answer == "look") then return self:look_inside() end
  end
end

--- Whether the user wants the run to stop here. On a terminal Ctrl-C is a question; elsewhere, with several processes,
--- and with other signals it is the wish to stop.
function steer:asked_to_stop(may_look)
  local wish = cnas.interrupted()
  if not wish then return false end
  if wish ~= "SIGINT" or self.world.size > 1 or not has_console or not console.here() then return true end
  return self:menu(may_look)
end

-- From other terminals ------------------------------------------------------------------------------------------------

--- Begins to listen for `cnas attach`, on rank 0. Where that cannot be, nobody can attach, and the run does without.
function steer:open_door()
  if has_console and self.writes then self.door = door.open(self) end
end

--- Tells who is attached that it is over.
function steer:close_door(text)
  if self.door then self.door:close(text) end
  self.door = nil
end

--- Whether somebody who is attached wants something of the run, on this process.
function steer:visited()
  return self.door ~= nil and self.door:look(function() return self:names "attach" end)
end

-- Runs a text on this process: what it printed, and whether it ended without an error.
local function run_text(run, names, text, request)
  repl.begin(names, request.color or false, request.columns)
  if run.world.size > 1 then console.limit(TOGETHER_SECONDS) end
  local output, returned, good = console.caught(console.typed, text, names, request.color or false)
  console.limit(0)
  if not returned then output = output .. tostring(good) .. "\n" end
  if good == "more" then output = select(2, load(text, "=input")) .. "\n" end
  return output, returned and good == true
end

-- What the processes answer together: rank 0's output, and what went wrong on others alone.
local function answer_of_all(run, output, good)
  if run.world.size == 1 then return output, good end
  local all, first = run.world:gather(cnas.json.encode { output = as_utf8(output), good = good }), good
  for rank, text in ipairs(all) do
    local one = cnas.json.decode(text)
    if first and not one.good then
      output = ("%srank %d, alone: %s(the processes may differ now: :stop, and resume without this change)\n")
        :format(output, rank - 1, one.output)
    end
    good = good and one.good
  end
  return output, good
end

--- Runs what was entered from other terminals, on all processes. Whether the run is to stop.
function steer:serve()
  self:stand_still("attach", function(names)
    while not self.stops do
      local request = self:told(function() return self.door:next() or {} end)
      if not request.text then break end
      local visitor = self.door and self.door.speaking
      if visitor then visitor.connection:rules(true) end
      local output, good = run_text(self, names, request.text, request)
      if visitor then visitor.connection:rules(false) end
      output, good = answer_of_all(self, output, good)
      save_changes(self)
      if visitor and not self.stops then self.door:answer(output, good) end -- who stops it hears that it has stopped
    end
  end)
  local stops = self.stops
  self.stops = nil
  return stops
end

-- Going on ------------------------------------------------------------------------------------------------------------

-- A text with what moves the cursor, changes colours or turns the direction of writing shown as the bytes it is: who is
-- asked whether a text may run must see all of it.
local function visible(text)
  local function bytes(c) return (c:gsub(".", function(byte) return ("\\%03d"):format(byte:byte()) end)) end
  for _, pattern in ipairs { "[\0-\8\11-\31\127]", "\194[\128-\159]", "\226\128[\142\143\168-\174]",
                             "\226\129[\166-\169]" } do
    text = text:gsub(pattern, bytes)
  end
  return text
end

--- "step 240: reward = …", as it is listed.
function steer.change_text(_, change)
  return ("  step %d%s: %s%s"):format(change.step, change.by == "resume" and "" or ", by " .. change.by,
    visible(change.text):gsub("\n", "\n    "), change.failed and "  (failed)" or "")
end

local function is_change(change)
  if type(change) ~= "table" or type(change.text) ~= "string" or math.type(change.step) ~= "integer"
    or type(change.position) ~= "table"
    or not (change.by == "terminal" or change.by == "attach" or change.by == "resume") then return false end
  for _, pair in ipairs(change.position) do
    if type(pair) ~= "table" or math.type(pair[1]) ~= "integer" or math.type(pair[2]) ~= "integer" then return false end
  end
  return true
end

--- Takes the list of changes out of a checkpoint, which may say anything.
function steer:take_changes(list, path)
  self.changes = list or {}
  local good = type(self.changes) == "table"
  for _, change in ipairs(good and self.changes or {}) do good = good and is_change(change) end
  if not good then args.fail("data", "%s: its list of changes by hand is not one", path) end
end

-- Those that a resumed run lacks: made since the recipe's own definitions were last in force.
local function lacking(changes)
  local list = {}
  for _, change in ipairs(changes) do
    if change.by == "resume" then list = {} else list[#list + 1] = change end
  end
  return list
end

local function asks_to_replay(run)
  if not (has_console and console.here()) then return false end
  while true do
    local answer, why = console.ask(("make them again? They are code in %s: only if it is your own run. (y)es, (n)o? ")
      :format(run.folder))
    if why == "interrupted" then args.fail("interrupted", "interrupted: the run in %s is as it was", run.folder) end
    answer = (answer or "n"):lower()
    if answer == "y" or answer == "yes" then return true end
    if answer == "n" or answer == "no" then return false end
  end
end

--- On rank 0 of a run that is resumed: says what was changed by hand, and whether it is to be made again.
function steer:recall_changes()
  if #self.changes == 0 then return false end
  local list = lacking(self.changes)
  self.progress:line(("%s by hand, listed in %s/metrics.jsonl"):format(count(#self.changes, "change"), self.folder))
  if #list == 0 then return false end
  for _, change in ipairs(list) do self.progress:line(self:change_text(change)) end
  local replay = self.opt.replay
  if replay == nil then replay = asks_to_replay(self) end
  if replay then return true end
  self.progress:warn("the recipe's own definitions and options are in force again; --replay would make these changes "
    .. "again, exactly (they are code in the checkpoint: only for a run of your own)")
  return false
end

--- What was decided about the changes that a resumed run lacks: they will be made again on the way to its place, or
--- that they are not is noted when it has come there.
function steer:decide_about_changes(replay)
  local list = lacking(self.changes)
  self.lacking, self.without = #list > 0 and replay and list or nil, #list > 0 and not replay
end

--- The run goes on without its changes.
function steer:go_without_changes()
  self.without = nil
  self:note_change("-- the recipe's own definitions and options are in force again", "resume")
end

-- Whether a change belongs in front of the loops' way at that depth: the run was elsewhere there when it was made.
local function is_due(change, goal, depth)
  if not goal or depth >= #goal or #change.position <= depth then return true end
  for d = 1, depth do
    local was, is = change.position[d], goal[d]
    if was[1] ~= is[1] or was[2] ~= is[2] then return true end
  end
  return false
end

--- Entering the loop at that depth on the way to the place of the checkpoint: makes the changes again that were made in
--- front of its item.
function steer:make_again(depth)
  local due, later = {}, {}
  for _, change in ipairs(self.lacking) do
    local list = is_due(change, self.target, depth) and due or later
    list[#list + 1] = change
  end
  self.lacking = #later > 0 and later or nil
  if #due == 0 then return end
  while_still(self, "resume", function(names)
    for _, change in ipairs(due) do
      local output, good = run_text(self, names, change.text, {})
      if not good and not change.failed then
        args.fail("data", "%s: a change by hand cannot be made again:\n%s\n%s(--no-replay goes on without)",
                  self.last_checkpoint, self:change_text(change), output)
      end
    end
  end)
  self.progress:line(("%s by hand made again"):format(count(#due, "change")))
  self:keep(self.kept) -- what they did to states is in the checkpoint already
end

return steer
