-- What searches are made of, beside samplers: populations, finalists, Pareto sets, scores, rewards with a price.
local T = require "spec"
local cnas = require "cnas"

local space = cnas.space.darts()
local sampler = cnas.sampler { space = space, nodes = 2, seed = 1 }

-- Gives `to` the state of `from`, as a checkpoint does.
local function handed_on(from, to)
  local state = {}
  for _, entry in ipairs(from:state()) do state[entry.name] = entry.tensor:clone() end
  to:load(state)
  return to
end

T.describe("a packed value", function()
  T.it("comes back", function()
    local packed = require "cnas.packed"
    for _, value in ipairs { { 1, 2.5, "ä\n\"x", { a = { true, false } } }, {}, "text", 1 / 3, ("x"):rep(100000) } do
      T.equal(packed.value(packed.tensor(value)), value)
    end
  end)
end)

T.describe("a population", function()
  T.it("lets the oldest die, however good", function()
    local p = cnas.population { size = 3, sample = 2, rng = cnas.rng(1, "p") }
    T.equal(p:full(), false)
    for i, fitness in ipairs { 9, 1, 2 } do p:add("individual " .. i, fitness) end
    T.equal(p:full(), true)
    T.near(p:mean(), 4, 1e-15)
    p:add("individual 4", 3)
    T.near(p:mean(), 2, 1e-15) -- the one with 9 is gone
    T.equal(p.born, 4)
    for _ = 1, 50 do T.truthy((p:parent()) ~= "individual 1") end
  end)

  T.it("takes the fittest of so many drawn ones as a parent", function()
    local p = cnas.population { size = 4, sample = 2, rng = cnas.rng(2, "p") }
    for i = 1, 4 do p:add(i, i) end
    local counts, times = { 0, 0, 0, 0 }, 8000
    for _ = 1, times do
      local one, fitness = p:parent()
      T.equal(one, fitness)
      counts[one] = counts[one] + 1
    end
    for i = 1, 4 do -- the larger of two drawn with replacement
      local expected = times * (i * i - (i - 1) * (i - 1)) / 16
      T.truthy(math.abs(counts[i] - expected) < 5 * math.sqrt(expected), "member " .. i)
    end
  end)

  T.it("goes on as it was when its state is loaded, genotypes included", function()
    local function make() return cnas.population { size = 5, sample = 2, rng = cnas.rng(3, "p"),
                                                   revive = cnas.genotype.new } end
    local a = make()
    for i = 1, 7 do a:add(sampler.draw(), i / 7) end
    local b = handed_on(a, make())
    T.equal(b.born, 7)
    for _ = 1, 20 do
      local x, fx = a:parent()
      local y, fy = b:parent()
      T.equal({ cnas.genotype.text(y), fy }, { cnas.genotype.text(x), fx })
    end
  end)

  T.it("refuses what makes no sense", function()
    local rng = cnas.rng(1, "p")
    T.raises("size must be an integer above 0, got 0", cnas.population, { size = 0, sample = 1, rng = rng })
    T.raises("sample must be an integer above 0, got 1.5", cnas.population, { size = 1, sample = 1.5, rng = rng })
    T.raises("option 'rng' is required", cnas.population, { size = 1, sample = 1 })
    local p = cnas.population { size = 1, sample = 1, rng = rng }
    T.raises("nobody is there", p.parent, p)
    T.raises("fitness must be a number", p.add, p, "x", 0 / 0)
    T.raises("fitness must be a number", p.add, p, "x")
  end)
end)

