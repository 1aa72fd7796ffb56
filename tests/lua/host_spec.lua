-- host_spec.lua - the program: command line, exit statuses, tracebacks, globals, signals, the interactive loop.

local T = require "spec"

-- Lua code that has this process sent a signal from outside after some seconds.
local function kill_after(seconds, signal)
  return ('os.execute("(sleep %g; kill -%s $PPID) >/dev/null 2>&1 &") '):format(seconds, signal)
end

local function recipe(text)
  return T.write(T.folder() .. "/recipe.lua", text)
end

T.describe("the command line", function()
  T.it("runs code and hands it its arguments", function()
    T.equal({ T.run { "-e", "print(arg[1], #arg, ...)", "a", "b c" } }, { 0, "a\t2\ta\tb c\n", "" })
  end)

  T.it("runs a recipe with arg as lua makes it", function()
    local file = recipe "print(arg[0], arg[1], select('#', ...))"
    T.equal({ T.run { file, "--epochs", "3" } }, { 0, file .. "\t--epochs\t2\n", "" })
  end)

  T.it("runs a recipe from the standard input", function()
    T.equal({ T.run { "-", "x", input = "print(...)" } }, { 0, "x\n", "" })
  end)

  T.it("finds modules beside the recipe", function()
    local folder = T.folder()
    T.write(folder .. "/helper.lua", "return { word = 'found' }")
    T.write(folder .. "/recipe.lua", "print(require 'helper'.word)")
    T.equal({ T.run { folder .. "/recipe.lua", cwd = "/" } }, { 0, "found\n", "" })
  end)

  T.it("takes threads and instruction set from the environment, and refuses what cannot be", function()
    local asked = { "-e", "local cnas = require 'cnas' print(cnas.isa(), cnas.threads())" }
    asked.env = { CNAS_ISA = "portable", CNAS_THREADS = 3 }
    T.equal({ T.run(asked) }, { 0, "portable\t3\n", "" })
    for name, value in pairs { CNAS_ISA = "avx1024", CNAS_THREADS = "many" } do
      asked.env = { [name] = value }
      local status, out, err = T.run(asked)
      T.equal({ status, out }, { 2, "" })
      T.contains(err, name .. ": ")
      T.contains(err, value)
      T.contains(err, "expected")
    end
  end)

  T.it("takes the library from CNAS_HOME", function()
    local home = T.folder()
    assert(os.execute("mkdir -p " .. home .. "/lua/cnas " .. home .. "/recipes"))
    T.write(home .. "/lua/cnas/init.lua", "return { mine = 42 }")
    T.write(home .. "/recipes/there.lua", "print(require 'cnas'.mine)")
    T.equal({ T.run { "recipes/there.lua", cwd = "/", env = { CNAS_HOME = home } } }, { 0, "42\n", "" })
  end)

  T.it("prints help and versions", function()
    local status, out = T.run { "--help" }
    T.equal(status, 0)
    T.contains(out, "Exit status:")
    T.contains(out, "5  interrupted")
    status, out = T.run { "--version" }
    T.equal(status, 0)
    T.contains(out, "cnas " .. require "cnas.engine".version)
    T.contains(out, _VERSION)
    T.contains(out, "kernels")
    T.truthy(out:find("%d threads?"))
  end)

  T.it("refuses what it does not know, with status 2", function()
    local status, _, err = T.run { "--colour" }
    T.equal(status, 2)
    T.contains(err, "unknown option '--colour'")
    status, _, err = T.run { "no/such/recipe.lua" }
    T.equal(status, 2)
    T.contains(err, "no/such/recipe.lua")
    status, _, err = T.run { "-e" }
    T.equal(status, 2)
    T.contains(err, "no code")
    status, _, err = T.run {}
    T.equal(status, 2)
    T.contains(err, "usage:")
  end)
end)

