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
} end

return wide
