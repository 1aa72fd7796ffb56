-- onnx.lua - networks as ONNX files: IR version 7, opset 13, any batch, images (N,C,H,W) as users of ONNX expect them.
--
--   local report = cnas.onnx.export("net.onnx", net, { size = 32, fold = true })
--   local model = cnas.onnx.read "net.onnx"
--   local logits = cnas.onnx.run(model, x)                     -- x (N,H,W,C), as everywhere here
--
-- What is exported is what one call runs: the rows of a trace (cnas.trace), each written as nodes of ONNX. So whatever
-- is made of layers is exported alike, a recipe's own operation too; so is a function around a network, such as
-- function(x) return cnas.softmax(net(x)) end, with the network in option `module` for the names. Add a row of your
-- own to cnas.onnx.rows. After writing, the file is read back and run by an interpreter that knows nothing of this
-- (onnx_run.lua), and must give what the network gives.

local cnas = require "cnas"
local args = require "cnas.args"

local onnx = {}

local END = math.maxinteger -- of a slice: up to the end

-- A graph while it is written ----------------------------------------------------------------------------------------

local Graph = {}
Graph.__index = Graph

local function new_graph(trace)
  return setmetatable({
    trace = trace, nodes = {}, constants = {},
    used = { images = true, logits = true }, -- names
    name = { [trace.input] = "images" },     -- of values, by their index in the trace
    known = {},                              -- names of constants, and of results that are needed again
  }, Graph)
end

-- A name that nothing else has.
function Graph:fresh(name)
  local chosen, n = name, 1
  while self.used[chosen] do
    n = n + 1
    chosen = name .. "_" .. n
  end
  self.used[chosen] = true
  return chosen
end

-- A node with one output, which has its name. Returns that.
function Graph:node(op, name, inputs, attributes)
  name = self:fresh(name)
  self.nodes[#self.nodes + 1] = { op = op, name = name, inputs = inputs, outputs = { name },
                                  attributes = attributes or {} }
  return name
end

