-- Which architectures may be chosen: uniform samples, guards, mutation; what they cost, and hard limits on it.
local T = require "spec"
local cnas = require "cnas"

local space = cnas.space.darts()
local small = { space = space, channels = 4, layers = 5 }

local function sampler(more)
  local o = { space = space, nodes = 3, seed = 1 }
  for k, v in pairs(more or {}) do o[k] = v end
  return cnas.sampler(o)
end

-- What a triple of an architecture was before and is now, as text, where they differ.
local function differences(a, b)
  local list = {}
  for _, cell in ipairs { "normal", "reduction" } do
    for i, x in ipairs(a[cell]) do
      local y = b[cell][i]
      if x[1] ~= y[1] or x[2] ~= y[2] then
        list[#list + 1] = { cell = cell, i = i, op = x[1] ~= y[1], from = x[2] ~= y[2] }
      end
      T.equal(x[3], y[3])
    end
  end
  return list
end

T.describe("a sampler", function()
  T.it("draws the same with the same seed, and as a controller of that seed does uniformly", function()
    local a, b, other = sampler(), sampler(), sampler { seed = 2 }
    local controller = cnas.controller { space = space, nodes = 3, seed = 1, hidden = 4 }
    local differ = false
    for _ = 1, 10 do
      local text = cnas.genotype.text(a.draw())
      T.equal(cnas.genotype.text(b.uniform()), text)
      T.equal(cnas.genotype.text(controller.uniform()), text)
      differ = differ or cnas.genotype.text(other.draw()) ~= text
    end
    T.truthy(differ)
  end)

  T.it("goes on where it was when its state is loaded", function()
    local a, b = sampler(), sampler()
    for _ = 1, 3 do a.draw() end
    local state = {}
    for _, entry in ipairs(a:state()) do state[entry.name] = entry.tensor end
    b:load(state)
    T.equal(cnas.genotype.text(b.draw()), cnas.genotype.text(a.draw()))
  end)

  T.it("draws every choice equally often", function()
    local s, counts, times = sampler { nodes = 1 }, {}, 4000
    for _ = 1, times do
      local op, from = table.unpack(s.draw().normal[2])
      counts[op .. from] = (counts[op .. from] or 0) + 1
    end
    local expected = times / 16
    for _, name in ipairs(space:names()) do
      for from = 0, 1 do
        T.truthy(math.abs((counts[name .. from] or 0) - expected) < 5 * math.sqrt(expected), name)
      end
    end
  end)

  T.it("mutates one triple, its operation or its source, and reaches all of them", function()
    local s = sampler()
    local seen = {}
    for _ = 1, 400 do
      local parent = s.draw()
      local child = s:mutate(parent)
      cnas.genotype.check(child, space)
      local list = differences(parent, child)
      T.equal(#list, 1)
      T.truthy(list[1].op ~= list[1].from)
      seen[list[1].cell .. list[1].i .. (list[1].op and "op" or "from")] = true
    end
    local count = 0
    for _ in pairs(seen) do count = count + 1 end
    T.equal(count, 2 * 6 * 2)
  end)

  T.it("mutates within what is open and the guards", function()
    local s = sampler { max_skip = 1, no_none = true, no_duplicate_edges = true }
    s:open(2, { "sep_conv_3x3", "skip_connect", "none", "max_pool_3x3" })
    local arch = s.draw()
    for _ = 1, 200 do
      arch = s:mutate(arch)
      T.truthy(s:allows(arch))
      for _, cell in ipairs { "normal", "reduction" } do
        local skips = 0
        T.equal(#arch[cell], 4)
        for i, triple in ipairs(arch[cell]) do
          T.truthy(triple[1] == "sep_conv_3x3" or triple[1] == "skip_connect" or triple[1] == "max_pool_3x3")
          if triple[1] == "skip_connect" then skips = skips + 1 end
          if i % 2 == 0 then T.truthy(triple[2] ~= arch[cell][i - 1][2]) end
        end
        T.truthy(skips <= 1)
      end
    end
    s:open(1, { "sep_conv_3x3" }) -- two edges from different nodes: nothing can change
    T.raises("not one is within the limits", s.mutate, s, s.draw())
  end)

  T.it("knows what it allows", function()
    local s = sampler { nodes = 4 }
    local arch = cnas.genotype.named "CNAS"
    T.truthy(s:allows(arch))
    s:open(4, { "sep_conv_3x3", "skip_connect", "max_pool_3x3", "dil_conv_3x3" })
    T.truthy(not s:allows(arch)) -- has dil_conv_5x5
    s:open(3, 8)
    T.truthy(not s:allows(arch)) -- has four nodes
    T.truthy(not sampler { nodes = 4, max_skip = 0 }:allows(arch))
  end)

  T.it("draws again what is not accepted, and says when nothing is", function()
    local s = sampler { accept = function(arch) return arch.normal[1][1] == "none" end }
    for _ = 1, 20 do T.equal(s.draw().normal[1][1], "none") end
    local e = T.raises("of 1000 architectures not one is within the limits", sampler { accept = function() end }.draw)
    T.equal(e.code, "usage")
  end)
end)

T.describe("costs", function()
  T.it("are those of the network, for every kind of architecture", function()
    local costs = cnas.costs { space = space, channels = 36, layers = 20, classes = 10 }
    T.equal(costs(cnas.genotype.named "CNAS"), { parameters = 3695374, macs = 564019200 + 5760 })
    for _, o in ipairs {
      { channels = 4, layers = 5, classes = 10 }, { channels = 4, layers = 8, classes = 7, auxiliary = true },
      { channels = 4, layers = 6, classes = 10, imagenet = true },
    } do
      o.space = space
      costs = cnas.costs(o)
      for nodes = 1, 4 do
        local s = cnas.sampler { space = space, nodes = nodes, seed = nodes }
        for _ = 1, 6 do
          local arch = s.draw()
          o.genotype = arch
          local real = cnas.cost.network(o)
          T.equal(costs(arch), { parameters = real.parameters, macs = real.conv_macs + real.linear_macs })
        end
      end
    end
  end)

  T.it("ask for the latency of an architecture once", function()
    local asked = 0
    local costs = cnas.costs { space = space, channels = 4, layers = 3, latency = function()
      asked = asked + 1
      return 2.5
    end }
    local arch = sampler().draw()
    T.equal(costs(arch).latency, 2.5)
    T.equal(costs(arch).latency, 2.5)
    T.equal(asked, 1)
  end)
end)

T.describe("limits", function()
  T.it("are kept by samples, mutations and controllers, and do not starve them", function()
    local costs = cnas.costs(small)
    local free, sum = sampler { nodes = 4 }, 0
    for _ = 1, 100 do sum = sum + costs(free.draw()).parameters / 100 end
    local most = { max_parameters = sum * 0.9, max_macs = costs(free.draw()).macs }
    for _, guards in ipairs { {}, { no_none = true, no_duplicate_edges = true, max_skip = 1 } } do
      local o = { nodes = 4, costs = costs }
      for _, t in ipairs { most, guards } do for k, v in pairs(t) do o[k] = v end end
      local s = sampler(o)
      o.hidden, o.space = 8, space
      local controller = cnas.controller(o)
      local close = 0
      local arch = s.draw()
      for _ = 1, 60 do
        arch = s:mutate(arch)
        for _, one in ipairs { s.draw(), controller.draw(), controller.uniform(), arch } do
          local cost = costs(one)
          T.truthy(cost.parameters <= most.max_parameters and cost.macs <= most.max_macs)
          if cost.parameters > 0.8 * most.max_parameters then close = close + 1 end
        end
      end
      T.truthy(close > 10)
    end
  end)

  T.it("leave exactly the architectures that are cheap enough, each as probable as it says", function()
    local two = cnas.space { "sep_conv_3x3", "skip_connect" }
    local costs = cnas.costs { space = two, channels = 4, layers = 3 }
    local all, found = cnas.sampler { space = two, nodes = 1, seed = 1 }, {}
    local middle = (costs:base(1).parameters + costs(cnas.genotype.new {
      normal = { { "skip_connect", 0, 2 }, { "skip_connect", 1, 2 } }, normal_concat = { 2 },
      reduction = { { "skip_connect", 0, 2 }, { "skip_connect", 1, 2 } }, reduction_concat = { 2 } }).parameters) // 2
    local controller = cnas.controller { space = two, nodes = 1, seed = 3, hidden = 8, costs = costs,
                                         max_parameters = middle }
    local expected, mass = 0, 0.0
    for _ = 1, 3000 do
      local arch = all.draw()
      local text = cnas.genotype.text(arch)
      if costs(arch).parameters <= middle and not found[text] then
        found[text] = true
        expected = expected + 1
        local _, logp = controller:evaluate(arch)
        mass = mass + math.exp(logp:item())
      elseif costs(arch).parameters > middle then
        T.truthy(not controller:allows(arch))
        T.raises("cannot be chosen", controller.evaluate, controller, arch)
      end
    end
    T.truthy(expected > 16 and expected < 256)
    T.near(mass, 1, 1e-4) -- the masked probabilities add up
  end)

  T.it("say when they cannot be kept, and what they need", function()
    local costs = cnas.costs(small)
    local e = T.raises("the limit of 10 parameters cannot be kept: the cheapest open architecture has %d+",
                       sampler { costs = costs, max_parameters = 10 }.draw)
    T.equal(e.code, "usage")
    T.raises("max_macs needs the option costs", sampler, { max_macs = 10 })
    T.raises("max_macs must be a number, got x", sampler, { max_macs = "x", costs = costs })
  end)
end)
