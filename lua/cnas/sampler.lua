-- sampler.lua - which architectures may be chosen, and drawing them uniformly: what every search needs.
--
--   local sampler = cnas.sampler { space = space, nodes = 4, seed = 1, max_skip = 2 }
--   sampler:open(stage)                  -- a stage of a curriculum
--   local arch = sampler.uniform()
--   local child = sampler:mutate(arch)
--
-- A cell is a sequence of choices: for each inner node two earlier nodes, then two operations. Each is made among
-- *candidates*: those that the stage has opened, no guard forbids and the budget allows (see budget.lua). What cannot
-- be said of a single choice, `accept` says of a whole architecture: one that it refuses is drawn again. The controller
-- is a sampler that has learnt.

local cnas = require "cnas"
local args = require "cnas.args"
local budget = require "cnas.budget"

local Sampler = { __name = "cnas.Sampler" }
Sampler.__index = Sampler

local cells = { "normal", "reduction" }
local TRIES = 1000 -- drawn architectures, none of which is accepted, before that is an error

-- What a sampler can be told.
local known = {
  "space", "nodes", seed = 1,
  max_skip = args.optional,       -- guard: at most so many skip_connect in a cell
  no_none = false,                -- guard: never the operation none
  no_duplicate_edges = false,     -- guard: the two inputs of a node come from different nodes
  costs = args.optional,          -- what architectures cost (cnas.costs), for the limits:
  max_parameters = args.optional, -- at most so many parameters
  max_macs = args.optional,       -- at most so many multiply-adds
  accept = args.optional,         -- a function of an architecture: whether it may be
}

-- Makes a sampler of the checked options.
local function prepare(self)
  self.names = self.space:names()
  self.index = {}
  for i, name in ipairs(self.names) do self.index[name] = i end
  self.rng = cnas.rng(self.seed, "sampling")
  self.budget = budget(self)
  -- For loops that take any sampler: a function without arguments that returns an architecture.
  self.uniform = function() return self:sample_uniform() end
  return self
end

