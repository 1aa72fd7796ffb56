-- The controllers against PyTorch: for given weights and architectures the log-probability, the four entropies, the
-- REINFORCE loss and all its gradients.

local cnas = require "cnas"
local fixture = require "fixture"
local T = require "spec"

local file = fixture.load "controller"

local function check(case, dtype, limit)
  local controller = cnas.controller { space = cnas.space.darts(), nodes = case.nodes, hidden = case.hidden,
                                       temperature = case.temperature, tanh_constant = case.tanh_constant,
                                       op_tanh_reduce = case.op_tanh_reduce, dtype = dtype }
  local parameters = controller:parameters()
  cnas.no_grad(function()
    for i, name in ipairs(parameters.names) do
      parameters[i]:copy_(fixture.values("controller." .. name, parameters[i]:shape(), 0.25):to(dtype))
    end
  end)
  controller:open(case.nodes, case.opened)
  local arch, logp, entropy, parts = controller:evaluate(case.genotype)
  local loss = -(logp * case.advantage) - entropy * case.bonus
  loss:backward()

  for _, cell in ipairs { "normal", "reduction" } do
    for i, triple in ipairs(case.genotype[cell]) do
      T.equal({ table.unpack(arch[cell][i]) }, triple, cell)
    end
    local key = ("%s.%s.logp"):format(case.key, cell)
    fixture.below(file:error(key, parts[cell].logp), limit, cell .. ": log-probability")
  end
  fixture.below(file:error(case.key .. ".logp", logp), limit, "log-probability")
  local entropies = { parts.normal.node_entropy:item(), parts.normal.op_entropy:item(),
                      parts.reduction.node_entropy:item(), parts.reduction.op_entropy:item() }
  fixture.below(file:error(case.key .. ".entropies", cnas.tensor(entropies, { dtype = "f64" })), limit, "entropies")
  fixture.below(file:error(case.key .. ".loss", loss), limit, "loss")
  for i, name in ipairs(parameters.names) do
    fixture.below(file:gradient_error(("%s.gradient.%s"):format(case.key, name), parameters[i].grad), limit, name)
  end
end

for dtype, limit in pairs { f64 = 1e-10, f32 = 1e-5 } do
  T.describe("the controller in " .. dtype, function()
    for _, case in ipairs(file.cases) do
      T.it("computes what PyTorch does for " .. case.key, function() check(case, dtype, limit) end)
    end
  end)
end
