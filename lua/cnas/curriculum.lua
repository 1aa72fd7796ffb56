-- curriculum.lua - in which order the search space opens.
--
-- A curriculum is a list of stages { index, name, nodes, ops }: how many inner nodes are open, and the names of the
-- open operations. Supernet and controller number operations as the space does: a stage says what may be chosen.

local cnas = require "cnas"
local args = require "cnas.args"

local curriculum = {}

--- The names of the space's operations in the order in which they open: the base operation first, the others drawn from
--- the seed.
function curriculum.order(space, seed, base)
  local names, rest, order = space:names(), {}, {}
  base = base or "sep_conv_3x3"
  for _, name in ipairs(names) do
    if name == base then order[1] = name else rest[#rest + 1] = name end
  end
  if #order == 0 then
    args.fail("usage", "curriculum: the space has no operation '%s'%s", base, args.suggestion(base, names))
  end
  if #rest > 0 then
    for _, i in ipairs(cnas.rng(seed, "curriculum"):permutation(#rest)) do order[#order + 1] = rest[i] end
  end
  return order
end

--- Any schedule: open(i, order, nodes) returns how many inner nodes and which operations (names) stage i opens, and
--- a name for it; nil ends the list.
function curriculum.stages(space, opt, open)
  local order, stages = curriculum.order(space, opt.seed, rawget(opt, "base")), {} -- a recipe may have no --base
  for i = 1, math.huge do
    local nodes, ops, name = open(i, order, opt.nodes)
    if not nodes then break end
    stages[i] = { index = i, name = name or "stage " .. i, nodes = nodes, ops = ops }
  end
  return stages
end

--- Stage i opens the first i operations on all nodes.
function curriculum.op(space, opt)
  return curriculum.stages(space, opt, function(i, order, nodes)
    if i <= #order then return nodes, table.move(order, 1, i, 1, {}), (i > 1 and "+ " or "") .. order[i] end
  end)
end

--- Stage i opens the first i inner nodes with all operations.
function curriculum.node(space, opt)
  return curriculum.stages(space, opt, function(i, order, nodes)
    if i <= nodes then return i, order, i == 1 and "1 node" or i .. " nodes" end
  end)
end

--- One stage with everything open: this is ENAS.
function curriculum.fix(space, opt)
  return curriculum.stages(space, opt, function(i, order, nodes)
    if i == 1 then return nodes, order, "everything" end
  end)
end

return curriculum
