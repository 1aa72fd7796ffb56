-- Rows pointwise_block and reduce_block against the plain rows that they stand for: scale, shift and ReLU, concat,
-- subsample2d, 1x1 convolutions, mean and variance. At every instruction set, and with any number of threads to the
-- same bits.

local cnas = require "cnas"
local T = require "spec"

local LIMIT = { f64 = 1e-12, f32 = 1e-5 }

-- ---------------------------------------------------------------- the plain rows, in f64

local function joined(v, relu)
  local x = #v.sources > 1 and cnas.concat(v.sources, 4) or v.sources[1]
  if v.scale then x = x * v.scale + v.shift end
  return relu and x:relu() or x
end

local function with_statistics(z)
  local mean = z:mean { dims = { 1, 2, 3 } }
  local d = z - mean
  return z, mean, (d * d):mean { dims = { 1, 2, 3 } }
end

local plain, block = {}, {}

function plain.pointwise_block(v, relu) return with_statistics(cnas.conv2d(joined(v, relu), v.weights[1])) end

function plain.reduce_block(v, relu)
  local x = joined(v, relu)
  local down, right = -(x:size(2) % 2), -(x:size(3) % 2)
  local function half(i) return cnas.conv2d(x:subsample2d(2, { down + i - 1, right + i - 1 }), v.weights[i]) end
  return with_statistics(cnas.concat({ half(1), half(2) }, 4))
end

function block.pointwise_block(v, relu)
  local args = table.pack(v.weights[1], v.scale, v.shift, table.unpack(v.sources))
  args.n = args.n + 1
  args[args.n] = relu
  return cnas.pointwise_block(table.unpack(args, 1, args.n))
end

function block.reduce_block(v, relu)
  local args = table.pack(v.weights[1], v.weights[2], v.scale, v.shift, table.unpack(v.sources))
  args.n = args.n + 1
  args[args.n] = relu
  return cnas.reduce_block(table.unpack(args, 1, args.n))
end

-- ---------------------------------------------------------------- cases

-- N, H, W, the sources' channels, channels of the result; o.factors: with scale and shift; o.relu.
local function case(n, h, w, channels, out, o)
  return { n = n, h = h, w = w, channels = channels, out = out, factors = o.factors, relu = o.relu }
end

local cases = {
  case(2, 5, 7, { 3 }, 2, { relu = true }),
  case(2, 8, 8, { 16, 16, 16, 16 }, 16, { factors = true, relu = true }),
  case(1, 7, 8, { 17 }, 18, { factors = true, relu = false }),
  case(3, 6, 9, { 32, 3 }, 36, { factors = true, relu = true }),
  case(2, 9, 9, { 36, 36, 36, 36 }, 36, { relu = true }),
  case(1, 12, 11, { 64, 17, 64 }, 64, { factors = true, relu = true }),
  case(2, 4, 4, { 256, 16 }, 72, { factors = true, relu = true }),
  case(2, 1, 1, { 48 }, 48, { relu = false }),
  case(5, 13, 15, { 5, 16 }, 34, { factors = true, relu = true }),
}

local function describe(this)
  return ("%dx%dx%dx{%s} to %d%s%s"):format(this.n, this.h, this.w, table.concat(this.channels, ","), this.out,
    this.factors and ", scale and shift" or "", this.relu and ", relu" or "")
end

