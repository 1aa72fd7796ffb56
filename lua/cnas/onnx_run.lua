-- onnx_run.lua - runs an ONNX model node by node: the graph inputs, each node's operation, the first output.
--
-- It knows the operations that lua/cnas/onnx.lua writes, by what ONNX says of them (opset 13), and nothing of networks:
-- a file is checked with it. Images are held as (N,H,W,C): a value of four dimensions is (N,C,H,W) in the file and has
-- its channels last here. All else is held as in the file. Every value is let go when its last reader has run.

local cnas = require "cnas"
local args = require "cnas.args"

local function fail(node, format, ...)
  args.fail("data", "onnx: node '%s' (%s): " .. format, node.name, node.op, ...)
end

-- Attributes and constants -------------------------------------------------------------------------------------------

-- The place of ONNX's axis (from 0, negative from the end) among dimensions from 1, as values are held.
local function place(node, axis, dims)
  if math.type(axis) ~= "integer" or axis < -dims or axis >= dims then fail(node, "axis %s of %d", axis, dims) end
  if axis < 0 then axis = axis + dims end
  return dims == 4 and ({ 1, 4, 2, 3 })[axis + 1] or axis + 1
end

-- A list of two integers, both at least `least`.
local function pair(node, name, otherwise, least)
  local p = node.attributes[name] or { otherwise, otherwise }
  if type(p) ~= "table" or #p ~= 2 or p[1] < least or p[2] < least then fail(node, "%s must be two sizes", name) end
  return p
end

-- Padding as one number for each direction.
local function padding(node)
  local p = node.attributes.pads or { 0, 0, 0, 0 }
  if type(p) ~= "table" or #p ~= 4 or p[1] ~= p[3] or p[2] ~= p[4] or p[1] < 0 or p[2] < 0 then
    fail(node, "pads must be the same on both sides")
  end
  if (node.attributes.auto_pad or "NOTSET") ~= "NOTSET" then fail(node, "auto_pad is not supported") end
  return { p[1], p[2] }
end

-- The integers in a small tensor.
local function integers(node, tensor)
  if tensor.dtype ~= "i64" or tensor:dim() ~= 1 then fail(node, "expected a list of integers") end
  return tensor:totable()
end

local function is_image(x) return x:dim() == 4 end

