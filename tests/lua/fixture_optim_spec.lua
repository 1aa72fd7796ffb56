-- Ten steps of SGD and Adam against PyTorch: parameters, losses, gradient norms, and the optimizer's state.

local cnas = require "cnas"
local fixture = require "fixture"
local T = require "spec"

local file = fixture.load "optim"
local SHAPES = { weight = { 8, 16 }, bias = { 16 }, head = { 16, 4 } }
local ORDER = { "weight", "bias", "head" }
local LIMIT = { f32 = 1e-5, f64 = 1e-10 }

local function has(list, value)
  for _, v in ipairs(list) do if v == value then return true end end
  return false
end

local function run(case, dtype)
  local p = {}
  for _, name in ipairs(ORDER) do
    p[name] = fixture.weight("optim." .. name, SHAPES[name]):to(dtype):detach():requires_grad_(true)
  end
  local options = {}
  for k, v in pairs(case.options) do options[k] = v end
  local groups = { p.weight, p.bias, p.head, names = ORDER }
  if case.groups then
    groups = { { params = { p.weight, names = { "weight" } } },
               { params = { p.bias, p.head, names = { "bias", "head" } }, lr = 0.2, weight_decay = 0 } }
  end
  local optimizer = cnas.optim[case.kind](groups, options)
  local x = fixture.values("optim.x", { 12, 8 }):to(dtype)
  local t = fixture.integers("optim.t", { 12 }, 4)
  local losses, norms = {}, {}
  local clip = case.clip > 0 and { clip = case.clip } or nil
  for step = 1, case.steps do
    local loss = cnas.cross_entropy(cnas.matmul(cnas.tanh(x:matmul(p.weight) + p.bias), p.head), t)
    if has(case.skip, step) then
      loss:backward()
      p.bias:set_grad(nil)
      losses[step] = loss:item()
      local _, norm = optimizer:step(nil, clip)
      norms[step] = norm
    else
      losses[step], norms[step] = optimizer:step(loss, clip)
    end
    T.equal(p.weight.grad, nil)
  end
  return p, optimizer, losses, norms
end

for _, dtype in ipairs { "f64", "f32" } do
  T.describe("ten steps in " .. dtype, function()
    for _, case in ipairs(file.cases) do
      T.it("of " .. case.key, function()
        local limit = LIMIT[dtype]
        local p, optimizer, losses, norms = run(case, dtype)
        for _, name in ipairs(ORDER) do
          fixture.below(file:error(case.key .. "." .. name, p[name]), limit, name)
        end
        fixture.below(file:error(case.key .. ".losses", cnas.tensor(losses, { dtype = "f64" })), limit, "losses")
        fixture.below(file:error(case.key .. ".norms", cnas.tensor(norms, { dtype = "f64" })), limit, "norms")
        local checked = 0
        for _, entry in ipairs(optimizer:state()) do
          if not entry.name:find "%.step$" then
            fixture.below(file:error(case.key .. "." .. entry.name, entry.tensor), limit, entry.name)
            checked = checked + 1
          end
        end
        T.equal(checked, case.kind == "adam" and 6 or case.options.momentum and 3 or 0)
      end)
    end
  end)
end