T.describe("an uncaught error", function()
  T.it("ends with 1 and a traceback with the recipe's lines", function()
    local file = recipe [[
local function inner()
  error 'out of ideas'
end
local function outer()
  inner()
end
outer()
]]
    local status, out, err = T.run { file }
    T.equal(status, 1)
    T.equal(out, "")
    T.contains(err, "cnas: " .. file .. ":2: out of ideas")
    T.contains(err, "recipe.lua:5: in")
    T.contains(err, "recipe.lua:7: in main chunk")
  end)

  T.it("names the line of a syntax error", function()
    local status, _, err = T.run { recipe "local x = 1\nlocal = 2\n" }
    T.equal(status, 1)
    T.contains(err, "recipe.lua:2:")
  end)

  T.it("of the engine points at the recipe's line", function()
    local file = recipe "local cnas = require 'cnas'\nlocal x = cnas.zeros(2, 3)\nreturn x:reshape({ 5 })\n"
    local status, _, err = T.run { file }
    T.equal(status, 1)
    T.contains(err, "reshape")
    T.contains(err, "recipe.lua:3:")
  end)

  for code, status in pairs { usage = 2, data = 3, io = 3, ["not-finite"] = 4, interrupted = 5, busy = 6, other = 1 } do
    T.it("with code '" .. code .. "' ends with " .. status, function()
      local got, _, err = T.run { "-e", ("error { code = %q, message = 'what happened' }"):format(code) }
      T.equal(got, status)
      T.contains(err, "cnas: what happened")
    end)
  end

  T.it("that has no text still says what it was", function()
    local status, _, err = T.run { "-e", "error({})" }
    T.equal(status, 1)
    T.contains(err, "an error that is a table")
    status, _, err = T.run { "-e", "error(setmetatable({}, { __tostring = function() error 'no' end }))" }
    T.equal(status, 1)
    T.contains(err, "an error that is a table")
  end)

  T.it("in a finalizer is a warning", function()
    local status, _, err = T.run { "-e", "setmetatable({}, { __gc = function() error 'late' end }) collectgarbage()" }
    T.equal(status, 0)
    T.contains(err, "cnas: warning:")
    T.contains(err, "late")
  end)

  T.it("of memory is an error like others, Lua's own memory included", function()
    local code = [[
      local cnas = require "cnas.engine"
      local failures = 0
      local function build()
        local t = {}
        for i = 1, 40 do t[i] = { i, tostring(i) .. "x" } end
        return t
      end
      for n = 0, 60 do
        cnas.fail_allocation(n)
        local ok, e = pcall(build)
        cnas.fail_allocation(-1)
        if not ok then
          failures = failures + 1
          assert(tostring(e):find "not enough memory", e)
        end
      end
      print(failures > 30)]]
    T.equal({ T.run { "-e", code } }, { 0, "true\n", "" })
  end)
end)

T.describe("a misspelt global", function()
  local function complaint(text)
    local status, _, err = T.run { recipe(text) }
    T.equal(status, 1)
    return err
  end

  T.it("is an error where it is read and names the nearest local", function()
    local err = complaint "local accuracy = 1\nprint(acuracy)"
    T.contains(err, "recipe.lua:2: undefined global 'acuracy' (did you mean 'accuracy'?)")
  end)

  T.it("names a local of the file that the function did not use", function()
    local err = complaint "local reward = 1\nlocal function f() return rewrad end\nprint(reward, f())"
    T.contains(err, "recipe.lua:2: undefined global 'rewrad' (did you mean 'reward'?)")
  end)

  T.it("names the nearest global", function()
    T.contains(complaint "pritn(1)", "undefined global 'pritn' (did you mean 'print'?)")
  end)

  T.it("suggests nothing where nothing is near", function()
    local err = complaint "print(zebra_crossing)"
    T.contains(err, "undefined global 'zebra_crossing'")
    T.truthy(not err:find("did you mean", 1, true))
  end)

  T.it("is an error where a function assigns it", function()
    local err = complaint "local best = 0\nlocal function f() bets = 1 end\nf()\nprint(best)"
    T.contains(err, "recipe.lua:2: assignment to undefined global 'bets' (did you mean 'best'?)")
  end)

  T.it("is not what a top level assigns", function()
    local file = recipe "count = 1\nlocal function f() count = count + 1 end\nf()\nprint(count, rawget(_G, 'x'))"
    T.equal({ T.run { file } }, { 0, "2\tnil\n", "" })
  end)
end)

T.describe("a signal", function()
  T.it("ends a loop that never looks, after a grace", function()
    local start = os.time()
    local status, _, err = T.run { "-e", kill_after(0.2, "INT") .. "while true do end", seconds = 30 }
    T.equal(status, 5)
    T.contains(err, "cnas: interrupted")
    T.truthy(os.time() - start >= 2)
  end)

  T.it("ends a loop inside a coroutine", function()
    local code = kill_after(0.2, "TERM") .. "coroutine.wrap(function() while true do end end)()"
    local status, _, err = T.run { "-e", code, seconds = 30 }
    T.equal(status, 5)
    T.contains(err, "interrupted by SIGTERM")
  end)

  T.it("is a wish to a program that looks, which takes its time", function()
    local code = kill_after(0.2, "TERM") .. [[
      local cnas = require "cnas.engine"
      local wish
      repeat wish = cnas.interrupted() until wish
      local stop = os.time() + 4
      while os.time() < stop do end
      print(wish, "saved")
      os.exit(5, true)]]
    T.equal({ T.run { "-e", code, seconds = 30 } }, { 5, "SIGTERM\tsaved\n", "" })
  end)

  T.it("waits for a program that looks seldom", function()
    local code = [[
      local cnas = require "cnas.engine"
      local function batch(seconds)
        local stop = cnas.clock() + seconds
        while cnas.clock() < stop do end
        return cnas.interrupted()
      end
      batch(0)
      batch(1) ]] .. kill_after(0.2, "INT") .. "print(batch(4))"
    T.equal({ T.run { "-e", code, seconds = 30 } }, { 0, "SIGINT\n", "" })
  end)

  T.it("that comes twice ends even that", function()
    local code = kill_after(0.2, "INT") .. kill_after(1, "INT") .. [[
      local cnas = require "cnas.engine"
      repeat until cnas.interrupted()
      while true do end]]
    local start = os.time()
    T.equal((T.run { "-e", code, seconds = 30 }), 5)
    T.truthy(os.time() - start < 4)
  end)

  T.it("can be caught, and said to be answered", function()
    local code = kill_after(0.1, "INT") .. [[
      local cnas = require "cnas.engine"
      local ok, e = pcall(function() while true do end end)
      print(ok, e.code, cnas.interrupted())
      cnas.clear_interrupt()
      print(cnas.interrupted())]]
    T.equal({ T.run { "-e", code, seconds = 30 } }, { 0, "false\tinterrupted\tSIGINT\nnil\n", "" })
  end)
end)

