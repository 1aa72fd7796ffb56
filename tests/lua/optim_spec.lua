-- Optimizers: groups, clipping, state, and what they refuse to do.
local T = require "spec"
local cnas = require "cnas"

local function parameter(...) return cnas.tensor({ ... }, { dtype = "f64" }):requires_grad_(true) end
local function set(p, ...) p:set_grad(cnas.tensor({ ... }, { dtype = "f64" })) end

T.describe("an optimizer", function()
  T.it("steps each group with its own rates", function()
    local a, b = parameter(1, 2), parameter(3)
    local o = cnas.optim.sgd({ { params = { a, names = { "a" } } }, { params = { b, names = { "b" } }, lr = 1 } },
                             { lr = 0.5 })
    set(a, 1, 1)
    set(b, 1)
    local none, norm = o:step()
    T.equal(none, nil)
    T.near(norm, math.sqrt(3), 1e-15)
    T.equal(a:totable(), { 0.5, 1.5 })
    T.equal(b:totable(), { 2 })
    T.equal(a.grad, nil)
    T.equal(o.lr, 0.5)
    o.lr = 0.25
    T.equal({ o:groups()[1].lr, o:groups()[2].lr }, { 0.25, 0.25 })
    o:set(2, { lr = 2, momentum = 0.5, nesterov = true })
    T.equal(o:groups()[2], { lr = 2, momentum = 0.5, nesterov = true, weight_decay = 0 })
    T.equal(o:groups()[1].momentum, 0)
  end)

  T.it("leaves a parameter without a gradient alone, weight decay and momentum too", function()
    local a, b = parameter(1), parameter(1)
    local o = cnas.optim.sgd({ a, b, names = { "a", "b" } }, { lr = 0.5, momentum = 0.5, weight_decay = 0.5 })
    set(a, 1)
    set(b, 1)
    o:step()
    local before = b:totable()
    set(a, 1)
    o:step()
    T.equal(b:totable(), before)
    T.truthy(a:totable()[1] < before[1])
  end)

  T.it("scales gradients down to the norm, and never up", function()
    local a = parameter(0, 0)
    local o = cnas.optim.sgd({ a }, { lr = 1 })
    set(a, 3, 4)
    local _, norm = o:step { clip = 1 }
    T.equal(norm, 5)
    T.near(a, { -0.6, -0.8 }, 1e-6)
    set(a, 0.3, 0.4)
    o:step { clip = 1 }
    T.near(a, { -0.9, -1.2 }, 1e-6)
    T.raises("clip", o.step, o, { clip = -1 })
    T.raises("unknown option 'clop' %(did you mean 'clip'%?%)", o.step, o, { clop = 1 })
  end)

  T.it("moves nothing when the loss is not finite", function()
    local a = parameter(1, 2)
    local o = cnas.optim.adam({ a, names = { "a" } }, { lr = 0.1 })
    local e = T.raises("the loss is nan", o.step, o, (a * (0 / 0)):sum())
    T.equal(e.code, "not-finite")
    T.equal(a:totable(), { 1, 2 })
    T.equal(a.grad, nil)
    T.equal(#o:state(), 0)
  end)

  T.it("gives tensors where it need not wait, and refuses what is not finite all the same", function()
    local a = parameter(3, 4)
    local o = cnas.optim.sgd({ a, names = { "a" } }, { lr = 1 })
    local loss, norm = o:step((a * a):sum(), { wait = false, clip = 1 })
    T.equal({ loss:item(), norm:item(), loss.requires_grad }, { 25, 10, false })
    T.near(a, { 2.4, 3.2 }, 1e-6)
    set(a, 3, 4)
    loss, norm = o:step { wait = false }
    T.equal({ loss or "none", norm:item() }, { "none", 5 })
    local before = a:totable()
    T.equal(T.raises("the loss is nan", o.step, o, (a * (0 / 0)):sum(), { wait = false }).code, "not-finite")
    set(a, 1 / 0, 1)
    T.raises("the gradient of 'a' is not finite", o.step, o, { wait = false })
    T.equal(a:totable(), before)
  end)

  T.it("names the gradient that is not finite, and moves nothing", function()
    local a, b = parameter(1), parameter(0)
    local o = cnas.optim.sgd({ a, b, names = { "first", "second" } }, { lr = 0.1, momentum = 0.9 })
    local e = T.raises("the gradient of 'second' is not finite", o.step, o, (a + cnas.sqrt(b)):sum())
    T.equal(e.code, "not-finite")
    T.equal({ a:totable(), b:totable() }, { { 1 }, { 0 } })
    T.equal({ a.grad, b.grad }, {})
  end)

  T.it("goes on from its state to the bit", function()
    for kind, options in pairs { sgd = { lr = 0.1, momentum = 0.9, nesterov = true }, adam = { lr = 0.1 } } do
      local function start(values)
        local p = { parameter(table.unpack(values)), parameter(1), names = { "p", "q" } }
        return p, cnas.optim[kind](p, options)
      end
      local function steps(p, o, n)
        for _ = 1, n do o:step((p[1] * p[1]):sum()) end
      end
      local p, o = start { 1, -2 }
      steps(p, o, 3)
      local q, resumed = start(p[1]:totable())
      resumed:load(o:state())
      steps(p, o, 3)
      steps(q, resumed, 3)
      T.equal(q[1]:totable(), p[1]:totable())
      local names = {}
      for i, entry in ipairs(resumed:state()) do names[i] = entry.name end
      T.equal(names, kind == "sgd" and { "p.momentum" } or { "p.mean", "p.square", "p.step" }) -- q never moved
    end
  end)

  T.it("refuses state that is not its own", function()
    local o = cnas.optim.adam({ parameter(1, 2), names = { "p" } })
    local function refused(name, tensor, message)
      T.equal(T.raises(message, o.load, o, { [name] = tensor }).code, "data")
    end
    refused("p.momentum", cnas.zeros(2), "no parameter of this adam optimizer has such state")
    refused("q.mean", cnas.zeros(2), "no parameter")
    refused("p.mean", cnas.zeros(3, { dtype = "f64" }), "'p.mean': expected f64 %(2%), got f64 %(3%)")
    refused("p.step", cnas.zeros(2), "'p.step': expected i64")
    T.equal(#o:state(), 0)
  end)

  T.it("refuses parameters and options that make no sense", function()
    local p = parameter(1)
    T.raises("optim%.sgd: option 'lr' is missing", cnas.optim.sgd, { p })
    T.raises("unknown option 'momentun' %(did you mean 'momentum'%?%)", cnas.optim.sgd, { p }, { lr = 1, momentun = 0 })
    T.raises("nesterov needs a momentum", cnas.optim.sgd, { p }, { lr = 1, nesterov = true })
    T.raises("beta1 must be in", cnas.optim.adam, { p }, { beta1 = 1 })
    T.raises("there are no parameters", cnas.optim.sgd, {}, { lr = 1 })
    T.raises("parameter 2 must be a tensor", cnas.optim.sgd, { p, 7 }, { lr = 1 })
    T.raises("was given already", cnas.optim.sgd, { p, p }, { lr = 1 })
    T.raises("two parameters have the name 'x'", cnas.optim.sgd, { p, parameter(2), names = { "x", "x" } }, { lr = 1 })
    T.raises("must be a leaf that requires a gradient", cnas.optim.sgd, { cnas.zeros(1) }, { lr = 1 })
    local o = cnas.optim.sgd({ p }, { lr = 1 })
    T.raises("lr must be 0 or more", function() o.lr = -1 end)
    T.raises("only 'lr' can be assigned", function() o.rate = 1 end)
    T.equal(o.lr, 1)
  end)
end)
