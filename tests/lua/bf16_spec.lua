-- Images kept in bf16: the type, blocks on such images against the same blocks in f32, networks with the option
-- precision = "bf16" against f32, at every instruction set and number of threads.

local cnas = require "cnas"
local T = require "spec"

-- Relative distance of two tensors in the 2-norm, taken in f64.
local function distance(a, b)
  a, b = a:to "f64", b:to "f64"
  return ((a - b):squared_norm():item() / math.max(b:squared_norm():item(), 1e-60)) ^ 0.5
end

-- Runs f(name) at every instruction set that this processor has.
local function at_each_isa(f)
  local widest = cnas.isa()
  for _, name in ipairs { "portable", "avx2", "avx512", "avx512_bf16", "avx512_amx" } do
    if pcall(cnas.isa, name) then
      local ok, message = pcall(f, name)
      cnas.isa(widest)
      if not ok then error(name .. ": " .. tostring(message), 0) end
    end
  end
end

-- f() with 1, 2 and 3 threads gives tensors by name: the same bits each time.
local function same_with_any_threads(f, about)
  local before = cnas.threads()
  cnas.threads(1)
  local one = f()
  for n = 2, 3 do
    cnas.threads(n)
    for name, value in pairs(f()) do
      T.equal(cnas.ne(value, one[name]):sum():item(), 0, ("%s: %s with %d threads"):format(about, name, n))
    end
  end
  cnas.threads(before)
end

-- ---------------------------------------------------------------- the type