-- Operations: f(node, inputs as values, inputs as the file's constants) -> value -------------------------------------

local operations = {}

function operations.Conv(node, x, constant)
  local weight = constant[2] or fail(node, "its weight must be a constant") -- (O,I,KH,KW)
  if weight:dim() ~= 4 then fail(node, "its weight has %d dimensions", weight:dim()) end
  return cnas.conv2d(x[1], weight:permute { 3, 4, 2, 1 }, constant[3], {
    stride = pair(node, "strides", 1, 1), padding = padding(node), dilation = pair(node, "dilations", 1, 1),
    groups = node.attributes.group or 1,
  })
end

function operations.BatchNormalization(node, x)
  return cnas.batch_norm(x[1], x[2], x[3], x[4], x[5], { training = false, eps = node.attributes.epsilon or 1e-5 })
end

local function pool(row)
  return function(node, x)
    if (node.attributes.ceil_mode or 0) ~= 0 or (node.attributes.count_include_pad or 0) ~= 0 then
      fail(node, "ceil_mode and count_include_pad must be 0")
    end
    return row(x[1], { kernel = pair(node, "kernel_shape", 0, 1), stride = pair(node, "strides", 1, 1),
                       padding = padding(node) })
  end
end
operations.MaxPool = pool(cnas.max_pool2d)
operations.AveragePool = pool(cnas.avg_pool2d)

function operations.GlobalAveragePool(_, x) return x[1]:mean { dims = { 2, 3 }, keepdim = true } end

function operations.Flatten(node, x)
  if (node.attributes.axis or 1) ~= 1 then fail(node, "axis must be 1") end
  local flat = is_image(x[1]) and x[1]:permute { 1, 4, 2, 3 } or x[1]
  return flat:reshape(x[1]:size(1), -1)
end

function operations.Gemm(node, x, constant)
  local a = node.attributes
  if (a.alpha or 1.0) ~= 1 or (a.beta or 1.0) ~= 1 or (a.transA or 0) ~= 0 then
    fail(node, "alpha and beta must be 1, transA 0")
  end
  local weight = constant[2] or fail(node, "its second input must be a constant")
  return cnas.linear(x[1], a.transB == 1 and weight:transpose(1, 2) or weight, constant[3])
end

function operations.Concat(node, x)
  return cnas.concat(x, place(node, node.attributes.axis, x[1]:dim()))
end

-- Zeros in front of and behind each dimension.
function operations.Pad(node, x)
  local y, pads = x[1], integers(node, x[2])
  local dims = y:dim()
  if #pads ~= 2 * dims or (node.attributes.mode or "constant") ~= "constant" or x[3] then
    fail(node, "only padding by zeros, given for each dimension")
  end
  for axis = 0, dims - 1 do
    local d = place(node, axis, dims)
    local function zeros(n)
      local shape = y:shape()
      shape[d] = n
      return cnas.zeros(shape)
    end
    local before, behind = pads[axis + 1], pads[dims + axis + 1]
    if before < 0 or behind < 0 then fail(node, "negative padding") end
    if before > 0 then y = cnas.concat({ zeros(before), y }, d) end
    if behind > 0 then y = cnas.concat({ y, zeros(behind) }, d) end
  end
  return y
end

-- From start to end (not included) by step, both cut to the size.
local function range(node, size, start, stop, step)
  if step < 1 or start < 0 or stop < 0 then fail(node, "only steps forward from places counted from the front") end
  local list = {}
  for i = start, math.min(stop, size) - 1, step do list[#list + 1] = i end
  if #list == 0 then fail(node, "an empty slice") end
  return list
end

function operations.Slice(node, x)
  local y, starts, stops = x[1], integers(node, x[2]), integers(node, x[3])
  local axes, steps = x[4] and integers(node, x[4]), x[5] and integers(node, x[5])
  for i = 1, #starts do
    local d = place(node, axes and axes[i] or i - 1, y:dim())
    local list = range(node, y:size(d), starts[i], stops[i] or 0, steps and steps[i] or 1)
    if y.dtype == "i64" then -- a short list of sizes
      y = y:narrow(d, list[1] + 1, #list)
    else
      y = y:index_select(cnas.tensor(list, { dtype = "i64" }), d)
    end
  end
  return y
end

function operations.Shape(_, x)
  local s = x[1]:shape()
  if is_image(x[1]) then s = { s[1], s[4], s[2], s[3] } end
  return cnas.tensor(s, { dtype = "i64" })
end

function operations.ConstantOfShape(node, x)
  local s = integers(node, x[1])
  if next(node.attributes) then fail(node, "only zeros") end
  return cnas.zeros(#s == 4 and { s[1], s[3], s[4], s[2] } or s)
end

function operations.Identity(_, x) return x[1] end

for op, row in pairs { Add = "add", Sub = "sub", Mul = "mul", Div = "div" } do
  operations[op] = function(node, x)
    local a, b = x[1], x[2]
    if (is_image(a) or is_image(b)) and math.min(a:dim(), b:dim()) ~= 4 and math.min(a:count(), b:count()) > 1 then
      fail(node, "images with a tensor of %d dimensions", math.min(a:dim(), b:dim()))
    end
    return cnas[row](a, b)
  end
end

for op, row in pairs { Relu = "relu", Neg = "neg", Exp = "exp", Log = "log", Sqrt = "sqrt", Abs = "abs", Tanh = "tanh",
                       Sigmoid = "sigmoid" } do
  operations[op] = function(_, x) return cnas[row](x[1]) end
end

for op, row in pairs { Softmax = "softmax", LogSoftmax = "log_softmax" } do
  operations[op] = function(node, x) return cnas[row](x[1], place(node, node.attributes.axis or -1, x[1]:dim())) end
end

-- The graph ----------------------------------------------------------------------------------------------------------

-- How often each value is read; the output once more.
local function count_readers(model)
  local readers = { [model.outputs[1].name] = 1 }
  for _, node in ipairs(model.nodes) do
    for _, name in ipairs(node.inputs) do readers[name] = (readers[name] or 0) + 1 end
  end
  return readers
end

-- The one input of a model that is not a constant, and that x is like it says.
local function check_input(model, x)
  local constant, inputs = {}, {}
  for _, c in ipairs(model.constants) do constant[c.name] = c.tensor end
  for _, input in ipairs(model.inputs) do if not constant[input.name] then inputs[#inputs + 1] = input end end
  if #inputs ~= 1 or #model.outputs ~= 1 then
    args.fail("data", "onnx: expected a model of one input and one output, got %d and %d", #inputs, #model.outputs)
  end
  local shape, s = inputs[1].shape, x:shape()
  if #s == 4 then s = { s[1], s[4], s[2], s[3] } end
  for d = 1, math.max(#shape, #s) do
    if shape[d] ~= s[d] and type(shape[d]) ~= "string" then
      args.fail("usage", "onnx: the model takes %s of (%s), got (%s)", inputs[1].name, table.concat(shape, ","),
                table.concat(s, ","))
    end
  end
  return inputs[1].name, constant
end

local function run_node(node, value, constant)
  local f = operations[node.op] or fail(node, "this operation is not supported")
  if #node.outputs ~= 1 then fail(node, "%d outputs, expected one", #node.outputs) end
  local x, c = {}, {}
  for i, name in ipairs(node.inputs) do
    local tensor = constant[name]
    if tensor and tensor:dim() == 4 then x[i] = tensor:permute { 1, 3, 4, 2 } -- where it is data
    else x[i] = tensor or value[name] end
    c[i] = tensor
    if name ~= "" and not x[i] then fail(node, "nothing has made its input '%s'", name) end
  end
  if not x[1] then fail(node, "it has no input") end
  local ok, result = pcall(f, node, x, c)
  if ok then return result end
  if type(result) == "table" and result.code then error(result, 0) end
  fail(node, "%s", tostring(result))
end

local function run(model, x)
  local input, constant = check_input(model, x)
  local value, readers = { [input] = x }, count_readers(model)
  for _, node in ipairs(model.nodes) do
    value[node.outputs[1]] = run_node(node, value, constant)
    for _, name in ipairs(node.inputs) do
      readers[name] = readers[name] - 1
      if readers[name] == 0 then value[name] = nil end
    end
  end
  local output = model.outputs[1].name
  return value[output] or args.fail("data", "onnx: nothing makes the output '%s'", output)
end

return function(model, x) return cnas.no_grad(run, model, x) end
