-- repl_spec.lua - the interactive loop in a pipe: completion, printing, commands, help, errors. On a terminal it is
-- tested by tests/c/test_repl.c.

local T = require "spec"
local cnas = require "cnas"
local show = require "cnas.show"

local function session(input, o)
  return T.run { "-i", input = input, seconds = 60, env = o and o.env }
end

T.describe("completion", function()
  local function candidates(text, names)
    return (cnas.repl.complete(text, nil, setmetatable(names or {}, { __index = function(_, k)
      return k == "cnas" and cnas or nil
    end })))
  end

  T.it("knows globals, keywords and fields", function()
    T.equal(candidates("alp", { alpha = 1, beta = 2 }), { "alpha" })
    T.equal(candidates("whi"), { "while" })
    T.equal({ cnas.repl.complete("x = cnas.nn.conv") }, { { "conv2d" }, 13 })
    T.equal(candidates("t.inner.", { t = { inner = { b = 1, a = 2, [3] = 4, ["not a name"] = 5 } } }), { "a", "b" })
    T.equal(candidates "cnas.curric", { "curriculum" })
    T.equal(candidates "nothing.at.all.", {})
  end)

  T.it("stands at a position, not at the end of the line", function()
    T.equal({ cnas.repl.complete("cnas.zer(2)", 8) }, { { "zeros" }, 6 })
  end)

  T.it("knows methods and fields of objects, those of a call's result by the manual", function()
    local x = cnas.zeros(2)
    T.equal(candidates("x:requ", { x = x }), { "requires_grad_" })
    T.equal(candidates("x.dty", { x = x }), { "dtype" })
    T.equal(candidates("x:dty", { x = x }), {})
    T.equal(candidates("cnas.zeros(2, 3):unsq"), { "unsqueeze" })
    T.equal(candidates("cnas.zeros({ 2, (3) }):sum { dims = 1 }:is_"), { "is_contiguous" })
    T.equal(candidates("x[1]:is_", { x = x }), { "is_contiguous" })
    T.equal(candidates("cnas.nn.relu():para"), { "parameters" })
    T.equal(candidates("('x'):rev"), { "reverse" })
    T.equal(candidates("s:rev", { s = "text" }), { "reverse" })
    T.equal(candidates("cnas.controller { nodes = 2 }:sample_u"), { "sample_uniform" })
  end)

  T.it("knows option keys inside a constructor's braces, those not given yet", function()
    T.equal(candidates "cnas.supernet { sp", { "space = " })
    T.equal(candidates "cnas.supernet({ space = s, la", { "layers = " })
    T.equal(candidates "cnas.supernet { layers = 3, la", {})
    T.equal(candidates "cnas.supernet {\n  layers = 3,\n  node", { "nodes = " })
    T.equal(candidates('cnas.data.load("cifar10", { ro'), { "root = " })
    T.equal(candidates("cnas.optim.sgd(f(1, { 2 }), { mom"), { "momentum = " })
    T.equal(candidates("x:backward { re", { x = cnas.zeros(1) }), { "retain = " })
    T.equal(candidates("x:max { ke", { x = cnas.zeros(1) }), { "keepdim = " })
    T.equal(candidates("cnas.supernet { space = cnas.sp"), { "space" })
    T.equal(candidates("{ sp", { spare = 1 }), { "spare" })
  end)

  T.it("knows files and folders inside a string", function()
    local folder = T.folder()
    T.write(folder .. "/results.json", "{}")
    T.write(folder .. "/results.txt", "")
    T.write(folder .. "/.hidden", "")
    cnas.file.mkdir(folder .. "/rest")
    local text = ("cnas.file.read(%q"):format(folder .. "/"):sub(1, -2)
    T.equal({ cnas.repl.complete(text .. "res") }, { { "rest/", "results.json", "results.txt" }, #text + 1 })
    T.equal((cnas.repl.complete(text .. "results.j")), { 'results.json"' })
    T.equal((cnas.repl.complete(text .. ".h")), { '.hidden"' })
    T.equal((cnas.repl.complete(text)), { "rest/", "results.json", "results.txt" })
    T.equal((cnas.repl.complete("x = '/no/such/folder/")), {})
  end)

  T.it("knows names behind ?, and commands", function()
    T.equal({ cnas.repl.complete("?cnas.superne") }, { { "supernet" }, 7 })
    T.equal((cnas.repl.complete("?superne")), { "supernet" })
    T.equal({ cnas.repl.complete(":ti") }, { { ":time off", ":time on" }, 1 })
  end)

  T.it("is silent in comments and numbers, and runs nothing of the line", function()
    T.equal(candidates("1 -- cnas.ze"), {})
    T.equal(candidates("[[ cnas.ze"), {})
    T.equal(candidates("0x"), {})
    local ran = false
    candidates("f().x", { f = function() ran = true return {} end })
    T.equal(ran, false)
    local angry = setmetatable({}, { __index = function() error "no" end })
    T.equal(candidates("angry.field.", { angry = angry }), {})
  end)

  T.it("survives any line", function()
    local rng = cnas.rng(1, "lines")
    local pieces = { "cnas", ".", ":", "{", "}", "(", ")", "[", "]", "'", '"', "sp", " ", "=", ",", "--", "[[", "]]",
                     "\n", "\\", "1", "x", "..", "?", "ä", "\0", ";", "local", "%" }
    for _ = 1, 3000 do
      local words = {}
      for i = 1, rng:integer(12) do words[i] = pieces[rng:integer(#pieces) + 1] end
      local text = table.concat(words)
      local list, first = cnas.repl.complete(text)
      T.equal(type(list), "table")
      T.truthy(first >= 1 and first <= #text + 1, text)
    end
  end)
end)

T.describe("a session in a pipe", function()
  T.it("keeps the last value as _", function()
    T.equal({ session "6 * 7\n_ + 1\n_, 2\n" }, { 0, "42\n43\n43\n2\n", "" })
  end)

  T.it("asks for more lines of an expression too", function()
    T.equal({ session "{ 1,\n2 }\ncnas.full({\n1, 1 },\n3):item()\n" }, { 0, "{ 1, 2 }\n3.0\n", "" })
  end)

  T.it("says what a value is", function()
    local _, out = session "cnas.tensor { 1, 2, 0/0 }\ncnas.relu\nfunction f() end\nf\nprint\n"
    T.contains(out, "f32 (3) on cpu, from 1 to 2, mean 1.5, 1 NaN\n{  1   2 nan}\n")
    T.contains(out, "cnas.relu(x) -> y  -- max(x, 0)")
    T.contains(out, "function of input, line 1\n")
  end)

  T.it("lists variables with sizes, but not what was there before", function()
    local _, out = session [[
who()
x = cnas.zeros(256, 1024)
name = 'n'
net = cnas.nn.linear { inp = 3, out = 2 }
:who
]]
    T.contains(out, "no variables yet\n")
    T.contains(out, "x     cnas.Tensor     1.0 MiB  f32 (256,1024)\n")
    T.contains(out, "net   cnas.Module        32 B  8 parameters\n")
    T.contains(out, 'name  string                   "n"\n')
    T.contains(out, "3 variables, 1.0 MiB in tensors; ")
    T.truthy(not out:find("help", 1, true))
  end)

  T.it("measures time", function()
    local _, out = session ":time on\n1\n:time off\n2\n:time string.rep('ab', 2)\ncnas.repl.time(math.abs, -3)\n"
    T.equal((out:gsub("[%d.e+]+ [mu]?s\n", "SECONDS\n")),
      'timing is on\n1\nSECONDS\ntiming is off\n2\nSECONDS\n"abab"\nSECONDS\n3\n')
  end)

  T.it("answers questions from the manual", function()
    local _, out = session [[
?cnas.supernet
x = cnas.zeros(1)
?x
?x:backward
help(cnas.nn)
help 'matmul'
help()
]]
    T.contains(out, "cnas.supernet(options: table) -> cnas.Module\n")
    T.contains(out, 'precision: string = "f32"')
    T.contains(out, "type cnas.Tensor")
    T.contains(out, "cnas.Tensor:backward(gradient?: cnas.Tensor, options?: table)")
    T.contains(out, "batch_norm")
    T.contains(out, "(M,K)(K,N)")
    T.contains(out, "Random numbers\n")
    _, out = session "?curiculum\n?kendall\nhelp(print)\n"
    T.contains(out, "did you mean 'curriculum'?")
    T.contains(out, "cnas.metric.kendall(a: number[], b: number[])")
    T.contains(out, "There is no help for this function")
  end)

  T.it("has short errors, and names a wrong command", function()
    local _, out, err = session [[
error 'top'
f = function() error { code = 'data', message = 'm' } end
f()
:tmie
1
]]
    T.equal(out, "1\n")
    T.contains(err, "input:1: top\n")
    T.contains(err, "m\n\tinput:1: in function 'f'\n")
    T.contains(err, "there is no command ':tmie' (did you mean 'time'?); :help lists them\n")
    T.truthy(not err:find("main chunk", 1, true))
    T.truthy(not err:find("stack traceback", 1, true))
  end)

  T.it("leaves when told to", function() T.equal({ session "1\n:leave\n2\n" }, { 0, "1\n", "" }) end)

  T.it("colours only where it is wanted", function()
    T.equal((select(2, session "'a'\n")), '"a"\n')
    T.equal((select(2, T.run { "--color", "always", "-i", input = "'a'\n" })), '\27[32m"a"\27[0m\n')
    T.equal((T.run { "--color=mauve", "-i" }), 2)
  end)

  T.it("can be entered from a recipe, with names of its own", function()
    local code = [[
      local cnas = require "cnas"
      local names = { rate = 0.1 }
      cnas.interact(names)
      print("after", names.rate, names.new)]]
    T.equal({ T.run { "-e", code, input = "rate\nrate = 0.2\nnew = 5\nmath.pi > 3\n" } },
      { 0, "0.1\ntrue\nafter\t0.2\t5\n", "" })
  end)

  T.it("is plain with a library that has no such module", function()
    local home = T.folder()
    cnas.file.mkdir(home .. "/lua/cnas")
    T.write(home .. "/lua/cnas/init.lua", "return { mine = 42 }")
    T.equal({ session("cnas.mine\n?x\n", { env = { CNAS_HOME = home } }) },
      { 0, "42\n", "input:1: unexpected symbol near '?'\n" })
  end)
end)

T.describe("who", function()
  T.it("lets a program ask", function()
    local text = cnas.repl.who { a = cnas.zeros(2), b = { 1, 2 }, c = 1.5 }
    T.contains(text, "a     cnas.Tensor         8 B  f32 (2)")
    T.contains(text, "b     table                    2 entries")
    T.contains(text, "c     float                    1.5")
  end)
end)

T.describe("cnas.show", function()
  T.it("fits a width and sorts keys", function()
    T.equal(show({ beta = 1, alpha = 2, 7 }, { width = 20 }), "{\n  7,\n  alpha = 2,\n  beta = 1\n}")
  end)
end)
