-- latency.lua - how long a network takes on this machine: the median of many calls, without gradients.
--
--   local ms = cnas.latency(net, { batch = 1, height = 32, width = 32 })          -- milliseconds of one batch
--   local ms = cnas.latency(supernet, arch, { batch = 1 })                        -- of one path
--
-- A reward may use it: accuracy * (cnas.latency(net, arch) / 3) ^ -0.07. What it gives differs from call to call by
-- some percent, so that a run that uses it is not repeated to the bit.

local cnas = require "cnas"
local args = require "cnas.args"

local function median(list)
  table.sort(list)
  local n = #list
  return n % 2 == 1 and list[n // 2 + 1] or (list[n // 2] + list[n // 2 + 1]) / 2
end

--- Milliseconds of one call of f(): the median, the least and the most of at least `runs` calls (and as many more as
--- fit into `seconds`), after `warmup` calls that do not count.
local function time(f, options)
  local o = args.check("cnas.latency.time", options or {}, { warmup = 3, runs = 5, most = 1000, seconds = 0.2 })
  for _ = 1, o.warmup do f() end
  local list, start = {}, cnas.clock()
  while #list < o.runs or (#list < o.most and cnas.clock() - start < o.seconds) do
    local from = cnas.clock()
    f()
    list[#list + 1] = (cnas.clock() - from) * 1e3
  end
  return median(list), list[1], list[#list]
end

--- Images like x on the device of the network's weights; a function has none.
local function placed(x, net)
  local weight = type(net) == "userdata" and net:parameters()[1]
  return weight and x:to(weight.device) or x
end

--- Lets go of a result, once it is there: operations on a GPU do not wait by themselves.
local function finish(y)
  if y.device ~= "cpu" then y:reshape(-1):narrow(1, 1, 1):item() end
  y:close()
end

--- The median of a call's milliseconds on random images, the least and the most. `arch` is the path of a supernet.
--- Options: batch (1), height and width (32), channels (of the images; 3), warmup (3 calls), runs (at least so many;
--- 5), seconds (as many more as fit in; 0.2). The network must be in evaluation (net:train(false)) if it has that.
local function latency(net, arch, options)
  if type(arch) == "table" and not arch.normal and options == nil then arch, options = nil, arch end
  local o = args.check("cnas.latency", options or {}, {
    batch = 1, height = 32, width = args.optional, channels = 3, warmup = 3, runs = 5, most = 1000, seconds = 0.2,
  })
  local x = cnas.randn(o.batch, o.height, o.width or o.height, o.channels, { rng = cnas.rng(0, "latency") })
  x = placed(x, net)
  local times = { warmup = o.warmup, runs = o.runs, most = o.most, seconds = o.seconds }
  return time(function() finish(arch and cnas.no_grad(net, x, arch) or cnas.no_grad(net, x)) end, times)
end

return setmetatable({ time = time, median = median, placed = placed, finish = finish },
                    { __call = function(_, ...) return latency(...) end })
