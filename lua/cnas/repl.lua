-- repl.lua - what the interactive loop (lua/host/repl.c) prints and obeys.
--
-- begin(environment, color) is called when a loop begins, before(text), print(…) with the results and ran(…) around
-- each text, command(line) with a line that begins with ? or :. Nothing here keeps what the user has made alive, but
-- the last value, in `_`. The metatable of the environment may say more about a loop: `library`, a list of names that
-- are found there besides its fields; `commands`, functions by the word behind the colon, and `about`, lines of help
-- about them; `watch`, with before(text) and after(text, good) around each text.

local cnas = require "cnas"
local args = require "cnas.args"
local show = require "cnas.show"

local repl = {}

local session = { environment = _G, color = false, timing = false, known = {}, started = nil }

local codes = { bold = "1", dim = "2", green = "32", yellow = "33", cyan = "36" }
local function paint(style, text)
  return session.color and ("\27[%sm%s\27[0m"):format(codes[style], text) or text
end

local function columns()
  if session.columns then return session.columns end
  local known, width = pcall(cnas.terminal)
  return known and width or 100
end

--- The table of the loop's globals.
function repl.environment() return session.environment end

local function say(text) io.stdout:write(text, "\n") end

-- help, who and the first set of names that are not the user's.
local function install(environment)
  local function set(name, value)
    if rawget(environment, name) == nil then rawset(environment, name, value) end
  end
  set("help", function(...) say(require "cnas.help".about(paint, ...)) end)
  set("who", function() say(repl.who(session.environment)) end)
  session.known = {}
  for name in next, environment do session.known[name] = true end
end

-- What the environment of the loop says about it: a field of its metatable, or nil.
local function told(field)
  local meta = debug.getmetatable(session.environment)
  return type(meta) == "table" and rawget(meta, field) or nil
end

--- A loop begins, whose globals are those of `environment`. Columns of its output: those of the terminal.
function repl.begin(environment, color, width)
  session = { environment = environment, color = color, timing = false, columns = width, advised = session.advised }
  install(environment)
end

--- The loop that runs, and, when one is given, from now on that one: for who begins another loop within it.
function repl.session(other)
  local before = session
  session = other or session
  return before
end

--- Prints values as the loop does, and keeps the first as `_`.
function repl.print(...)
  local first = ...
  rawset(session.environment, "_", first)
  for i = 1, select("#", ...) do
    say(show((select(i, ...)), { width = columns(), paint = paint, help = true }))
  end
end

-- ---- who ----

local function bytes_text(n)
  if n >= 1 << 30 then return ("%.1f GiB"):format(n / (1 << 30)) end
  if n >= 1 << 20 then return ("%.1f MiB"):format(n / (1 << 20)) end
  if n >= 1 << 10 then return ("%.1f KiB"):format(n / (1 << 10)) end
  return n .. " B"
end

local element_bytes = { f32 = 4, f64 = 8, i64 = 8, u8 = 1, bf16 = 2 }

-- Type and size of a value, in a word each; the bytes of its tensors.
local function describe(value)
  local meta = debug.getmetatable(value)
  local name = type(value) ~= "string" and type(meta) == "table" and rawget(meta, "__name")
  name = name or math.type(value) or type(value)
  local bytes
  if cnas.is_tensor(value) then
    bytes = value:count() * element_bytes[value.dtype]
    return name, ("%s (%s)"):format(value.dtype, table.concat(value:shape(), ",")), bytes
  elseif name == "cnas.Module" then
    local known, list = pcall(value.state, value)
    if not known then return name, "closed" end
    bytes = 0
    for _, entry in ipairs(list) do bytes = bytes + entry.tensor:count() * element_bytes[entry.tensor.dtype] end
    return name, ("%d parameters"):format(value:count()), bytes
  elseif type(value) == "table" and not (meta and meta.__tostring) then
    local count = 0
    for _ in next, value do count = count + 1 end
    return name, count == 1 and "1 entry" or count .. " entries"
  end
  local text = type(value) == "function" and "" or show(value, { width = 50 }):match "^[^\n]*"
  if #text > 50 then text = text:sub(1, 47) .. "..." end
  return name, text
end