T.describe("finalists", function()
  T.it("are the best, each once, the best first", function()
    local f, archs = cnas.finalists(3), {}
    for i = 1, 6 do archs[i] = sampler.draw() end
    for i, reward in ipairs { 3, 1, 5, 4, 2, 5 } do f:add(archs[i], reward) end
    f:add(archs[3], 5)
    T.equal(#f, 3)
    local text = cnas.genotype.text
    for _, expected in ipairs { 3, 6, 4, 3 } do T.equal(text(f.draw()), text(archs[expected])) end -- and from the front
    local reward, best = f:best()
    T.equal(reward, 5)
    T.equal(text(best), text(archs[3]))
    local again = handed_on(f, cnas.finalists(3))
    T.equal(text(again.draw()), text(archs[3]))
    T.equal(#again, 3)
    T.raises("expected how many", cnas.finalists, 0)
    T.raises("there are none", cnas.finalists(1).draw)
    T.raises("reward must be a number", f.add, f, archs[1], 0 / 0)
  end)
end)

T.describe("a Pareto set", function()
  local aims = { accuracy = "most", parameters = "least", macs = "least" }

  T.it("keeps exactly those that nobody beats", function()
    local rng = cnas.rng(4, "pareto")
    for _ = 1, 20 do
      local front, all = cnas.pareto(aims), {}
      for i = 1, 60 do
        all[i] = { accuracy = rng:integer(6), parameters = rng:integer(6), macs = rng:integer(6) }
        front:add(i, all[i])
      end
      local function beats(a, b)
        return a.accuracy >= b.accuracy and a.parameters <= b.parameters and a.macs <= b.macs
          and (a.accuracy > b.accuracy or a.parameters < b.parameters or a.macs < b.macs)
      end
      local there = {}
      for _, member in ipairs(front:list()) do there[member.item] = true end
      for i, values in ipairs(all) do
        local beaten, earlier_equal = false, false
        for j, other in ipairs(all) do
          beaten = beaten or beats(other, values)
          earlier_equal = earlier_equal or j < i and not beats(other, values) and not beats(values, other)
            and other.accuracy == values.accuracy and other.parameters == values.parameters
            and other.macs == values.macs
        end
        T.equal(there[i] or false, not beaten and not earlier_equal)
      end
      T.equal(front.seen, 60)
    end
  end)

  T.it("lists by any aim, is kept by runs, and writes itself", function()
    local front = cnas.pareto { accuracy = "most", parameters = "least" }
    local a, b = sampler.draw(), sampler.draw()
    T.equal(front:add(a, { accuracy = 0.9, parameters = 300, other = 1 }), true)
    T.equal(front:add(b, { accuracy = 0.8, parameters = 100 }), true)
    T.equal(front:add(b, { accuracy = 0.8, parameters = 200 }), false)
    T.equal(front:list()[1].values, { accuracy = 0.9, parameters = 300 })
    T.equal(front:list("parameters")[1].values.parameters, 100)
    local again = handed_on(front, cnas.pareto { accuracy = "most", parameters = "least" })
    T.equal(cnas.genotype.text(again:list()[1].item), cnas.genotype.text(a))
    local written
    again:write { record = { json = function(_, name, value) written = { name, value } end } }
    T.equal(written[1], "pareto.json")
    T.equal(written[2].seen, 3)
    T.equal(written[2].aims, { accuracy = "most", parameters = "least" })
    T.equal(#written[2].front, 2)
    T.equal(written[2].front[1].accuracy, 0.9)
    T.truthy(written[2].front[1].genotype.normal)
  end)

  T.it("refuses what makes no sense", function()
    T.raises("expected what is aimed at", cnas.pareto, {})
    T.raises("expected what is aimed at", cnas.pareto)
    T.raises("accuracy: expected \"most\" or \"least\", got best", cnas.pareto, { accuracy = "best" })
    local front = cnas.pareto(aims)
    T.raises("macs must be a number, got nil", front.add, front, "x", { accuracy = 1, parameters = 1 })
    T.raises("accuracy must be a number", front.add, front, "x", { accuracy = 0 / 0, parameters = 1, macs = 1 })
    T.raises("no aim 'accuracie' %(did you mean 'accuracy'%?%)", front.list, front, "accuracie")
  end)
end)

T.describe("a score", function()
  T.it("is the accuracy on the first images, measured once for each architecture", function()
    local _, valid = cnas.data.load("shapes", { train_images = 60, split = 0.5, seed = 1 })
    local net = cnas.supernet { space = space, channels = 2, layers = 3, nodes = 2, classes = 10,
                                rng = cnas.rng(1, "w") }
    local score = cnas.score { net = net, dataset = valid, batch = 10, images = 20 }
    local arch, right = sampler.draw(), 0.0
    for x, y in cnas.data.loader { dataset = valid:subset { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
                                                            18, 19, 20 }, batch = 10, augment = false } do
      right = right + cnas.accuracy(cnas.no_grad(net, x, arch), y):item() / 2
    end
    T.near(score(arch), right, 1e-9)
    T.equal(score(arch), score(arch))
    T.equal(score.measured, 1)
    score:forget()
    T.near(score(arch), right, 1e-9)
    T.equal(score.measured, 2)
  end)
end)

T.describe("a reward with a price", function()
  local costs = cnas.costs { space = space, channels = 4, layers = 3, latency = function() return 8 end }
  local arch = sampler.draw()
  local cost = costs(arch)

  T.it("falls by the price where a cost is above its target, and rises where it is below", function()
    T.equal(costs:reward()(0.8, arch), 0.8)
    T.near(costs:reward { macs = cost.macs }(0.8, arch), 0.8, 1e-12)
    T.near(costs:reward { macs = cost.macs / 2, price = 0.3 }(0.8, arch), 0.8 * 2 ^ -0.3, 1e-12)
    T.near(costs:reward { parameters = cost.parameters * 4, latency = 2, price = 0.5 }(0.8, arch), 0.8 * 2 / 2, 1e-12)
    T.raises("unknown option 'mac' %(did you mean 'macs'%?%)", costs.reward, costs, { mac = 1 })
  end)

  T.it("can measure latency, and says when it does not", function()
    local plain = cnas.costs { space = space, channels = 4, layers = 3 }
    T.equal(plain(arch).latency, nil)
    T.raises("latency = true", plain:reward { latency = 1 }, 0.5, arch)
    local measured = cnas.costs { space = space, channels = 4, layers = 3, latency = true }(arch)
    T.truthy(measured.latency > 0 and measured.latency < 1e4)
    T.equal(costs:aims(), { accuracy = "most", parameters = "least", macs = "least", latency = "least" })
    T.equal(plain:aims(), { accuracy = "most", parameters = "least", macs = "least" })
  end)
end)
