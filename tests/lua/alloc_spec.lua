-- Every allocation of a training step and of a controller's step, Lua's own included, fails once. Each time: an error
-- that speaks of memory, nothing moved, nothing left alive; and the step, tried again, gives the bits of one that was
-- never disturbed.

local cnas = require "cnas"
local T = require "spec"

local precision = "f32"

-- A search in small: few operations, one inner node, three cells. Always the same one.
local function world()
  local w = {}
  w.space = cnas.space { "sep_conv_3x3", "max_pool_3x3", "skip_connect" }
  w.net = cnas.supernet { space = w.space, channels = 2, layers = 3, nodes = 1, classes = 3,
                          precision = precision, rng = cnas.rng(1, "weights") }
  w.controller = cnas.controller { space = w.space, nodes = 1, hidden = 3, seed = 1 }
  w.weights = cnas.optim.sgd(w.net:parameters(), { lr = 0.1, momentum = 0.9, nesterov = true, weight_decay = 3e-4 })
  w.policy = cnas.optim.adam(w.controller:parameters(), { lr = 0.01, weight_decay = 5e-4 })
  w.x = cnas.randn({ 2, 4, 4, 3 }, { rng = cnas.rng(1, "images") })
  w.y = cnas.tensor({ 2, 0 }, { dtype = "i64" })
  w.path = { normal = { { "sep_conv_3x3", 0, 2 }, { "skip_connect", 1, 2 } },
             reduction = { { "max_pool_3x3", 0, 2 }, { "skip_connect", 1, 2 } },
             normal_concat = { 2 }, reduction_concat = { 2 } }
  return w
end

local function train(w)
  w.weights:step(cnas.cross_entropy(w.net(w.x, w.path), w.y), { clip = 5 })
end

local function teach(w)
  local arch, logp, entropy = w.controller:sample()
  local reward = cnas.accuracy(cnas.no_grad(w.net, w.x, arch), w.y):item()
  w.policy:step(-(logp * (reward - 0.25)) - entropy * 0.005, { clip = 5 })
end

local function tensors(owners)
  local list = {}
  for _, owner in ipairs(owners) do
    for _, entry in ipairs(owner:state()) do list[#list + 1] = entry end
  end
  return list
end

local function parameters(w) return tensors { w.net, w.controller } end
local function everything(w) return tensors { w.net, w.controller, w.weights, w.policy } end

local function same(x, y)
  T.equal(#x, #y, "tensors of state")
  for i = 1, #x do
    T.equal(x[i].name, y[i].name)
    if cnas.ne(x[i].tensor, y[i].tensor):sum():item() ~= 0 then error(x[i].name .. " differs", 2) end
  end
end

-- What is alive: tensors, and blocks of the engine's memory.
local function live()
  collectgarbage()
  collectgarbage()
  return { tensors = cnas.live(), blocks = cnas.memory().blocks_live }
end

-- Step on a new world while allocation n of it fails; true when none did.
local function attempt(step, n, untouched, reference)
  local w = world()
  local counter = w.controller.rng.counter
  cnas.fail_allocation(n)
  local ok, e = pcall(step, w)
  cnas.fail_allocation(0)
  if not ok then
    T.truthy(tostring(e):lower():find "memory", ("allocation %d: %s"):format(n, e))
    w.weights:zero_grad()
    w.policy:zero_grad()
    w.controller.rng.counter = counter
    same(parameters(w), parameters(untouched))
    step(w)
  end
  same(everything(w), everything(reference))
  return ok
end

-- Fails allocation 1, 2, 3, … of step until it needs no more; returns how many that were.
local function fail_each(step)
  local untouched, reference = world(), world()
  step(reference)
  local before = live()
  local n, clean = 1, 0
  while clean < 3 do -- the collector's own may come and go: three in a row without an error are the end
    clean = attempt(step, n, untouched, reference) and clean + 1 or 0
    T.equal(live(), before, ("alive after allocation %d failed"):format(n))
    n = n + 1
  end
  return n - 4
end

T.describe("a failed allocation", function()
  local threads = cnas.threads()
  cnas.threads(1) -- too little work to share

  T.it("anywhere in a training step is an error that changes nothing", function()
    T.truthy(fail_each(train) > 300)
  end)

  T.it("anywhere in a training step in bf16 is an error that changes nothing", function()
    precision = "bf16"
    local ok, count = pcall(fail_each, train)
    precision = "f32"
    T.truthy(ok and count > 300, count)
  end)

  T.it("anywhere in a controller's step is an error that changes nothing", function()
    T.truthy(fail_each(teach) > 300)
  end)

  T.it("anywhere while a search is built is an error that leaves nothing behind", function()
    world() -- what is made once and kept
    local before, n, clean = live(), 1, 0
    while clean < 3 do
      cnas.fail_allocation(n)
      local ok, e = pcall(world)
      cnas.fail_allocation(0)
      clean = ok and clean + 1 or 0
      if not ok then T.truthy(tostring(e):lower():find "memory", ("allocation %d: %s"):format(n, e)) end
      e = nil -- luacheck: ignore 311
      T.equal(live(), before, ("alive after allocation %d failed"):format(n))
      n = n + (n < 200 and 1 or 7) -- the building repeats itself
    end
  end)

  T.it("anywhere in other uses of tensors is an error that leaves nothing behind", function()
    local square = cnas.op { name = "square", forward = function(ctx, x) ctx.x = x return x * x end,
                             backward = function(ctx, g) return g * ctx.x * 2 end }
    local function use()
      local x = cnas.tensor({ { 1, 2 }, { 3, 4 } }):requires_grad_(true)
      square(x:transpose()):narrow(1, 1, 1):sum():backward()
      x = x:detach():to "f64"
      return #tostring(x), x:totable(), cnas.concat({ x, x[1]:unsqueeze(1) }, 1):topk(1), cnas.ops()
    end
    use()
    local before, n = live(), 1
    repeat
      cnas.fail_allocation(n)
      local ok, e = pcall(use)
      cnas.fail_allocation(0)
      if not ok then T.truthy(tostring(e):lower():find "memory", ("allocation %d: %s"):format(n, e)) end
      T.equal(live(), before, ("alive after allocation %d failed"):format(n))
      n = n + 1
    until ok
    T.truthy(n > 50)
  end)

  T.it("happens once, at the place asked for", function()
    cnas.fail_allocation(1)
    T.raises("memory", cnas.zeros, 3)
    T.equal(cnas.zeros(3):totable(), { 0, 0, 0 })
    cnas.fail_allocation(0)
  end)

  cnas.threads(threads)
end)
