-- rank.lua - how well two lists of numbers agree about the order of things. As cnas.metric.kendall and .spearman.

local rank = {}

-- Checks the lists; returns their length.
local function length_of(who, a, b)
  for which = 1, 2 do
    local list = select(which, a, b)
    if type(list) ~= "table" then
      error(("%s: list %d: expected a table of numbers, got %s"):format(who, which, type(list)), 3)
    end
    for i = 1, #list do
      if type(list[i]) ~= "number" or list[i] ~= list[i] then
        local got = type(list[i]) == "number" and "nan" or tostring(list[i])
        error(("%s: list %d: entry %d: expected a number, got %s"):format(who, which, i, got), 3)
      end
    end
  end
  if #a ~= #b then error(("%s: the lists have %d and %d numbers: expected as many"):format(who, #a, #b), 3) end
  return #a
end

-- The pairs that a list can make of entries for which same(previous, this) holds, equal ones being neighbours.
local function tied_pairs(list, same)
  local pairs_tied, run = 0, 1
  for i = 2, #list + 1 do
    if list[i] ~= nil and same(list[i - 1], list[i]) then
      run = run + 1
    else
      pairs_tied, run = pairs_tied + run * (run - 1) // 2, 1
    end
  end
  return pairs_tied
end

-- Sorts the list by merging; returns the sorted list and how many pairs stood in the wrong order.
local function inversions(list)
  local n, from, to, wrong = #list, list, {}, 0
  local width = 1
  while width < n do
    for first = 1, n, 2 * width do
      local middle, last = math.min(first + width, n + 1), math.min(first + 2 * width, n + 1)
      local i, j = first, middle
      for k = first, last - 1 do
        if i < middle and (j >= last or from[i] <= from[j]) then
          to[k], i = from[i], i + 1
        else
          to[k], j, wrong = from[j], j + 1, wrong + middle - i
        end
      end
    end
    from, to, width = to, from == list and {} or from, 2 * width
  end
  return from, wrong
end

--- Kendall's tau-b of two lists of numbers: of all pairs of entries, how many more the lists order alike than
--- differently, as a part of those that neither holds for equal (in the geometric mean). 1: the same order; -1: the
--- reverse; nil where it is not defined, because a list has no two different numbers. Takes O(n log n) (Knight 1966).
function rank.kendall(a, b)
  local n = length_of("metric.kendall", a, b)
  local order = {}
  for i = 1, n do order[i] = i end
  table.sort(order, function(i, j)
    if a[i] ~= a[j] then return a[i] < a[j] end
    return b[i] < b[j]
  end)
  local tied_a = tied_pairs(order, function(i, j) return a[i] == a[j] end)
  local tied_both = tied_pairs(order, function(i, j) return a[i] == a[j] and b[i] == b[j] end)
  for i = 1, n do order[i] = b[order[i]] end
  local sorted, discordant = inversions(order)
  local tied_b = tied_pairs(sorted, function(x, y) return x == y end)
  local all = n * (n - 1) // 2
  if all == tied_a or all == tied_b then return nil end
  local excess = all - tied_a - tied_b + tied_both - 2 * discordant -- concordant minus discordant pairs
  return excess / math.sqrt((all - tied_a + 0.0) * (all - tied_b))
end

-- The rank of each entry, from 1; equal ones share the mean of theirs.
local function ranks_of(list)
  local order, ranks = {}, {}
  for i = 1, #list do order[i] = i end
  table.sort(order, function(i, j) return list[i] < list[j] end)
  local first = 1
  while first <= #order do
    local last = first
    while last < #order and list[order[last + 1]] == list[order[first]] do last = last + 1 end
    for k = first, last do ranks[order[k]] = (first + last) / 2 end
    first = last + 1
  end
  return ranks
end

--- Spearman's rho: the correlation of the ranks, equal entries sharing theirs. nil where a list has no two different
--- numbers.
function rank.spearman(a, b)
  local n = length_of("metric.spearman", a, b)
  local x, y = ranks_of(a), ranks_of(b)
  local mean, xx, yy, xy = (n + 1) / 2, 0.0, 0.0, 0.0
  for i = 1, n do
    local dx, dy = x[i] - mean, y[i] - mean
    xx, yy, xy = xx + dx * dx, yy + dy * dy, xy + dx * dy
  end
  if xx == 0 or yy == 0 then return nil end
  return xy / math.sqrt(xx * yy)
end

return rank