--- The variables of a table of globals that were not there when the loop began, with type and size, as text.
function repl.who(environment)
  local names, rows, width = {}, {}, { 4, 4 }
  local function add(name)
    if type(name) == "string" and name ~= "_" and name ~= "cnas" then names[#names + 1] = name end
  end
  for name in next, environment do
    if not session.known[name] then add(name) end
  end
  for _, name in ipairs(told "library" or {}) do add(name) end
  table.sort(names)
  local total = 0
  for i, name in ipairs(names) do
    local kind, text, bytes = describe(environment[name])
    total = total + (bytes or 0)
    rows[i] = { name, kind, bytes and bytes_text(bytes) or "", text or "" }
    width[1], width[2] = math.max(width[1], #name), math.max(width[2], #kind)
  end
  if #rows == 0 then return "no variables yet" end
  for i, row in ipairs(rows) do
    rows[i] = (("%%-%ds  %%-%ds  %%10s  %%s"):format(width[1], width[2])):format(table.unpack(row)):gsub("%s+$", "")
  end
  rows[#rows + 1] = ("%d variable%s, %s in tensors; %s in all tensors of the process"):format(#names,
    #names == 1 and "" or "s", bytes_text(total), bytes_text(cnas.memory().bytes_live))
  return table.concat(rows, "\n")
end

-- ---- commands ----

--- Calls f(…): prints how long it took and returns what it returns.
function repl.time(f, ...)
  local start = cnas.clock()
  local function finish(...)
    say(paint("dim", repl.duration(cnas.clock() - start)))
    return ...
  end
  return finish(f(...))
end

--- See complete.lua.
function repl.complete(...) return require "cnas.complete"(...) end

--- "1.52 s", "12.3 ms"
function repl.duration(seconds)
  if seconds >= 100 then return ("%.0f s"):format(seconds) end
  if seconds >= 1 then return ("%.2f s"):format(seconds) end
  if seconds >= 1e-3 then return ("%.3g ms"):format(seconds * 1e3) end
  return ("%.3g us"):format(seconds * 1e6)
end

local function compile(text)
  return load("return " .. text, "=input", "t", session.environment)
    or load(text, "=input", "t", session.environment)
    or error(select(2, load(text, "=input", "t", session.environment)), 0)
end

local commands = {}

function commands.help()
  for _, line in ipairs(told "about" or {}) do say(line) end
  say [[
An expression prints its value, and _ is the last one. An unfinished line goes on at the next "...".
Tab completes names, fields, methods, option keys in cnas.supernet { and paths in strings.
Ctrl-C interrupts what runs, or forgets the line; Ctrl-D leaves. Ctrl-R searches the history.

  ?name        what the manual says; ?word searches it       help(x)   the same about a value
  :who         variables and their sizes                     who()
  :time CODE   how long CODE takes                           cnas.repl.time(f, …)
  :time on     after each line how long it took; :time off
  :help        this text                                     :leave    as Ctrl-D]]
end

function commands.who() say(repl.who(session.environment)) end

function commands.leave() return "leave" end
commands.quit, commands.q = commands.leave, commands.leave

function commands.time(text)
  if text == "on" or text == "off" or text == "" then
    if text == "" then session.timing = not session.timing else session.timing = text == "on" end
    say("timing is " .. (session.timing and "on" or "off"))
  else
    local chunk = compile(text)
    repl.before(text)
    local _ <close> = setmetatable({}, { __close = function(_, e) repl.ran(nil, text, e == nil) end })
    local results = table.pack(repl.time(chunk))
    if results.n > 0 then repl.print(table.unpack(results, 1, results.n)) end
  end
end

--- Says once what surprises everybody once, before the text is run.
function repl.advise(text)
  if session.advised or not text:match "^%s*local%s" or text:find("\n", 1, true) then return end
  session.advised = true
  io.stderr:write(paint("dim", "(a local is gone after its line: leave 'local' out to keep it)"), "\n")
end

--- A text is going to be run.
function repl.before(text)
  local watch = told "watch"
  if watch then watch.before(text) end
end

--- A text took so many seconds, and ended without an error or not: says how long where that is wanted.
function repl.ran(seconds, text, good)
  local watch = text and told "watch"
  if watch then watch.after(text, good) end
  if session.timing and seconds then say(paint("dim", repl.duration(seconds))) end
end

-- ?name: an entry of the manual, else the value of the expression, else a search.
local function question(text)
  local help, manual = require "cnas.help", require "cnas.manual"
  if text == "" then return say(help.about(paint)) end
  if manual.entry(text) then return say(help.about(paint, text)) end
  local chunk = load("return " .. text, "=input", "t", session.environment)
  if chunk and text:match "^[%a_][%w_]*[%w_.]*$" then
    local known, value = pcall(chunk)
    if known and value ~= nil and manual.of(value) then return say(help.about(paint, value)) end
  end
  local typed, method = text:match "^([%w_.]+):([%w_]+)$" -- x:sum
  local object = typed and load("return " .. typed, "=input", "t", session.environment)
  if object then
    local known, value = pcall(object)
    local entry = known and value ~= nil and manual.of(value)
    if entry and manual.entry(entry.name .. ":" .. method) then
      return say(help.about(paint, entry.name .. ":" .. method))
    end
  end
  return say(help.about(paint, text))
end

--- The words that may stand behind a colon, sorted.
function repl.commands()
  local names = args.keys(commands)
  for _, name in ipairs(args.keys(told "commands" or {})) do
    if not commands[name] then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- Obeys a line that begins with ? or :. "leave" when the loop is to end.
function repl.command(line)
  if line:sub(1, 1) == "?" then return question(line:match "^%?%s*(.-)%s*$") end
  local word, rest = line:match "^:%s*(%a*)%s*(.-)%s*$"
  local f = (told "commands" or {})[word] or commands[word]
  if not f then
    args.fail("usage", "there is no command ':%s'%s; :help lists them", word, args.suggestion(word, repl.commands()))
  end
  return f(rest)
end

return repl
