-- Every operation of ops.def that PyTorch has, and every candidate operation of a cell, against PyTorch: outputs and
-- gradients, at strides 1 and 2, even and odd sizes, groups and dilation.

local cnas = require "cnas"
local fixture = require "fixture"
local T = require "spec"

local ops = fixture.load "ops"
local candidates = fixture.load "candidates"
local LIMIT = { f64 = 1e-12, f32 = 1e-5 }

-- The i-th input of a case, made as make_fixtures.py makes it.
local function input(case, i, dtype)
  local spec = case.inputs[i]
  local name = ("%s.x%d"):format(case.key, i)
  if spec.below then return fixture.integers(name, spec.shape, spec.below, spec.u8 and "u8" or "i64") end
  local scale, shift = spec.scale or 1, 0
  if spec.positive then scale, shift = 0.5, 1 end
  local t = fixture.values(name, spec.shape, scale, shift)
  t = t:to(dtype):detach()
  return spec.grad and t:requires_grad_(true) or t
end

local function check_op(case, dtype)
  local inputs, limit = {}, LIMIT[dtype]
  for i = 1, #case.inputs do inputs[i] = input(case, i, dtype) end
  local arguments = table.move(inputs, 1, #inputs, 1, {})
  if next(case.attributes) then arguments[#arguments + 1] = case.attributes end
  local outputs = { cnas[case.op](table.unpack(arguments)) }
  T.equal(#outputs, case.outputs, "outputs")
  local loss
  for i, y in ipairs(outputs) do
    fixture.below(ops:error(("%s.y%d"):format(case.key, i), y), limit, "output " .. i)
    if y.requires_grad then
      local term = (y * fixture.values(("%s.g%d"):format(case.key, i), y:shape()):to(dtype)):sum()
      loss = loss and loss + term or term
    end
  end
  if loss then loss:backward() end
  for i, spec in ipairs(case.inputs) do
    if spec.grad then
      local key = ("%s.gx%d"):format(case.key, i)
      fixture.below(ops:gradient_error(key, inputs[i].grad), limit, "gradient of input " .. i)
    end
    if spec.state then fixture.below(ops:error(("%s.s%d"):format(case.key, i), inputs[i]), limit, "state " .. i) end
  end
end

-- Rows that PyTorch has no deterministic counterpart of, or that only copy; tensor_spec.lua and the C tests have them.
-- The blocks are compared with the plain rows that they stand for, in block_spec.lua.
local ELSEWHERE = { separable_block = true, pointwise_block = true, pointwise_blocks = true, reduce_block = true,
                    conv_block = true, pool_block = true, add_block = true, norm_factors = true,
                    contiguous = true, cast = true, dropout = true, drop_path = true, fill = true, fill_uniform = true,
                    fill_normal = true, accumulate = true, sgd_step = true, adam_step = true }

T.describe("an operation", function()
  T.it("has a case for every row of ops.def", function()
    local seen = {}
    for _, case in ipairs(ops.cases) do seen[case.op] = true end
    for _, row in ipairs(cnas.ops()) do
      local name = row.name:gsub("_$", "")
      T.truthy(seen[name] or ELSEWHERE[name], "no case for " .. name)
    end
  end)
  for _, dtype in ipairs { "f64", "f32" } do
    for _, case in ipairs(ops.cases) do
      T.it(("%s in %s computes what PyTorch does"):format(case.key, dtype), function() check_op(case, dtype) end)
    end
  end
end)

local function check_candidate(case, dtype)
  local limit = LIMIT[dtype]
  local op = cnas.space { case.name }:build(case.name, { channels = case.channels, stride = case.stride,
    affine = case.affine, track = case.affine, supernet = not case.affine, rng = cnas.rng(1, "weights") })
  fixture.fill(op, case.key .. ".")
  op:to(dtype)
  local x = fixture.values(case.key .. ".x", { 2, case.height, case.width, case.channels }):to(dtype):detach()
  x:requires_grad_(true)
  local y = op(x)
  fixture.below(candidates:error(case.key .. ".y", y), limit, "output")
  T.equal(y.requires_grad, case.gradient, "requires_grad")
  if not case.gradient then return end
  (y * fixture.values(case.key .. ".g", y:shape()):to(dtype)):sum():backward()
  fixture.below(candidates:gradient_error(case.key .. ".gx", x.grad), limit, "gradient of the input")
  local parameters, named = op:parameters(), {}
  for i, name in ipairs(parameters.names) do named[name] = parameters[i] end
  T.equal(#parameters, #case.parameters, "parameters")
  for _, name in ipairs(case.parameters) do
    T.truthy(named[name], "the operation has no parameter " .. name)
    fixture.below(candidates:gradient_error(("%s.gradient.%s"):format(case.key, name), named[name].grad), limit, name)
  end
end

T.describe("a candidate operation", function()
  for _, dtype in ipairs { "f64", "f32" } do
    for _, case in ipairs(candidates.cases) do
      T.it(("%s in %s computes what PyTorch does"):format(case.key, dtype), function() check_candidate(case, dtype) end)
    end
  end
end)
