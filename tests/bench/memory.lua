-- memory.lua - the resident size over a thousand training steps of the default supernet on random paths. It may rise
-- only when a path needs more than any before: what is held stays within an eighth and 64 MiB of the most that was in
-- use (engine/base/memory.c). This takes minutes, so the specs try a small net (tests/lua/memory_spec.lua).
--
--   ./cnas tests/bench/memory.lua --batch 96 --steps 1000

local cnas = require "cnas"

local opt = cnas.options { about = "Prints the resident size over many training steps; fails when it passes its bound.",
  { "batch", default = 96, min = 1, help = "images in a batch" },
  { "steps", default = 1000, min = 10, help = "training steps, each on a random path" },
  { "program", default = 64.0, min = 0, help = "MiB for the program itself" } }

if opt.threads then cnas.threads(opt.threads) end

local function resident() -- MiB
  local file <close> = assert(io.open "/proc/self/statm")
  return tonumber(file:read "a":match "^%d+ (%d+)") * 4096 / 2^20
end

local space = cnas.space.darts()
local rng = cnas.rng(opt.seed, "bench")
local net = cnas.supernet { space = space, channels = 16, layers = 8, nodes = 4, classes = 10,
                            rng = cnas.rng(opt.seed, "weights") }
local controller = cnas.controller { space = space, nodes = 4, seed = opt.seed }
local weights = cnas.optim.sgd(net:parameters(), { lr = 0.01, momentum = 0.9, nesterov = true, weight_decay = 3e-4 })
local x = cnas.randn({ opt.batch, 32, 32, 3 }, { rng = rng })
local classes = {}
for i = 1, opt.batch do classes[i] = rng:integer(10) end
local y = cnas.tensor(classes, { dtype = "i64" })

print(("%6s %14s %16s %20s"):format("step", "resident, MiB", "most in use, MiB", "asked of the system"))
for step = 1, opt.steps do
  weights:step(cnas.cross_entropy(net(x, controller.uniform()), y))
  if step % math.max(1, opt.steps // 10) == 0 then
    local stats, size = cnas.memory(), resident()
    print(("%6d %14.1f %16.1f %20d"):format(step, size, stats.bytes_peak / 2^20, stats.system_allocations))
    local bound = stats.bytes_peak / 2^20 * 1.125 + 64 + opt.program
    if size > bound then error(("the resident size is %.1f MiB, its bound %.1f"):format(size, bound), 0) end
  end
end
