-- spec.lua - what a spec file is written with: describe, it, a few expectations, temporary folders, the program as a
-- process.
--
--   local T = require "spec"
--   T.describe("relu", function()
--     T.it("keeps positive values", function() T.equal(f(2), 2) end)
--   end)
--
-- A test passes when its function returns; an expectation that fails raises at the line that states it. run.lua runs
-- spec files and prints the closing line.

local spec = { passed = 0, failed = 0, skipped = 0 }

local names = {}      -- of the describes around
local befores = {}    -- functions to call in front of each test, by depth
local SKIP = {}       -- marks the error by which T.skip leaves a test
local folders = {}    -- temporary folders of the test that runs
local pattern         -- only tests whose full name has this text

local function full_name(name) return table.concat(names, " ") .. (#names > 0 and " " or "") .. name end

--- Only tests whose full name contains `text` run from now on.
function spec.only(text) pattern = text end

--- A group of tests; groups nest.
function spec.describe(name, body)
  names[#names + 1] = name
  local depth = #names
  local ok, message = xpcall(body, debug.traceback)
  befores[depth] = nil
  names[depth] = nil
  if not ok then
    spec.failed = spec.failed + 1
    print("FAILED  " .. full_name(name) .. " (outside a test)\n" .. message)
  end
end

--- Calls f in front of every test of this group that follows.
function spec.before(f) befores[#names] = f end

local function handler(e)
  if type(e) == "table" and e[1] == SKIP then return e end
  return debug.traceback(tostring(e), 2)
end

local function remove_folders()
  for i = #folders, 1, -1 do
    os.execute("rm -rf " .. spec.quote(folders[i]))
    folders[i] = nil
  end
end

--- One test.
function spec.it(name, body)
  name = full_name(name)
  if pattern and not name:find(pattern, 1, true) then return end
  local ok, e = xpcall(function()
    for depth = 1, #names do if befores[depth] then befores[depth]() end end
    body()
  end, handler)
  remove_folders()
  if ok then
    spec.passed = spec.passed + 1
  elseif type(e) == "table" then
    spec.skipped = spec.skipped + 1
    print("SKIPPED " .. name .. ": " .. e.why)
  else
    spec.failed = spec.failed + 1
    print("FAILED  " .. name .. "\n" .. e)
  end
end

--- Leaves the test that runs and says why it cannot be made here.
function spec.skip(why) error({ SKIP, why = why }, 0) end

-- ---------------------------------------------------------------- expectations

local function text(v) return type(v) == "string" and string.format("%q", v) or tostring(v) end

-- nil when equal; else where and how they differ.
local function difference(a, b, where)
  if type(a) ~= "table" or type(b) ~= "table" then
    if a == b or (a ~= a and b ~= b) then return nil end
    return where .. "expected " .. text(b) .. ", got " .. text(a)
  end
  for k, v in pairs(b) do
    local d = difference(a[k], v, where .. "[" .. text(k) .. "]: ")
    if d then return d end
  end
  for k, v in pairs(a) do
    if b[k] == nil then return where .. "[" .. text(k) .. "]: not expected, got " .. text(v) end
  end
end

--- a equals b; tables entry by entry. NaN equals NaN.
function spec.equal(a, b, about)
  local d = difference(a, b, about and about .. ": " or "")
  if d then error(d, 2) end
end

--- v is neither nil nor false.
function spec.truthy(v, about)
  if not v then error((about or "expected something true") .. ", got " .. text(v), 2) end
  return v
end

local function flat(v, out)
  if type(v) ~= "table" and type(v) ~= "userdata" then out[#out + 1] = v return out end
  if type(v) == "userdata" then v = v:totable() end
  if type(v) ~= "table" then out[#out + 1] = v return out end
  for _, x in ipairs(v) do flat(x, out) end
  return out
end

--- |a - b| <= tolerance * |b| (default 1e-6) in the 2-norm. Numbers, nested tables of numbers and tensors, of equal
--- counts.
function spec.near(a, b, tolerance, about)
  local x, y, error_sum, sum = flat(a, {}), flat(b, {}), 0, 0
  tolerance = tolerance or 1e-6
  about = about and about .. ": " or ""
  if #x ~= #y then error(("%sexpected %d values, got %d"):format(about, #y, #x), 2) end
  for i = 1, #y do
    error_sum = error_sum + (x[i] - y[i]) ^ 2
    sum = sum + y[i] ^ 2
  end
  local off, size = math.sqrt(error_sum), math.sqrt(sum)
  if off <= tolerance * size or off == 0 then return end
  local shown = #y == 1 and (" (expected %.17g, got %.17g)"):format(y[1], x[1]) or ""
  error(("%soff by %.3g of %.3g, relative %.3g; at most %.3g is allowed%s"):format(about, off, size, off / size,
    tolerance, shown), 2)
end

--- The text contains `part` (plain text, no pattern).
function spec.contains(whole, part)
  if tostring(whole):find(part, 1, true) then return end
  error("expected to find " .. text(part) .. " in:\n" .. tostring(whole), 2)
end

--- f(...) raises an error whose text matches the Lua pattern; returns the error.
function spec.raises(message, f, ...)
  local ok, e = pcall(f, ...)
  if ok then error("expected an error like " .. text(message) .. ", but none came", 2) end
  if tostring(e):find(message) then return e end
  error("expected an error like " .. text(message) .. ", got: " .. tostring(e), 2)
end

-- ---------------------------------------------------------------- files and processes

--- `s` as one word of a shell command.
function spec.quote(s) return "'" .. tostring(s):gsub("'", "'\\''") .. "'" end

--- A new empty folder, removed after the test.
function spec.folder()
  local pipe = assert(io.popen("mktemp -d"))
  local path = pipe:read("l")
  pipe:close()
  folders[#folders + 1] = assert(path, "mktemp -d failed")
  return path
end

--- The whole content of a file.
function spec.read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

--- Writes a file and returns its path.
function spec.write(path, content)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(content))
  return path
end

--- Runs a shell command: exit status (128 + signal when killed), standard output, standard error.
function spec.shell(command)
  local folder = spec.folder()
  local _, how, status = os.execute(("{ %s\n} >%s/out 2>%s/err"):format(command, folder, folder))
  return how == "signal" and 128 + status or status, spec.read(folder .. "/out"), spec.read(folder .. "/err")
end

--- The program that runs the specs: the path of its file.
spec.program = (function()
  local i = -1
  while arg[i - 1] do i = i - 1 end
  local pipe = assert(io.popen("readlink -f -- \"$(command -v -- " .. spec.quote(arg[i]) .. ")\""))
  local path = pipe:read("l")
  pipe:close()
  return path
end)()

--- Runs the program: T.run { "-e", "print(1)", input = "…", env = { CNAS_THREADS = 2 }, cwd = folder, seconds = 60 }
--- -> exit status, standard output, standard error. A program that runs longer is ended and gives 124.
--- under = "mpirun -np 2" puts a command in front of the program.
function spec.run(o)
  local words = {}
  if o.cwd then words[#words + 1] = "cd " .. spec.quote(o.cwd) .. " &&" end
  words[#words + 1] = "env"
  for k, v in pairs(o.env or {}) do words[#words + 1] = k .. "=" .. spec.quote(v) end
  words[#words + 1] = "timeout -k 5 " .. (o.seconds or 120)
  words[#words + 1] = o.under
  words[#words + 1] = spec.quote(spec.program)
  for _, word in ipairs(o) do words[#words + 1] = spec.quote(word) end
  if o.input then
    words[#words + 1] = "<" .. spec.quote(spec.write(spec.folder() .. "/in", o.input))
  else
    words[#words + 1] = "</dev/null"
  end
  return spec.shell(table.concat(words, " "))
end

return spec
