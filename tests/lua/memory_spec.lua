-- Training steps on random paths leave nothing behind: the resident size and the memory asked of the system stay where
-- they are once the first steps are done. (tests/bench/memory.lua does the same with the default net.)

local cnas = require "cnas"
local T = require "spec"

local function resident() -- bytes
  local file <close> = assert(io.open "/proc/self/statm")
  return tonumber(file:read "a":match "^%d+ (%d+)") * 4096
end

local function small_search()
  local space = cnas.space.darts()
  local net = cnas.supernet { space = space, channels = 2, layers = 3, nodes = 2, classes = 10,
                              rng = cnas.rng(1, "weights") }
  local controller = cnas.controller { space = space, nodes = 2, hidden = 8, seed = 1 }
  local weights = cnas.optim.sgd(net:parameters(), { lr = 0.01, momentum = 0.9, nesterov = true, weight_decay = 3e-4 })
  local policy = cnas.optim.adam(controller:parameters(), { lr = 3e-4, weight_decay = 5e-4 })
  local x = cnas.randn({ 4, 8, 8, 3 }, { rng = cnas.rng(1, "images") })
  local y = cnas.tensor({ 3, 1, 4, 1 }, { dtype = "i64" })
  return function(step)
    weights:step(cnas.cross_entropy(net(x, controller.uniform()), y))
    if step % 10 == 0 then
      local arch, logp, entropy = controller:sample()
      local reward = cnas.accuracy(cnas.no_grad(net, x, arch), y):item()
      policy:step(-(logp * (reward - 0.1)) - entropy * 0.005, { clip = 5 })
    end
  end
end

-- Runs a function and tells how often Lua's collector went round meanwhile.
local function rounds_of(f)
  local rounds, on = 0, true
  local function again()
    setmetatable({}, { __gc = function()
      rounds = rounds + 1
      if on then again() end
    end })
  end
  again()
  f()
  on = false
  return rounds
end

T.describe("garbage", function()
  local mega = 1 << 20

  T.it("of large tensors is collected before it piles up, also beside much that lives", function()
    for _, live in ipairs { 1, 512 } do
      local kept = cnas.empty(live, mega, { dtype = "u8" })
      collectgarbage()
      local base = cnas.memory().bytes_live
      cnas.reset_peak()
      for _ = 1, 100 do cnas.empty(16, mega, { dtype = "u8" }) end
      local most = cnas.memory().bytes_peak
      T.truthy(most <= base * 1.125 + 100 * mega, ("%d MiB live, %d at most"):format(base // mega, most // mega))
      T.equal(kept:size(1), live)
    end
  end)

  T.it("of training stays within what a run announces", function()
    local nn, rng = cnas.nn, cnas.rng(1, "weights")
    local function make()
      return nn.sequential { nn.conv2d { inp = 3, out = 2, kernel = 3, stride = 4, padding = 1, rng = rng },
                             nn.global_avg_pool(), nn.linear { inp = 2, out = 4, rng = rng } }
    end
    collectgarbage()
    local foreseen = cnas.foresee { make = make, batch = 16, height = 224, width = 224 }
    local net = make()
    local weights = cnas.optim.sgd(net:parameters(), { lr = 0.1 })
    local classes = {}
    for i = 1, 16 do classes[i] = i % 4 end
    local y = cnas.tensor(classes, { dtype = "i64" })
    cnas.reset_peak()
    for _ = 1, 30 do weights:step(cnas.cross_entropy(net(cnas.zeros(16, 224, 224, 3)), y)) end
    local most = cnas.memory().bytes_peak
    T.truthy(most <= foreseen * 1.125 + 64 * mega, ("foreseen %d, came %d"):format(foreseen, most))
  end)

  T.it("is not looked for again and again while a graph holds everything", function()
    local x = cnas.zeros(mega):requires_grad_(true) -- 4 MiB
    local rounds = rounds_of(function()
      local y = x
      for _ = 1, 200 do y = y:relu() end -- 800 MiB, all of it needed
      y:sum():backward()
    end)
    T.truthy(rounds <= 12, rounds .. " collections")
    x:set_grad(nil)
  end)

  T.it("of small tensors is Lua's own business", function()
    local rounds = rounds_of(function()
      for _ = 1, 20000 do cnas.zeros(4) end
    end)
    T.truthy(rounds < 40, rounds .. " collections")
  end)
end)

T.describe("memory", function()
  local threads = cnas.threads()
  cnas.threads(1) -- too little work to share

  T.it("is flat over 1,000 steps on random paths", function()
    if os.getenv "ASAN_OPTIONS" then T.skip("the address sanitizer keeps what was freed") end
    local step = small_search()
    for i = 1, 200 do step(i) end
    collectgarbage()
    local live, size = cnas.live(), resident()
    for i = 1, 1000 do step(i) end
    collectgarbage()
    local growth = resident() - size
    T.truthy(growth < 2^20, ("the resident size grew by %d bytes, less than 1 MiB is right"):format(growth))
    T.equal(cnas.live(), live, "live tensors")
  end)

  T.it("is asked of the system only at first", function()
    if os.getenv "ASAN_OPTIONS" then T.skip("nothing is reused under the address sanitizer") end
    local step = small_search()
    local system
    for i = 1, 220 do
      step(10 * i) -- of both kinds
      collectgarbage()
      if i == 200 then system = cnas.memory().system_allocations end
    end
    local growth = cnas.memory().system_allocations - system
    T.truthy(growth <= 5, growth .. " blocks were asked of the system") -- a path larger than any before may need some
  end)

  T.it("counts what is live, and its peak", function()
    collectgarbage()
    local before = cnas.memory()
    local t = cnas.zeros(1024, 256) -- luacheck: ignore 231
    local during = cnas.memory()
    T.truthy(during.bytes_live >= before.bytes_live + 2^20, "a megabyte more is live")
    T.truthy(during.bytes_peak >= during.bytes_live, "the peak is at least what is live")
    t = nil -- luacheck: ignore 311
    collectgarbage()
    T.truthy(cnas.memory().bytes_live <= before.bytes_live, "it is given back when collected")
  end)

  T.it("is given back by close, at once", function()
    local before = cnas.memory().bytes_live
    do
      local t <close> = cnas.zeros(1024, 256)
      T.truthy(cnas.memory().bytes_live >= before + 2^20)
      T.equal(t:count(), 1024 * 256)
    end
    T.truthy(cnas.memory().bytes_live <= before)
  end)

  cnas.threads(threads)
end)