T.describe("bf16", function()
  T.it("keeps eight digits, rounding to the nearest and at half to the even one", function()
    local x = cnas.tensor({ 1, 1.00390625, 1.01171875, -1.004, 3.1415926, 1e-40, 3.4e38 })
    local y = x:to "bf16"
    T.equal(y.dtype, "bf16")
    T.equal(y:totable(), { 1, 1, 1.015625, -1.0078125, 3.140625, 9.183549615799121e-41, 1 / 0 })
    T.equal(y:to("f32"):totable(), y:totable())
    T.equal(y[5]:item(), 3.140625)
    T.contains(tostring(y), "bf16 (7) on cpu")
    T.contains(tostring(y), "3.1406")
    T.equal(cnas.tensor({ { 0.1, -2 } }, { dtype = "bf16" }):totable(), { { 0.10009765625, -2 } })
    T.equal(cnas.full({ 2 }, 0.1, { dtype = "bf16" }):totable(), { 0.10009765625, 0.10009765625 })
    T.equal(cnas.arange(3, { dtype = "bf16" }):totable(), { 0, 1, 2 })
    T.equal(cnas.tensor({ 2.7, -3 }, { dtype = "bf16" }):to("i64"):totable(), { 2, -3 })
  end)

  T.it("is added, compared, joined and copied", function()
    local x = cnas.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }, { dtype = "bf16" })
    local y = cnas.tensor({ 256, 0.5, -1 }, { dtype = "bf16" })
    T.equal((x + y):totable(), { { 256, 2.5, 2 }, { 260, 5.5, 5 } }) -- 257 is rounded to the even 256
    T.equal((x * y).dtype, "bf16")
    T.equal(x:lt(y):totable(), { { 1, 0, 0 }, { 1, 0, 0 } })
    T.equal(cnas.concat({ x, x }, 2):totable()[2], { 4, 5, 6, 4, 5, 6 })
    T.equal(x:transpose():clone():totable(), { { 1, 4 }, { 2, 5 }, { 3, 6 } })
    T.equal(x:sum(1):totable(), { 5, 7, 9 })
    T.equal(x:mean():item(), 3.5)
    T.equal(cnas.zeros(2, { dtype = "bf16" }):copy_(cnas.tensor { 1, 0.1 }):totable(), { 1, 0.10009765625 })
  end)

  T.it("has gradients of its own type, added up in it", function()
    local x = cnas.tensor({ 1, 2, 3 }, { dtype = "bf16" }):requires_grad_(true)
    local wide = x:to "f32"
    ;((wide * wide):sum() + (x * x):to("f32"):sum()):backward()
    T.equal(x.grad.dtype, "bf16")
    T.equal(x.grad:totable(), { 4, 8, 12 })
    local y = cnas.tensor({ 1, 2, 3 }):requires_grad_(true)
    ;(y:to "bf16":sum()):backward()
    T.equal(y.grad.dtype, "f32")
    T.equal(y.grad:totable(), { 1, 1, 1 })
  end)

  T.it("is saved and loaded bit by bit", function()
    local path = T.folder() .. "/half.safetensors"
    local x = cnas.tensor({ 1.5, -0.1, 1 / 0, 1e-40 }, { dtype = "bf16" })
    cnas.safetensors.save(path, { half = x, whole = cnas.ones(2) })
    local back = cnas.safetensors.load(path)
    T.equal(back.half.dtype, "bf16")
    T.equal(back.half:totable(), x:totable())
    T.contains(T.read(path), '"dtype":"BF16"')
  end)

  T.it("given to what has no kernel for it says what to do", function()
    local x = cnas.ones(1, 4, 4, 3, { dtype = "bf16" })
    T.raises("relu: expected f32 or f64, got bf16: convert with :to%(%)", cnas.relu, x)
    T.raises("conv2d: expected f32 or f64, got bf16", cnas.conv2d, x, cnas.ones(1, 1, 3, 2))
    T.raises("conv2d: weight must be f32, got bf16", cnas.conv2d, x:to "f32", cnas.ones(1, 1, 3, 2, { dtype = "bf16" }))
    T.raises("expected f32 or f64, got bf16", cnas.randn, { 2 }, { rng = cnas.rng(1, "r"), dtype = "bf16" })
    T.raises("add: y must be bf16, got f32: convert", cnas.add, x, cnas.ones(3))
  end)

  T.it("is for images: a block's weights, scale and shift are f32, and so are its mean and variance", function()
    local x, w = cnas.ones(1, 4, 4, 3, { dtype = "bf16" }), cnas.ones(1, 1, 3, 2)
    local z, mean, var = cnas.pointwise_block(w, nil, nil, x)
    T.equal({ z.dtype, mean.dtype, var.dtype }, { "bf16", "f32", "f32" })
    T.raises("pointwise_block: weight must be f32, got bf16: convert with :to%(%)", cnas.pointwise_block, w:to "bf16",
             nil, nil, x)
    T.raises("pointwise_block: weight must be f32, got f64", cnas.pointwise_block, w:to "f64", nil, nil, x)
    T.raises("pointwise_block: x must be bf16, got f32", cnas.pointwise_block, w, nil, nil, x, x:to "f32")
    T.raises("pointwise_block: at least one x", cnas.pointwise_block, w)
    T.raises("conv_block: expected f32 or f64, got bf16", cnas.conv_block, x, w)
    local p = cnas.ones(2, { dtype = "bf16" }):requires_grad_(true)
    T.raises("must be a contiguous f32 or f64 tensor, got bf16", cnas.optim.sgd, { p }, { lr = 0.1 })
    local layer = cnas.nn.linear { inp = 2, out = 2, rng = cnas.rng(1, "w") }
    T.raises("parameters must be f32 or f64, got bf16", layer.to, layer, "bf16")
  end)
end)

-- ---------------------------------------------------------------- blocks

local function normal(rng, ...) return cnas.randn({ ... }, { rng = rng }) end

-- Each case gives images (numbers that bf16 has), other inputs by name, and the row's call.
local function sep(name, size, c, o, options)
  return { name = "separable " .. name, images = { { 2, size, size + 1, c } }, factors = { c },
           others = { depthwise = { options.kernel, options.kernel, 1, c }, pointwise = { 1, 1, c, o } },
           call = function(x, v)
             return cnas.separable_block(x[1], v.depthwise, v.pointwise, v.scale1, v.shift1,
               { stride = options.stride, padding = options.padding, dilation = options.dilation or 1 })
           end }
end

local function pool(name, size, c, options)
  return { name = "pool " .. name, images = { { 2, size, size + 1, c } }, factors = { c }, others = {},
           call = function(x, v) return cnas.pool_block(x[1], v.scale1, v.shift1, options) end }