local function new(given)
  local self = setmetatable(args.check("cnas.sampler", given, known), Sampler)
  prepare(self)
  self.draw = self.uniform
  return self:open(self.nodes, #self.names)
end

--- Opens the first `nodes` inner nodes and these operations: a list of names, or the first so many of the space.
--- A stage of a curriculum may be given whole.
function Sampler:open(nodes, ops)
  if type(nodes) == "table" then nodes, ops = nodes.nodes, nodes.ops end
  if math.type(nodes) ~= "integer" or nodes < 1 or nodes > self.nodes then
    error(("sampler:open: nodes must be an integer in 1 … %d, got %s"):format(self.nodes, tostring(nodes)), 2)
  end
  if math.type(ops) == "integer" then ops = table.move(self.names, 1, ops, 1, {}) end
  self.open_nodes, self.open_ops = nodes, {}
  for _, name in ipairs(ops) do
    if not self.index[name] then
      error(("sampler:open: the space has no operation '%s'%s"):format(name, args.suggestion(name, self.names)), 2)
    end
    if not (self.no_none and name == "none") then
      self.open_ops[#self.open_ops + 1] = self.index[name] - 1
    end
  end
  table.sort(self.open_ops)
  if #self.open_ops == 0 then error("sampler:open: no operation is open that the guards allow", 2) end
  if self.max_skip and #self.open_ops == 1 and self.names[self.open_ops[1] + 1] == "skip_connect" then
    error("sampler:open: skip_connect is capped and no other operation is open", 2)
  end
  return self
end

-- 0 … t-1 without `taken`: the nodes that inner node t may choose.
local function earlier_nodes(t, taken)
  local list = {}
  for f = 0, t - 1 do
    if f ~= taken then list[#list + 1] = f end
  end
  return list
end

--- The open operations, without skip_connect once the cell has as many as it may.
function Sampler:allowed_ops(skips)
  local skip = (self.index.skip_connect or 0) - 1
  if not self.max_skip or skips < self.max_skip then return self.open_ops end
  local list = {}
  for _, k in ipairs(self.open_ops) do
    if k ~= skip then list[#list + 1] = k end
  end
  return list
end

--- Walks over the choices of one cell. choose(kind, candidates, t, which) returns the chosen one: kind is "node" or
--- "op", candidates are numbers from 0. Returns the triples.
function Sampler:walk(cell, choose)
  local triples, skips, money = {}, 0, self.budget
  for t = 2, self.open_nodes + 1 do
    local from, op = {}, {}
    for which = 1, 2 do
      local taken = which == 2 and self.no_duplicate_edges and from[1] or nil
      local candidates = earlier_nodes(t, taken)
      from[which] = choose("node", money and money:nodes(cell, t, candidates) or candidates, t, which)
      if money then money:take_node(cell, t, from[which]) end
    end
    for which = 1, 2 do
      local candidates = self:allowed_ops(skips)
      op[which] = choose("op", money and money:ops(cell, from[which], candidates) or candidates, t, which)
      if money then money:take_op(cell, from[which], op[which]) end
      if self.names[op[which] + 1] == "skip_connect" then skips = skips + 1 end
    end
    for which = 1, 2 do triples[#triples + 1] = { self.names[op[which] + 1], from[which], t } end
  end
  return triples
end

--- An architecture whose cells walk_cell(cell) gives: triples, and a table of anything else. Returns the architecture
--- and these tables by cell. One that is not accepted is made again, or, with `once`, is nil.
function Sampler:architecture(walk_cell, once)
  local concat = {}
  for t = 2, self.open_nodes + 1 do concat[#concat + 1] = t end
  for _ = 1, once and 1 or TRIES do
    local arch, parts = {}, {}
    if self.budget then self.budget:start() end
    for _, cell in ipairs(cells) do
      arch[cell], parts[cell] = walk_cell(cell)
      arch[cell .. "_concat"] = concat
    end
    arch = cnas.genotype.new(arch)
    if (not self.budget or self.budget:kept()) and (not self.accept or self.accept(arch)) then return arch, parts end
  end
  if once then return nil end
  args.fail("usage", "sampler: of %d architectures not one is within the limits: allow more, or open more operations",
            TRIES)
end

--- An architecture of choices that are uniform among the candidates.
function Sampler:sample_uniform()
  return (self:architecture(function(cell)
    return self:walk(cell, function(_, candidates) return candidates[self.rng:integer(#candidates) + 1] end)
  end))
end

--- Whether an architecture could be drawn: it is open, and within guards and limits.
function Sampler:allows(arch)
  local open = true
  local again = self:architecture(function(cell)
    return self:walk(cell, function(kind, candidates, t, which)
      local triple = arch[cell][2 * (t - 2) + which]
      local wanted = triple and (kind == "node" and triple[2] or (self.index[triple[1]] or 0) - 1)
      for _, candidate in ipairs(candidates) do
        if candidate == wanted then return wanted end
      end
      open = false
      return candidates[1]
    end)
  end, true)
  return again ~= nil and open and #arch.normal == #again.normal and #arch.reduction == #again.reduction
end

-- One choice of an architecture made anew: the operation or the source of one triple.
local function changed(self, arch)
  local child = {}
  for key, value in pairs(arch) do child[key] = table.move(value, 1, #value, 1, {}) end
  local cell = child[cells[self.rng:integer(2) + 1]]
  local i = self.rng:integer(#cell) + 1
  local op, from, t = table.unpack(cell[i])
  local others = {}
  if self.rng:integer(2) == 0 then
    for _, k in ipairs(self.open_ops) do
      if self.names[k + 1] ~= op then others[#others + 1] = self.names[k + 1] end
    end
    op = others[1] and others[self.rng:integer(#others) + 1]
  else
    others = earlier_nodes(t, from)
    from = others[self.rng:integer(#others) + 1]
  end
  cell[i] = { op, from, t }
  return op and cnas.genotype.new(child)
end

--- A neighbour of an architecture, as regularized evolution mutates (Real et al., AAAI 2019): in one cell, another
--- operation or another source for one of a node's two inputs, drawn uniformly among those that may be.
function Sampler:mutate(arch)
  for _ = 1, TRIES do
    local child = changed(self, arch)
    if child and self:allows(child) then return child end
  end
  args.fail("usage", "sampler: of %d neighbours of an architecture not one is within the limits", TRIES)
end

--- What a run must keep: how far the stream of random numbers has come.
function Sampler:state()
  return { { name = "sampling.counter", tensor = cnas.tensor(self.rng.counter, { dtype = "i64" }) } }
end

function Sampler:load(state)
  if state["sampling.counter"] then self.rng.counter = state["sampling.counter"]:item() end
end

function Sampler:__tostring()
  return ("cnas.Sampler: %d of %d nodes, %d of %d operations"):format(self.open_nodes, self.nodes, #self.open_ops,
         #self.names)
end

return setmetatable({ new = new, Sampler = Sampler, known = known, prepare = prepare },
                    { __call = function(_, given) return new(given) end })
