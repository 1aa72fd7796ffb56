-- cases_wide.lua - more cases (cases.lua) for kernels that cut their work into blocks: sizes that end within a block or
-- a vector, sums of many slices, addresses that no vector fits; and the rows without gradient.

local cases = require "cases"

local case, input, positive, turned, thinned = cases.case, cases.input, cases.positive, cases.turned, cases.thinned
local still, whole, mask, NONE = cases.still, cases.whole, cases.mask, cases.NONE

-- A view that begins one element behind an aligned address.
local function shifted(shape)
  local n = 1
  for _, size in ipairs(shape) do n = n * size end
  return input({ n + 1 }, { turn = function(x) return x:narrow(1, 2, n):reshape(shape) end })
end

local function indices(n, below)
  local list = {}
  for i = 1, n do list[i] = (i * 7 + i // 3) % below end
  return list
end

local function elementwise(make, attrs)
  return { case({ make { 1031 } }, attrs), case({ make { 4, 7, 9, 4 } }, attrs), case({ shifted { 37 } }, attrs) }
end

local function arithmetic(second)
  return {
    case { input { 1031 }, second { 1031 } },
    case { input { 5, 6, 7, 16 }, second { 16 } },
    case { input { 33, 1 }, second { 1, 65 } },
    case { input { 600 }, second {} },
    case { turned { 40, 30 }, second { 30, 40 } },
    case { thinned { 20, 34 }, second { 10, 1 } },
    case { input { 3, 5, 2, 4 }, second { 5, 1, 4 } },
  }
end

local function reductions()
  local list = { case { input { 9000 } }, case { input { 0, 3 } }, case({ input { 3, 0 } }, { dims = 2 }) }
  for _, dims in ipairs { 1, 2, 3, 4, { 1, 3 }, { 1, 2, 3 }, { 2, 4 }, { 3, 4 } } do
    list[#list + 1] = case({ input { 3, 11, 5, 19 } }, { dims = dims })
  end
  for _, shape in ipairs { { 3000, 3 }, { 2, 900, 16 }, { 1100, 40 } } do
    list[#list + 1] = case({ input(shape) }, { dims = #shape - 1 })
    list[#list + 1] = case({ input(shape) }, { dims = #shape })
  end
  return list
end

local function along(attrs)
  local list = {}
  for d = 1, 3 do
    local own = { dim = d }
    for k, v in pairs(attrs or {}) do own[k] = v end
    list[d] = case({ input { 7, 75, 9 } }, own)
  end
  list[4] = case({ input { 3, 200 } }, attrs)
  return list
end

local function noise(p)
  return function() return { p = p, rng = require "cnas".rng(5, "wide") } end
end

local function drawn(more)
  return function()
    local attrs = { rng = require "cnas".rng(9, "wide") }
    for k, v in pairs(more) do attrs[k] = v end
    return attrs
  end
end

local wide = {}

--- A new table: name of a row -> its cases.
function wide.rows() return {
  neg = elementwise(input),
  exp = elementwise(input),
  log = { case { positive { 1031 } } },
  sqrt = { case { positive { 1031 } } },
  abs = elementwise(input),
  tanh = elementwise(input),
  sigmoid = elementwise(input),
  relu = elementwise(input),
  pow = { case({ positive { 1031 } }, { exponent = -0.5 }) },
  clamp = elementwise(input, { min = -0.5, max = 0.4 }),
  scale = elementwise(input, { factor = 3, shift = 1 }),
  add = arithmetic(input),
  sub = arithmetic(input),
  mul = arithmetic(input),
  div = arithmetic(positive),
  maximum = arithmetic(input),
  minimum = arithmetic(input),
  eq = arithmetic(input), ne = arithmetic(input), lt = arithmetic(input), le = arithmetic(input),
  gt = arithmetic(input), ge = arithmetic(input),
  where = { case { mask(indices(50, 2)), input { 21, 50 }, input { 21, 1 } } },
  contiguous = { case { turned { 35, 41 } }, case { thinned { 34, 70 } }, case { shifted { 8, 9 } } },
  cast = {
    case({ input { 1031 } }, { dtype = "f32" }), case({ input { 33 } }, { dtype = "f64" }),
    case({ input({ 33 }, { scale = 300 }) }, { dtype = "i64" }),
    case({ input({ 33 }, { scale = 300 }) }, { dtype = "u8" }),
    case({ input { 333 } }, { dtype = "bf16" }),
  },
  concat = {
    case({ input { 5, 8 }, input { 5, 4 }, input { 5, 16 } }, { dim = 2 }),
    case({ input { 50, 3 }, input { 50, 5 } }, { dim = 2 }),
    case({ input { 7, 9 }, input { 11, 9 } }, { dim = 1 }),
  },
  sum = reductions(),
  mean = reductions(),
  max = along(), min = along(), argmax = along(), argmin = along { keepdim = true },
  topk = {
    case({ input { 9, 75 } }, { k = 5 }),
    case({ input { 3, 10 } }, { k = 10 }),
    case({ input { 4 } }, { k = 1 }),
  },
  squared_norm = { case { input { 9000 } }, case { input { 3, 5 } }, case { input {} } },
  index_select = { case({ input { 4, 33, 5 }, whole(indices(20, 33)) }, { dim = 2 }) },
  gather = { case({ input { 20, 9 }, whole { indices(9, 20), indices(9, 13) } }, { dim = 1 }) },
  embedding = { case { input { 11, 24 }, whole(indices(50, 11)) } },
  matmul = {
    case { input { 70, 33 }, input { 33, 65 } },
    case { input { 3, 20, 300 }, input { 3, 300, 9 } },
    case { input { 5, 1200 }, input { 1200, 7 } },
  },
  linear = {
    case { input { 96, 64 }, input { 64, 10 }, input { 10 } },
    case { input { 130, 70 }, input { 70, 66 }, NONE },
  },
  softmax = along(),
  log_softmax = along(),
  cross_entropy = {
    case { input { 96, 10 }, whole(indices(96, 10)) },
    case({ input({ 40, 100 }, { scale = 4 }), whole(indices(40, 100)) }, { smoothing = 0.1 }),
  },
  accuracy = {
    case { input { 96, 10 }, whole(indices(96, 10)) },
    case({ input { 40, 100 }, whole(indices(40, 100)) }, { k = 20 }),
  },
  dropout = { case({ input { 1031 } }, noise(0.4)), case({ shifted { 33 } }, noise(0.2)) },
  drop_path = { case({ input { 6, 5, 4, 16 } }, noise(0.4)) },
  fill = { case({ still { 1031 } }, { value = 3.7 }), case({ still { 5, 3 } }, { value = -2 }) },
  fill_uniform = { case({ still { 1031 } }, drawn { low = -1, high = 2 }) },
  fill_normal = { case({ still { 1031 } }, drawn { mean = 1, deviation = 2 }) },
  accumulate = { case { still { 1031 }, still { 1031 } }, case({ still { 4, 9 }, still { 4, 9 } }, { factor = -0.5 }) },
  conv2d = {
    case({ input { 2, 9, 11, 16 }, input { 3, 3, 16, 20 }, input { 20 } }, { padding = 1, relu = true }),
    case({ input { 2, 9, 10, 16 }, input { 3, 3, 16, 20 } }, { padding = 1, stride = 2 }),
    case({ input { 3, 13, 9, 12 }, input { 5, 5, 1, 12 } }, { padding = 4, dilation = 2, groups = 12, relu = true }),
    case({ input { 3, 13, 9, 6 }, input { 5, 5, 1, 6 } }, { padding = 2, stride = 2, groups = 6 }),
    case({ input { 1, 2, 3, 36 }, input { 7, 7, 1, 36 } }, { padding = 3, groups = 36 }),
    case({ input { 2, 1, 2, 8 }, input { 5, 5, 8, 3 } }, { padding = 3, dilation = 1, stride = { 1, 2 } }),
    case({ input { 5, 11, 7, 40 }, input { 1, 1, 40, 72 }, input { 72 } }, { relu = true }),
    case({ input { 2, 5, 7, 18 }, input { 1, 1, 18, 9 } }),
    case({ input { 1, 33, 20, 3 }, input { 3, 3, 3, 24 } }, { stride = 3, padding = 1, dilation = 2 }),
    case({ input { 2, 8, 8, 24 }, input { 3, 3, 8, 30 } }, { groups = 3, padding = 1 }),
    case({ input { 2, 8, 8, 10 }, input { 3, 1, 5, 6 } }, { groups = 2, stride = { 2, 3 }, dilation = { 3, 1 } }),
    case({ input { 2, 7, 7, 4 }, input { 2, 2, 4, 5 } }, { stride = 4, padding = 2 }),
    case({ input { 1, 4, 4, 2 }, input { 1, 1, 2, 130 } }, { stride = 2 }),
    case({ input { 2, 6, 5, 8 }, input { 3, 3, 1, 16 } }, { groups = 8, padding = 1 }),
    case({ input { 0, 5, 5, 4 }, input { 3, 3, 4, 4 } }, { padding = 1 }),
    case({ input { 0, 5, 5, 4 }, input { 3, 3, 1, 4 } }, { padding = 1, groups = 4 }),
    case({ input { 2, 5, 5, 0 }, input { 3, 3, 0, 4 }, input { 4 } }, { padding = 1 }),
    case({ input { 2, 5, 5, 3 }, input { 1, 1, 3, 2 } }, { stride = 1000 }),
  },
  max_pool2d = {
    case({ input { 3, 9, 11, 16 } }, { kernel = 3, padding = 1 }),
    case({ input { 2, 9, 8, 18 } }, { kernel = 3, padding = 1, stride = 2 }),
    case({ input { 2, 1, 2, 300 } }, { kernel = { 5, 4 }, padding = 2, stride = { 1, 3 } }),
    case({ input { 70, 6, 6, 4 } }, { kernel = 2, stride = 3 }),
    case({ input { 0, 6, 6, 4 } }, { kernel = 3 }),
  },
  avg_pool2d = {
    case({ input { 3, 9, 11, 16 } }, { kernel = 3, padding = 1 }),
    case({ input { 2, 9, 8, 18 } }, { kernel = 3, padding = 1, stride = 2 }),
    case({ input { 2, 1, 2, 300 } }, { kernel = { 5, 4 }, padding = 2, stride = { 1, 3 } }),
    case({ input { 5, 14, 14, 6 } }, { kernel = 5, stride = 3 }),
  },
  global_avg_pool2d = { case { input { 5, 7, 9, 72 } }, case { input { 3, 2, 40, 5 } } },
  batch_norm = {
    case { input({ 9, 12, 11, 36 }, { shift = 3 }), input { 36 }, input { 36 }, still { 36 },
           still({ 36 }, { shift = 2 }) },
    case({ input { 900, 7 }, input { 7 }, NONE, NONE, NONE }),
    case({ input { 3, 5, 300 }, NONE, input { 300 }, still { 300 }, still({ 300 }, { shift = 2 }) },
         { training = false }),
    case({ input({ 2, 2, 2, 16 }, { shift = 1000 }) }),
  },
  subsample2d = {
    case({ input { 3, 9, 11, 16 } }, { stride = 2, offset = { 1, 0 } }),
    case({ input { 3, 8, 5, 5 } }, { stride = 3, offset = { -1, 2 } }),
    case({ input { 2, 3, 2, 4 } }, { stride = 2, offset = { 7, -5 } }),
    case { input { 2, 0, 3, 4 } },
  },
  lstm_gates = { case { input { 9, 4 * 37 }, input { 9, 37 } },
                 case { input({ 5, 4 * 100 }, { scale = 40 }), input { 5, 100 } } },
  sgd_step = {
    case({ still { 1031 }, still { 1031 } }, { lr = 0.1, weight_decay = 0.01, grad_scale = 0.5 }),
    case({ still { 9, 8 }, still { 9, 8 }, still { 9, 8 } }, { lr = 0.1, momentum = 0.9, weight_decay = 0.01 }),
    case({ still { 1031 }, still { 1031 }, still { 1031 } }, { lr = 0.1, momentum = 0.9, nesterov = true }),
  },
  adam_step = {
    case({ still { 1031 }, still { 1031 }, still { 1031 }, still({ 1031 }, { shift = 2 }) }, { lr = 0.1, step = 1 }),
    case({ still { 3, 8 }, still { 3, 8 }, still { 3, 8 }, still({ 3, 8 }, { shift = 2 }) },
      { lr = 0.1, step = 77, weight_decay = 0.1, grad_scale = 0.5, beta1 = 0.5 }),
  },
  add_block = {
    case { input { 5, 7, 9, 36 }, input { 5, 7, 9, 36 }, input { 36 }, input { 36 }, input { 36 }, input { 36 }, NONE,
           NONE },
    case { input { 3, 7, 9, 18 }, input { 3, 7, 9, 18 }, input { 18 }, input { 18 }, input { 18 }, input { 18 },
           still { 3 }, still { 3 } },
    case { input { 3, 5, 5, 300 }, NONE, input { 300 }, input { 300 }, NONE, NONE, still { 3 }, NONE },
  },
  conv_block = {
    case({ input { 3, 9, 11, 3 }, input { 3, 3, 3, 40 } }, { padding = 1 }),
    case({ input { 3, 9, 11, 12 }, input { 3, 3, 1, 12 } }, { padding = 1, groups = 12, stride = 2, relu = true }),
    case({ input { 2, 9, 8, 16 }, input { 1, 1, 16, 24 } }),
    case({ input { 2, 9, 8, 8 }, input { 1, 7, 8, 12 } }, { padding = { 0, 3 }, stride = { 1, 2 }, relu = true }),
  },
  pointwise_block = {
    case { input { 1, 1, 36, 72 }, NONE, NONE, input { 5, 7, 9, 16 }, input { 5, 7, 9, 20 } },
    case({ input { 1, 1, 72, 36 }, input { 72 }, input { 72 }, input { 3, 9, 9, 40 }, input { 3, 9, 9, 32 } },
         { relu = false }),
    case { input { 1, 1, 23, 130 }, input { 23 }, input { 23 }, input { 7, 9, 9, 18 }, input { 7, 9, 9, 5 } },
    case { input { 1, 1, 4, 6 }, NONE, NONE, input { 0, 9, 9, 4 } },
  },
  pointwise_blocks = {
    case { input { 1, 1, 36, 20 }, input { 1, 1, 36, 20 }, input { 1, 1, 36, 16 }, input { 36 }, input { 36 },
           input { 3, 7, 9, 36 } },
    case { input { 1, 1, 24, 18 }, input { 1, 1, 24, 5 }, NONE, NONE, NONE, input { 3, 9, 9, 8 },
           input { 3, 9, 9, 16 } },
  },
  reduce_block = {
    case { input { 1, 1, 36, 20 }, input { 1, 1, 36, 20 }, input { 36 }, input { 36 }, input { 5, 9, 10, 36 } },
    case { input { 1, 1, 36, 18 }, input { 1, 1, 36, 18 }, NONE, NONE, input { 3, 8, 7, 16 }, input { 3, 8, 7, 20 } },
    case({ input { 1, 1, 72, 36 }, input { 1, 1, 72, 36 }, input { 72 }, input { 72 }, input { 2, 1, 1, 72 } },
         { relu = false }),
  },
  separable_block = {
    case({ input { 3, 9, 11, 36 }, input { 3, 3, 1, 36 }, input { 1, 1, 36, 36 }, input { 36 }, input { 36 } },
         { padding = 1 }),
    case({ input { 2, 9, 10, 20 }, input { 5, 5, 1, 20 }, input { 1, 1, 20, 40 }, NONE, NONE },
         { padding = 2, stride = 2 }),
    case({ input { 2, 12, 9, 16 }, input { 5, 5, 1, 16 }, input { 1, 1, 16, 72 }, input { 16 }, input { 16 } },
         { padding = 4, dilation = 2, stride = 2 }),
    case({ input { 2, 1, 2, 72 }, input { 5, 5, 1, 72 }, input { 1, 1, 72, 18 }, input { 72 }, input { 72 } },
         { padding = 2 }),
    case({ input { 1, 9, 9, 8 }, input { 6, 7, 1, 8 }, input { 1, 1, 8, 4 }, input { 8 }, input { 8 } },
         { padding = 3, relu = false }),
    case({ input { 11, 9, 9, 5 }, input { 3, 3, 1, 5 }, input { 1, 1, 5, 7 }, input { 5 }, input { 5 } },
         { padding = 1, dilation = 1 }),
    case({ input { 0, 9, 9, 4 }, input { 3, 3, 1, 4 }, input { 1, 1, 4, 7 }, input { 4 }, input { 4 } },
         { padding = 1 }),
  },
  pool_block = {
    case({ input { 3, 9, 11, 36 }, input { 36 }, input { 36 } }, { kernel = 3, padding = 1, relu = true }),
    case({ input { 3, 9, 10, 20 }, input { 20 }, input { 20 } }, { kernel = 3, padding = 1, stride = 2, max = false }),
    case({ input { 2, 1, 2, 300 }, NONE, NONE }, { kernel = { 5, 4 }, padding = 2, stride = { 1, 3 } }),
    case({ input { 9, 9, 9, 6 }, NONE, NONE }, { kernel = 5, stride = 3, max = false }),
    case({ input { 0, 9, 9, 4 }, input { 4 }, input { 4 } }, { kernel = 3 }),
  },
  norm_factors = {
    case({ input { 300 }, positive { 300 }, input { 300 }, input { 300 }, still { 300 },
           still({ 300 }, { shift = 2 }) }, { count = 700 }),
  },
} end

return wide
