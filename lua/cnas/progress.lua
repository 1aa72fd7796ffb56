-- progress.lua - what a run says while it works: one line that moves on a terminal, plain lines elsewhere.
--
-- The moving line goes to stderr and is redrawn at most ten times a second; a line that stays goes to stdout. Colours
-- are used on a terminal that wants them: not with NO_COLOR or TERM=dumb, unless --color says always.

local cnas = require "cnas"
local args = require "cnas.args"

local Progress = {}
Progress.__index = Progress

local function columns_of_terminal()
  local columns = cnas.terminal()
  return columns and os.getenv("TERM") ~= "dumb" and columns or nil
end

-- `color` is auto, always or never. Of many processes the first one speaks, the others only warn.
local function new(color, rank)
  local columns = columns_of_terminal()
  local wanted = color == "always" or
                 color == "auto" and columns ~= nil and (os.getenv("NO_COLOR") or "") == ""
  return setmetatable({ columns = columns, colored = wanted, last = -math.huge, shown = false,
                        rank = rank or 0 }, Progress)
end

local codes = { bold = "1", dim = "2", red = "31", green = "32", yellow = "33" }

function Progress:paint(style, text)
  return self.colored and ("\27[%sm%s\27[0m"):format(codes[style], text) or text
end

--- "1h02m", "3m20s", "12s"
function Progress.duration(seconds)
  local s = math.floor(seconds + 0.5)
  if s >= 3600 then return ("%dh%02dm"):format(s // 3600, s % 3600 // 60) end
  if s >= 60 then return ("%dm%02ds"):format(s // 60, s % 60) end
  return s .. "s"
end

--- "waited 0.3%": the part of the time in which training stood still because the loader had no batch ready.
function Progress.waiting(waited, seconds)
  return ("waited %.1f%%"):format(100 * waited / math.max(seconds, 1e-9))
end

local function number(value)
  if math.type(value) == "integer" then return tostring(value) end
  local size = math.abs(value)
  return (size >= 1000 and "%.0f" or (size >= 0.1 or size == 0) and "%.3f" or "%.2g"):format(value)
end

-- "loss 1.532  accuracy 0.443": values by name, the usual ones first. Names with a slash are for the record alone.
local usual = { "loss", "accuracy", "reward", "baseline", "entropy", "valid_loss", "top1", "top5" }
function Progress.values(values)
  local words, done = {}, {}
  local function put(name)
    if values[name] ~= nil and not done[name] then
      words[#words + 1] = name:gsub("_", " ") .. " " .. number(values[name])
      done[name] = true
    end
  end
  for _, name in ipairs(usual) do put(name) end
  for _, name in ipairs(args.keys(values)) do
    if not name:find "/" then put(name) end
  end
  return table.concat(words, "  ")
end

--- Takes the moving line away.
function Progress:clear()
  if self.shown then
    io.stderr:write("\r\27[K")
    io.stderr:flush()
    self.shown = false
  end
end

--- A line that stays.
function Progress:line(text)
  if self.rank > 0 then return end
  self:clear()
  io.stdout:write(text, "\n")
  io.stdout:flush()
end

function Progress:warn(text)
  self:clear()
  local who = self.rank > 0 and ("rank %d: "):format(self.rank) or ""
  io.stderr:write(who, self:paint("yellow", "warning: "), text, "\n")
end

--- The moving line; text() is asked only when it is time to draw. Nothing off a terminal.
function Progress:moving(text)
  if not self.columns or self.rank > 0 then return end
  local now = cnas.clock()
  if now - self.last < 0.1 then return end
  self.last = now
  local line = text()
  if #line >= self.columns then line = line:sub(1, self.columns - 1) end
  io.stderr:write("\r", line, "\27[K")
  io.stderr:flush()
  self.shown = true
end

-- Reports a download on the standard error output, every tenth of it: a function of (bytes, all bytes or 0).
local function of_download(name)
  local tenths = -1
  return function(now, total)
    local part = total > 0 and now * 10 // total or -1
    if part > tenths then
      tenths = part
      io.stderr:write(("%s: %.1f of %.1f MB\n"):format(name, now / 1e6, total / 1e6))
    end
  end
end

return { new = new, of_download = of_download, Progress = Progress }
