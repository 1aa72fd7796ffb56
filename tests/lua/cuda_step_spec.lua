-- A step of an optimizer on the GPU: the CPU's numbers, the same bits every time, nothing moved by what is not finite,
-- and how many launches it takes, and that it waits for nothing.

local cnas = require "cnas"
local T = require "spec"

local usable, why = pcall(cnas.zeros, 1, { device = "cuda" })
if not usable then
  T.it("steps on the GPU", function() T.skip(tostring(why)) end)
  return
end

local MOST_LAUNCHES = 520 -- in a step of the small supernet below

-- What f() asks the GPU for.
local function work_of(f)
  local before = cnas.gpu_work()
  f()
  local after = cnas.gpu_work()
  local rows = {}
  for name, count in pairs(after.rows) do
    if count > (before.rows[name] or 0) then rows[name] = count - (before.rows[name] or 0) end
  end
  return { launches = after.launches - before.launches, waits = after.waits - before.waits,
           copies = after.copies - before.copies, rows = rows }
end

-- Parameters of many sizes, more than one launch takes, some of f64, one that begins within its memory, one empty.
local SIZES = { 1, 3, 4, 64, 4096, 4097, 9000, 0 }
local function parameters(device)
  local list, rng = { names = {} }, cnas.rng(5, "parameters")
  for i = 1, 130 do
    local n = SIZES[i % #SIZES + 1]
    local t = cnas.randn(n + 1, { rng = rng }):to(i % 10 == 3 and "f64" or "f32"):to(device)
    t = i % 7 == 2 and t:narrow(1, 2, n) or t:narrow(1, 1, n):clone()
    list[i], list.names[i] = t:detach():requires_grad_(true), ("p%d"):format(i)
  end
  return list
end

local function gradients(list, step)
  local rng = cnas.rng(step, "gradients")
  for i, p in ipairs(list) do
    local g = cnas.randn(p:size(1), { rng = rng }):to(p.dtype)
    if (i + step) % 9 > 0 then p:set_grad(g:to(p.device)) end
  end
end

local function bits(t) return t:detach():to "cpu":to "f64":totable() end

-- Parameters and state after three steps, and the norms.
local function run(make, device, clip, wait)
  local list = parameters(device)
  local optimizer, norms = make(list), {}
  for step = 1, 3 do
    gradients(list, step)
    local _, norm = optimizer:step { clip = clip, wait = wait }
    norms[step] = type(norm) == "number" and norm or norm:item()
    for _, p in ipairs(list) do T.equal(p.grad, nil) end
  end
  local seen = {}
  for i, p in ipairs(list) do seen[i] = { name = list.names[i], value = bits(p) } end
  for _, entry in ipairs(optimizer:state()) do
    local t = entry.tensor
    seen[#seen + 1] = { name = entry.name, value = t:dim() == 0 and { t:item() } or bits(t) }
  end
  return seen, norms
end

local function groups(list, others)
  local a, b = { names = {} }, { names = {} }
  for i, p in ipairs(list) do
    local group = i % 3 == 0 and b or a
    group[#group + 1], group.names[#group.names + 1] = p, list.names[i]
  end
  others.params = b
  return { { params = a }, others }
end

local function check(make, clip)
  local here, norms = run(make, "cpu", clip, true)
  local there, norms_there = run(make, "cuda", clip, true)
  T.equal(#there, #here)
  for i, one in ipairs(here) do
    T.equal(there[i].name, one.name)
    T.near(there[i].value, one.value, 2e-6, one.name)
  end
  for i, norm in ipairs(norms) do T.near(norms_there[i], norm, 1e-12) end
  for _, wait in ipairs { false, true } do
    local again, norms_again = run(make, "cuda", clip, wait)
    T.equal(norms_again, norms_there)
    for i, one in ipairs(there) do T.equal(again[i].value, one.value, one.name) end
  end
end

T.describe("a step on the GPU", function()
  T.it("is the CPU's: SGD", function()
    check(function(list) return cnas.optim.sgd(list, { lr = 0.1 }) end, 0)
    check(function(list)
      return cnas.optim.sgd(list, { lr = 0.1, momentum = 0.9, nesterov = true, weight_decay = 1e-2 })
    end, 5)
    check(function(list)
      return cnas.optim.sgd(groups(list, { lr = 0.3, momentum = 0.0 }), { lr = 0.1, momentum = 0.5 })
    end, 1e9)
  end)

  T.it("is the CPU's: Adam", function()
    check(function(list)
      return cnas.optim.adam(groups(list, { lr = 0.02, weight_decay = 0.1 }), { lr = 0.01 })
    end, 3)
  end)

  T.it("takes a handful of launches and waits only where numbers are wanted", function()
    local list = parameters "cuda"
    local sgd = cnas.optim.sgd(list, { lr = 0.1, momentum = 0.9 })
    for step = 1, 2 do -- makes the momentum
      gradients(list, step)
      sgd:step()
    end
    gradients(list, 1)
    local late = work_of(function() sgd:step { clip = 1, wait = false } end)
    T.equal({ late.waits, late.copies }, { 0, 0 })
    T.truthy(late.launches <= 8, late.launches .. " launches")
    gradients(list, 3)
    local at_once = work_of(function() sgd:step { clip = 1 } end)
    T.equal(at_once.waits, 1)
    gradients(list, 4)
    T.equal(work_of(function() sgd:grad_norm() end).waits, 1)
  end)

  T.it("moves nothing by what is not finite, and says so when something waits", function()
    local function try(values, pattern, loss)
      local list = {}
      for i = 1, 3 do
        list[i] = cnas.tensor({ i, 2 }, { dtype = "f64", device = "cuda" }):requires_grad_(true)
      end
      local sgd = cnas.optim.sgd(list, { lr = 1, momentum = 0.5 })
      if loss then
        sgd:step(list[1]:sum() * loss, { wait = false })
      else
        for i, v in ipairs(values) do list[i]:set_grad(cnas.tensor({ v, 0 }, { dtype = "f64", device = "cuda" })) end
        sgd:step { wait = false }
      end
      local e = T.raises(pattern, list[2].totable, list[2])
      T.equal(e.code, "not-finite")
      for i = 1, 3 do T.equal(list[i]:totable(), { i, 2 }) end
    end
    try({ 1, 0 / 0, 1 }, "sgd_step: the gradient of the optimizer's parameter 2 is not finite")
    try({ 1, 1, math.huge }, "parameter 3 is not finite")
    try({ 1e154, 1e154, 1 }, "the gradients' norm overflows")
    try(nil, "the loss is not finite; its step moved no parameter", math.huge)
    local p = cnas.tensor({ 1, 2 }, { device = "cuda" }):requires_grad_(true)
    local sgd = cnas.optim.sgd({ p, names = { "first" } }, { lr = 1 })
    p:set_grad(cnas.tensor({ 0 / 0, 1 }, { device = "cuda" }))
    T.raises("the gradient of 'first' is not finite; no parameter was moved", sgd.step, sgd)
    T.equal(p:totable(), { 1, 2 })
    T.raises("the loss is nan", sgd.step, sgd, (p * (0 / 0)):sum())
  end)

  -- A step as recipes/curriculum_search.lua makes it. What it asks for grows with the cells' operations: of a launch
  -- more for each of them this would tell.
  T.it("of a supernet waits for nothing, and takes no more launches than it did", function()
    local data = cnas.data.load("shapes", { seed = 1, train_images = 16, test_images = 2 })
    local net = cnas.supernet { space = cnas.space.darts(), channels = 4, layers = 3, nodes = 4, classes = data.classes,
                                rng = cnas.rng(1, "weights") }
    net:to "cuda"
    local sgd = cnas.optim.sgd(net:parameters(), { lr = 0.01, momentum = 0.9, nesterov = true, weight_decay = 3e-4 })
    local seen, arch = {}, cnas.genotype.named "CNAS"
    local loader <close> = cnas.data.loader { dataset = data:subset { 1, 2, 3, 4 }, batch = 2, shuffle = true,
                                              augment = true, device = "cuda" }
    local work
    for _ = 1, 2 do -- the first makes the momentum
      work = work_of(function()
        local x, y = loader()
        local logits = net(x, arch)
        local loss = sgd:step(cnas.cross_entropy(logits, y), { clip = 5, wait = false })
        table.insert(seen, loss)
        table.insert(seen, cnas.accuracy(logits, y))
      end)
    end
    T.equal({ work.waits, work.copies }, { 0, 0 })
    local optimizer = work.rows.sgd_step
    T.truthy(optimizer <= 6, optimizer .. " launches for the optimizer")
    T.truthy(work.launches <= MOST_LAUNCHES, work.launches .. " launches in a step")
    for _, value in ipairs(seen) do T.truthy(value:item() == value:item()) end
  end)

  T.it("goes on when memory has run out, and does the same with memory that was kept", function()
    local x = cnas.ones(1000, { device = "cuda" })
    x = x + x
    T.raises("cuda:0: no memory for %d+ bytes .* use a smaller batch", cnas.empty, 1 << 43, { device = "cuda" })
    T.equal((x + x):sum():item(), 4000)
    if not (os.getenv "CNAS_CUDA_MODULE" or ""):find("simt", 1, true) or os.getenv "CNAS_GPU_CACHE" then return end
    local status, out, err = T.run { arg[0], arg[#arg], seconds = 300, env = { CNAS_GPU_CACHE = "1" } }
    T.equal(status, 0, (out .. err):sub(1, 2000))
  end)

  T.it("adds gradients of several batches in a handful of launches", function()
    local function train(device)
      local list, rng, work = {}, cnas.rng(9, "weights"), nil
      for i = 1, 200 do
        local dtype = i > 190 and "f64" or "f32"
        list[i] = cnas.randn(3 + i % 5, { rng = rng }):to(dtype):to(device):requires_grad_(true)
      end
      local square = cnas.op { name = "square", -- looks at a gradient on its way back
        forward = function(ctx, x) ctx.x = x return x * x end,
        backward = function(ctx, gy) return gy * ctx.x * 2 + (list[1].grad and list[1].grad:sum() * 0 or 0) end }
      for batch = 1, 3 do
        local loss
        for i, p in ipairs(list) do
          local part = (p * (batch + i)):sum() + (i % 50 == 0 and (p * p):sum() or 0)
          if i == 100 then part = square(p):sum() end
          part = part:to "f64"
          loss = loss and loss + part or part
        end
        if device == "cpu" then loss:backward() else work = work_of(function() loss:backward() end) end
      end
      local seen = {}
      for i, p in ipairs(list) do seen[i] = bits(p.grad) end
      return seen, work
    end
    local here, there, work = train "cpu", train "cuda"
    T.equal(there, here)
    T.truthy(work.rows.accumulate <= 12, work.rows.accumulate .. " launches to add gradients")
    T.equal(work.waits, 0)
  end)
end)