end

local blocks = {
  sep("3x3", 9, 16, 16, { kernel = 3, stride = 1, padding = 1 }),
  sep("5x5 of 36", 8, 36, 36, { kernel = 5, stride = 1, padding = 2 }),
  sep("5x5 of 17, stride 2", 8, 17, 20, { kernel = 5, stride = 2, padding = 2 }),
  sep("3x3 of 3, dilated", 7, 3, 5, { kernel = 3, stride = 1, padding = 2, dilation = 2 }),
  pool("max of 16", 9, 16, { kernel = 3, stride = 1, padding = 1, max = true, relu = false }),
  pool("max of 17, stride 2, ReLU", 8, 17, { kernel = 3, stride = 2, padding = 1, max = true, relu = true }),
  pool("mean of 36", 9, 36, { kernel = 3, stride = 1, padding = 1, max = false, relu = false }),
  pool("mean of 3, stride 2, ReLU", 7, 3, { kernel = 5, stride = 2, padding = 2, max = false, relu = true }),
  { name = "pointwise", images = { { 2, 6, 5, 16 }, { 2, 6, 5, 16 }, { 2, 6, 5, 17 } }, factors = { 49 },
    others = { weight = { 1, 1, 49, 36 } },
    call = function(x, v) return cnas.pointwise_block(v.weight, v.scale1, v.shift1, x) end },
  { name = "pointwise of one", images = { { 3, 9, 9, 64 } }, factors = { 64 }, others = { weight = { 1, 1, 64, 16 } },
    call = function(x, v) return cnas.pointwise_block(v.weight, v.scale1, v.shift1, x) end },
  { name = "two pointwise", images = { { 2, 6, 5, 16 }, { 2, 6, 5, 36 } }, factors = { 52 },
    others = { first = { 1, 1, 52, 16 }, second = { 1, 1, 52, 16 } },
    call = function(x, v) return cnas.pointwise_blocks(v.first, v.second, nil, v.scale1, v.shift1, x) end },
  { name = "reduce", images = { { 2, 7, 8, 16 }, { 2, 7, 8, 32 } }, factors = { 48 },
    others = { first = { 1, 1, 48, 16 }, second = { 1, 1, 48, 16 } },
    call = function(x, v) return cnas.reduce_block(v.first, v.second, v.scale1, v.shift1, x) end },
  { name = "add", images = { { 3, 5, 7, 17 }, { 3, 5, 7, 17 } }, factors = { 17, 17 }, others = {},
    call = function(x, v)
      return cnas.add_block(x[1], x[2], v.scale1, v.shift1, v.scale2, v.shift2, cnas.tensor { 0, 1.25, 1.25 }, nil)
    end },
}

-- Outputs and gradients by name. `statistics`: the loss has mean and variance in it. `again`: every image is read by a
-- second block, whose gradient is added to the first one's in place.
local function results(case, dtype, statistics, again)
  local rng, x, v = cnas.rng(2, case.name), {}, {}
  for i, shape in ipairs(case.images) do
    x[i] = normal(rng, table.unpack(shape)):to("bf16"):to(dtype):requires_grad_(true)
  end
  for i, channels in ipairs(case.factors) do
    v["scale" .. i] = normal(rng, channels):requires_grad_(true)
    v["shift" .. i] = normal(rng, channels):requires_grad_(true)
  end
  for _, name in ipairs { "depthwise", "pointwise", "weight", "first", "second" } do
    if case.others[name] then v[name] = normal(rng, table.unpack(case.others[name])):requires_grad_(true) end
  end
  local read = {} -- a gradient can be lent by a node only, not by a leaf
  for i = 1, #x do read[i] = cnas.add_block(x[i]) end
  local all, loss = {}, 0
  for round = 1, again and 2 or 1 do
    for i, y in ipairs(table.pack(case.call(read, v))) do
      if y.dtype == dtype and y:dim() == 4 then
        loss = loss + (y:to "f32" * normal(rng, table.unpack(y:shape())):to("bf16"):to "f32"):sum()
      elseif statistics then
        loss = loss + (y * normal(rng, y:size(1))):sum() * 20
      end
      all[("output %d.%d"):format(round, i)] = y:detach()
    end
  end
  loss:backward()
  for i = 1, #x do all["gradient of image " .. i] = x[i].grad end
  for name, t in pairs(v) do all["gradient of " .. name] = t.grad end
  return all
