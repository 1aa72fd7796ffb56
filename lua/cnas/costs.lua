-- costs.lua - what the network of an architecture costs, in microseconds instead of building it.
--
--   local costs = cnas.costs { space = space, channels = 36, layers = 20, classes = 10 }
--   costs(arch)                      -- { parameters = 3695374, macs = 564024960 }
--
-- Every triple of a cell adds what its operation costs there, which depends on the cell, on the operation and on
-- whether its source is one of the cell's two inputs (an edge from there has stride 2 in a reduction cell). So a few
-- networks that differ in one triple tell the cost of all, exactly.

local cnas = require "cnas"
local args = require "cnas.args"

local Costs = { __name = "cnas.Costs" }
Costs.__index = Costs

local kinds = { "parameters", "macs" }

--- Options: space; channels, layers, classes, imagenet, auxiliary, height and width as for cnas.network (the defaults
--- are the network that a cell found on CIFAR-10 is trained in); latency = true measures milliseconds too, or a
--- function from an architecture to milliseconds does. It is asked once for each architecture; what it says depends on
--- the machine and its load, so that a search which uses it is not reproducible.
local function new(given)
  local self = args.check("cnas.costs", given, {
    "space", channels = 36, layers = 20, classes = 10, imagenet = false, auxiliary = false, height = args.optional,
    width = args.optional, latency = args.optional,
  })
  self.names, self.index = self.space:names(), {}
  for k, name in ipairs(self.names) do self.index[name] = k - 1 end
  self.bases, self.extra, self.milliseconds = {}, {}, {}
  if self.latency == true then self.latency = function(arch) return self:measure_latency(arch) end end
  return setmetatable(self, Costs)
end

-- The cost of a genotype's network, built.
local function measure(self, arch)
  local cost = cnas.cost.network {
    space = self.space, genotype = cnas.genotype.new(arch), channels = self.channels, layers = self.layers,
    classes = self.classes, imagenet = self.imagenet, auxiliary = self.auxiliary, height = self.height,
    width = self.width,
  }
  return { parameters = cost.parameters, macs = cost.conv_macs + cost.linear_macs }
end

-- The cell all of whose triples are the space's first operation on input 0.
local function plain(self, nodes)
  local arch = { normal = {}, reduction = {}, normal_concat = {}, reduction_concat = {} }
  for _, cell in ipairs { "normal", "reduction" } do
    for t = 2, nodes + 1 do
      for _ = 1, 2 do table.insert(arch[cell], { self.names[1], 0, t }) end
      table.insert(arch[cell .. "_concat"], t)
    end
  end
  return arch
end

--- The cost of the plain architecture with so many inner nodes, to which every triple adds its extra.
function Costs:base(nodes)
  self.bases[nodes] = self.bases[nodes] or measure(self, plain(self, nodes))
  return self.bases[nodes]
end

--- What a triple costs more than the plain one: { parameters =, macs = }. op counts from 0; from is the source.
function Costs:of(cell, from, op)
  local key = ("%s %s %d"):format(cell, from < 2 and "input" or "inner", op)
  local extra = self.extra[key]
  if not extra then
    local nodes = from < 2 and 1 or 2
    local arch = plain(self, nodes)
    arch[cell][2 * nodes] = { self.names[op + 1], from < 2 and 0 or 2, nodes + 1 }
    local cost, base = measure(self, arch), self:base(nodes)
    extra = { parameters = cost.parameters - base.parameters, macs = cost.macs - base.macs }
    self.extra[key] = extra
  end
  return extra
end

--- What an architecture costs: { parameters =, macs = } and, where it can be measured, latency in milliseconds.
function Costs:__call(arch)
  local base = self:base(#arch.normal // 2)
  local sum = { parameters = base.parameters, macs = base.macs }
  for _, cell in ipairs { "normal", "reduction" } do
    for _, triple in ipairs(arch[cell]) do
      local op = self.index[triple[1]] or error(("cnas.costs: the space has no operation '%s'"):format(triple[1]), 2)
      local extra = self:of(cell, triple[2], op)
      for _, kind in ipairs(kinds) do sum[kind] = sum[kind] + extra[kind] end
    end
  end
  if self.latency then
    local text = cnas.genotype.text(arch)
    self.milliseconds[text] = self.milliseconds[text] or self.latency(arch)
    sum.latency = self.milliseconds[text]
  end
  return sum
end

--- Milliseconds of one image through the network, which is built for it (see latency.lua).
function Costs:measure_latency(arch)
  local size = self.height or (self.imagenet and 224 or 32)
  local net = cnas.network {
    space = self.space, genotype = arch, channels = self.channels, layers = self.layers, classes = self.classes,
    imagenet = self.imagenet, rng = cnas.rng(1, "latency"),
  }
  net:train(false)
  return (cnas.latency(net, { batch = 1, height = size, width = self.width or size, seconds = 0.05 }))
end

--- A reward that costs lower: accuracy times (cost / target) ^ -price for each target given, as in MnasNet (Tan et al.,
--- CVPR 2019). Options: parameters, macs, latency: targets; price = 0.07. A function of accuracy and architecture.
function Costs:reward(given)
  local o = args.check("costs:reward", given or {}, {
    parameters = args.optional, macs = args.optional, latency = args.optional, price = 0.07,
  })
  local targets = {}
  for _, kind in ipairs { "parameters", "macs", "latency" } do
    if o[kind] then targets[#targets + 1] = { kind = kind, value = o[kind] } end
  end
  return function(accuracy, arch)
    if #targets == 0 then return accuracy end
    local cost = self(arch)
    for _, target in ipairs(targets) do
      local value = cost[target.kind]
        or error("costs:reward: a target for the latency needs cnas.costs { latency = true }", 2)
      accuracy = accuracy * (math.max(value, 1e-9) / target.value) ^ -o.price
    end
    return accuracy
  end
end

--- What a Pareto set of accuracy and these costs aims at.
function Costs:aims()
  return { accuracy = "most", parameters = "least", macs = "least", latency = self.latency and "least" or nil }
end

--- The costs that a recipe with the options cnas.declared.costs means: for networks of that size; with `paid`, the
--- reward of the targets, and `accept`, which keeps to --max-latency (nil without it).
local function declared(opt, space, classes)
  local self = new {
    space = space, channels = opt.cost_channels, layers = opt.cost_layers, classes = classes,
    latency = (opt.max_latency or opt.target_latency) and true or nil,
  }
  self.paid = self:reward {
    parameters = opt.target_parameters, macs = opt.target_macs, latency = opt.target_latency, price = opt.price,
  }
  local most = opt.max_latency
  self.accept = most and function(arch) return self(arch).latency <= most end or nil
  return self
end

return setmetatable({ new = new, declared = declared }, { __call = function(_, given) return new(given) end })
