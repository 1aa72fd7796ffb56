-- door.lua - where other terminals come into a run: `cnas attach` (lua/cnas/command/attach.lua) at the other side.
--
-- The run looks here between two batches. Messages are JSON. A visitor is greeted with { hello = place, … } and then
-- says { run = text, columns =, color = } or { complete = text, at = position }; the answer is { output =, good = } or
-- { list =, first = }. { notice = text } may come at any time, { gone = why } is the last word. While a text runs,
-- whatever its visitor says, and its end, interrupts the text (socket.c). Nobody who comes here can make the run wait,
-- but who says :hold, and not longer than HOLD_SECONDS for the next text; who does not take an answer is left alone.

local cnas = require "cnas"
local console = require "cnas.console"
local repl = require "cnas.repl"

local HOLD_SECONDS = 600
local ANSWER_SECONDS = 1.0 -- for the other side to take an answer
local VISITORS = 16        -- at once; more wait outside
local MESSAGES = 100       -- of one visitor at a time: who says more does not keep the run from its work

local Door = {}
Door.__index = Door

-- The door of a run: nil where the system does not let it have one.
local function open(run)
  local listener = console.listen(run.folder)
  return listener and setmetatable({ run = run, listener = listener, visitors = {} }, Door)
end

-- Says something to a visitor; one that does not take it is gone.
local function say(visitor, message)
  visitor.gone = visitor.gone or not visitor.connection:send(cnas.json.encode(message), ANSWER_SECONDS)
end

function Door:greet(connection)
  local visitor = { connection = connection, requests = {} }
  self.visitors[#self.visitors + 1] = visitor
  say(visitor, {
    hello = self.run:place(), folder = self.run.folder, changes = #self.run.changes, processes = self.run.world.size,
    names = self.names and getmetatable(self.names()).library or {},
  })
end

-- Candidates for the end of a line, of the recipe's names.
function Door:complete(visitor, request)
  local known, list, first = pcall(repl.complete, request.complete, math.tointeger(request.at), self.names())
  say(visitor, known and { list = list, first = first } or { list = {}, first = 1 })
end

-- Takes what a visitor says now.
function Door:hear(visitor)
  for _ = #visitor.requests + 1, MESSAGES do
    local message, why = visitor.connection:receive(0)
    if not message then
      visitor.gone = why == "gone"
      return
    end
    local known, request = pcall(cnas.json.decode, message)
    visitor.gone = not known or type(request) ~= "table"
    if visitor.gone then return end
    if type(request.complete) == "string" then self:complete(visitor, request)
    elseif type(request.run) == "string" then
      local columns = math.tointeger(request.columns)
      visitor.requests[#visitor.requests + 1] = {
        text = request.run, color = request.color == true, columns = columns and math.max(columns, 20),
      }
    end
  end
end

-- Whether anybody wants the run to wait: with a text, or holding it.
function Door:hear_all()
  local wanted, still = false, {}
  for _, visitor in ipairs(self.visitors) do
    self:hear(visitor)
    if visitor.gone then visitor.connection:close()
    else
      still[#still + 1] = visitor
      wanted = wanted or #visitor.requests > 0 or visitor.holds ~= nil
    end
  end
  self.visitors = still
  while #self.visitors < VISITORS do
    local connection = self.listener:accept()
    if not connection then break end
    self:greet(connection)
  end
  return wanted
end

--- Looks who is there. Whether the run is to stand still. names() gives the recipe's names, for who asks.
function Door:look(names)
  self.names = names
  return self:hear_all()
end

--- Who speaks keeps the run waiting from now on, or no longer.
function Door:hold(whether)
  self.speaking.holds = whether and cnas.clock() or nil
end

-- A visitor that holds the run and has said nothing for too long holds it no longer.
function Door:forget_holds()
  for _, visitor in ipairs(self.visitors) do
    if visitor.holds and cnas.clock() - visitor.holds > HOLD_SECONDS then
      visitor.holds = nil
      say(visitor, { notice = ("the run goes on: nothing was entered for %d minutes"):format(HOLD_SECONDS // 60) })
    end
  end
end

--- The next text that somebody has entered: { text =, color =, columns = }; waits for one while somebody holds the run.
--- nil: the run may go on.
function Door:next()
  while true do
    local wanted = self:hear_all()
    for _, visitor in ipairs(self.visitors) do
      local request = table.remove(visitor.requests, 1)
      if request then
        if visitor.holds then visitor.holds = cnas.clock() end
        self.speaking = visitor
        return request
      end
    end
    if not wanted or cnas.interrupted() then return nil end
    local list = { self.listener }
    for _, visitor in ipairs(self.visitors) do list[#list + 1] = visitor.connection end
    console.wait(list, 1.0)
    self:forget_holds()
  end
end

--- The answer for who speaks.
function Door:answer(output, good)
  if not utf8.len(output) then output = output:gsub("[\128-\255]", "?") end
  say(self.speaking, { output = output, good = good })
  self.speaking = nil
end

--- Sends everybody away.
function Door:close(why)
  for _, visitor in ipairs(self.visitors) do
    say(visitor, { gone = why })
    visitor.connection:close()
  end
  self.visitors = {}
  self.listener:close()
end

return { open = open }
