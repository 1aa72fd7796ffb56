-- controller.lua - who proposes architectures: an LSTM for each cell type, trained by the reward of what it proposed.
--
-- What there is to choose and what may be chosen is a sampler's (see sampler.lua), which a controller is too. A choice
-- is drawn from a softmax over its *candidates*. Nodes are scored by attention over their embeddings, operations by a
-- linear layer with one logit for each operation of the space. Sampling, the log-probability of a given architecture,
-- and uniform sampling are one walk over the same choices and differ only in who chooses.
--
-- Letters: n inner nodes, K operations, H hidden units. Embedding rows: nodes 0 … n, then the operations.

local cnas = require "cnas"
local args = require "cnas.args"
local sampler = require "cnas.sampler"

local Controller = setmetatable({ __name = "cnas.Controller" }, { __index = sampler.Sampler })
Controller.__index = Controller

local cells = { "normal", "reduction" }
Controller.cells = cells

-- Parameters of one cell's network, uniform in ±0.1, in the order in which they are saved.
local function parameters_of(cell, nodes, operations, hidden, dtype, rng)
  local list, network = {}, {}
  local function new(name, ...)
    local tensor = cnas.empty({ ... }, { dtype = dtype })
    tensor:fill_uniform_ { low = -0.1, high = 0.1, rng = rng }
    tensor:requires_grad_(true)
    list[#list + 1] = { name = cell .. "." .. name, tensor = tensor }
    return tensor
  end
  network.embedding = new("embedding.weight", nodes + 1 + operations, hidden)
  network.weight_ih = new("lstm.weight_ih", hidden, 4 * hidden)
  network.weight_hh = new("lstm.weight_hh", hidden, 4 * hidden)
  network.bias = new("lstm.bias", 4 * hidden)
  network.attention_node = new("attention_node.weight", hidden, hidden)
  network.attention_state = new("attention_state.weight", hidden, hidden)
  network.attention_value = new("attention_value.weight", hidden, 1)
  network.head = new("head.weight", hidden, operations)
  network.head_bias = new("head.bias", operations)
  return network, list
end

-- What a controller can be told: whatever a sampler can, and
local known = {
  hidden = 128, dtype = "f32",
  temperature = args.optional,    -- logits are divided by it
  tanh_constant = args.optional,  -- logits become tanh_constant * tanh(logits)
  op_tanh_reduce = args.optional, -- tanh_constant is divided by it for operations
}
for key, value in pairs(sampler.known) do known[key] = value end

local function new(given)
  local self = setmetatable(args.check("cnas.controller", given, known), Controller)
  sampler.prepare(self)
  local rng = cnas.rng(self.seed, "controller")
  self.network, self.list = {}, {}
  for _, cell in ipairs(cells) do
    local list
    self.network[cell], list = parameters_of(cell, self.nodes, #self.names, self.hidden, self.dtype, rng)
    table.move(list, 1, #list, #self.list + 1, self.list)
  end
  self.zeros = cnas.zeros({ 1, self.hidden }, { dtype = self.dtype })
  self.draw = function() -- beside self.uniform
    local arch = cnas.no_grad(Controller.sample, self)
    return arch
  end
  return self:open(self.nodes, #self.names)
end

-- The entries of `logits` (1,M) that stand for the candidates (numbers from 0).
local function among(logits, candidates)
  local count = #candidates
  if candidates[count] == count - 1 then -- 0 … count-1
    return count == logits:size(2) and logits or logits:narrow(2, 1, count)
  end
  return logits:index_select(cnas.tensor(candidates, { dtype = "i64" }), 2)
end

function Controller:scaled(logits, reduce)
  if self.temperature then logits = logits / self.temperature end
  if self.tanh_constant then logits = logits:tanh() * (self.tanh_constant / (reduce or 1)) end
  return logits
end

-- Rows (1,M) of a list, of any number, side by side.
local function joined(rows)
  if #rows == 1 then return rows[1] end
  local list = {}
  for first = 1, #rows, 16 do
    list[#list + 1] = cnas.concat(table.move(rows, first, math.min(first + 15, #rows), 1, {}), 2)
  end
  return joined(list)
end

-- Entropy of choices: minus the sum of p log p over all of a row's entries.
local function entropy_of(logp) return -(logp:exp() * logp):sum() end

--- Walks over one cell with its network. pick(candidates, logp, t, which, kind) returns a position in the candidates,
--- logp (1,#candidates) being their log-probabilities. Returns the triples and tensors: log-probability, entropy of the
--- node choices, entropy of the operation choices.
---
--- Computed once for all choices: keys, what attention makes of the nodes' embeddings; gates, what the LSTM's gates get
--- from an input e. Likewise what is summed over all choices is summed at the end.
function Controller:walk_network(cell, pick)
  local net = self.network[cell]
  local keys = net.embedding:narrow(1, 1, self.nodes + 1):linear(net.attention_node) -- (n+1,H)
  local gates = net.embedding:linear(net.weight_ih, net.bias)                        -- (n+1+K,4H)
  local logps = { node = {}, op = {} } -- of all candidates, by kind of choice
  local chosen = { node = {}, op = {} } -- where in them, from 0, the chosen ones are
  local width = { node = 0, op = 0 }

  local from, h, c = net.bias, nil, self.zeros -- the first input is zero
  local triples = self:walk(cell, function(kind, candidates, t, which)
    h, c = cnas.lstm_gates(h and h:linear(net.weight_hh, from) or from:unsqueeze(1), c)
    local logits, row
    if kind == "node" then
      local scores = (keys:narrow(1, 1, t) + h:linear(net.attention_state)):tanh():linear(net.attention_value) -- (t,1)
      logits, row = self:scaled(scores:reshape { 1, t }), 0
    else
      logits, row = self:scaled(h:linear(net.head, net.head_bias), self.op_tanh_reduce), self.nodes + 1
    end
    local logp = among(logits, candidates):log_softmax(2)
    local position = pick(candidates, logp, t, which, kind)
    table.insert(logps[kind], logp)
    table.insert(chosen[kind], width[kind] + position - 1)
    width[kind] = width[kind] + #candidates
    from = gates:select(1, row + candidates[position] + 1)
    return candidates[position]
  end)

  local node, op = joined(logps.node), joined(logps.op)
  local function sum_chosen(logp, kind)
    return logp:index_select(cnas.tensor(chosen[kind], { dtype = "i64" }), 2):sum()
  end
  return triples, { logp = sum_chosen(node, "node") + sum_chosen(op, "op"),
                    node_entropy = entropy_of(node), op_entropy = entropy_of(op) }
end

-- An architecture whose cells walk_cell(cell) gives, and sums over both: log-probability, entropy, and parts by cell.
local function with_sums(self, walk_cell, once)
  local arch, parts = self:architecture(walk_cell, once)
  if not arch then return nil end
  local a, b = parts.normal, parts.reduction
  return arch, a.logp + b.logp, a.node_entropy + a.op_entropy + b.node_entropy + b.op_entropy, parts
end

--- An architecture drawn from the networks, its log-probability, its entropy (both scalars in the graph), and parts:
--- parts.normal.logp, .node_entropy, .op_entropy, and the same of parts.reduction.
function Controller:sample()
  local function draw(candidates, logp)
    local u, sum = self.rng:uniform(), 0.0
    for position, l in ipairs(logp:totable()[1]) do
      sum = sum + math.exp(l)
      if u < sum then return position end
    end
    return #candidates -- the probabilities add up to one less a rounding
  end
  return with_sums(self, function(cell) return self:walk_network(cell, draw) end)
end

--- The entropies in the parts of a sample, as numbers with the names under which a run logs them: of the choices of
--- nodes and of operations in each cell.
function Controller:entropies(parts)
  local found = {}
  for _, cell in ipairs(self.cells) do
    found[("entropy/%s nodes"):format(cell)] = parts[cell].node_entropy:item()
    found[("entropy/%s operations"):format(cell)] = parts[cell].op_entropy:item()
  end
  return found
end

--- The same for an architecture that is given: an open one that the guards allow.
function Controller:evaluate(arch)
  local function given(cell, candidates, kind, t, which)
    local triple = arch[cell][2 * (t - 2) + which]
    local wanted = kind == "node" and triple[2] or (self.index[triple[1]] or 0) - 1
    for position, candidate in ipairs(candidates) do
      if candidate == wanted then return position end
    end
    error(("controller:evaluate: %s: triple (%s, %d, %d) cannot be chosen: %s is not open"):format(cell, triple[1],
          triple[2], triple[3], kind == "node" and "node " .. triple[2] or "operation " .. triple[1]), 0)
  end
  local again, logp, entropy, parts = with_sums(self, function(cell)
    return self:walk_network(cell, function(candidates, _, t, which, kind)
      return given(cell, candidates, kind, t, which)
    end)
  end, true)
  if not again then error("controller:evaluate: the architecture is not within the limits", 2) end
  return again, logp, entropy, parts
end

--- The tensors that an optimizer moves, with their names.
function Controller:parameters()
  local list = { names = {} }
  for i, entry in ipairs(self.list) do list[i], list.names[i] = entry.tensor, entry.name end
  return list
end

--- Everything that a run must keep: parameters and how far the sampling stream has come.
function Controller:state()
  local state = table.move(self.list, 1, #self.list, 1, {})
  state[#state + 1] = { name = "sampling.counter", tensor = cnas.tensor(self.rng.counter, { dtype = "i64" }) }
  return state
end

function Controller:load(state)
  for _, entry in ipairs(self.list) do
    local tensor = state[entry.name] or args.fail("data", "controller: the state has no '%s'", entry.name)
    cnas.no_grad(entry.tensor.copy_, entry.tensor, tensor)
  end
  if state["sampling.counter"] then self.rng.counter = state["sampling.counter"]:item() end
end

function Controller:__tostring()
  return ("cnas.Controller: %d of %d nodes, %d of %d operations, hidden %d"):format(self.open_nodes, self.nodes,
         #self.open_ops, #self.names, self.hidden)
end

return setmetatable({ new = new }, { __call = function(_, given) return new(given) end })
