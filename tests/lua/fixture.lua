-- fixture.lua - what PyTorch computed (tests/fixtures), and the numbers it computed it from.
--
-- Weights, inputs and incoming gradients are a function of a name, a shape and the element's number, the same here
-- and in make_fixtures.py; only results are stored. A gradient of more than 64 elements is stored as a sketch: its
-- elements, each with a random sign, added up in 64 sums. Sketching is linear and keeps the 2-norm on average (within
-- about 18 %), so sketches are compared instead of gradients.

local cnas = require "cnas"

local fixture = {}

local BUCKETS = 64
local here = debug.getinfo(1, "S").source:match "^@(.*)fixture%.lua$"

-- Numbers of 21 bits -------------------------------------------------------------------------------------------------

local function start(name)
  local h = 0xCBF29CE484222325
  for i = 1, #name do h = (h ~ name:byte(i)) * 0x100000001B3 end
  return h
end

local function count(shape)
  local n = 1
  for _, size in ipairs(shape) do n = n * size end
  return n
end

local function number(h)
  local x = h * 0x9E3779B97F4A7C15
  return ((x ~ (x >> 32)) * 0xD1342543DE82EF95) >> 43
end

local function shaped(list, shape, dtype)
  local t = cnas.tensor(list, { dtype = dtype })
  return #shape == 1 and t or t:reshape(shape)
end

-- f64 in (-1, 1) times `scale` plus `shift`, exact in f32 for powers of two.
function fixture.values(name, shape, scale, shift)
  local h, list = start(name), {}
  scale, shift = scale or 1, shift or 0
  for i = 0, count(shape) - 1 do
    list[i + 1] = (2 * number(h + i) + 1 - 2^21) / 2^21 * scale + shift
  end
  return shaped(list, shape, "f64")
end

-- Integers in 0 … below-1.
function fixture.integers(name, shape, below, dtype)
  local h, list = start(name), {}
  for i = 0, count(shape) - 1 do list[i + 1] = number(h + i) % below end
  return shaped(list, shape, dtype or "i64")
end

-- A parameter or buffer; how large follows from its name and shape.
function fixture.weight(name, shape)
  if name:find "running_var$" then return fixture.values(name, shape, 0.5, 1) end
  if name:find "running_mean$" then return fixture.values(name, shape, 0.25) end
  if #shape == 1 then
    if name:find "weight$" then return fixture.values(name, shape, 0.5, 1) end
    return fixture.values(name, shape, 0.25)
  end
  local fan = count(shape) // shape[#shape]
  local halvings = 0
  while 4 ^ (halvings + 1) <= fan do halvings = halvings + 1 end
  return fixture.values(name, shape, 2.0 ^ -halvings)
end

-- Sets every parameter and buffer of a module. `rename` turns the module's names into those of the fixture.
function fixture.fill(module, prefix, rename)
  cnas.no_grad(function()
    for _, entry in ipairs(module:state()) do
      local name = rename and rename(entry.name) or entry.name
      entry.tensor:copy_(fixture.weight((prefix or "") .. name, entry.tensor:shape()):to(entry.tensor.dtype))
    end
  end)
  return module
end

-- Comparing ----------------------------------------------------------------------------------------------------------

local function norm(t) return math.sqrt(cnas.squared_norm(t):item()) end

-- The 2-norm of the difference, relative to that of `expected`; absolute where that is 0.
function fixture.error(actual, expected)
  local a, b = table.concat(actual:shape(), ","), table.concat(expected:shape(), ",")
  if a ~= b then error(("shape is (%s), expected (%s)"):format(a, b), 2) end
  local scale = norm(expected)
  local difference = norm(actual:detach():to "f64" - expected)
  return scale > 0 and difference / scale or difference
end

-- An expectation: `relative` is below the limit. NaN is not.
function fixture.below(relative, limit, about)
  if relative < limit then return end
  error(("%s: relative error %.2g, must be below %g"):format(about, relative, limit), 2)
end

local bucket = {} -- element number -> bucket, negative where the sign is negative

local function sketch(t)
  local flat, sums = t:detach():reshape(-1):totable(), {}
  local h = start "sketch"
  for i = #bucket, #flat - 1 do
    local k = number(h + i)
    local place = k % BUCKETS + 1
    bucket[i + 1] = k // BUCKETS % 2 == 1 and -place or place
  end
  for i = 1, BUCKETS do sums[i] = 0.0 end
  for i = 1, #flat do
    local place = bucket[i]
    if place > 0 then sums[place] = sums[place] + flat[i] else sums[-place] = sums[-place] - flat[i] end
  end
  return cnas.tensor(sums, { dtype = "f64" })
end

local File = {}
File.__index = File

-- The tensors of tests/fixtures/NAME.safetensors, f64, and `cases`.
function fixture.load(name)
  local tensors, metadata = cnas.safetensors.load(here .. "../fixtures/" .. name .. ".safetensors")
  return setmetatable({ tensors = tensors, cases = cnas.json.decode(metadata.cases) }, File)
end

function File:get(key)
  return self.tensors[key] or error("the fixture has no " .. key, 2)
end

-- Relative error of a result.
function File:error(key, actual)
  return fixture.error(actual, self:get(key))
end

-- Relative error of a gradient, stored whole or as a sketch.
function File:gradient_error(key, actual)
  if not actual then error(key .. ": no gradient", 2) end
  if self.tensors[key] then return fixture.error(actual:reshape(-1), self:get(key):reshape(-1)) end
  local scale = self:get(key .. ":norm"):item()
  local difference = norm(sketch(actual) - self:get(key .. ":sketch"))
  return scale > 0 and difference / scale or difference
end

return fixture
