-- The evaluation network of the published cell, with auxiliary head, against PyTorch: logits in evaluation and in
-- training, loss, every gradient, and the running statistics after one step. Small in channels, whole in structure.

local cnas = require "cnas"
local fixture = require "fixture"
local T = require "spec"

local file = fixture.load "network"

local function check(case, dtype, limit)
  local net = cnas.network { space = cnas.space.darts(), genotype = case.genotype, channels = case.channels,
                             layers = case.layers, classes = case.classes, imagenet = case.imagenet, auxiliary = true,
                             rng = cnas.rng(1, "weights") }
  fixture.fill(net, case.key .. ".")
  net:to(dtype)
  local x = fixture.values(case.key .. ".x", { case.batch, case.size, case.size, 3 }):to(dtype)
  local target = fixture.integers(case.key .. ".target", { case.batch }, case.classes)
  net:train(false)
  local logits, auxiliary = net(x)
  T.equal(auxiliary, nil)
  fixture.below(file:error(case.key .. ".logits_eval", logits), limit, "logits in evaluation")
  net:train(true)
  logits, auxiliary = net(x)
  local loss = cnas.cross_entropy(logits, target) + cnas.cross_entropy(auxiliary, target) * 0.4
  loss:backward()
  fixture.below(file:error(case.key .. ".logits", logits), limit, "logits")
  fixture.below(file:error(case.key .. ".auxiliary", auxiliary), limit, "logits of the auxiliary head")
  fixture.below(file:error(case.key .. ".loss", loss), limit, "loss")
  local named = {}
  for _, entry in ipairs(net:state()) do named[entry.name] = entry.tensor end
  for _, name in ipairs(case.gradients) do
    T.truthy(named[name], "the net has no parameter " .. name)
    fixture.below(file:gradient_error(case.key .. ".gradient." .. name, named[name].grad), limit, name)
  end
  for _, name in ipairs(case.buffers) do
    T.truthy(named[name], "the net has no buffer " .. name)
    fixture.below(file:gradient_error(case.key .. ".buffer." .. name, named[name]), limit, name)
  end
end

T.describe("the evaluation network", function()
  for _, case in ipairs(file.cases) do
    T.it("for " .. case.key .. " computes what PyTorch does in f64", function() check(case, "f64", 1e-10) end)
  end
end)