end

T.describe("a block on bf16 images", function()
  T.it("computes what it does in f32 and rounds it when it stores it", function()
    local widest = cnas.isa()
    if widest:find "^avx512_" then cnas.isa "avx512" end -- the other multiplies rounded numbers
    for _, case in ipairs(blocks) do
      local whole = results(case, "f32", false)
      for name, half in pairs(results(case, "bf16", false)) do
        local expected = whole[name]
        if half.dtype == "bf16" then
          T.equal(cnas.ne(expected:to "bf16", half):sum():item(), 0, case.name .. ": " .. name)
        else -- a pool's statistics are those of what is stored
          T.truthy(distance(half, expected) < (case.name:find "pool" and 2 ^ -7 or 1e-6), case.name .. ": " .. name)
        end
      end
    end
    cnas.isa(widest)
  end)

  T.it("multiplies by pairs where the processor can, like the plain product of rounded numbers", function()
    local widest, rng = cnas.isa(), cnas.rng(9, "pairs")
    if not pcall(cnas.isa, "avx512_bf16") then T.skip("this processor does not multiply pairs of bf16") end
    pcall(cnas.isa, "avx512_amx") -- where there are tiles those; build/tests/test_tiles plays them elsewhere
    local sizes = { { 1, 1 }, { 2, 16 }, { 17, 18 }, { 64, 16 }, { 36, 36 }, { 65, 64 }, { 300, 80 }, { 770, 33 } }
    for _, case in ipairs(sizes) do
      local function random(...) return normal(rng, ...):to "bf16" end
      local x, w = random(2, 9, 11, case[1]), random(1, 1, case[1], case[2])
      local g = random(2, 9, 11, case[2])
      local function run(dtype)
        local a = x:detach():to(dtype):requires_grad_(true)
        local b = w:to(dtype == "bf16" and "f32" or dtype):requires_grad_(true)
        local z = cnas.pointwise_block(b, nil, nil, a, false)
        z:backward(g:to(dtype))
        return { z = z:detach(), ["gradient of x"] = a.grad, ["gradient of the weight"] = b.grad }
      end
      local half, whole = run "bf16", run "f64"
      for name, value in pairs(half) do
        local limit = value.dtype == "bf16" and 2 ^ -8 or 1e-6
        local off = distance(value, whole[name])
        T.truthy(off < limit, ("%s of %d to %d is off by %g"):format(name, case[1], case[2], off))
      end
    end
    cnas.isa(widest)
  end)

  T.it("has the gradients of f32 within rounding, through mean and variance too, and added in place", function()
    at_each_isa(function()
      for _, case in ipairs(blocks) do
        local whole = results(case, "f32", true, true)
        for name, half in pairs(results(case, "bf16", true, true)) do
          local off = distance(half, whole[name])
          T.truthy(off < 2 ^ -7, ("%s: %s is off by %g"):format(case.name, name, off))
        end
      end
    end)
  end)

  T.it("gives the same bits with any number of threads", function()
    at_each_isa(function()
      for _, case in ipairs(blocks) do
        same_with_any_threads(function() return results(case, "bf16", true, true) end, case.name)
      end
    end)
  end)
end)

-- ---------------------------------------------------------------- networks

local function cosine(a, b)
  local dot, aa, bb = 0, 0, 0
  for name, x in pairs(a) do
    local y = T.truthy(b[name], name .. " has no gradient"):to "f64"
    x = x:to "f64"
    dot, aa, bb = dot + (x * y):sum():item(), aa + (x * x):sum():item(), bb + (y * y):sum():item()
  end
  return dot / (aa * bb) ^ 0.5
end

local function images(n, size) return normal(cnas.rng(5, "images"), n, size, size, 3) end
local function targets(n)
  local t = {}
  for i = 1, n do t[i] = i * 7 % 10 end
  return cnas.tensor(t, { dtype = "i64" })
