-- custom_gradient.lua - an operation whose gradient you write yourself, in Lua.
--
--   cnas examples/custom_gradient.lua
--
-- forward(ctx, x…) returns the result; whatever backward needs is put into ctx. backward(ctx, gradient) returns one
-- gradient for each input. Here: swish, x * sigmoid(x), which keeps its input alone and computes the rest anew, and a
-- step function that passes the gradient straight through, as binary networks use it.

local cnas = require "cnas"

local swish = cnas.op {
  name = "swish",
  forward = function(ctx, x)
    ctx.x = x
    return x * x:sigmoid()
  end,
  backward = function(ctx, gy)
    local s = ctx.x:sigmoid()
    return gy * (s + ctx.x * s * (1 - s))
  end,
}

local binary = cnas.op {
  name = "binary",
  forward = function(ctx, x)
    ctx.inside = x:abs():le(cnas.tensor(1.0)):to("f32")
    return x:ge(cnas.tensor(0.0)):to("f32") * 2 - 1
  end,
  backward = function(ctx, gy) return gy * ctx.inside end,
}

-- The gradient of swish against finite differences, in f64.
local x = cnas.tensor({ -2.0, -0.5, 0.0, 1.0, 3.0 }, { dtype = "f64" }):requires_grad_(true)
swish(x):sum():backward()
local function value(v) return v / (1 + math.exp(-v)) end
for i, v in ipairs(x:totable()) do
  local slope = (value(v + 1e-6) - value(v - 1e-6)) / 2e-6
  local ours = x.grad:totable()[i]
  print(("x = %4.1f   gradient %.6f   finite differences %.6f"):format(v, ours, slope))
  assert(math.abs(ours - slope) < 1e-6)
end

-- A small network with binary hidden units learns exclusive or: its gradient has to come through the step.
local rng = cnas.rng(4, "weights")
local first = cnas.nn.linear { inp = 2, out = 16, rng = rng }
local last = cnas.nn.linear { inp = 16, out = 2, rng = rng }
local parameters = table.move(last:parameters(), 1, 2, 3, first:parameters())
parameters.names = { "first.weight", "first.bias", "last.weight", "last.bias" }
local adam = cnas.optim.adam(parameters, { lr = 0.05 })
local inputs = cnas.tensor { { 0.0, 0.0 }, { 0.0, 1.0 }, { 1.0, 0.0 }, { 1.0, 1.0 } }
local targets = cnas.tensor({ 0, 1, 1, 0 }, { dtype = "i64" })
for _ = 1, 200 do adam:step(cnas.cross_entropy(last(binary(first(inputs))), targets)) end
local logits = last(binary(first(inputs)))
print("exclusive or: accuracy " .. cnas.accuracy(logits, targets):item())
assert(cnas.accuracy(logits, targets):item() == 1)
