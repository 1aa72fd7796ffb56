-- What a curriculum opens, and when; schedules and running metrics.
local T = require "spec"
local cnas = require "cnas"

local space = cnas.space.darts()
local function names(stage) return table.concat(stage.ops, " ") end

T.describe("curriculum", function()
  T.it("op opens one operation a stage, the base first", function()
    local stages = cnas.curriculum.op(space, { seed = 1, nodes = 4 })
    T.equal(#stages, 8)
    T.equal(stages[1].ops, { "sep_conv_3x3" })
    for i, stage in ipairs(stages) do
      T.equal(stage.index, i)
      T.equal(stage.nodes, 4)
      T.equal(#stage.ops, i)
      if i > 1 then T.equal(table.concat(stage.ops, " ", 1, i - 1), names(stages[i - 1])) end
    end
    local all = table.move(stages[8].ops, 1, 8, 1, {})
    local wanted = space:names()
    table.sort(all)
    table.sort(wanted)
    T.equal(all, wanted)
  end)

  T.it("draws the order from the seed", function()
    local function last(seed) return names(cnas.curriculum.op(space, { seed = seed, nodes = 4 })[8]) end
    T.equal(last(3), last(3))
    local different = 0
    for seed = 2, 9 do different = different + (last(seed) ~= last(1) and 1 or 0) end
    T.truthy(different >= 7)
  end)

  T.it("node opens one inner node a stage, with every operation", function()
    local stages = cnas.curriculum.node(space, { seed = 1, nodes = 4 })
    T.equal(#stages, 4)
    for i, stage in ipairs(stages) do
      T.equal(stage.nodes, i)
      T.equal(#stage.ops, 8)
    end
  end)

  T.it("fix is one stage with everything", function()
    local stages = cnas.curriculum.fix(space, { seed = 1, nodes = 4 })
    T.equal(#stages, 1)
    T.equal(#stages[1].ops, 8)
    T.equal(stages[1].nodes, 4)
  end)

  T.it("takes any schedule as a function", function()
    local stages = cnas.curriculum.stages(space, { seed = 1, nodes = 4 }, function(i, order, nodes)
      if i <= 2 then return nodes, table.move(order, 1, 4 * i, 1, {}), "four more" end
    end)
    T.equal(#stages, 2)
    T.equal(#stages[1].ops, 4)
    T.equal(stages[2].name, "four more")
  end)

  T.it("refuses a base that the space does not have", function()
    T.raises("no operation 'sep_conv_3x4' %(did you mean 'sep_conv_3x3'%?%)", cnas.curriculum.op, space,
             { seed = 1, nodes = 4, base = "sep_conv_3x4" })
  end)
end)

T.describe("schedule", function()
  local schedule = cnas.schedule

  T.it("constant stays", function() T.equal(schedule.constant(0.1)(99), 0.1) end)

  T.it("cosine goes from lr to 0", function()
    local rate = schedule.cosine(0.05, 600)
    T.near(rate(0), 0.05, 1e-15)
    T.near(rate(300), 0.025, 1e-12)
    T.near(rate(600) + 1, 1, 1e-12)
    T.near(rate(1), 0.5 * 0.05 * (1 + math.cos(math.pi / 600)), 1e-15)
  end)

  T.it("linear falls to the last five epochs, then again to 0, and never grows within either", function()
    local rate = schedule.linear(0.5, 250)
    T.near(rate(0), 0.5, 1e-15)
    T.near(rate(122.5), 0.25, 1e-15)
    T.near(rate(244), 0.5 / 245, 1e-12)
    T.near(rate(245), 0.5 / 245, 1e-12)
    T.near(rate(247), 0.5 * 3 / (245 * 5), 1e-12)
    T.equal(rate(250), 0.0)
    for e = 1, 249 do T.truthy(rate(e) <= rate(e - 1)) end
  end)

  T.it("warm-up rises linearly to the schedule", function()
    local rate = schedule.warmup(schedule.constant(1.0), 4)
    T.equal({ rate(0), rate(1), rate(3), rate(4), rate(9) }, { 0.25, 0.5, 1.0, 1.0, 1.0 })
  end)

  T.it("refuses nonsense", function()
    T.raises("lr must be a number", schedule.cosine, "x", 3)
    T.raises("more than 5 epochs", schedule.linear, 0.1, 5)
    T.raises("expected a schedule", schedule.warmup, 0.1, 5)
  end)
end)

T.describe("metric", function()
  T.it("moving average takes the first value, then moves by the decay", function()
    local b = cnas.metric.moving_average(0.99)
    T.equal(b(0.5), 0.5)
    T.equal(b(1.0), 0.99 * 0.5 + (1 - 0.99) * 1.0)
  end)

  T.it("states are exact", function()
    local a, b = cnas.metric.moving_average(0.9), cnas.metric.moving_average(0.9)
    a(1 / 3) a(2 / 7)
    local state = {}
    for _, entry in ipairs(a:state()) do state[entry.name] = entry.tensor end
    b:load(state)
    T.equal(b.value, a.value)
    b:load {}
    T.equal(b.value, nil)
    local m, n = cnas.metric.mean(), cnas.metric.mean()
    m:add(1 / 3, 2)
    m:add(0.7)
    state = {}
    for _, entry in ipairs(m:state()) do state[entry.name] = entry.tensor end
    n:load(state)
    T.equal(n:value(), m:value())
    T.near(m:value(), (2 / 3 + 0.7) / 3, 1e-15)
  end)
end)