end

-- Logits, and gradients by name, of a loss of everything that the net gives.
local function step(net, ...)
  local list, x = net:parameters(), ...
  for _, p in ipairs(list) do p:set_grad(nil) end
  local loss, logits = 0, table.pack(net(...))
  for i = 1, logits.n do loss = loss + cnas.cross_entropy(logits[i], targets(x:size(1))) end
  loss:backward()
  local gradients = {}
  for i, name in ipairs(list.names) do
    T.equal(list[i].dtype, "f32", name)
    if list[i].grad then
      T.equal(list[i].grad.dtype, "f32", name)
      gradients[name] = list[i].grad
    end
  end
  return { logits = logits[1]:detach(), gradients = gradients }
end

-- `half` is about as far from `whole` as rounding takes a net. How far that is depends on the net: in a deep one with
-- fresh weights ReLUs and maxima are decided by a hair. So it is measured: by `moved`, the net in f32 on images that
-- are off by up to 2^-8, which is one rounding; bf16 rounds as often as the net is deep.
local function near(half, whole, moved)
  local off, allowed = distance(half.logits, whole.logits), 4 * distance(moved.logits, whole.logits)
  T.equal(half.logits.dtype, "f32")
  T.truthy(off > 0, "bf16 gives the very logits of f32: was it used?")
  T.truthy(off < allowed, ("logits are off by %g, more than %g"):format(off, allowed))
  off, allowed = 1 - cosine(half.gradients, whole.gradients), 4 * (1 - cosine(moved.gradients, whole.gradients))
  T.truthy(off < allowed, ("the cosine of the gradients is 1 - %g, less than 1 - %g"):format(off, allowed))
end

-- make(precision) -> net, images, what else it is called with.
local function compare(make)
  local whole, half = table.pack(make "f32"), table.pack(make "bf16")
  local moved = table.pack(make "f32")
  moved[2] = moved[2] * (1 + (cnas.rand(moved[2]:shape(), { rng = cnas.rng(6, "moves") }) - 0.5) * 2 ^ -7)
  whole = step(table.unpack(whole))
  half = step(table.unpack(half))
  near(half, whole, step(table.unpack(moved)))
  return whole, half
end

local operations = { "sep_conv_3x3", "sep_conv_5x5", "max_pool_3x3", "avg_pool_3x3", "none", "skip_connect",
                     "dil_conv_3x3", "dil_conv_5x5" }

