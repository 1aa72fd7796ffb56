-- cases.lua - inputs and attributes for every differentiable row of ops.def, the same at every call: what gradients are
-- tested with, and the kernels of one device against another's.
--
--   local cases = require "cases"
--   for _, this in ipairs(cases.rows().relu) do
--     local leaves = cases.leaves(this, "f32")
--     local outputs = cases.apply("relu", this, leaves)
--
-- Inputs are permuted, evenly spaced numbers in (-1, 1), none of them 0, all different: maxima have no ties and relu no
-- kink within reach.

local cnas = require "cnas"

local cases = {}

-- ---------------------------------------------------------------- inputs

-- n evenly spaced numbers in (-1, 1) in an order drawn from `which`; different for each `which`, never 0.
local function spread(n, which)
  local order = cnas.rng(1, "gradients " .. which):permutation(n)
  local values = {}
  local shift = 0.37 + 0.11 * which % 0.5 -- no multiple of 1/2 for any `which` used here
  for i = 1, n do values[i] = (order[i] - 1 + shift - n / 2) * 2 / n end
  return values
end

local function count(shape)
  local n = 1
  for _, size in ipairs(shape) do n = n * size end
  return n
end

-- An input is described by its shape and options: scale and shift of the values; turn, a function that makes a strided
-- view of the tensor before the row sees it.
local function input(shape, o)
  o = o or {}
  return { shape = shape, scale = o.scale or 1, shift = o.shift or 0, turn = o.turn }
end
local function positive(shape) return input(shape, { scale = 0.9, shift = 1.5 }) end
local function turned(shape) return input(shape, { turn = function(x) return x:transpose(1, 2) end }) end
local function thinned(shape) -- every other row and column, counted from the second: an offset and odd strides
  return input(shape, { turn = function(x)
    local h, w = x:size(1) // 2, x:size(2) // 2
    return x:reshape(h, 2, w, 2):select(2, 2):select(3, 2)
  end })
end
local function whole(values) return { fixed = cnas.tensor(values, { dtype = "i64" }) } end
local function mask(values) return { fixed = cnas.tensor(values, { dtype = "u8" }) } end
local NONE = { none = true } -- an optional input that is not given
local function still(shape, o) -- a float input that the row reads but has no gradient for
  local i = input(shape, o)
  i.still = true
  return i
end

local function variance(n) return still({ n }, { shift = 2 }) end

-- One case: inputs, then attributes as a table or as a function that makes one for every application.
local function case(inputs, attrs) return { inputs = inputs, attrs = attrs or {} } end

-- ---------------------------------------------------------------- the cases

local function elementwise(make, attrs) return { case({ make { 3, 4 } }, attrs), case({ make {} }, attrs) } end

local function arithmetic(second)
  return {
    case { input { 3, 4 }, second { 3, 4 } },
    case { input { 3, 4 }, second { 4 } },
    case { input { 3, 1 }, second { 2, 3, 4 } },
    case { input {}, second { 5 } },
    case { input { 2, 1, 3 }, second { 4, 1 } },
    case { turned { 3, 4 }, second { 4, 3 } },
    case { thinned { 6, 8 }, second { 3, 1 } },
  }
end

