-- The default supernet (16 channels, 8 cells, 4 nodes, DARTS space) on random paths against PyTorch: logits, loss and
-- every gradient. All paths in f64; in f32 those on which PyTorch's own f32 agrees with its f64 (see make_fixtures.py).

local cnas = require "cnas"
local fixture = require "fixture"
local T = require "spec"

local file = fixture.load "supernet"

local net = fixture.fill(cnas.supernet { space = cnas.space.darts(), channels = 16, layers = 8, nodes = 4, classes = 10,
                                         rng = cnas.rng(1, "weights") })

local function parameters()
  local list, names = net:parameters(), {}
  for i, name in ipairs(list.names) do names[name] = list[i] end
  return names
end

local function compare(case, dtype, limit, gradient_limit)
  local x = fixture.values(case.key .. ".x", { case.batch, 32, 32, 3 }, 2):to(dtype)
  local target = fixture.integers("supernet.target", { case.batch }, 10)
  local logits = net(x, case.genotype)
  local loss = cnas.cross_entropy(logits, target)
  local named = parameters()
  for _, p in pairs(named) do p:set_grad(nil) end
  loss:backward()
  fixture.below(file:error(case.key .. ".logits", logits), limit, "logits")
  fixture.below(file:error(case.key .. ".loss", loss), limit, "loss")
  local expected = {}
  for _, name in ipairs(case.gradients) do
    expected[name] = true
    T.truthy(named[name], "the net has no parameter " .. name)
    fixture.below(file:gradient_error(case.key .. ".gradient." .. name, named[name].grad), gradient_limit, name)
  end
  for name, p in pairs(named) do
    T.truthy(expected[name] or not p.grad, name .. " is not on the path and has a gradient")
    p:set_grad(nil)
  end
end

T.describe("the default supernet in f32", function()
  local paths = 0
  for _, case in ipairs(file.cases) do
    if case.single then
      paths = paths + 1
      T.it("computes PyTorch's logits, loss and gradients on " .. case.key, function()
        compare(case, "f32", 1e-5, 1e-5)
      end)
    end
  end
  T.it("is compared on five paths", function() T.equal(paths, 5) end)
end)

T.describe("the default supernet", function()
  T.it("gives the same bits with 1, 2 and 3 threads", function()
    local case, threads = file.cases[1], cnas.threads()
    local x = fixture.values(case.key .. ".x", { case.batch, 32, 32, 3 }):to "f32"
    local target = fixture.integers("supernet.target", { case.batch }, 10)
    local function step()
      local logits = net(x, case.genotype)
      cnas.cross_entropy(logits, target):backward()
      local results = { logits }
      for name, p in pairs(parameters()) do
        results[name] = p.grad
        p:set_grad(nil)
      end
      return results
    end
    cnas.threads(1)
    local expected = step()
    for n = 2, 3 do
      cnas.threads(n)
      for name, t in pairs(step()) do
        if cnas.ne(t, expected[name]):sum():item() ~= 0 then error(name .. " differs with " .. n .. " threads") end
      end
    end
    cnas.threads(threads)
  end)
end)

T.describe("the default supernet in f64", function()
  for _, case in ipairs(file.cases) do
    T.it("computes PyTorch's logits, loss and gradients on " .. case.key, function()
      net:to "f64"
      compare(case, "f64", 1e-10, 1e-10)
    end)
  end
end)