-- Leaves by name, f32 values; every case and name has its own.
local function make_leaves(row, this)
  local rng, inputs, leaves = cnas.rng(7, describe(this)), 0, {}
  for i, channels in ipairs(this.channels) do
    inputs = inputs + channels
    leaves["source " .. i] = cnas.randn({ this.n, this.h, this.w, channels }, { rng = rng })
  end
  local matrices = row == "reduce_block" and 2 or 1
  for i = 1, matrices do
    leaves["weight " .. i] = cnas.randn({ 1, 1, inputs, this.out // matrices }, { rng = rng }) * inputs ^ -0.5
    leaves["other weight " .. i] = cnas.randn({ 1, 1, inputs, this.out // matrices }, { rng = rng }) * inputs ^ -0.5
  end
  if this.factors then
    leaves.scale = cnas.randn({ inputs }, { rng = rng })
    leaves.shift = cnas.randn({ inputs }, { rng = rng })
  end
  return leaves
end

-- Outputs, and gradients by name (of those in `only`, if given), of two readers of the same sources: the second adds
-- its gradient to what the first has left.
local function run(apply, this, leaves, dtype, only)
  local v, g = {}, {}
  for name, leaf in pairs(leaves) do
    v[name] = leaf:to(dtype):detach():clone()
    v[name].requires_grad = not only or only[name] or false
  end
  local sources = {}
  for i = 1, #this.channels do sources[i] = v["source " .. i] * 1 end -- no leaf: a block adds to its gradient
  local function reader(weights)
    return apply({ sources = sources, scale = v.scale, shift = v.shift,
                   weights = { v[weights .. " 1"], v[weights .. " 2"] } }, this.relu)
  end
  local outputs, loss = { reader "weight" }, nil
  local second = { reader "other weight" }
  for i = 1, 3 do outputs[3 + i] = second[i] end
  local rng = cnas.rng(8, describe(this))
  for _, y in ipairs(outputs) do
    local part = (y * cnas.randn(y:shape(), { rng = rng }):to(dtype)):sum()
    loss = loss and loss + part or part
  end
  loss:backward()
  for name, leaf in pairs(v) do g[name] = leaf.grad end
  return outputs, g
end

-- ---------------------------------------------------------------- the tests

local function off(a, b)
  b = b:to "f64"
  return ((a:to "f64" - b):squared_norm():item() / (b:squared_norm():item() + 1e-12)) ^ 0.5
end

local function expect_close(a, b, limit, about)
  local error = off(a, b)
  T.truthy(error <= limit, ("%s: off by %.3g, at most %.3g is allowed"):format(about, error, limit))
end

local function expect_same_bits(a, b, about)
  T.truthy(cnas.ne(a, b):to("f32"):sum():item() == 0, about .. ": other bits")
end

local function isas()
  local widest, found = cnas.isa(), {}
  for _, name in ipairs { "portable", "avx2", "avx512" } do
    if pcall(cnas.isa, name) then found[#found + 1] = name end
    cnas.isa(widest)
  end
  return found, widest
end

local function matches(row, this, dtype)
  local leaves = make_leaves(row, this)
  local expected, gradients = run(plain[row], this, leaves, "f64")
  local found, widest = isas()
  for _, isa in ipairs(found) do
    cnas.isa(isa)
    local ok, e = pcall(function()
      local outputs, got = run(block[row], this, leaves, dtype)
      for i, y in ipairs(outputs) do expect_close(y, expected[i], LIMIT[dtype], isa .. ", output " .. i) end
      for name, g in pairs(gradients) do
        T.truthy(got[name], isa .. ", no gradient of " .. name)
        expect_close(got[name], g, LIMIT[dtype], isa .. ", gradient of " .. name)
      end
      for name in pairs(gradients) do
        local _, alone = run(block[row], this, leaves, dtype, { [name] = true })
        expect_same_bits(alone[name], got[name], isa .. ", gradient of " .. name .. " asked for alone")
      end
    end)
    cnas.isa(widest)
    if not ok then error(e, 0) end
  end
end

local function same_bits(row, this)
  local leaves, before = make_leaves(row, this), cnas.threads()
  local ok, e = pcall(function()
    cnas.threads(1)
    local expected, gradients = run(block[row], this, leaves, "f32")
    for threads = 2, 3 do
      cnas.threads(threads)
      local outputs, got = run(block[row], this, leaves, "f32")
      for i, y in ipairs(outputs) do expect_same_bits(y, expected[i], threads .. " threads, output " .. i) end
      for name, g in pairs(gradients) do
        expect_same_bits(got[name], g, threads .. " threads, gradient of " .. name)
      end
    end
  end)
  cnas.threads(before)
  if not ok then error(e, 0) end
end

for _, row in ipairs { "pointwise_block", "reduce_block" } do
  T.describe(row, function()
    for _, this in ipairs(cases) do
      for _, dtype in ipairs { "f64", "f32" } do
        T.it(("is the plain rows: %s, %s"):format(describe(this), dtype), function() matches(row, this, dtype) end)
      end
    end
    T.it("gives the same bits with any number of threads", function()
      same_bits(row, case(7, 31, 17, { 16, 36 }, 36, { factors = true, relu = true }))
      same_bits(row, case(9, 32, 32, { 16, 16, 16, 16 }, 16, { factors = true, relu = true }))
    end)
    T.it("keeps NaN", function()
      local x = cnas.full({ 1, 4, 4, 16 }, 0 / 0)
      local w = cnas.ones(1, 1, 16, 16)
      local z = block[row]({ sources = { x }, weights = { w, w } }, true)
      local total = z:sum():item()
      T.truthy(total ~= total, "NaN was lost")
    end)
  end)
end

-- ---------------------------------------------------------------- several products of the same images

T.describe("pointwise_blocks", function()
  local rng = cnas.rng(5, "together")
  local function random(...) return cnas.randn({ ... }, { rng = rng }):requires_grad_(true) end
  local x, y = random(2, 5, 7, 16), random(2, 5, 7, 3)
  local weights = { random(1, 1, 19, 16), random(1, 1, 19, 5), random(1, 1, 19, 36) }
  local leaves = { x, y, table.unpack(weights) }
  local function sum(results)
    local total
    for i, r in ipairs(results) do
      local part = (r * r * i):sum()
      total = total and total + part or part
    end
    return total
  end
  local function gradients(results)
    for _, leaf in ipairs(leaves) do leaf:set_grad(nil) end
    sum(results):backward()
    local all = {}
    for i, leaf in ipairs(leaves) do all[i] = leaf.grad and leaf.grad:totable() or {} end
    return all
  end

  for n = 2, 3 do
    T.it(("gives %d results as pointwise_block one by one does"):format(n), function()
      local together = { cnas.pointwise_blocks(weights[1], weights[2], n == 3 and weights[3] or nil, nil, nil, x, y) }
      local apart = {}
      for i = 1, n do
        for _, r in ipairs { cnas.pointwise_block(weights[i], nil, nil, x, y) } do apart[#apart + 1] = r end
      end
      T.equal(#together, 3 * n)
      for i = 1, 3 * n do T.near(together[i]:totable(), apart[i]:totable(), 1e-6) end
      T.near(gradients(together), gradients(apart), 2e-5)
    end)
  end

  T.it("has no gradient for the weights of a result that nobody used", function()
    local z, _, _, z2 = cnas.pointwise_blocks(weights[1], weights[2], weights[3], nil, nil, x, y)
    local some = gradients { z2 }
    T.equal({ some[3], some[5] }, { {}, {} })
    T.near(some, gradients { (cnas.pointwise_block(weights[2], nil, nil, x, y)) }, 2e-5)
    T.equal(z:shape(), { 2, 5, 7, 16 })
  end)

  T.it("names the weights that do not fit", function()
    T.raises("pointwise_blocks: second must be", cnas.pointwise_blocks, weights[1], random(1, 1, 18, 4), nil, nil, nil,
             x, y)
    T.raises("second must be a tensor", cnas.pointwise_blocks, weights[1])
  end)
end)
