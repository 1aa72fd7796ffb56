-- The default supernet (16 channels, 8 cells, 4 nodes, DARTS space) on random paths against PyTorch: logits, loss and
-- every gradient; in f32 on paths and images that keep away from the kinks of ReLUs and maxima (see make_fixtures.py).

local cnas = require "cnas"
local fixture = require "fixture"
local T = require "spec"

local file = fixture.load "supernet"

local net = fixture.fill(cnas.supernet { space = cnas.space.darts(), channels = 16, layers = 8, nodes = 4, classes = 10,
                                         rng = cnas.rng(1, "weights") })

-- Its parameters by name, without gradients.
local function parameters()
  local list, names = net:parameters(), {}
  for i, name in ipairs(list.names) do
    list[i]:set_grad(nil)
    names[name] = list[i]
  end
  return names
end

local LIMIT = { f32 = 1e-5, f64 = 1e-10 }

local function compare(case, limit)
  local x = fixture.values(case.images, { case.batch, case.size, case.size, 3 }, 2):to(case.dtype)
  local target = fixture.integers("supernet.target", { case.batch }, 10)
  local logits = net(x, case.genotype)
  local loss = cnas.cross_entropy(logits, target)
  local named = parameters()
  loss:backward()
  fixture.below(file:error(case.key .. ".logits", logits), limit, "logits")
  fixture.below(file:error(case.key .. ".loss", loss), limit, "loss")
  local expected = {}
  for _, name in ipairs(case.gradients) do
    expected[name] = true
    T.truthy(named[name], "the net has no parameter " .. name)
    fixture.below(file:gradient_error(case.key .. ".gradient." .. name, named[name].grad), limit, name)
  end
  for name, p in pairs(named) do
    T.truthy(expected[name] or not p.grad, name .. " is not on the path and has a gradient")
    p:set_grad(nil)
  end
end

local function same_bits()
  local case, threads = file.cases[1], cnas.threads()
  local x = fixture.values(case.images, { case.batch, case.size, case.size, 3 }, 2):to "f32"
  local target = fixture.integers("supernet.target", { case.batch }, 10)
  local function step()
    local named, logits = parameters(), net(x, case.genotype)
    cnas.cross_entropy(logits, target):backward()
    local results = { logits = logits }
    for name, p in pairs(named) do results[name] = p.grad end
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
end

T.describe("the default supernet", function()
  for _, dtype in ipairs { "f32", "f64" } do
    for _, case in ipairs(file.cases) do
      if case.dtype == dtype then
        T.it(("computes PyTorch's logits, loss and gradients in %s on %s"):format(dtype, case.key), function()
          net:to(dtype)
          compare(case, LIMIT[dtype])
        end)
      end
    end
    if dtype == "f32" then T.it("gives the same bits with 1, 2 and 3 threads", same_bits) end
  end
end)
