-- Every differentiable row of ops.def against finite differences.
--
-- A row's gradients are those of L = sum(weight * output) over its outputs, with fixed weights. In f64 each element of
-- each input is moved by +-h; (L(+h) - L(-h)) / 2h must equal what backward says. With h = 1e-5 the difference is off
-- by h^2/6 times the third derivative and by rounding of about 2^-53 |L| / h, both near 1e-10; the tolerance of 1e-7
-- (relative to the gradient, in the 2-norm) leaves room for steep third derivatives. A wrong formula is off by more.
-- Then each input's gradient is asked for alone (same bits), and all in f32 (kernels are other code there: 1e-4).
--
-- Inputs (tests/lua/cases.lua) differ by far more than h, so that no maximum changes. A row without a case here fails.

local cases = require "cases"
local cnas = require "cnas"
local T = require "spec"

local H, TOLERANCE, SINGLE = 1e-5, 1e-7, 1e-4

local rows = cases.rows()

-- ---------------------------------------------------------------- applying a case

local function apply(name, this, leaves) return cases.loss((cases.apply(name, this, leaves))) end

local function gradients(name, this, leaves, only)
  cases.track(this, leaves, only)
  apply(name, this, leaves):backward()
  local result = {}
  for i, leaf in pairs(leaves) do result[i] = leaf.grad and leaf.grad:totable() end
  return result
end

local function difference_quotients(name, this, leaves, i)
  local quotients, leaf = {}, leaves[i]
  cases.track(this, leaves, 0)
  for k = 1, leaf:count() do
    local value = leaf[k]:item()
    leaf[k] = value + H
    local above = apply(name, this, leaves):item()
    leaf[k] = value - H
    local below = apply(name, this, leaves):item()
    leaf[k] = value
    quotients[k] = (above - below) / (2 * H)
  end
  return quotients
end

-- |a - b| <= tolerance * (|b| + 1): gradients that are 0 have no size to be relative to.
local function close(a, b, tolerance, about)
  local off, size = 0, 0
  for k = 1, #b do
    off = off + (a[k] - b[k]) ^ 2
    size = size + b[k] ^ 2
  end
  T.equal(#a, #b, about)
  if not (off ^ 0.5 <= tolerance * (size ^ 0.5 + 1)) then -- luacheck: ignore 581 (NaN fails too)
    error(("%s: off by %.3g of %.3g; at most %.3g is allowed"):format(about, off ^ 0.5, size ^ 0.5, tolerance), 2)
  end
end

local function names_of(row)
  local names = {}
  for word in row.inputs:gmatch("%S+") do names[#names + 1] = word:match("^[%w_]+") end
  return names
end

local function check(row, this)
  local leaves, names = cases.leaves(this, "f64"), names_of(row)
  local analytic = gradients(row.name, this, leaves)
  local single = gradients(row.name, this, cases.leaves(this, "f32"))
  for i, described in ipairs(this.inputs) do
    if leaves[i] and not described.still then
      local about = row.name .. ": gradient of " .. (names[i] or names[#names])
      T.truthy(analytic[i], about .. " is missing")
      close(analytic[i], difference_quotients(row.name, this, leaves, i), TOLERANCE, about)
      T.equal(gradients(row.name, this, leaves, i)[i], analytic[i], about .. ", asked for alone")
      close(single[i], analytic[i], SINGLE, about .. " in f32")
    end
  end
end

-- ---------------------------------------------------------------- the tests

T.describe("the gradient of", function()
  local known = {}
  for _, row in ipairs(cnas.ops()) do
    if row.kind ~= "forward" and row.kind ~= "inplace" then
      known[row.name] = true
      T.it(row.name, function()
        T.truthy(rows[row.name], row.name .. " is differentiable and has no case")
        for n, this in ipairs(rows[row.name]) do
          local ok, e = xpcall(check, debug.traceback, row, this)
          if not ok then error("case " .. n .. ": " .. tostring(e), 0) end
        end
      end)
    end
  end

  T.it("nothing else", function()
    for name in pairs(rows) do T.truthy(known[name], "there is no differentiable row " .. name) end
  end)
end)

T.describe("gradients", function()
  T.it("pass through a conversion to f32 and back, rounded to f32", function()
    local x = cnas.tensor({ 0.1, 0.2, 0.3 }, { dtype = "f64" }):requires_grad_(true)
    local weight = cnas.tensor({ 3, 0.1, -7 }, { dtype = "f64" })
    local loss = (x:cast("f32"):cast("f64") * weight):sum()
    loss:backward()
    T.near(x.grad, weight, 1e-7)
    T.equal(x.grad.dtype, "f64")
  end)

  T.it("of equals: maxima give it to the first, maximum and minimum share it, kinks have none", function()
    local function leaf(v) return cnas.tensor(v, { dtype = "f64" }):requires_grad_(true) end
    local x = leaf { { 1, 3, 3 }, { 2, 2, 2 } }
    x:max(2):sum():backward()
    T.equal(x.grad:totable(), { { 0, 1, 0 }, { 1, 0, 0 } })
    local a, b = leaf { 1, 2 }, leaf { 1, 5 }
    cnas.maximum(a, b):sum():backward()
    T.equal(a.grad:totable(), { 0.5, 0 })
    T.equal(b.grad:totable(), { 0.5, 1 })
    local z = leaf { 0, -0.0, 1 }
    z:relu():add(z:abs()):sum():backward()
    T.equal(z.grad:totable(), { 0, 0, 2 })
    local c = leaf { -1, 0, 1 }
    c:clamp(-1, 1):sum():backward()
    T.equal(c.grad:totable(), { 1, 1, 1 })
    local image = cnas.ones(1, 2, 2, 1):requires_grad_(true)
    image:max_pool2d(2):sum():backward()
    T.equal(image.grad:totable(), { { { { 1 }, { 0 } }, { { 0 }, { 0 } } } })
  end)

  T.it("add up where a tensor is used twice", function()
    local x = cnas.tensor({ 2, 3 }, { dtype = "f64" }):requires_grad_(true)
    x:mul(x):add(x):sum():backward()
    T.equal(x.grad:totable(), { 5, 7 })
  end)
end)
