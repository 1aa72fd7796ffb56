-- nasbench201.lua - four searches on NAS-Bench-201 (Dong and Yang, ICLR 2020), a table of all architectures of a small
-- space: hundreds of runs of each in seconds.
--
--   cnas recipes/nasbench201.lua --table nasbench201.csv
--   cnas recipes/nasbench201.lua --table nasbench201.csv --only evolution --population 50 --json
--
-- The protocol of the benchmark's authors: the reward is the validation accuracy on CIFAR-10 after 12 epochs of
-- training, a query costs the time of that training, a search ends when its budget is spent. What is told of it is the
-- test accuracy after 200 epochs of the architecture with the best reward. A search is a function of a task (see
-- lua/cnas/nasbench201.lua), a random stream and the options: add yours to the list.

local cnas = require "cnas"

local opt = cnas.options {
  about = "Random search, regularized evolution, REINFORCE and a curriculum on the NAS-Bench-201 table.",
  folder = false,
  { "table", type = "string", metavar = "FILE", help = "the benchmark's table, CSV" },
  { "seeds", default = 500, min = 1, help = "runs of each search, with the seeds SEED, SEED + 1, …" },
  { "budget", default = 20000.0, min = 1, help = "simulated seconds of a search" },
  { "reward", default = "c10_valid_12", help = "the table's column that a query gives" },
  { "only", type = "string", metavar = "NAME", choices = { "random", "evolution", "reinforce", "curriculum" },
    help = "this search alone" },
  { "json", default = false, help = "print the results as JSON" },
  { "population", default = 10, min = 1, help = "evolution: living architectures" },
  { "sample", default = 3, min = 1, help = "evolution: how many compete to be a parent" },
  { "lr", default = 0.05, min = 0, help = "REINFORCE and curriculum: learning rate of the policy (Adam)" },
  { "baseline_decay", default = 0.9, min = 0, max = 0.9999, help = "how slowly the reward's baseline moves" },
  { "base", default = "nor_conv_3x3", choices = cnas.nasbench201.operations, help = "curriculum: what is open first" },
}
if not opt.table then cnas.args.fail("usage", "--table FILE is needed: the table of the benchmark") end
cnas.threads(opt.threads or 1)

local bench = cnas.nasbench201.open(opt.table)
local OPERATIONS, EDGES = #cnas.nasbench201.operations, 6

-- The searches --------------------------------------------------------------------------------------------------------

local function random(task, rng)
  while task:open() do task:query(bench:sample(rng)) end
end

local function evolution(task, rng)
  local population = cnas.population { size = opt.population, sample = opt.sample, rng = rng }
  while task:open() do
    local child = population:full() and bench:mutate(population:parent(), rng) or bench:sample(rng)
    population:add(child, task:query(child))
  end
end

