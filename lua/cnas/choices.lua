-- choices.lua - how often each operation and each edge was chosen, counted while a search draws architectures.
--
-- Counts are flat, by "CELL KIND NAME": "normal operations sep_conv_3x3", "reduction edges 0 2", an edge being its
-- source and its target. So they add up, and travel in a checkpoint, by name. In metrics.jsonl they are a tree.

local choices = {}

local cells = { "normal", "reduction" }

local function count(counts, key) counts[key] = (counts[key] or 0) + 1 end

--- Adds the operations and edges of an architecture's cells to `counts`.
function choices.add(counts, arch)
  for _, cell in ipairs(cells) do
    for _, triple in ipairs(arch[cell] or {}) do
      count(counts, ("%s operations %s"):format(cell, triple[1]))
      count(counts, ("%s edges %d %d"):format(cell, triple[2], triple[3]))
    end
  end
  return counts
end

--- The counts as { normal = { operations = { NAME = n }, edges = { ["0 2"] = n } }, reduction = … }; nil without any.
function choices.tree(counts)
  local tree
  for key, n in pairs(counts) do
    local cell, kind, name = key:match "^(%a+) (%a+) (.+)$"
    tree = tree or {}
    tree[cell] = tree[cell] or {}
    tree[cell][kind] = tree[cell][kind] or {}
    tree[cell][kind][name] = math.tointeger(n) or n
  end
  return tree
end

return choices