T.describe("coroutines", function()
  T.it("pass values in and out as the standard ones do", function()
    local co = coroutine.create(function(a, b)
      local c = coroutine.yield(a + b)
      return c * 2, "done"
    end)
    T.equal({ coroutine.resume(co, 1, 2) }, { true, 3 })
    T.equal({ coroutine.resume(co, 5) }, { true, 10, "done" })
    T.equal({ coroutine.resume(co) }, { false, "cannot resume dead coroutine" })
    local each = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)
    T.equal({ each(), each(), each() }, { 1, 2, 3 })
  end)

  T.it("raise what they raised, and close what they left open", function()
    local closed = 0
    local f = coroutine.wrap(function()
      local guard <close> = setmetatable({}, { __close = function() closed = closed + 1 end }) -- luacheck: ignore 211
      error({ code = 7 })
    end)
    local ok, e = pcall(f)
    T.equal({ ok, e.code, closed }, { false, 7, 1 })
    T.raises("coroutine expected", coroutine.resume, 1)
    T.raises("function expected", coroutine.wrap, 1)
  end)
end)

T.describe("the interactive loop", function()
  local function session(input) return T.run { "-i", input = input, seconds = 30 } end

  T.it("prints expressions, and nothing else in a pipe", function()
    T.equal({ session "1 + 1\nx = 3\nx * 2\n'text'\nnil, true\n" }, { 0, '2\n6\n"text"\nnil\ntrue\n', "" })
  end)

  T.it("asks for more lines of an unfinished chunk", function()
    local lines = "for i = 1, 2 do\n  print(i)\nend\nf = function()\n  return 7\nend\nf()\n"
    T.equal({ session(lines) }, { 0, "1\n2\n7\n", "" })
  end)

  T.it("opens tables and has the library at hand", function()
    local _, out = session "{ 1, 2, name = 'x', inner = { true } }\ncnas.zeros(2):shape()\n"
    T.equal(out, '{ 1, 2, inner = { true }, name = "x" }\n{ 2 }\n')
  end)

  T.it("goes on after errors", function()
    local status, out, err = session "error 'first'\nlocal = 1\nundefined.field\n3\n"
    T.equal({ status, out }, { 0, "3\n" })
    T.contains(err, "first")
    T.contains(err, "input:1:")
    T.contains(err, "index a nil value")
  end)

  T.it("says what is missing when the input ends too early", function()
    local status, _, err = session "for i = 1, 2 do\n"
    T.equal(status, 0)
    T.contains(err, "'end' expected")
  end)

  T.it("keeps the session when Ctrl-C interrupts running code", function()
    local start = os.time()
    local status, out, err = session(kill_after(0.3, "INT") .. "x = 5\nwhile true do end\nx\n")
    T.equal({ status, out }, { 0, "5\n" })
    T.contains(err, "interrupted")
    T.truthy(os.time() - start < 4)
  end)

  T.it("ends on SIGTERM", function()
    T.equal((session(kill_after(0.3, "TERM") .. "\nwhile true do end\nprint('not reached')\n")), 5)
  end)

  T.it("follows a recipe or code", function()
    T.equal({ T.run { "-i", "-e", "y = 2", input = "y + 1\n" } }, { 0, "3\n", "" })
  end)
end)

T.describe("cnas.show", function()
  local show = require "cnas.show"
  T.it("is bounded: deep, long and circular tables end", function()
    local ring = {}
    ring.me = ring
    T.equal(show(ring), "{ me = {...} }")
    local long = {}
    for i = 1, 100 do long[i] = i end
    T.contains(show(long), "... 60 more")
    local deep = {}
    for _ = 1, 20 do deep = { deep } end
    T.contains(show(deep), "{...}")
    T.equal(show({}), "{}")
    T.equal(show({ ["a b"] = 1, [2.5] = "x\ny" }), '{ [2.5] = "x\\ny", ["a b"] = 1 }')
  end)
end)
