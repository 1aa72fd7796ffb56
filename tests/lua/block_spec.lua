-- The blocks together: a piece of a network whose normalisations are never written, against the same piece in plain
-- rows (conv2d, the pools, subsample2d, concat, batch_norm, relu, add).
--
-- The piece: a first convolution; two edges of one kind that both read its result; what adds the edges to a node and a
-- separable block that reads the node; and a 1x1 convolution that reads both edges joined. So every tensor with a
-- normalisation of its own has two readers, and the later one in the backward pass adds to the gradient that the other
-- has left. Compared are results, running statistics and the gradients of all leaves.

local cnas = require "cnas"
local T = require "spec"

local LIMIT = { f64 = 1e-12, f32 = 1e-5 }
local MOMENTUM, EPS = 0.2, 1e-3

-- ---------------------------------------------------------------- edges

-- One entry a kind: weights(c, o) gives shapes by name; block(f, v, o) the block's z, mean and var for a feature
-- f = { z, scale, shift }; plain(x, v) the same result from x, normalised but not rectified. `o` is the attributes.
local edges = {}

local function separable(kernel, o)
  local padding = (kernel // 2) * (o.dilation or 1)
  local attrs = { stride = o.stride, padding = padding, dilation = o.dilation }
  return {
    weights = function(c, out) return { depthwise = { kernel, kernel, 1, c }, pointwise = { 1, 1, c, out } } end,
    block = function(f, v)
      return cnas.separable_block(f.z, v.depthwise, v.pointwise, f.scale, f.shift, attrs)
    end,
    plain = function(x, v)
      return cnas.conv2d(cnas.conv2d(x:relu(), v.depthwise, { stride = o.stride, padding = padding,
        dilation = o.dilation, groups = x:size(4) }), v.pointwise)
    end,
  }
end
edges["separable 3x3"] = separable(3, { stride = 1 })
edges["separable 5x5 dilated"] = separable(5, { stride = 1, dilation = 2 })
edges["separable 3x3 stride 2"] = separable(3, { stride = 2 })

edges.pointwise = {
  weights = function(c, out) return { weight = { 1, 1, c, out } } end,
  block = function(f, v) return cnas.pointwise_block(v.weight, f.scale, f.shift, f.z) end,
  plain = function(x, v) return cnas.conv2d(x:relu(), v.weight) end,
}

edges.reduce = {
  weights = function(c, out) return { first = { 1, 1, c, out // 2 }, second = { 1, 1, c, out // 2 } } end,
  block = function(f, v) return cnas.reduce_block(v.first, v.second, f.scale, f.shift, f.z) end,
  plain = function(x, v)
    x = x:relu()
    local down, right = -(x:size(2) % 2), -(x:size(3) % 2)
    local function half(i, weight) return cnas.conv2d(x:subsample2d(2, { down + i, right + i }), weight) end
    return cnas.concat({ half(0, v.first), half(1, v.second) }, 4)
  end,
}

local function pool(max, relu, stride)
  return {
    same_channels = true,
    weights = function() return {} end,
    block = function(f)
      return cnas.pool_block(f.z, f.scale, f.shift,
        { kernel = 3, stride = stride, padding = 1, max = max, relu = relu })
    end,
    plain = function(x)
      if relu then x = x:relu() end
      return cnas[max and "max_pool2d" or "avg_pool2d"](x, { kernel = 3, stride = stride, padding = 1 })
    end,
  }
end
edges["max pool"] = pool(true, false, 1)
edges["max pool of relu, stride 2"] = pool(true, true, 2)
edges["mean pool"] = pool(false, false, 1)
edges["mean pool of relu, stride 2"] = pool(false, true, 2)

local names = {}
for name in pairs(edges) do names[#names + 1] = name end
table.sort(names)

-- ---------------------------------------------------------------- the piece, in blocks and in plain rows

-- p: weight, bias, running mean and variance of normalisation `i`.
local function norm_inputs(v, i) return v["weight" .. i], v["bias" .. i], v["mean" .. i], v["var" .. i] end

local function feature(v, i, training, z, mean, var)
  local weight, bias, running_mean, running_var = norm_inputs(v, i)
  local scale, shift = cnas.norm_factors(mean, var, weight, bias, running_mean, running_var,
    { count = z:count() // z:size(4), training = training, momentum = MOMENTUM, eps = EPS })
  return { z = z, scale = scale, shift = shift }
end

local function in_blocks(edge, v, training)
  local first = feature(v, 0, training, cnas.conv_block(v.x, v.stem, { padding = 1 }))
  local a = feature(v, 1, training, edge.block(first, v.a))
  local b = feature(v, 2, training, edge.block(first, v.b))
  local node = cnas.add_block(a.z, b.z, a.scale, a.shift, b.scale, b.shift, v.keep)
  local joined = cnas.pointwise_block(v.joint, cnas.concat { a.scale, b.scale }, cnas.concat { a.shift, b.shift },
    a.z, b.z)
  local read = cnas.separable_block(node, v.depthwise, v.pointwise, { padding = 1 })
  return { node, joined, read }
end

local function in_plain_rows(edge, v, training)
  local function normalised(x, i)
    local weight, bias, mean, var = norm_inputs(v, i)
    return cnas.batch_norm(x, weight, bias, mean, var, { training = training, momentum = MOMENTUM, eps = EPS })
  end
  local first = normalised(cnas.conv2d(v.x, v.stem, { padding = 1 }), 0)
  local a, b = normalised(edge.plain(first, v.a), 1), normalised(edge.plain(first, v.b), 2)
  local node = a * v.keep:reshape(v.keep:count(), 1, 1, 1) + b
  local joined = cnas.conv2d(cnas.concat({ a, b }, 4):relu(), v.joint)
  local read = cnas.conv2d(cnas.conv2d(node:relu(), v.depthwise, { padding = 1, groups = node:size(4) }), v.pointwise)
  return { node, joined, read }
end

-- ---------------------------------------------------------------- running it

-- N, H, W and the channels that the edges read.
local shapes = {
  { 1, 5, 7, 3 }, { 2, 9, 6, 16 }, { 5, 7, 7, 17 }, { 2, 8, 8, 36 }, { 1, 11, 9, 64 }, { 5, 4, 4, 16 },
}

local function text(shape) return table.concat(shape, "x") end

-- Leaves in f32, by name; those of the two edges with "a " and "b " in front. Statistics and keep have no gradient.
local function make_leaves(name, shape)
  local n, h, w, c = table.unpack(shape)
  local rng, edge, leaves, still = cnas.rng(3, name .. text(shape)), edges[name], {}, { keep = true }
  local out = edge.same_channels and c or c + 2 - c % 2 -- even
  local function leaf(key, dims, factor, shift)
    leaves[key] = cnas.randn(dims, { rng = rng }) * (factor or 1) + (shift or 0)
  end
  leaf("x", { n, h, w, 3 })
  leaf("stem", { 3, 3, 3, c }, 0.2)
  for _, which in ipairs { "a ", "b " } do
    local dims = edge.weights(c, out)
    local keys = {}
    for key in pairs(dims) do keys[#keys + 1] = key end
    table.sort(keys)
    for _, key in ipairs(keys) do leaf(which .. key, dims[key], 0.3) end
  end
  for i = 0, 2 do
    local channels = i == 0 and c or out
    leaf("weight" .. i, { channels }, 0.2, 1)
    leaf("bias" .. i, { channels }, 0.3)
    leaf("mean" .. i, { channels }, 0.1)
    leaves["var" .. i] = cnas.rand({ channels }, { rng = rng }) + 0.5
    still["mean" .. i], still["var" .. i] = true, true
  end
  leaves.keep = cnas.rand({ n }, { rng = rng }) + 0.5
  leaf("joint", { 1, 1, 2 * out, 7 }, 0.3)
  leaf("depthwise", { 3, 3, 1, out }, 0.3)
  leaf("pointwise", { 1, 1, out, 5 }, 0.3)
  return leaves, still
end

-- Everything that there is to compare, by name.
local function run(piece, name, shape, dtype, training)
  local leaves, still = make_leaves(name, shape)
  local v, all, made = { a = {}, b = {} }, {}, {}
  for key, leaf in pairs(leaves) do
    made[key] = leaf:to(dtype):detach():clone()
    made[key].requires_grad = not still[key]
    local which, rest = key:match "^([ab]) (.*)$"
    if which then v[which][rest] = made[key] else v[key] = made[key] end
  end
  local rng, loss = cnas.rng(4, name .. text(shape)), nil
  for i, y in ipairs(piece(edges[name], v, training)) do
    all["result " .. i] = y:detach()
    local part = (y * cnas.randn(y:shape(), { rng = rng }):to(dtype)):sum()
    loss = loss and loss + part or part
  end
  loss:backward()
  for key, leaf in pairs(made) do
    if not still[key] then all["gradient of " .. key] = T.truthy(leaf.grad, "no gradient of " .. key)
    elseif key ~= "keep" then all["running " .. key] = leaf end
  end
  return all
end

local function isas()
  local widest, found = cnas.isa(), {}
  for _, name in ipairs { "portable", "avx2", "avx512" } do
    if pcall(cnas.isa, name) then found[#found + 1] = name end
    cnas.isa(widest)
  end
  return found
end

-- f() with these, whatever happens; then as it was.
local function with(isa, threads, f)
  local widest, before = cnas.isa(), cnas.threads()
  cnas.isa(isa)
  cnas.threads(threads)
  local result = table.pack(pcall(f))
  cnas.isa(widest)
  cnas.threads(before)
  if not result[1] then error(result[2], 0) end
  return table.unpack(result, 2, result.n)
end

-- Where terms cancel, as in the gradient of a bias in front of a normalisation, which is 0, nothing can be exact to the
-- limit. What cancels shows in `single`, the plain rows in f32: ten times their error is allowed, less by 2^-29 in
-- f64, whose rounding is finer by that.
local function expect_close(got, single, expected, dtype, about)
  local finer = dtype == "f64" and 2.0 ^ -29 or 1
  for key, b in pairs(expected) do
    local function off(a) return (a:to "f64" - b):squared_norm():item() ^ 0.5 end
    local size = b:squared_norm():item() ^ 0.5
    local allowed = LIMIT[dtype] * size + 10 * finer * off(single[key])
    T.truthy(off(got[key]) <= allowed, ("%s, %s: off by %.3g of %.3g, at most %.3g is allowed"):format(about, key,
      off(got[key]), size, allowed))
  end
end

local function expect_same_bits(got, expected, about)
  for key, b in pairs(expected) do
    T.equal(cnas.ne(got[key], b):to("f32"):sum():item(), 0, about .. ", " .. key)
  end
end

for _, name in ipairs(names) do
  T.describe("blocks with normalisations that are never written: " .. name, function()
    for _, shape in ipairs(shapes) do
      for _, training in ipairs { true, false } do
        T.it(text(shape) .. (training and "" or ", running statistics"), function()
          local expected = run(in_plain_rows, name, shape, "f64", training)
          local single = run(in_plain_rows, name, shape, "f32", training)
          for dtype in pairs(LIMIT) do
            for _, isa in ipairs(isas()) do
              local one = with(isa, 1, function() return run(in_blocks, name, shape, dtype, training) end)
              expect_close(one, single, expected, dtype, dtype .. " " .. isa)
              for threads = 2, 3 do
                local more = with(isa, threads, function() return run(in_blocks, name, shape, dtype, training) end)
                expect_same_bits(more, one, ("%s %s, %d threads"):format(dtype, isa, threads))
              end
            end
          end
        end)
      end
    end
    T.it("the same bits from large images for any number of threads", function()
      local shape = { 3, 40, 37, 16 }
      local one = with(cnas.isa(), 1, function() return run(in_blocks, name, shape, "f32", true) end)
      for threads = 2, 3 do
        local more = with(cnas.isa(), threads, function() return run(in_blocks, name, shape, "f32", true) end)
        expect_same_bits(more, one, threads .. " threads")
      end
    end)
  end)
end

-- ---------------------------------------------------------------- pools alone

T.describe("pool_block", function()
  T.it("gives the gradient of equals to the first, and keeps NaN", function()
    local x = cnas.tensor({ 1, 3, 3, 2, 3, 1, 3, 3, 3 }, { dtype = "f32" }):reshape(1, 3, 3, 1):requires_grad_(true)
    local z = cnas.pool_block(x, { kernel = 3, padding = 1 })
    z:sum():backward()
    T.equal(z:totable(), { { { { 3 }, { 3 }, { 3 } }, { { 3 }, { 3 }, { 3 } }, { { 3 }, { 3 }, { 3 } } } })
    T.equal(x.grad:totable(), { { { { 0 }, { 6 }, { 0 } }, { { 0 }, { 3 }, { 0 } }, { { 0 }, { 0 }, { 0 } } } })
    local nan = 0 / 0
    local y = cnas.tensor { nan, 1, 3, 2 }:reshape(1, 2, 2, 1)
    T.equal(cnas.pool_block(y, { kernel = 2 }):totable(), { { { { nan } } } })
    T.equal(cnas.pool_block(y, { kernel = 2, relu = true }):totable(), { { { { nan } } } })
  end)

  T.it("is the plain pool with any kernel, stride, padding and count of channels", function()
    local rng = cnas.rng(9, "pools")
    for _, v in ipairs { { 7, 8, 3, { 2, 3 }, { 2, 1 }, { 1, 1 } }, { 6, 6, 20, { 5, 4 }, { 1, 3 }, { 2, 2 } },
                         { 9, 10, 5, { 3, 3 }, { 4, 5 }, { 0, 0 } }, { 12, 11, 33, { 7, 9 }, { 2, 2 }, { 3, 4 } } } do
      for _, max in ipairs { true, false } do
        local h, w, c, kernel, stride, padding = table.unpack(v)
        local x = cnas.randn({ 2, h, w, c }, { rng = rng })
        local attrs = { kernel = kernel, stride = stride, padding = padding }
        local a, b = x:clone():requires_grad_(true), x:to("f64"):detach():requires_grad_(true)
        local plain = cnas[max and "max_pool2d" or "avg_pool2d"](b, attrs)
        attrs.max = max
        local z, mean, var = cnas.pool_block(a, attrs)
        local weight = cnas.randn(z:shape(), { rng = rng })
        T.near(z, plain, 1e-6)
        T.near(mean, plain:mean { dims = { 1, 2, 3 } }, 1e-5)
        local d = plain - plain:mean { dims = { 1, 2, 3 } }
        T.near(var, (d * d):mean { dims = { 1, 2, 3 } }, 1e-5)
        z:mul(weight):sum():backward()
        plain:mul(weight:to "f64"):sum():backward()
        T.near(a.grad, b.grad, 1e-6)
      end
    end
  end)
end)

-- ---------------------------------------------------------------- what is refused

T.describe("a block refuses", function()
  local x, scale = cnas.zeros(2, 5, 5, 16), cnas.ones(16)
  local weight, depthwise = cnas.zeros(1, 1, 16, 8), cnas.zeros(3, 3, 1, 16)
  local calls = { -- with scale and shift as given
    separable_block = function(a, b) return cnas.separable_block(x, depthwise, weight, a, b) end,
    pointwise_block = function(a, b) return cnas.pointwise_block(weight, a, b, x) end,
    reduce_block = function(a, b) return cnas.reduce_block(weight, weight, a, b, x) end,
    pool_block = function(a, b) return cnas.pool_block(x, a, b, { kernel = 3 }) end,
    add_block = function(a, b) return cnas.add_block(x, x, a, b) end,
  }
  for name, call in pairs(calls) do
    T.it("scale without shift, and factors of other channels: " .. name, function()
      call(scale, scale)
      if name ~= "add_block" then -- a sum does without either
        T.raises(name .. ".*scale and .*shift go together", call, scale, nil)
        T.raises(name .. ".*scale and .*shift go together", call, nil, scale)
      end
      T.raises(name, call, cnas.ones(17), cnas.ones(17))
      T.raises(name, call, scale, cnas.ones(16, 1))
      T.raises(name, call, scale, cnas.ones(16, { dtype = "f64" }))
    end)
  end
  T.it("weights of other channels", function()
    T.raises("separable_block", cnas.separable_block, x, cnas.zeros(3, 3, 1, 15), weight)
    T.raises("separable_block", cnas.separable_block, x, depthwise, cnas.zeros(1, 1, 15, 8))
    T.raises("pointwise_block", cnas.pointwise_block, cnas.zeros(1, 1, 31, 8), nil, nil, x, x)
    T.raises("reduce_block", cnas.reduce_block, weight, cnas.zeros(1, 1, 17, 8), nil, nil, x)
    T.raises("reduce_block", cnas.reduce_block, weight, cnas.zeros(1, 1, 16, 9), nil, nil, x)
  end)
  T.it("sources of different sizes", function()
    local wide, deep = cnas.zeros(2, 5, 6, 16), cnas.zeros(1, 1, 32, 8)
    T.raises("pointwise_block", cnas.pointwise_block, deep, nil, nil, x, wide)
    T.raises("reduce_block", cnas.reduce_block, deep, deep, nil, nil, x, wide)
    T.raises("add_block", cnas.add_block, x, wide)
    T.raises("add_block", cnas.add_block, x, x, nil, nil, nil, nil, cnas.ones(3))
  end)
  T.it("padding of more than half the kernel, windows that do not fit, empty images", function()
    T.raises("pool_block: padding must be at most half the kernel", cnas.pool_block, x, { kernel = 3, padding = 2 })
    T.raises("pool_block: the window spans", cnas.pool_block, x, { kernel = 6 })
    T.raises("pool_block: the image is empty", cnas.pool_block, cnas.zeros(2, 0, 5, 3), { kernel = 2, padding = 1 })
    T.raises("a window of at most 255 pixels", cnas.pool_block, cnas.zeros(1, 16, 16, 1), { kernel = 16 })
    T.equal(#cnas.pool_block(cnas.zeros(1, 16, 16, 1), { kernel = 16, max = false }):shape(), 4)
  end)
  T.it("statistics of a single value, and none where it does not train", function()
    local one = cnas.ones(4)
    T.raises("norm_factors: training needs more than one value", cnas.norm_factors, one, one, { count = 1 })
    T.raises("without running statistics", cnas.norm_factors, one, one, { count = 9, training = false })
    T.raises("running_mean and running_var go together", cnas.norm_factors, one, one, nil, nil, one, nil, { count = 9 })
  end)
end)

T.describe("add_block", function()
  T.it("has no gradient for keep", function()
    local x, keep = cnas.ones(2, 3, 3, 4):requires_grad_(true), cnas.ones(2):requires_grad_(true)
    cnas.add_block(x, x, nil, nil, nil, nil, keep, nil):sum():backward()
    T.equal(keep.grad, nil)
    T.equal(x.grad:sum():item(), 2 * x:count())
  end)
end)