local function random_path(rng, names, nodes)
  local path = {}
  for _, cell in ipairs { "normal", "reduction" } do
    path[cell], path[cell .. "_concat"] = {}, {}
    for t = 2, nodes + 1 do
      table.insert(path[cell .. "_concat"], t)
      for _ = 1, 2 do table.insert(path[cell], { names[rng:integer(#names) + 1], rng:integer(t), t }) end
    end
  end
  return path
end

local function supernet(precision, channels)
  return cnas.supernet { space = cnas.space.darts(), channels = channels or 16, layers = 5, nodes = 4,
                         precision = precision, rng = cnas.rng(3, "weights") }
end

T.describe("a supernet in bf16", function()
  T.it("gives the logits and gradients of f32 within rounding", function()
    local rng = cnas.rng(4, "paths")
    for _ = 1, 6 do
      local path = random_path(rng, operations, 4)
      compare(function(precision) return supernet(precision), images(16, 16), path end)
    end
    local path = random_path(rng, operations, 4)
    compare(function(precision) return supernet(precision, 3), images(16, 16), path end) -- channels that fill no vector
  end)

  T.it("does so at every instruction set, with any number of threads to the same bits", function()
    local path = random_path(cnas.rng(7, "path"), operations, 4)
    at_each_isa(function()
      compare(function(precision) return supernet(precision), images(16, 12), path end)
      local net = supernet "bf16"
      same_with_any_threads(function()
        local s = step(net, images(8, 13), path)
        s.gradients.logits = s.logits
        return s.gradients
      end, "supernet")
    end)
  end)

  T.it("runs operations that are no blocks in f32, a recipe's own too", function()
    local space = cnas.space { "conv_3x3", "conv_1x3_3x1", "skip_connect", mine = function(o)
      return cnas.nn.sequential { cnas.nn.avg_pool { kernel = 3, stride = o.stride, padding = 1 }, cnas.nn.relu(),
        cnas.nn.conv2d { inp = o.channels, out = o.channels, kernel = 3, padding = 1, bias = true, rng = o.rng } }
    end, bare = function(o) return cnas.nn.max_pool { kernel = 3, stride = o.stride, padding = 1 } end }
    local path = { normal = { { "conv_3x3", 0, 2 }, { "mine", 1, 2 }, { "conv_1x3_3x1", 2, 3 }, { "bare", 1, 3 } },
                   reduction = { { "mine", 0, 2 }, { "conv_3x3", 1, 2 }, { "skip_connect", 2, 3 }, { "mine", 2, 3 } },
                   normal_concat = { 2, 3 }, reduction_concat = { 2, 3 } }
    compare(function(precision)
      return cnas.supernet { space = space, channels = 8, layers = 3, nodes = 2, precision = precision,
                             rng = cnas.rng(3, "weights") }, images(16, 12), path
    end)
  end)

  T.it("computes the same without blocks", function()
    local path = random_path(cnas.rng(8, "path"), operations, 4)
    local function make(precision) return supernet(precision), images(16, 12), path end
    compare(make)
    local before = cnas.nn.blocks(false)
    local ok, message = pcall(compare, make)
    cnas.nn.blocks(before)
    T.truthy(ok, message)
  end)

  T.it("has zeros where a node has no edge", function()
    local none = { { "none", 0, 2 }, { "none", 1, 2 }, { "sep_conv_3x3", 2, 3 }, { "max_pool_3x3", 0, 3 } }
    local path = { normal = none, reduction = none, normal_concat = { 2, 3 }, reduction_concat = { 2, 3 } }
    compare(function(precision) return supernet(precision), images(16, 12), path end)
  end)

  T.it("keeps less in memory for backward", function()
    local path = random_path(cnas.rng(7, "path"), operations, 4)
    local function kept(precision)
      local net, x = supernet(precision), images(16, 32)
      collectgarbage()
      collectgarbage()
      local before = cnas.memory().bytes_live
      local logits = net(x, path)
      collectgarbage()
      collectgarbage()
      T.truthy(logits)
      return cnas.memory().bytes_live - before
    end
    local part = kept "bf16" / kept "f32"
    T.truthy(part < 0.75, "bytes kept for backward, relative to f32: " .. part)
  end)

  T.it("refuses another precision", function()
    T.raises("supernet: option 'precision' must be \"f32\" or \"bf16\", got \"f16\"", supernet, "f16")
    T.contains(tostring(supernet "bf16"), "5 cells, bf16")
    local net = supernet "bf16":to "f64"
    T.raises("must be f32, got f64", net, images(2, 12):to "f64", random_path(cnas.rng(7, "path"), operations, 4))
  end)
end)

T.describe("an evaluation network in bf16", function()
  local function network(precision, more)
    local o = { genotype = "CNAS", channels = 16, layers = 6, precision = precision, rng = cnas.rng(3, "weights") }
    for k, v in pairs(more) do o[k] = v end
    return cnas.network(o)
  end

  T.it("gives the logits and gradients of f32 within rounding, of the auxiliary head too", function()
    compare(function(precision) return network(precision, { auxiliary = true }), images(12, 32) end)
    compare(function(precision) return network(precision, { imagenet = true }), images(12, 64) end)
    compare(function(precision)
      return network(precision, { channels = 12, drop_path = 0.3, noise = cnas.rng(1, "noise") }), images(16, 16)
    end)
  end)

  T.it("uses its running statistics when it does not train", function()
    local whole, half = network("f32", {}), network("bf16", {})
    local x = images(16, 16)
    for _ = 1, 3 do cnas.no_grad(function() whole(x) half(x) end) end
    local a, b = half:train(false)(x), whole:train(false)(x)
    T.truthy(distance(a, b) < 0.05, "logits are off by " .. distance(a, b))
  end)
end)
