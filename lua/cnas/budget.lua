-- budget.lua - hard limits on what an architecture costs, kept choice by choice.
--
-- A limit is kept by masking: of a choice's candidates only those are left after which the rest can still be chosen
-- within the limit. For that it is enough to know, for every choice to come, the least that it can cost. *Slack* is the
-- limit minus the least that an architecture costs which begins as this one; a choice takes from it what it costs more
-- than the cheapest one there. Guards are not looked ahead: where they take away the cheap candidates that were counted
-- on, the limit can be missed, which kept() tells.

local args = require "cnas.args"

local Budget = {}
Budget.__index = Budget

-- The limits by the kind of cost, from the sampler's options.
local limits = { parameters = "max_parameters", macs = "max_macs" }

-- The budget of a sampler; nil when it has no limits.
local function new(sampler)
  local most = {}
  for kind, option in pairs(limits) do
    local limit = sampler[option]
    if limit then
      if type(limit) ~= "number" or limit ~= limit then
        error(("sampler: %s must be a number, got %s"):format(option, tostring(limit)), 4)
      elseif not sampler.costs then
        error(("sampler: %s needs the option costs, see cnas.costs"):format(option), 4)
      end
      most[kind] = limit
    end
  end
  return next(most) and setmetatable({ sampler = sampler, most = most }, Budget) or nil
end

-- The least that an open operation costs there.
function Budget:least_op(cell, from, kind)
  local least = math.huge
  for _, op in ipairs(self.sampler.open_ops) do
    least = math.min(least, self.sampler.costs:of(cell, from, op)[kind])
  end
  return least
end

-- The least that any triple into node t costs; only a node behind the first can choose an inner one.
function Budget:least_triple(cell, t, kind)
  local least = self:least_op(cell, 0, kind)
  return t > 2 and math.min(least, self:least_op(cell, 2, kind)) or least
end

--- Before the first choice of an architecture.
function Budget:start()
  self.slack = {}
  local base = self.sampler.costs:base(self.sampler.open_nodes)
  for kind, most in pairs(self.most) do
    local least = base[kind]
    for t = 2, self.sampler.open_nodes + 1 do
      least = least + 2 * (self:least_triple("normal", t, kind) + self:least_triple("reduction", t, kind))
    end
    if least > most then
      args.fail("usage", "the limit of %.0f %s cannot be kept: the cheapest open architecture has %.0f", most, kind,
                least)
    end
    self.slack[kind] = most - least
  end
end

-- The candidates that price(candidate, kind) does not take more than the slack for; when there are none, the cheapest.
local function affordable(self, candidates, price)
  local list, cheapest, least = {}, nil, math.huge
  for _, candidate in ipairs(candidates) do
    local over = 0.0
    for kind, slack in pairs(self.slack) do over = over + math.max(0, price(candidate, kind) - slack) end
    if over <= 0 then list[#list + 1] = candidate end
    if over < least then cheapest, least = candidate, over end
  end
  return #list > 0 and list or { cheapest }
end

local function take(self, price)
  for kind, slack in pairs(self.slack) do self.slack[kind] = slack - price(kind) end
end

function Budget:node_price(cell, t, from, kind)
  return self:least_op(cell, from, kind) - self:least_triple(cell, t, kind)
end

function Budget:op_price(cell, from, op, kind)
  return self.sampler.costs:of(cell, from, op)[kind] - self:least_op(cell, from, kind)
end

--- Of the nodes that t may choose, those it can afford; and its choice.
function Budget:nodes(cell, t, candidates)
  return affordable(self, candidates, function(from, kind) return self:node_price(cell, t, from, kind) end)
end

function Budget:take_node(cell, t, from)
  take(self, function(kind) return self:node_price(cell, t, from, kind) end)
end

--- The same for the operation of an edge.
function Budget:ops(cell, from, candidates)
  return affordable(self, candidates, function(op, kind) return self:op_price(cell, from, op, kind) end)
end

function Budget:take_op(cell, from, op)
  take(self, function(kind) return self:op_price(cell, from, op, kind) end)
end

--- After the last choice: whether all limits are kept.
function Budget:kept()
  for _, slack in pairs(self.slack) do
    if slack < 0 then return false end
  end
  return true
end

return new