-- A policy of six independent choices: for each edge a softmax over the open operations, moved by REINFORCE. The
-- function it returns makes one step.
local function policy_gradient(task, rng)
  local logits = cnas.zeros(EDGES, OPERATIONS):requires_grad_(true)
  local optimizer = cnas.optim.adam({ logits }, { lr = opt.lr })
  local baseline = cnas.metric.moving_average(opt.baseline_decay)
  return function(open)
    local logp = logits:index_select(cnas.tensor(open, { dtype = "i64" }), 2):log_softmax(2) -- (6,#open)
    local choices, chosen = {}, {}
    for edge, row in ipairs(logp:totable()) do
      local u, k = rng:uniform(), 1
      while k < #open and u >= math.exp(row[k]) do u, k = u - math.exp(row[k]), k + 1 end
      choices[edge], chosen[edge] = open[k] + 1, (edge - 1) * #open + k - 1
    end
    local reward = task:query(choices)
    local logp_chosen = logp:reshape { EDGES * #open }:index_select(cnas.tensor(chosen, { dtype = "i64" }), 1):sum()
    optimizer:step(-(logp_chosen * (reward - baseline(reward))))
  end
end

local function reinforce(task, rng)
  local step = policy_gradient(task, rng)
  while task:open() do step { 0, 1, 2, 3, 4 } end
end

-- The idea of Guo et al. (ICML 2020): the space opens one operation after the other, and the policy goes on with what
-- it has learnt. The first stage, with one operation, is one query; the others' parts of the time are 1 : 2 : 3 : 4,
-- since there is more and more to find out.
local function curriculum(task, rng)
  local step, order = policy_gradient(task, rng), {}
  for k, name in ipairs(cnas.nasbench201.operations) do
    if name == opt.base then order[1] = k - 1 end
  end
  for _, k in ipairs(rng:permutation(OPERATIONS)) do
    if k - 1 ~= order[1] then order[#order + 1] = k - 1 end
  end
  for stage = 1, OPERATIONS do
    local open = table.move(order, 1, stage, 1, {})
    local goal = task.budget * stage * (stage - 1) / (OPERATIONS * (OPERATIONS - 1))
    table.sort(open)
    repeat step(open) until task.spent >= goal
  end
end

-- What the literature has for them, test accuracy on CIFAR-10: Dong and Yang, ICLR 2020, table 5.
local searches = {
  { name = "random", run = random, literature = { 93.70, 0.36 } },
  { name = "evolution", run = evolution, literature = { 93.92, 0.30 } },
  { name = "reinforce", run = reinforce, literature = { 93.85, 0.37 } },
  { name = "curriculum", run = curriculum },
}

-- Running them --------------------------------------------------------------------------------------------------------

local tests = { "c10_test_200", "c100_test_200", "in16_test_200" } -- CIFAR-10, CIFAR-100, ImageNet16-120

local results = {}
for _, search in ipairs(searches) do
  if not opt.only or opt.only == search.name then
    local began, found, queries = os.clock(), { {}, {}, {} }, {}
    for i = 1, opt.seeds do
      local task = bench:task { budget = opt.budget, reward = opt.reward }
      search.run(task, cnas.rng(opt.seed + i - 1, search.name))
      for t, test in ipairs(tests) do found[t][i] = bench.columns[test][task.best] end
      queries[i] = task.queries
    end
    local result = { search = search.name, queries = (cnas.metric.spread(queries)), seconds = os.clock() - began,
                     literature = search.literature }
    for t, test in ipairs(tests) do result[test] = { cnas.metric.spread(found[t]) } end
    results[#results + 1] = result
  end
end

-- How well the reward foretells what is asked for, over all architectures.
local agreement = {}
for _, test in ipairs(tests) do
  local reward, accuracy = bench.columns[opt.reward], bench.columns[test]
  agreement[test] = { kendall = cnas.metric.kendall(reward, accuracy),
                         spearman = cnas.metric.spearman(reward, accuracy), best = math.max(table.unpack(accuracy)) }
end

if opt.json then
  print(cnas.json.encode({ seeds = opt.seeds, budget = opt.budget, reward = opt.reward, results = results,
                           agreement = agreement, seconds = os.clock() }, { indent = true }))
  return
end

local function pair(values) return ("%.2f ± %.2f"):format(values[1], values[2]) end
local row = "%-12s %8s   %-14s  %-14s  %-14s  %s"
print(("%d seeds, %.0f simulated seconds each; test accuracy after 200 epochs of the best by %s\n"):format(
  opt.seeds, opt.budget, opt.reward))
print(row:format("", "queries", "CIFAR-10", "CIFAR-100", "ImageNet16-120", "literature, CIFAR-10"))
for _, r in ipairs(results) do
  print(row:format(r.search, ("%.1f"):format(r.queries), pair(r.c10_test_200), pair(r.c100_test_200),
                   pair(r.in16_test_200), r.literature and pair(r.literature) or ""))
end
print(row:format("best of all", "", ("%.2f"):format(agreement.c10_test_200.best),
                 ("%.2f"):format(agreement.c100_test_200.best), ("%.2f"):format(agreement.in16_test_200.best), ""))
print(("\nKendall's tau of the reward with these accuracies, all architectures: %.3f, %.3f, %.3f"):format(
  agreement.c10_test_200.kendall, agreement.c100_test_200.kendall, agreement.in16_test_200.kendall))
print(("%.1f s of one core, the table read in them"):format(os.clock()))
