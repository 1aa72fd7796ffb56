-- Rank correlations and spread of cnas.metric: against counting all pairs, known values, and what is not defined.
local T = require "spec"
local cnas = require "cnas"
local metric = cnas.metric

local function sign(x) return x > 0 and 1 or x < 0 and -1 or 0 end

-- tau-b by its definition.
local function kendall_by_pairs(a, b)
  local excess, of_a, of_b = 0, 0, 0
  for i = 1, #a do
    for j = i + 1, #a do
      local x, y = sign(a[i] - a[j]), sign(b[i] - b[j])
      excess, of_a, of_b = excess + x * y, of_a + x * x, of_b + y * y
    end
  end
  if of_a == 0 or of_b == 0 then return nil end
  return excess / math.sqrt(of_a * of_b)
end

-- Spearman's rho by the correlation of ranks, each counted.
local function spearman_by_counting(a, b)
  local function ranks(list)
    local r = {}
    for i = 1, #list do
      local below, equal = 0, 0
      for j = 1, #list do
        if list[j] < list[i] then below = below + 1 elseif list[j] == list[i] then equal = equal + 1 end
      end
      r[i] = below + (equal + 1) / 2
    end
    return r
  end
  local x, y = ranks(a), ranks(b)
  local mx, my = metric.spread(x), metric.spread(y)
  local xy, xx, yy = 0, 0, 0
  for i = 1, #x do
    xy, xx, yy = xy + (x[i] - mx) * (y[i] - my), xx + (x[i] - mx) ^ 2, yy + (y[i] - my) ^ 2
  end
  if xx == 0 or yy == 0 then return nil end
  return xy / math.sqrt(xx * yy)
end

T.describe("rank correlation", function()
  T.it("of known lists", function()
    T.equal(metric.kendall({ 1, 2, 3, 4 }, { 10, 20, 30, 40 }), 1.0)
    T.equal(metric.kendall({ 1, 2, 3, 4 }, { 4, 3, 2, 1 }), -1.0)
    T.near(metric.kendall({ 1, 2, 3, 4 }, { 1, 3, 2, 4 }), 2 / 3, 1e-15)
    T.near(metric.kendall({ 12, 2, 1, 12, 2 }, { 1, 4, 7, 1, 0 }), -0.47140452079103173, 1e-14) -- in SciPy's manual
    T.near(metric.spearman({ 1, 2, 3, 4, 5 }, { 5, 6, 7, 8, 7 }), 0.8207826816681233, 1e-14)    -- likewise
    T.equal(metric.spearman({ 1, 2, 3 }, { 8, 4, 2 }), -1.0)
  end)

  T.it("equals counting all pairs, with few and many ties, for every length", function()
    local rng = cnas.rng(1, "rank")
    for n = 2, 60 do
      for _, values in ipairs { 2, 5, 1000 } do
        local a, b = {}, {}
        for i = 1, n do a[i], b[i] = rng:integer(values) - values // 2, rng:integer(values) / 7 end
        local tau, rho = kendall_by_pairs(a, b), spearman_by_counting(a, b)
        if tau then
          T.truthy(math.abs(metric.kendall(a, b) - tau) < 1e-12)
          T.truthy(math.abs(metric.spearman(a, b) - rho) < 1e-12)
        else
          T.equal(metric.kendall(a, b), nil)
          T.equal(metric.spearman(a, b), nil)
        end
      end
    end
  end)

  T.it("leaves its arguments alone, is symmetric, and takes a hundred thousand in seconds", function()
    local rng, a, b = cnas.rng(2, "rank"), {}, {}
    for i = 1, 100000 do a[i], b[i] = rng:integer(5000), rng:uniform() end
    local first = table.concat(a, " ", 1, 100)
    local started = os.clock()
    local tau = metric.kendall(a, b)
    T.truthy(os.clock() - started < 20)
    T.truthy(math.abs(tau) < 0.02)
    T.near(metric.kendall(b, a), tau, 1e-10)
    T.equal(table.concat(a, " ", 1, 100), first)
  end)

  T.it("is not defined without two different numbers, and wants numbers", function()
    T.equal(metric.kendall({}, {}), nil)
    T.equal(metric.kendall({ 1 }, { 2 }), nil)
    T.equal(metric.kendall({ 1, 1, 1 }, { 1, 2, 3 }), nil)
    T.equal(metric.spearman({ 1, 2, 3 }, { 4, 4, 4 }), nil)
    T.raises("metric.kendall: the lists have 2 and 1 numbers", metric.kendall, { 1, 2 }, { 1 })
    T.raises("metric.spearman: list 2: entry 2: expected a number, got nan", metric.spearman, { 1, 2 }, { 1, 0 / 0 })
    T.raises("metric.kendall: list 1: expected a table of numbers, got nil", metric.kendall)
  end)

  T.it("has mean and deviation", function()
    local mean, deviation = metric.spread { 2, 4, 4, 4, 5, 5, 7, 9 }
    T.equal(mean, 5.0)
    T.near(deviation, math.sqrt(32 / 7), 1e-15)
    mean, deviation = metric.spread { 3 }
    T.equal({ mean, deviation }, { 3.0, 0.0 })
    mean, deviation = metric.spread { 1e9 + 1, 1e9 + 2, 1e9 + 3 }
    T.equal({ mean, deviation }, { 1e9 + 2, 1.0 })
    T.raises("at least one number", metric.spread, {})
  end)
end)