-- A constant from a tensor. One of the same name is the same.
function Graph:constant(name, tensor)
  if self.known[name] then return self.known[name] end
  local chosen = self:fresh(name)
  self.known[name] = chosen
  self.constants[#self.constants + 1] = { name = chosen, tensor = tensor }
  return chosen
end

-- A constant list of integers, named by what is in it.
function Graph:integers(list)
  local name = "[" .. table.concat(list, ","):gsub(tostring(END), "end") .. "]"
  return self.known[name] or self:constant(name, cnas.tensor(list, { dtype = "i64" }))
end

-- The result of make(), which is made once for each key.
function Graph:once(key, make)
  self.known[key] = self.known[key] or make()
  return self.known[key]
end

-- The tensor of the row's input i, which must be a constant; nil when it is not given.
function Graph:weight(row, i)
  local value = row.inputs[i]
  if not value then return nil end
  if self.name[value] then
    args.fail("usage", "onnx: %s: row '%s' takes input %d from another row, and a file can only hold it as a constant",
              self:place(row), row.row, i)
  end
  return self.trace.values[value], self.trace.names[value]
end

-- Where a row runs, for messages: "cells.3._ops.2.op (operation my_op)".
function Graph:place(row)
  local place = row.at == "" and "the network" or row.at
  local operation = self.operation and self.operation(row.at)
  return operation and ("%s (operation %s)"):format(place, operation) or place
end

-- The name that a row's node should have: its weights' where it has some, else its place and what it is.
local function called_as(row, name)
  if name then return (name:gsub("%.[^.]*$", "")) end
  return (row.at == "" and "" or row.at .. "/") .. row.row
end

-- Zeros (N,H,W,C) for any N: the batch is read off the images.
function Graph:zeros(shape)
  local batch = self:once("the batch", function()
    local sizes = self:node("Shape", "images/shape", { "images" })
    return self:node("Slice", "images/batch", { sizes, self:integers { 0 }, self:integers { 1 } })
  end)
  local rest = self:integers { shape[4], shape[2], shape[3] }
  return self:once("zeros" .. rest, function()
    local sizes = self:node("Concat", "zeros/shape", { batch, rest }, { axis = 0 })
    return self:node("ConstantOfShape", "zeros", { sizes })
  end)
end

-- The name of a value that is data: an input, a result, or a constant laid out as ONNX has it.
function Graph:value(value, rank)
  if self.name[value] then return self.name[value] end
  local tensor, name = self.trace.values[value], self.trace.names[value]
  local shape = tensor:shape()
  if not name and #shape == 4 and shape[1] == 1 and tensor:abs():sum():item() == 0 then return self:zeros(shape) end
  if rank == 4 then -- stretched in front, as broadcasting does
    while #shape < 4 do table.insert(shape, 1, 1) end
    tensor = tensor:reshape(shape):permute { 1, 4, 2, 3 }
  end
  return self:constant(name or "constant_" .. value, tensor:to("f32"))
end

-- Writing rows -------------------------------------------------------------------------------------------------------

local function rank(g, value) return g.trace.values[value]:dim() end

-- A dimension of an image or another tensor here (from 1, or from the end), as ONNX counts and orders them.
local function axis(dim, dims)
  if dim < 0 then dim = dims + dim + 1 end
  return dims == 4 and ({ 0, 2, 3, 1 })[dim] or dim - 1
end

local function rectified(g, x)
  return g:once("relu " .. x, function() return g:node("Relu", x .. "/relu", { x }) end)
end

-- Attributes of a window, those that have ONNX's default left out.
local function window(kernel, stride, padding, dilation)
  local w = { kernel_shape = kernel }
  if stride[1] ~= 1 or stride[2] ~= 1 then w.strides = stride end
  if padding[1] ~= 0 or padding[2] ~= 0 then w.pads = { padding[1], padding[2], padding[1], padding[2] } end
  if dilation and (dilation[1] ~= 1 or dilation[2] ~= 1) then w.dilations = dilation end
  return w
end

--- What each row of the engine (cnas.ops()) is in ONNX: a function of the graph and the traced row that adds nodes and
--- returns the name of the result.
onnx.rows = {}

function onnx.rows.conv2d(g, row)
  local a = row.attributes
  local x = g:value(row.inputs[1])
  if a.relu then x = rectified(g, x) end
  local weight, name = g:weight(row, 2) -- (KH,KW,I/groups,O)
  local bias, bias_name = g:weight(row, 3)
  local called = called_as(row, name)
  local inputs = { x, g:constant(name or called .. ".weight", weight:permute { 4, 3, 1, 2 }) }
  if bias then inputs[3] = g:constant(bias_name or called .. ".bias", bias) end
  local attributes = window({ weight:size(1), weight:size(2) }, a.stride, a.padding, a.dilation)
  if a.groups ~= 1 then attributes.group = a.groups end
  return g:node("Conv", called, inputs, attributes)
end

function onnx.rows.batch_norm(g, row)
  if row.attributes.training then
    args.fail("usage", "onnx: %s normalises by the statistics of the batch: only networks in evaluation, with running "
              .. "statistics, can be exported (net:train(false); a supernet has none)", g:place(row))
  end
  local inputs = { g:value(row.inputs[1]) }
  local mean, mean_name = g:weight(row, 4)
  local called = called_as(row, mean_name)
  for i, part in ipairs { "weight", "bias", "running_mean", "running_var" } do
    local tensor, name = g:weight(row, i + 1)
    if not tensor then tensor = i == 1 and cnas.ones(mean:size(1)) or cnas.zeros(mean:size(1)) end
    inputs[i + 1] = g:constant(name or called .. "." .. part, tensor)
  end
  return g:node("BatchNormalization", called, inputs, { epsilon = row.attributes.eps })
end

function onnx.rows.max_pool2d(g, row)
  local a = row.attributes
  return g:node("MaxPool", called_as(row), { g:value(row.inputs[1]) }, window(a.kernel, a.stride, a.padding))
end

function onnx.rows.avg_pool2d(g, row)
  local a = row.attributes
  local attributes = window(a.kernel, a.stride, a.padding)
  attributes.count_include_pad = 0 -- the padding is not counted
  return g:node("AveragePool", called_as(row), { g:value(row.inputs[1]) }, attributes)
end

function onnx.rows.global_avg_pool2d(g, row)
  local pooled = g:node("GlobalAveragePool", called_as(row), { g:value(row.inputs[1]) })
  return g:node("Flatten", pooled .. "/flatten", { pooled }, { axis = 1 })
end

-- Every stride-th pixel from an offset that may lie outside: zeros around it, then a slice with steps.
function onnx.rows.subsample2d(g, row)
  local a, shape = row.attributes, g.trace.values[row.inputs[1]]:shape()
  local x, called = g:value(row.inputs[1]), called_as(row)
  local pads, starts = { 0, 0, 0, 0, 0, 0, 0, 0 }, {}
  for d = 1, 2 do
    local size, offset = shape[1 + d], a.offset[d]
    local last = offset + a.stride * ((size + a.stride - 1) // a.stride - 1)
    pads[2 + d], pads[6 + d] = math.max(0, -offset), math.max(0, last - size + 1)
    starts[d] = math.max(0, offset)
  end
  if math.max(table.unpack(pads)) > 0 then
    x = g:once(("pad %s %s"):format(x, table.concat(pads, ",")), function()
      return g:node("Pad", called .. "/pad", { x, g:integers(pads) }, { mode = "constant" })
    end)
  end
  return g:node("Slice", called, { x, g:integers(starts), g:integers { END, END }, g:integers { 2, 3 },
                                   g:integers { a.stride, a.stride } })
end

function onnx.rows.concat(g, row)
  local inputs, dims = {}, rank(g, row.outputs[1])
  for i, value in ipairs(row.inputs) do inputs[i] = g:value(value, dims) end
  if #inputs == 1 then return inputs[1] end
  return g:node("Concat", called_as(row), inputs, { axis = axis(row.attributes.dim, dims) })
end

function onnx.rows.linear(g, row)
  local weight, name = g:weight(row, 2) -- (I,O)
  local bias, bias_name = g:weight(row, 3)
  local called = called_as(row, name)
  local inputs = { g:value(row.inputs[1]), g:constant(name or called .. ".weight", weight:transpose(1, 2)) }
  if bias then inputs[3] = g:constant(bias_name or called .. ".bias", bias) end
  return g:node("Gemm", called, inputs, { transB = 1 })
end

function onnx.rows.relu(g, row) return rectified(g, g:value(row.inputs[1])) end

-- factor * x + shift
function onnx.rows.scale(g, row)
  local y, a = g:value(row.inputs[1]), row.attributes
  local function number(v) return g:constant(("number %.17g"):format(v), cnas.tensor(v, { dtype = "f32" })) end
  if a.factor ~= 1 then y = g:node("Mul", called_as(row), { y, number(a.factor) }) end
  if a.shift ~= 0 then y = g:node("Add", called_as(row), { y, number(a.shift) }) end
  return y
end

for row_name, op in pairs { add = "Add", sub = "Sub", mul = "Mul", div = "Div" } do
  onnx.rows[row_name] = function(g, row)
    local dims = rank(g, row.outputs[1])
    return g:node(op, called_as(row), { g:value(row.inputs[1], dims), g:value(row.inputs[2], dims) })
  end
end

for row_name, op in pairs { neg = "Neg", exp = "Exp", log = "Log", sqrt = "Sqrt", abs = "Abs", tanh = "Tanh",
                            sigmoid = "Sigmoid" } do
  onnx.rows[row_name] = function(g, row) return g:node(op, called_as(row), { g:value(row.inputs[1]) }) end
end

for row_name, op in pairs { softmax = "Softmax", log_softmax = "LogSoftmax" } do
  onnx.rows[row_name] = function(g, row)
    return g:node(op, called_as(row), { g:value(row.inputs[1]) },
                  { axis = axis(row.attributes.dim, rank(g, row.inputs[1])) })
  end
end

function onnx.rows.contiguous(g, row) return g:value(row.inputs[1]) end

-- Between f32 and f64 nothing changes: a file computes in f32.
function onnx.rows.cast(g, row)
  if row.attributes.dtype == "bf16" then
    args.fail("usage", "onnx: %s keeps images in bf16, and a file computes in f32: build or open the network with "
              .. "precision = \"f32\"", g:place(row))
  end
  return g:value(row.inputs[1])
end

-- Folding ------------------------------------------------------------------------------------------------------------

-- Who makes each value, and by how many it is read.
local function uses(model)
  local maker, readers = {}, {}
  for _, node in ipairs(model.nodes) do
    maker[node.outputs[1]] = node
    for _, name in ipairs(node.inputs) do readers[name] = (readers[name] or 0) + 1 end
  end
  return maker, readers
end

-- The convolutions behind the value, in the order of their channels, when they are only read as it; else nil.
local function convolutions(name, maker, readers)
  local node = maker[name]
  if not node or readers[name] ~= 1 then return nil end
  if node.op == "Conv" then return { node } end
  if node.op ~= "Concat" or node.attributes.axis ~= 1 then return nil end
  local list = {}
  for _, input in ipairs(node.inputs) do
    local conv = maker[input]
    if not conv or conv.op ~= "Conv" or readers[input] ~= 1 then return nil end
    list[#list + 1] = conv
  end
  return list
end

-- Multiplies scale and shift (f64) of so many channels from `first` into a convolution's weights.
local function fold_into(conv, constant, scale, shift, first, set)
  local weight = constant[conv.inputs[2]]:to("f64") -- (O,I,KH,KW)
  local channels = weight:size(1)
  local s, b = scale:narrow(1, first, channels), shift:narrow(1, first, channels)
  if conv.inputs[3] then b = b + constant[conv.inputs[3]]:to("f64") * s end
  set(conv, 2, "weight", (weight * s:reshape(channels, 1, 1, 1)):to("f32"))
  set(conv, 3, "bias", b:to("f32"))
  return first + channels
end

--- A copy of the model in which every batch normalisation right behind a convolution (or behind several that are
--- joined) is part of that convolution's weights.
function onnx.folded(model)
  local maker, readers = uses(model)
  local constant, replaced = {}, {}
  for _, c in ipairs(model.constants) do constant[c.name] = c.tensor end
  local out = { constants = {}, nodes = {} }
  for key, value in pairs(model) do out[key] = out[key] or value end

  -- A weight of a convolution under a name of its own; two may have shared the old one.
  local function set(conv, i, what, tensor)
    local name = conv.name .. "." .. what .. " (folded)"
    conv.inputs[i] = name
    replaced[#replaced + 1] = { name = name, tensor = tensor }
  end

  local copies, gone = {}, {}
  for i, node in ipairs(model.nodes) do
    copies[i] = { op = node.op, name = node.name, attributes = node.attributes,
                  inputs = table.move(node.inputs, 1, #node.inputs, 1, {}), outputs = { node.outputs[1] } }
    maker[node.outputs[1]] = copies[i]
  end
  for i, node in ipairs(copies) do
    local convs = node.op == "BatchNormalization" and convolutions(node.inputs[1], maker, readers)
    if convs then
      local function part(k) return constant[node.inputs[k]]:to("f64") end
      local scale = part(2) / (part(5) + node.attributes.epsilon):sqrt()
      local shift = part(3) - part(4) * scale
      local first = 1
      for _, conv in ipairs(convs) do first = fold_into(conv, constant, scale, shift, first, set) end
      local last = maker[node.inputs[1]]
      last.outputs[1] = node.outputs[1]
      maker[node.outputs[1]], gone[i] = last, true
    end
  end
  for i, node in ipairs(copies) do if not gone[i] then out.nodes[#out.nodes + 1] = node end end
  local _, still = uses(out)
  for _, list in ipairs { model.constants, replaced } do
    for _, c in ipairs(list) do if still[c.name] then out.constants[#out.constants + 1] = c end end
  end
  return out
end

-- The whole ----------------------------------------------------------------------------------------------------------

-- The name of the operation at a place of a network, for messages; nil where there is none.
local function operations(genotype, layers)
  if not genotype or not layers then return nil end
  local place = cnas.places { genotype = genotype, layers = layers }
  return function(at) return (place(at) or {}).operation end
end

--- The model of a network or function f of images (N,H,W,C). Options as for export.
function onnx.model(f, options)
  local o = args.check("onnx.model", options or {}, {
    size = 32, channels = 3, fold = false, metadata = {}, graph = "cnas", module = args.optional,
    genotype = args.optional, layers = args.optional,
  })
  local height = type(o.size) == "table" and o.size[1] or o.size
  local width = type(o.size) == "table" and o.size[2] or o.size
  local module = o.module or type(f) == "userdata" and f or nil
  if module then module:train(false) end
  local x = cnas.rand(1, height, width, o.channels, { rng = cnas.rng(0, "trace") })
  local blocks = cnas.nn.blocks(false) -- each layer by itself
  local ok, trace = pcall(function()
    return cnas.trace(function(y) return cnas.no_grad(f, y) end, x, module)
  end)
  cnas.nn.blocks(blocks)
  if not ok then error(trace, 0) end
  if not trace.input or not trace.output then
    args.fail("usage", "onnx: the function's result does not come from its images by rows of the engine")
  end

  local g = new_graph(trace)
  g.operation = operations(o.genotype, o.layers)
  for _, row in ipairs(trace.rows) do
    local write = onnx.rows[row.row]
    if not write then
      args.fail("usage", "onnx: %s runs row '%s', which has no form in ONNX here; what is made of convolutions, batch "
                .. "normalisation, pools, linear layers and the rows of cnas.onnx.rows can be exported", g:place(row),
                row.row)
    end
    g.name[row.outputs[1]] = write(g, row)
  end

  local result = g.name[trace.output]
  local last = g.nodes[#g.nodes]
  if not last or last.outputs[1] ~= result then last = { outputs = {} } end
  if last.outputs[1] then last.outputs[1] = "logits"
  else g.nodes[#g.nodes + 1] = { op = "Identity", name = "result", inputs = { result }, outputs = { "logits" },
                                 attributes = {} } end
  local shape = trace.values[trace.output]:shape()
  if #shape == 4 then shape = { shape[1], shape[4], shape[2], shape[3] } end
  shape[1] = "N"
  local model = {
    graph = o.graph, metadata = o.metadata, nodes = g.nodes, constants = g.constants,
    inputs = { { name = "images", type = "f32", shape = { "N", o.channels, height, width } } },
    outputs = { { name = "logits", type = "f32", shape = shape } },
  }
  return o.fold and onnx.folded(model) or model
end

--- What a file says, as a table; see lua/bindings/onnx.c for its fields.
function onnx.read(path) return cnas.onnx_model.load(path) end

--- Writes a model that onnx.model made, or a table like it.
function onnx.write(path, model) cnas.onnx_model.save(path, model) end

--- Runs a model that onnx.read gave on images x (N,H,W,C).
function onnx.run(model, x) return require "cnas.onnx_run" (model, x) end

--- How far a file is from f: the largest difference between what both give on random images, in batches of the two
--- sizes; how far f's results for different images are from each other, at most; and the largest of them. Each is
--- infinite where something is not a number.
function onnx.compare(path, f, options)
  local o = args.check("onnx.compare", options or {}, { seed = 1, batches = { 2, 3 } })
  local model = onnx.read(path)
  local shape, rng = model.inputs[1].shape, cnas.rng(o.seed, "export")
  local difference, spread, largest = 0, 0, 0
  local function reach(t) -- the largest, infinite where one is not a number
    local sum = t:abs():sum():item()
    return sum == sum and t:abs():reshape(-1):max():item() or math.huge
  end
  for _, batch in ipairs(o.batches) do
    local x = cnas.randn(batch, shape[3], shape[4], shape[2], { rng = rng })
    local expected, came = cnas.no_grad(f, x), onnx.run(model, x)
    difference, largest = math.max(difference, reach(expected - came)), math.max(largest, reach(expected))
    spread = math.max(spread, reach(expected - expected:mean { dims = 1, keepdim = true }))
  end
  return difference, spread, largest
end

--- Exports a network, or a function of images, to the file. Options: size (of the images: one number, or { height,
--- width }; 32), channels (of the images; 3), fold (batch normalisations into convolutions; false), check (true: read
--- it back, run it and compare), tolerance (of that, as part of what logits differ by from image to image; 1e-2),
--- metadata (texts by key), graph (its name), module (where f is a function: for names), genotype and layers (names of
--- operations in messages). The network is left in evaluation. Returns { nodes =, parameters =, bytes =, ir_version =,
--- opset =, difference =, spread =, largest = }; a file that does not pass the check is not there afterwards.
function onnx.export(path, f, options)
  local given = {}
  for key, value in pairs(options or {}) do given[key] = value end
  local check, tolerance = given.check ~= false, given.tolerance or 1e-2
  given.check, given.tolerance = nil, nil
  local save = cnas.onnx_model.save
  local model = onnx.model(f, given)
  local report = { nodes = #model.nodes, parameters = 0, ir_version = 7, opset = 13 }
  for _, c in ipairs(model.constants) do
    if c.tensor.dtype ~= "i64" then report.parameters = report.parameters + c.tensor:count() end
  end
  if not check then
    save(path, model)
  else
    local unchecked = path .. ".unchecked.part"
    save(unchecked, model)
    local ok, e = pcall(function()
      report.difference, report.spread, report.largest = onnx.compare(unchecked, f)
      if report.difference == math.huge
        or report.difference > math.max(tolerance * report.spread, 1e-6 * report.largest) then
        args.fail("data", "%s: the file's logits differ by %.3g from the network's, which differ by %.3g from image to "
                  .. "image: not written", path, report.difference, report.spread)
      end
      cnas.file.rename(unchecked, path)
    end)
    if not ok then
      pcall(cnas.file.remove, unchecked)
      error(e, 0)
    end
  end
  report.bytes = cnas.file.size(path)
  return report
end

return onnx