local function along_each(shape, more)
  local list = {}
  for d = 1, #shape do
    local attrs = { dim = d }
    for k, v in pairs(more or {}) do attrs[k] = v end
    list[d] = case({ input(shape) }, attrs)
  end
  list[#list + 1] = case({ input(shape) })
  list[#list + 1] = case({ turned(shape) })
  return list
end

local function reductions()
  local list = { case { input { 3, 4 } }, case { input {} }, case({ turned { 3, 4 } }, { dims = 1 }) }
  for _, dims in ipairs { 1, 2, -1, { 1, 3 }, { 2, 3 }, { 1, 2, 3 } } do
    list[#list + 1] = case({ input { 2, 3, 4 } }, { dims = dims })
    list[#list + 1] = case({ input { 2, 3, 4 } }, { dims = dims, keepdim = true })
  end
  return list
end

local function noise(p)
  return function() return { p = p, rng = cnas.rng(5, "gradients") } end
end

local function convolution(x, weight, attrs) return case({ input(x), input(weight), input { weight[4] } }, attrs) end

--- A new table: name of a row -> its cases.
function cases.rows() return {
  neg = elementwise(input),
  exp = elementwise(input),
  log = elementwise(positive),
  sqrt = elementwise(positive),
  abs = elementwise(input),
  tanh = elementwise(input),
  sigmoid = elementwise(input),
  relu = elementwise(input),
  pow = {
    case({ positive { 3, 4 } }, { exponent = -1.5 }),
    case({ positive { 3, 4 } }, { exponent = 0.5 }),
    case({ input { 3, 4 } }, { exponent = 0 }),
    case({ input { 3, 4 } }, { exponent = 1 }),
    case({ input { 3, 4 } }, { exponent = 2 }),
    case({ input { 3, 4 } }, { exponent = 3 }),
  },
  clamp = elementwise(input, { min = -0.5, max = 0.4 }),
  scale = elementwise(input, { factor = -1.7, shift = 0.3 }),
  add = arithmetic(input),
  sub = arithmetic(input),
  mul = arithmetic(input),
  div = arithmetic(positive),
  maximum = arithmetic(input),
  minimum = arithmetic(input),
  where = {
    case { mask { { 1, 0, 2 }, { 0, 0, 1 } }, input { 2, 3 }, input { 2, 3 } },
    case { mask { { 1 }, { 0 } }, input { 3 }, input { 4, 1, 1 } },
    case { mask { 1, 0, 1 }, turned { 3, 2 }, input {} },
  },
  contiguous = {
    case { input { 3, 4 } },
    case { turned { 3, 4 } },
    case { turned { 5, 3, 2 } },
    case { thinned { 6, 8 } },
  },
  cast = { case({ input { 3, 4 } }, { dtype = "f64" }) }, -- through f32: a test of its own below
  concat = {
    case { input { 2, 3 }, input { 1, 3 }, input { 3, 3 } },
    case({ input { 2, 3 }, input { 2, 1 } }, { dim = 2 }),
    case({ input { 2, 3, 4 }, turned { 2, 2, 4 }, input { 2, 5, 4 } }, { dim = -2 }),
    case { input { 4 } },
  },
  reshape = {
    case({ input { 3, 4 } }, { shape = { 2, 6 } }),
    case({ input { 3, 4 } }, { shape = { 2, -1, 1 } }),
    case({ turned { 3, 4 } }, { shape = { 12 } }),
  },
  transpose = {
    case { input { 3, 4 } },
    case({ input { 2, 3, 4 } }, { dim1 = -1, dim2 = 1 }),
    case({ turned { 2, 3, 4 } }, { dim1 = 2, dim2 = 3 }),
  },
  permute = {
    case({ input { 2, 3, 4 } }, { dims = { 3, 1, 2 } }),
    case({ turned { 2, 3, 4 } }, { dims = { 2, 3, 1 } }),
  },
  narrow = {
    case({ input { 5, 3 } }, { dim = 1, start = 2, length = 3 }),
    case({ input { 2, 4, 3 } }, { dim = 2, start = 4, length = 1 }),
    case({ turned { 5, 3 } }, { dim = -1, start = 1, length = 2 }),
  },
  select = {
    case({ input { 5, 3 } }, { dim = 1, index = 5 }),
    case({ input { 2, 4, 3 } }, { dim = 2, index = 1 }),
    case({ turned { 5, 3 } }, { dim = -1, index = -2 }),
  },
  expand = {
    case({ input { 3, 1 } }, { shape = { 3, 4 } }),
    case({ input { 3 } }, { shape = { 2, 4, 3 } }),
    case({ input {} }, { shape = { 2, 2 } }),
  },
  squeeze = { case({ input { 3, 1, 2 } }, { dim = 2 }), case({ input { 1 } }, { dim = -1 }) },
  unsqueeze = {
    case({ input { 3, 2 } }, { dim = 1 }),
    case({ input { 3, 2 } }, { dim = -1 }),
    case({ input {} }, { dim = 1 }),
  },
  sum = reductions(),
  mean = reductions(),
  max = along_each({ 3, 4, 5 }),
  min = along_each({ 3, 4, 5 }, { keepdim = true }),
  index_select = {
    case { input { 4, 3 }, whole { 3, 0, 3, 3, 1 } },
    case({ input { 2, 4, 3 }, whole { 1, 1 } }, { dim = 2 }),
    case({ turned { 2, 3, 4 }, whole { 0, 3, 2, 0 } }, { dim = -1 }),
  },
  gather = {
    case { input { 3, 4 }, whole { { 3, 3, 0 }, { 1, 0, 1 }, { 2, 2, 2 } } },
    case({ input { 3, 4 }, whole { { 2, 0, 0, 1 }, { 2, 1, 0, 1 } } }, { dim = 1 }),
    case({ turned { 2, 3, 2 }, whole { { { 0, 1 } }, { { 1, 1 } }, { { 1, 0 } } } }, { dim = 2 }),
  },
  embedding = {
    case { input { 5, 3 }, whole { 4, 1, 4, 0 } },
    case { input { 5, 2 }, whole { { 0, 0, 3 }, { 3, 2, 3 } } },
    case { input { 5, 2 }, { fixed = cnas.tensor(3, { dtype = "i64" }) } },
  },
  matmul = {
    case { input { 3, 4 }, input { 4, 5 } },
    case { input { 2, 3, 4 }, input { 2, 4, 2 } },
    case { turned { 4, 3 }, turned { 5, 4 } },
    case { input { 1, 17 }, input { 17, 33 } },
    case { input { 20, 3 }, input { 3, 16 } },
  },
  linear = {
    case { input { 3, 4 }, input { 4, 5 }, input { 5 } },
    case { input { 3, 4 }, input { 4, 5 }, NONE },
    case { input { 9, 17 }, input { 17, 10 }, input { 10 } },
    case { turned { 4, 3 }, turned { 5, 4 }, input { 5 } },
  },
  lstm_gates = { case { input { 3, 20 }, input { 3, 5 } }, case { input({ 2, 64 }, { scale = 3 }), input { 2, 16 } } },
  lstm_cell = {
    case { input { 2, 3 }, input { 2, 4 }, input { 2, 4 }, input { 3, 16 }, input { 4, 16 }, input { 16 } },
    case { input { 2, 3 }, input { 2, 4 }, input { 2, 4 }, input { 3, 16 }, input { 4, 16 }, NONE },
  },
  conv2d = {
    convolution({ 2, 4, 5, 3 }, { 3, 3, 3, 4 }),
    convolution({ 2, 5, 6, 3 }, { 3, 3, 3, 4 }, { padding = 1, stride = 2 }),
    convolution({ 1, 7, 6, 2 }, { 3, 3, 2, 3 }, { padding = { 2, 1 }, dilation = 2, stride = { 1, 2 } }),
    convolution({ 1, 5, 5, 4 }, { 3, 3, 2, 6 }, { padding = 1, groups = 2 }),
    convolution({ 2, 3, 3, 5 }, { 1, 1, 5, 7 }),
    convolution({ 1, 5, 4, 5 }, { 1, 1, 5, 3 }, { stride = 2 }),
    convolution({ 1, 3, 3, 17 }, { 1, 1, 17, 16 }),
    convolution({ 1, 5, 5, 3 }, { 3, 3, 1, 3 }, { padding = 1, groups = 3 }),
    convolution({ 1, 6, 5, 16 }, { 3, 3, 1, 16 }, { padding = 1, groups = 16, stride = 2 }),
    convolution({ 1, 7, 7, 3 }, { 5, 5, 1, 3 }, { padding = 4, groups = 3, dilation = 2 }),
    convolution({ 1, 5, 6, 3 }, { 5, 5, 1, 3 }, { padding = 2, groups = 3 }),
    convolution({ 1, 4, 4, 2 }, { 3, 3, 1, 4 }, { padding = 1, groups = 2 }), -- two outputs for each channel
    convolution({ 1, 4, 6, 2 }, { 1, 7, 2, 3 }, { padding = { 0, 3 } }),
    case({ input { 1, 4, 4, 2 }, input { 3, 3, 2, 3 }, NONE }, { padding = 1 }),
    case { turned { 4, 2, 4, 2 }, input { 3, 3, 2, 3 }, NONE },
    convolution({ 2, 5, 6, 3 }, { 3, 3, 3, 4 }, { padding = 1, stride = 2, relu = true }),
    convolution({ 1, 5, 5, 4 }, { 3, 3, 2, 6 }, { padding = 1, groups = 2, relu = true }),
    convolution({ 2, 3, 3, 5 }, { 1, 1, 5, 7 }, { relu = true }),
    convolution({ 1, 5, 4, 5 }, { 1, 1, 5, 3 }, { stride = 2, relu = true }),
    convolution({ 1, 6, 5, 16 }, { 3, 3, 1, 16 }, { padding = 1, groups = 16, stride = 2, relu = true }),
    convolution({ 1, 7, 7, 3 }, { 5, 5, 1, 3 }, { padding = 4, groups = 3, dilation = 2, relu = true }),
  },
  max_pool2d = {
    case({ input { 2, 5, 6, 3 } }, { kernel = 3, padding = 1 }),
    case({ input { 1, 5, 6, 3 } }, { kernel = 3, padding = 1, stride = 2 }),
    case({ input { 1, 6, 5, 17 } }, { kernel = { 2, 3 }, stride = { 2, 1 } }),
  },
  avg_pool2d = {
    case({ input { 2, 5, 6, 3 } }, { kernel = 3, padding = 1 }),
    case({ input { 1, 5, 6, 3 } }, { kernel = 3, padding = 1, stride = 2 }),
    case({ input { 1, 6, 5, 17 } }, { kernel = { 2, 3 }, stride = { 2, 1 } }),
  },
  global_avg_pool2d = { case { input { 2, 3, 4, 5 } }, case { input { 1, 1, 1, 18 } } },
  batch_norm = {
    case { input { 2, 3, 3, 4 }, input { 4 }, input { 4 }, NONE, NONE },
    case { input { 3, 2, 2, 3 }, NONE, NONE, NONE, NONE },
    case({ input { 2, 2, 2, 17 }, input { 17 }, input { 17 }, still { 17 }, variance(17) }, { eps = 0.01 }),
    case({ input { 2, 2, 2, 3 }, input { 3 }, input { 3 }, still { 3 }, variance(3) }, { training = false }),
    case({ input { 2, 3 }, NONE, NONE, still { 3 }, variance(3) }, { training = false }),
  },
  add_block = {
    case { input { 2, 3, 3, 4 }, input { 2, 3, 3, 4 }, NONE, NONE, NONE, NONE, NONE, NONE },
    case { input { 2, 3, 2, 17 }, input { 2, 3, 2, 17 }, input { 17 }, input { 17 }, NONE, NONE, NONE, still { 2 } },
    case { input { 1, 2, 2, 16 }, input { 1, 2, 2, 16 }, input { 16 }, input { 16 }, input { 16 }, input { 16 },
           still { 1 }, NONE },
  },
  conv_block = {
    case({ input { 2, 4, 5, 3 }, input { 3, 3, 3, 4 } }, { padding = 1 }),
    case({ input { 1, 5, 5, 4 }, input { 3, 2, 2, 18 } }, { stride = 2, groups = 2, relu = true }),
  },
  pointwise_block = {
    case { input { 1, 1, 5, 3 }, NONE, NONE, input { 2, 3, 3, 5 } },
    case({ input { 1, 1, 20, 3 }, input { 20 }, input { 20 }, input { 1, 3, 2, 17 }, input { 1, 3, 2, 3 } },
         { relu = false }),
    case { input { 1, 1, 21, 18 }, input { 21 }, input { 21 }, input { 2, 2, 2, 16 }, input { 2, 2, 2, 5 } },
  },
  pointwise_blocks = {
    case { input { 1, 1, 5, 3 }, input { 1, 1, 5, 4 }, NONE, NONE, NONE, input { 2, 3, 3, 5 } },
    case({ input { 1, 1, 20, 3 }, input { 1, 1, 20, 16 }, input { 1, 1, 20, 2 }, input { 20 }, input { 20 },
           input { 1, 3, 2, 17 }, input { 1, 3, 2, 3 } }, { relu = false }),
  },
  reduce_block = {
    case { input { 1, 1, 5, 2 }, input { 1, 1, 5, 2 }, NONE, NONE, input { 2, 4, 4, 5 } },
    case({ input { 1, 1, 20, 3 }, input { 1, 1, 20, 3 }, input { 20 }, input { 20 }, input { 1, 3, 4, 17 },
           input { 1, 3, 4, 3 } }, { relu = false }),
    case { input { 1, 1, 21, 9 }, input { 1, 1, 21, 9 }, input { 21 }, input { 21 }, input { 2, 2, 3, 16 },
           input { 2, 2, 3, 5 } },
  },
  separable_block = {
    case({ input { 2, 5, 6, 3 }, input { 3, 3, 1, 3 }, input { 1, 1, 3, 4 }, NONE, NONE }, { padding = 1 }),
    case({ input { 2, 5, 4, 3 }, input { 3, 3, 1, 3 }, input { 1, 1, 3, 2 }, input { 3 }, input { 3 } },
         { padding = 1, stride = 2 }),
    case({ input { 1, 8, 3, 9 }, input { 5, 5, 1, 9 }, input { 1, 1, 9, 10 }, input { 9 }, input { 9 } },
         { padding = 4, dilation = 2 }), -- two blocks of rows, each with rows of the other's gradient
    case({ input { 1, 9, 4, 8 }, input { 5, 3, 1, 8 }, input { 1, 1, 8, 3 }, NONE, NONE },
         { padding = { 2, 0 }, stride = { 2, 1 }, relu = false }),
  },
  pool_block = {
    case({ input { 2, 5, 6, 3 }, NONE, NONE }, { kernel = 3, padding = 1 }),
    case({ input { 1, 5, 6, 17 }, input { 17 }, input { 17 } }, { kernel = 3, padding = 1, stride = 2, relu = true }),
    case({ input { 1, 6, 5, 16 }, input { 16 }, input { 16 } }, { kernel = { 2, 3 }, stride = { 2, 1 }, max = false }),
    case({ input { 2, 5, 4, 3 }, NONE, NONE }, { kernel = 3, padding = 1, max = false, relu = true }),
  },
  norm_factors = {
    case({ input { 5 }, positive { 5 }, NONE, NONE, NONE, NONE }, { count = 7 }),
    case({ input { 5 }, positive { 5 }, input { 5 }, input { 5 }, still { 5 }, variance(5) }, { count = 7, eps = 0.1 }),
    case({ input { 5 }, positive { 5 }, input { 5 }, input { 5 }, still { 5 }, variance(5) },
         { count = 7, training = false }),
  },
  subsample2d = {
    case { input { 2, 4, 6, 3 } },
    case({ input { 1, 5, 7, 2 } }, { offset = 1 }),
    case({ input { 1, 5, 7, 2 } }, { offset = { -1, 1 } }),
    case({ input { 1, 7, 5, 17 } }, { stride = 3, offset = { 0, 1 } }),
  },
  softmax = along_each({ 3, 4, 5 }),
  log_softmax = along_each({ 3, 4, 5 }),
  cross_entropy = {
    case { input { 3, 4 }, whole { 3, 0, 1 } },
    case({ input({ 3, 4 }, { scale = 4 }), whole { 3, 0, 3 } }, { smoothing = 0.1 }),
    case({ turned { 5, 2 }, whole { 4, 0 } }, { smoothing = 0.3 }),
  },
  dropout = { case({ input { 5, 7 } }, noise(0.4)), case({ turned { 5, 7 } }, noise(0)) },
  drop_path = { case({ input { 6, 2, 3 } }, noise(0.4)), case({ turned { 2, 6 } }, noise(0.5)) },
} end

--- What cases are made of, for specs with cases of their own.
cases.case, cases.input, cases.positive, cases.turned, cases.thinned = case, input, positive, turned, thinned
cases.still, cases.whole, cases.mask, cases.NONE = still, whole, mask, NONE

-- ---------------------------------------------------------------- applying a case

local function element(dtype, v)
  if dtype == "i64" then return math.floor(v * 100) end
  return dtype == "u8" and math.max(0, math.min(math.floor(v * 50 + 100), 255)) or v
end

-- The type of input i in a call of a row of this type: what is `:real` is f32 beside bf16.
local function type_of_input(row, i, dtype)
  local words = {}
  for word in (row and row.inputs or ""):gmatch "%S+" do words[#words + 1] = word end
  return dtype == "bf16" and (words[math.min(i, #words)] or ""):find ":real" and "f32" or dtype
end

--- The flat leaves of a case, in the order of its inputs. With `row`, of cnas.ops(), inputs have the types that it asks
--- for; else all are of this one.
function cases.leaves(this, dtype, device, row)
  local leaves = {}
  for i, described in ipairs(this.inputs) do
    if described.shape then
      local values = spread(count(described.shape), i)
      for k, v in ipairs(values) do values[k] = element(dtype, v * described.scale + described.shift) end
      leaves[i] = cnas.tensor(values, { dtype = type_of_input(row, i, dtype) }):to(device or "cpu")
    end
  end
  return leaves
end

--- Gradients are wanted of all inputs that have one, or of one.
function cases.track(this, leaves, only)
  for i, described in ipairs(this.inputs) do
    if leaves[i] then
      leaves[i]:set_grad(nil)
      leaves[i].requires_grad = not described.still and (not only or only == i)
    end
  end
end

--- The row applied: its outputs, packed; and the inputs as it got them.
function cases.apply(name, this, leaves, device)
  local args = { n = #this.inputs + 1 }
  for i, described in ipairs(this.inputs) do
    if described.fixed then args[i] = described.fixed:to(device or "cpu")
    elseif described.shape then
      local x = leaves[i]:reshape(described.shape)
      if described.still then x = x:clone() end -- the row may write it
      args[i] = described.turn and described.turn(x) or x
    end
  end
  args[args.n] = type(this.attrs) == "function" and this.attrs() or this.attrs
  return table.pack(cnas[name](table.unpack(args, 1, args.n))), args
end

--- sum(weight * output), with fixed weights.
function cases.loss(outputs)
  local loss
  for k = 1, outputs.n do
    local y = outputs[k].dtype == "bf16" and outputs[k]:cast "f32" or outputs[k]
    local weight = cnas.tensor(spread(y:count(), 10 + k), { dtype = y.dtype }):reshape(y:shape()):to(y.device)
    local part = (y * weight):sum()
    loss = loss and loss + part or part
  end
  return loss
end

return cases
