-- places.lua - what stands at a place of a network: "cells.3._ops.2.op" is the operation sep_conv_3x3 from node 0 to 3.
--
--   local place = cnas.places { genotype = g, layers = 20 }          -- of an evaluation network
--   local place = cnas.places { space = space, layers = 8 }          -- of a supernet
--   place("cells.3._ops.2.op")     -- { root = "cells.3._ops.2", part = "operation", cell = 3, kind = "normal",
--                                  --   operation = "sep_conv_3x3", from = 0, to = 3 }
--
-- Parts of a network: stem, input (of a cell), operation, node (the cell itself: its sums), pool (the network itself)
-- and classifier, and auxiliary. A place that is none of these gives nil.

local args = require "cnas.args"

-- The nodes of edge number e of a supernet's cell: (to - 2)(to + 1) / 2 + from.
local function nodes_of(edge)
  local to = 2
  while edge >= to do edge, to = edge - to, to + 1 end
  return edge, to
end

return function(given)
  local o = args.check("cnas.places", given, { "layers", genotype = args.optional, space = args.optional })
  local names = o.space and o.space:names()

  local function in_cell(cell, rest)
    local kind = (cell == o.layers // 3 or cell == 2 * o.layers // 3) and "reduction" or "normal"
    local place = { root = "cells." .. cell, part = "node", cell = cell, kind = kind }
    local input, edge, k = rest:match "^%.(preprocess[01])", rest:match "^%._ops%.(%d+)%._ops%.(%d+)"
    local triple = rest:match "^%._ops%.(%d+)"
    if input then
      place.part, place.root = "input", place.root .. "." .. input
    elseif names and edge then
      place.part, place.operation = "operation", names[tonumber(k) + 1]
      place.from, place.to = nodes_of(tonumber(edge))
      place.root = ("%s._ops.%s._ops.%s"):format(place.root, edge, k)
    elseif triple then
      local t = o.genotype and o.genotype[kind][tonumber(triple) + 1] or {}
      place.part, place.operation, place.from, place.to = "operation", t[1], t[2], t[3]
      place.root = ("%s._ops.%s"):format(place.root, triple)
    end
    return place
  end

  return function(at)
    local cell, rest = at:match "^cells%.(%d+)(.*)$"
    if cell then return in_cell(tonumber(cell), rest) end
    local first = at:match "^[^.]*"
    if first:find "^stem" then return { root = first, part = "stem" } end
    if first == "classifier" then return { root = first, part = "classifier" } end
    if first == "auxiliary_head" then return { root = first, part = "auxiliary" } end
    if at == "" then return { root = "", part = "pool" } end
    return nil
  end
end
