-- The controller: what it may choose, its probabilities and their gradients.
local T = require "spec"
local cnas = require "cnas"

local space = cnas.space.darts()
local function make(given)
  local o = { space = space, nodes = 3, hidden = 12, dtype = "f64", seed = 5 }
  for k, v in pairs(given or {}) do o[k] = v end
  return cnas.controller(o)
end

-- Every choice probability of the two cells multiplied out would be too many: n = 1 and few operations stay small.
local function every_architecture(nodes_open, ops)
  T.equal(nodes_open, 1)
  local cells = {}
  for f1 = 0, 1 do for f2 = 0, 1 do
    for _, o1 in ipairs(ops) do for _, o2 in ipairs(ops) do
      cells[#cells + 1] = { { o1, f1, 2 }, { o2, f2, 2 } }
    end end
  end end
  return cells
end

local function arch_of(normal, reduction)
  return cnas.genotype.new { normal = normal, normal_concat = { 2 }, reduction = reduction, reduction_concat = { 2 } }
end

T.describe("controller", function()
  T.it("samples cells of the right shape", function()
    local c = make()
    for _ = 1, 20 do
      local arch = c:sample()
      for _, cell in ipairs { "normal", "reduction" } do
        T.equal(#arch[cell], 6)
        T.equal(arch[cell .. "_concat"], { 2, 3, 4 })
        for i, triple in ipairs(arch[cell]) do
          T.equal(triple[3], 2 + (i - 1) // 2)
          T.truthy(triple[2] >= 0 and triple[2] < triple[3])
        end
      end
      cnas.genotype.check(arch, space)
    end
  end)

  T.it("gives an architecture the log-probability it was sampled with", function()
    for _, given in ipairs { {}, { temperature = 5.0, tanh_constant = 2.5, op_tanh_reduce = 2.5 },
                             { no_duplicate_edges = true, no_none = true, max_skip = 1 } } do
      local c = make(given)
      local arch, logp, entropy, parts = c:sample()
      local again, logp2, entropy2, parts2 = c:evaluate(arch)
      T.equal(cnas.genotype.text(again), cnas.genotype.text(arch))
      T.equal(logp2:item(), logp:item())
      T.equal(entropy2:item(), entropy:item())
      T.near(parts.normal.logp:item() + parts.reduction.logp:item(), logp:item(), 1e-12)
      local sum = 0.0
      for _, cell in pairs(parts2) do sum = sum + cell.node_entropy:item() + cell.op_entropy:item() end
      T.near(sum, entropy:item(), 1e-12)
    end
  end)

  T.it("probabilities of all architectures add up to one", function()
    for _, given in ipairs { {}, { no_duplicate_edges = true }, { max_skip = 1 }, { no_none = true } } do
      local c = make(given)
      local ops = { "sep_conv_3x3", "skip_connect", "none" }
      c:open(1, ops)
      local fixed = c:sample().reduction
      local sum, count = 0.0, 0
      for _, normal in ipairs(every_architecture(1, ops)) do
        local allowed, _, _, _, parts = pcall(c.evaluate, c, arch_of(normal, fixed))
        if allowed then
          sum = sum + math.exp(parts.normal.logp:item())
          count = count + 1
        end
      end
      T.near(sum, 1, 1e-12)
      T.equal(count, given.no_duplicate_edges and 18 or given.max_skip and 32 or given.no_none and 16 or 36)
    end
  end)

  T.it("entropies are those of the choices' distributions", function()
    local c = make()
    c:open(1, { "sep_conv_3x3" })
    local _, _, _, parts = c:sample()
    T.equal(parts.normal.op_entropy:item() + 0.0, 0.0)
    T.truthy(parts.normal.node_entropy:item() <= 2 * math.log(2) + 1e-12)
    T.truthy(parts.normal.node_entropy:item() > 1.9 * math.log(2)) -- parameters are small: nearly uniform
  end)

  T.it("samples as often as it says", function()
    local c = make { seed = 2 }
    for _, p in ipairs(c:parameters()) do cnas.no_grad(function() p:copy_(p * 12) end) end
    c:open(1, { "sep_conv_3x3", "none" })
    local times, seen, total = 600, {}, 0
    for _ = 1, times do
      local arch = c.draw()
      local key = cnas.genotype.text(arch_of(arch.normal, { { "none", 0, 2 }, { "none", 0, 2 } }))
      seen[key] = seen[key] or { count = 0, normal = arch.normal, reduction = arch.reduction }
      seen[key].count = seen[key].count + 1
    end
    for _, s in pairs(seen) do -- four deviations of a binomial
      local _, _, _, parts = c:evaluate(arch_of(s.normal, s.reduction))
      local p = math.exp(parts.normal.logp:item())
      T.truthy(math.abs(s.count - times * p) < 4 * math.sqrt(times * p * (1 - p)) + 1)
      total = total + s.count
    end
    T.equal(total, times)
  end)

  T.it("chooses only what is open", function()
    local c = make()
    c:open(2, { "dil_conv_5x5", "none" })
    local found = {}
    for _, sampler in ipairs { c.draw, c.uniform } do
      for _ = 1, 30 do
        local arch = sampler()
        T.equal(#arch.normal, 4)
        T.equal(arch.normal_concat, { 2, 3 })
        for _, triple in ipairs(arch.reduction) do found[triple[1]] = true end
      end
    end
    T.equal(found, { dil_conv_5x5 = true, none = true })
    c:open(cnas.curriculum.op(space, { seed = 1, nodes = 3 })[1])
    T.equal(c.draw().normal[1][1], "sep_conv_3x3")
    c:open(3, 3)
    T.equal(c.open_ops, { 0, 1, 2 })
  end)

  T.it("keeps to the guards, learnt and uniform", function()
    local c = make { max_skip = 1, no_none = true, no_duplicate_edges = true }
    for _, sampler in ipairs { c.draw, c.uniform } do
      for _ = 1, 60 do
        local arch = sampler()
        for _, cell in ipairs { "normal", "reduction" } do
          local skips = 0
          for i, triple in ipairs(arch[cell]) do
            T.truthy(triple[1] ~= "none")
            if triple[1] == "skip_connect" then skips = skips + 1 end
            if i % 2 == 0 then T.truthy(arch[cell][i - 1][2] ~= triple[2]) end
          end
          T.truthy(skips <= 1)
        end
      end
    end
  end)

  T.it("refuses what cannot be", function()
    local c = make { no_none = true, max_skip = 0 }
    T.raises("no operation is open", c.open, c, 3, { "none" })
    T.raises("skip_connect is capped", c.open, c, 3, { "none", "skip_connect" })
    T.raises("no operation 'sepconv_3x3' %(did you mean 'sep_conv_3x3'%?%)", c.open, c, 3, { "sepconv_3x3" })
    T.raises("nodes must be an integer in 1 … 3, got 4", c.open, c, 4, 8)
    T.raises("unknown option 'hiden' %(did you mean 'hidden'%?%)", cnas.controller,
             { space = space, nodes = 2, hiden = 3 })
    T.raises("option 'space' is required", cnas.controller, { nodes = 2 })
    c:open(1, { "sep_conv_3x3" })
    T.raises("operation none is not open", c.evaluate, c, arch_of({ { "none", 0, 2 }, { "none", 1, 2 } },
                                                                 { { "none", 0, 2 }, { "none", 1, 2 } }))
  end)

  T.it("is the same for the same seed, and goes on from a saved state", function()
    local a, b, other = make(), make(), make()
    T.equal(cnas.genotype.text(a.draw()), cnas.genotype.text(b.draw()))
    a.draw()
    for _, p in ipairs(other:parameters()) do cnas.no_grad(function() p:copy_(p * 3) end) end
    local state = {}
    for _, entry in ipairs(a:state()) do state[entry.name] = entry.tensor end
    other:load(state)
    for _ = 1, 3 do
      T.equal(cnas.genotype.text(other.draw()), cnas.genotype.text(a.draw()))
      T.equal(cnas.genotype.text(other.uniform()), cnas.genotype.text(a.uniform()))
    end
    T.raises("the state has no 'normal.embedding.weight'", other.load, other, {})
  end)

  T.it("starts uniform in ±0.1, with one logit for each operation", function()
    local c = make()
    local parameters = c:parameters()
    local largest = 0
    for i, p in ipairs(parameters) do
      largest = math.max(largest, p:detach():abs():reshape { p:count() }:max(1):item())
      if parameters.names[i] == "normal.head.weight" then T.equal(p:shape(), { 12, 8 }) end
      if parameters.names[i] == "normal.embedding.weight" then T.equal(p:shape(), { 3 + 1 + 8, 12 }) end
    end
    T.truthy(largest <= 0.1 and largest > 0.09)
    T.equal(#parameters, 18)
  end)

  T.it("has the gradients that finite differences give", function()
    for _, given in ipairs { { tanh_constant = 1.5, temperature = 0.5, op_tanh_reduce = 2.0 },
                             { no_duplicate_edges = true, max_skip = 1 } } do
      given.nodes, given.hidden = 2, 3
      local c = make(given)
      for _, p in ipairs(c:parameters()) do cnas.no_grad(function() p:copy_(p * 8) end) end
      local arch = c.draw()
      local function value()
        local _, logp, entropy = c:evaluate(arch)
        return -(logp * 0.7) - entropy * 0.3
      end
      value():backward()
      local parameters = c:parameters()
      for i, p in ipairs(parameters) do
        local grad, flat = p.grad and p.grad:clone(), p:detach():reshape { p:count() }
        T.truthy(grad, parameters.names[i] .. " has no gradient")
        grad = grad:reshape { p:count() }:totable()
        for _, j in ipairs { 1, #grad // 2 + 1, #grad } do
          local entry, before = flat:narrow(1, j, 1), flat:totable()[j]
          local function at(x) entry:fill_(x) return cnas.no_grad(value):item() end
          local slope = (at(before + 1e-5) - at(before - 1e-5)) / 2e-5
          entry:fill_(before)
          T.truthy(math.abs(slope - grad[j]) < 1e-7 + 1e-6 * math.abs(slope),
                   ("%s[%d]: %g, finite differences %g"):format(parameters.names[i], j, grad[j], slope))
        end
      end
    end
  end)

  T.it("learns what it is paid for", function()
    local c = make { seed = 3, nodes = 2 }
    local policy = cnas.optim.adam(c:parameters(), { lr = 0.03 })
    local baseline = cnas.metric.moving_average(0.9)
    local function paid(arch)
      local n = 0
      for _, cell in ipairs { "normal", "reduction" } do
        for _, triple in ipairs(arch[cell]) do n = n + (triple[1] == "dil_conv_5x5" and 1 or 0) end
      end
      return n / 8
    end
    local last = 0.0
    for step = 1, 250 do
      local arch, logp = c:sample()
      local r = paid(arch)
      policy:step(-(logp * (r - baseline(r))))
      if step > 200 then last = last + r / 50 end
    end
    T.truthy(last > 0.8, "mean reward of the last samples " .. last)
  end)
end)
