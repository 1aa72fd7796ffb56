-- test.lua - checks of the parts: cnas test.lua

local cnas = require "cnas"
local parts = require "parts"

local passed = 0
local function check(what, holds)
  if not holds then error("failed: " .. what, 2) end
  passed = passed + 1
end

-- The gradient of swish, against finite differences in f64.
local x = cnas.tensor({ -2.0, -0.5, 0.0, 1.0, 3.0 }, { dtype = "f64" }):requires_grad_(true)
parts.swish(x):sum():backward()
local h = 1e-6
local above, below = parts.swish(x:detach() + h):totable(), parts.swish(x:detach() - h):totable()
for i, gradient in ipairs(x.grad:totable()) do
  check("the gradient of swish", math.abs(gradient - (above[i] - below[i]) / (2 * h)) < 1e-6)
end

-- Every operation keeps the channels, and halves the image at stride 2.
local space = parts.space()
local settings = { channels = 4, affine = false, track = false, supernet = true, rng = cnas.rng(1, "weights") }
for _, name in ipairs(space:names()) do
  for stride = 1, 2 do
    settings.stride = stride
    local shape = space:build(name, settings)(cnas.zeros(2, 8, 8, 4)):shape()
    check(name .. " keeps the channels", shape[4] == 4 and shape[2] == 8 // stride and shape[3] == 8 // stride)
  end
end

-- The reward falls as the cost rises, and is the accuracy at the target.
check("the reward at the target", parts.reward(0.5, 100, 100, 0.1) == 0.5)
check("a dear cell is paid less", parts.reward(0.5, 200, 100, 0.1) < 0.5)

-- The stages open everything in the end, and never close anything.
local stages, open = parts.stages(2), 0
for _, stage in ipairs(stages) do
  check("a stage opens more", #stage.ops > open and stage.nodes <= 2)
  open = #stage.ops
end
check("everything is open in the end", open == #space:names() and stages[#stages].nodes == 2)
check("the rate falls to a tenth", parts.rate(1, 1, 3) == 1 and math.abs(parts.rate(1, 3, 3) - 0.1) < 1e-12)

print(passed .. " checks passed")
