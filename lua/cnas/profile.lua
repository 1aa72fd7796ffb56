-- profile.lua - what each part of a network costs: parameters, multiply-adds, time and memory, forward and in training.
--
--   local report = cnas.profile(net, { genotype = g, layers = 20, batch = 16 })
--
-- Time is laid to the module that runs (cnas.timed_rows), gradients to the module whose gradient it is. Layers run as
-- blocks, so some work is done where it is not defined: the last batch normalisation of an operation is done by the sum
-- of the node that reads it (part "node"), and inputs that are made of one image together are laid to the first of
-- them.

local cnas = require "cnas"
local args = require "cnas.args"
local latency = require "cnas.latency"

-- Measuring ----------------------------------------------------------------------------------------------------------

-- The most bytes in use during f(), beyond those before; and those.
local function memory_of(f)
  collectgarbage()
  collectgarbage()
  cnas.reset_peak()
  local before = cnas.memory().bytes_live
  f()
  return cnas.memory().bytes_peak - before, before
end

-- Rows of f() by place and direction, each with the median of its milliseconds over so many calls.
local function rows_of(f, net, runs)
  local seconds, list, known = {}, {}, {}
  for run = 1, runs do
    local rows = cnas.timed_rows(f, net)
    for _, e in ipairs(rows) do
      local key = ("%s\0%s\0%s"):format(e.at or "\1", e.row, e.backward)
      if not known[key] then
        known[key], seconds[key] = true, {}
        e.key, list[#list + 1] = key, e
      end
      seconds[key][run] = e.seconds
    end
  end
  for _, e in ipairs(list) do
    for run = 1, runs do seconds[e.key][run] = seconds[e.key][run] or 0 end
    e.ms = latency.median(seconds[e.key]) * 1e3
  end
  return list
end

-- Parts --------------------------------------------------------------------------------------------------------------

local NUMBERS = { "parameters", "macs", "forward_ms", "train_forward_ms", "train_backward_ms", "bytes_made" }

local function new_part(place)
  local part = { bytes_peak = 0, count = 1 }
  for key, value in pairs(place) do part[key] = value end
  for _, key in ipairs(NUMBERS) do part[key] = 0 end
  return part
end

-- The parts of a network in the order in which they were first seen.
local function collector(place)
  local list, byroot = {}, {}
  local outside = { loss = { root = "loss", part = "loss" }, optimizer = { root = "optimizer", part = "optimizer" } }
  local function of(at, row)
    local p = at and place(at)
    if not p then p = row and row:find "_step$" and outside.optimizer or outside.loss end
    local part = byroot[p.root]
    if not part then
      part = new_part(p)
      byroot[p.root], list[#list + 1] = part, part
    end
    return part, p
  end
  return list, of
end

local function add_costs(of, place, costs)
  local counted = {}
  for _, c in ipairs(costs) do
    local p = place(c.at)
    if p and p.root == c.at then -- the whole of a part, not what is in it
      local part = of(c.at)
      if not counted[c.at] then part.parameters = part.parameters + c.parameters end -- an operation used twice
      counted[c.at] = true
      part.macs = part.macs + c.conv_macs + c.linear_macs
    end
  end
end

local function add_times(of, rows, field)
  for _, e in ipairs(rows) do
    local part = of(e.at, e.row)
    local name = field == "train" and (e.backward and "train_backward_ms" or "train_forward_ms") or "forward_ms"
    part[name] = part[name] + e.ms
    if field == "train" then
      part.bytes_made = part.bytes_made + e.bytes_made
      part.bytes_peak = math.max(part.bytes_peak, e.bytes_peak)
    end
  end
end

-- The sum of the parts that `key` gives the same name, largest time first.
local function sums(parts, key)
  local list, byname = {}, {}
  for _, part in ipairs(parts) do
    local name = key(part)
    local sum = byname[name]
    if not sum then
      sum = new_part { name = name }
      sum.count = 0
      byname[name], list[#list + 1] = sum, sum
    end
    sum.count = sum.count + 1
    for _, field in ipairs(NUMBERS) do sum[field] = sum[field] + part[field] end
    sum.bytes_peak = math.max(sum.bytes_peak, part.bytes_peak)
  end
  table.sort(list, function(a, b)
    local x, y = a.forward_ms + a.train_forward_ms + a.train_backward_ms,
      b.forward_ms + b.train_forward_ms + b.train_backward_ms
    if x ~= y then return x > y end
    return a.name < b.name
  end)
  return list
end

-- The whole ----------------------------------------------------------------------------------------------------------

-- Copies of the buffers, which training moves, and a function that puts them back.
local function kept_buffers(net)
  local kept = {}
  for _, entry in ipairs(net:state()) do
    if entry.buffer then kept[#kept + 1] = { entry.tensor, entry.tensor:clone() } end
  end
  return function() for _, pair in ipairs(kept) do pair[1]:copy_(pair[2]) end end
end

--- Profiles a network (option genotype, layers) or a path of a supernet (arch, space, layers). Options: batch (16),
--- height and width (32), channels (of the images; 3), classes (10), train (whether a training step is measured too;
--- true), runs (calls of which medians are taken; 5), warmup (2). The weights are left as they are.
---
--- Returns { batch =, height =, width =, device =, threads =, isa =, parameters =, conv_macs =, linear_macs = (of one
--- image), forward = { ms =, least_ms =, most_ms =, bytes_peak =, rows_ms = }, train = { the same }, parts = {
--- { root =, part =, cell =, kind =, operation =, from =, to =, parameters =, macs =, forward_ms =, train_forward_ms =,
--- train_backward_ms =, bytes_made =, bytes_peak = }, … }, operations = …, cells = … }: operations and cells are
--- sums of parts by name. bytes_peak are beyond what was in use before, a part's the most while it ran, of the CPU's
--- memory; bytes_made are of its results in the forward pass of training.
local function profile(net, given)
  local o = args.check("cnas.profile", given, {
    "layers", genotype = args.optional, arch = args.optional, space = args.optional, batch = 16, height = 32,
    width = args.optional, channels = 3, classes = 10, train = true, runs = 5, warmup = 2,
  })
  local width, rng = o.width or o.height, cnas.rng(0, "profile")
  local x = latency.placed(cnas.randn(o.batch, o.height, width, o.channels, { rng = rng }), net)
  local labels = {}
  for i = 1, o.batch do labels[i] = rng:integer(o.classes) end
  local y = cnas.tensor(labels, { dtype = "i64" }):to(x.device)
  local size = { height = o.height, width = width }
  local cost = o.arch and net:cost(o.arch, size) or net:cost(size)
  local place = cnas.places { genotype = o.genotype, space = o.space, layers = o.layers }
  local parts, of = collector(place)
  add_costs(of, place, o.arch and net:costs(o.arch, size) or net:costs(size))
  local report = {
    batch = o.batch, height = o.height, width = width, device = x.device, threads = cnas.threads(), isa = cnas.isa(),
    parameters = cost.parameters, conv_macs = cost.conv_macs, linear_macs = cost.linear_macs, parts = parts,
  }

  local function measure(field, f)
    local times = { warmup = o.warmup, runs = o.runs, most = o.runs, seconds = 0 }
    local result = {}
    result.ms, result.least_ms, result.most_ms = latency.time(f, times)
    local peak, base = memory_of(f)
    result.bytes_peak = peak
    local rows = rows_of(f, net, o.runs)
    for _, e in ipairs(rows) do e.bytes_peak = e.bytes_peak - base end
    result.rows_ms = 0
    for _, e in ipairs(rows) do result.rows_ms = result.rows_ms + e.ms end
    add_times(of, rows, field)
    report[field] = result
  end

  net:train(false)
  measure("forward", function()
    latency.finish(o.arch and cnas.no_grad(net, x, o.arch) or cnas.no_grad(net, x))
  end)
  if o.train then
    local restore = kept_buffers(net)
    local weights = cnas.optim.sgd(net:parameters(), { lr = 0.0, momentum = 0.9 })
    net:train(true)
    local parameter = net:parameters()[1]
    measure("train", function()
      weights:step(cnas.cross_entropy((net(x, o.arch)), y))
      if x.device ~= "cpu" then latency.finish(parameter:detach()) end -- it has moved
    end)
    net:train(false)
    restore()
  end
  report.operations = sums(parts, function(p) return p.operation or p.part == "input" and "inputs of cells"
    or p.part == "node" and "sums of nodes" or p.part end)
  report.cells = sums(parts, function(p)
    return p.cell and ("cell %2d, %s"):format(p.cell, p.kind) or p.part
  end)
  return report
end

return profile
