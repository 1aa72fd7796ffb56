-- nasbench201.lua - NAS-Bench-201 (Dong and Yang, ICLR 2020) as a search target: every architecture of a small space,
-- with the accuracies that training it gave.
--
--   local bench = cnas.nasbench201.open "nasbench201.csv"
--   local task = bench:task { budget = 20000 }
--   while task:open() do task:query(bench:sample(rng)) end
--   print(bench:text(task.best), bench.columns.c10_test_200[task.best])
--
-- A cell has four nodes and an operation, one of five, on each of its six edges 0->1, 0->2, 1->2, 0->3, 1->3, 2->3. An
-- architecture is written as its six operations, { 4, 1, 2, … }: numbers from 1 in the order of `operations`; or as
-- its row of the table, 1 … 15625, which is the benchmark's index plus one. The table is a CSV file with a header line,
-- a column "arch" of architecture strings and columns of numbers.

local cnas = require "cnas"
local args = require "cnas.args"

local nasbench201 = {}

nasbench201.operations = { "none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3" }

-- The edges' sources in the order in which an architecture string names them, with what stands between the edges.
local form = "|%s~0|+|%s~0|%s~1|+|%s~0|%s~1|%s~2|"
local pattern = "^" .. form:gsub("[|+]", "%%%0"):gsub("%%s", "([%%w_]+)") .. "$"

local EDGES, CHOICES = 6, #nasbench201.operations
local ROWS = CHOICES ^ EDGES // 1 | 0
local BYTES, COLUMNS = 64 << 20, 200 -- no table has more

-- Columns that must be there with a number in each row: { lowest, highest }.
local required = {
  c10_valid_12 = { 0, 100 }, c10_test_200 = { 0, 100 }, c100_test_200 = { 0, 100 }, in16_test_200 = { 0, 100 },
}
local TIME = "c10_train_time_200ep_s" -- must be there; may have gaps

local number_of = {}
for k, name in ipairs(nasbench201.operations) do number_of[name] = k end

-- 0 … 15624, one for each architecture: the six operations as digits. nil when they are no such.
local function code_of(choices)
  local code = 0
  for edge = 1, EDGES do
    local k = choices[edge]
    if math.type(k) ~= "integer" or k < 1 or k > CHOICES then return nil end
    code = code * CHOICES + k - 1
  end
  return code
end

--- The six operations that an architecture string names; nil and why when it is none.
function nasbench201.parse(text)
  local names = { text:match(pattern) }
  if #names ~= EDGES then return nil, "expected an architecture like " .. form:gsub("%%s", "none") end
  for edge, name in ipairs(names) do
    names[edge] = number_of[name]
    if not names[edge] then
      return nil, ("there is no operation '%s'%s"):format(name, args.suggestion(name, nasbench201.operations))
    end
  end
  return names
end

-- Reading the table ---------------------------------------------------------------------------------------------------

-- The fields of a line, at most `most` of them; nil when there are more.
local function fields_of(line, most)
  local fields, from = {}, 1
  while true do
    local comma = line:find(",", from, true)
    if #fields == most then return nil end
    fields[#fields + 1] = line:sub(from, comma and comma - 1)
    if not comma then return fields end
    from = comma + 1
  end
end

-- Lines of a text with their numbers, without line ends.
local function lines_of(text)
  local from, number = 1, 0
  return function()
    if from > #text then return nil end
    local newline = text:find("\n", from, true) or #text + 1
    local line = text:sub(from, text:byte(newline - 1) == 13 and newline - 2 or newline - 1)
    from, number = newline + 1, number + 1
    return number, line
  end
end

-- A short printable piece of what a file has, for messages.
local function shown(text)
  return "'" .. text:sub(1, 60):gsub("[^\32-\126]", "?") .. (#text > 60 and "…" or "") .. "'"
end

-- The header's columns: where "arch" is, and the others' names by place.
local function header_of(path, line)
  local names = fields_of(line, COLUMNS)
  if not names then args.fail("data", "%s: line 1: more than %d columns", path, COLUMNS) end
  local place = {}
  names[1] = names[1]:gsub("^\xef\xbb\xbf", "")
  for i, name in ipairs(names) do
    if place[name] then args.fail("data", "%s: line 1: two columns are called %s", path, shown(name)) end
    place[name] = i
  end
  local wanted = args.keys(required)
  table.insert(wanted, 1, "arch")
  wanted[#wanted + 1] = TIME
  for _, name in ipairs(wanted) do
    if not place[name] then
      args.fail("data", "%s: line 1: expected a header with the column '%s', got %s", path, name, shown(line))
    end
  end
  return names, place
end

-- What a field of numbers holds: nan for none where that may be.
local function value_of(path, number, name, text)
  if text == "" and not required[name] then return 0 / 0 end
  local value = text:find("^[%d.eE+-]+$") and tonumber(text)
  local range = required[name]
  if not value or value - value ~= 0 then
    args.fail("data", "%s: line %d: %s: expected a number, got %s", path, number, name, shown(text))
  elseif range and (value < range[1] or value > range[2]) then
    args.fail("data", "%s: line %d: %s: expected %d to %d percent, got %s", path, number, name, range[1], range[2],
              shown(text))
  elseif name == TIME and value <= 0 then
    args.fail("data", "%s: line %d: %s: expected seconds above 0, got %s", path, number, name, shown(text))
  end
  return value + 0.0
end

-- The time of an architecture that has none is the mean of those with as many of each operation: they do the same work.
-- Seconds of 12 epochs, from those of 200.
local function seconds_of(path, rows, column)
  local sums, keys, seconds = {}, {}, {}
  for row, choices in ipairs(rows) do
    local sorted = table.move(choices, 1, EDGES, 1, {})
    table.sort(sorted)
    keys[row] = code_of(sorted)
    local sum = sums[keys[row]] or { 0.0, 0 }
    sums[keys[row]] = sum
    if column[row] == column[row] then sum[1], sum[2] = sum[1] + column[row], sum[2] + 1 end
  end
  for row = 1, #rows do
    local time, sum = column[row], sums[keys[row]]
    if time ~= time then
      if sum[2] == 0 then
        args.fail("data", "%s: %s has no number for architecture %d, nor for any other with the same operations", path,
                  TIME, row - 1)
      end
      time = sum[1] / sum[2]
    end
    seconds[row] = time * 12 / 200
  end
  return seconds
end

local Bench = { __name = "cnas.NasBench201" }
Bench.__index = Bench

--- Reads a table. bench.columns has its columns of numbers by name, each a list with an entry a row, nan where the
--- table has none; bench.seconds the time of 12 epochs of training on CIFAR-10; #bench is 15625. What the file lacks or
--- has too much is an error of code "data" that names the line.
function nasbench201.open(path)
  if not cnas.file.exists(path) then args.fail("data", "%s: there is no such file", path) end
  local bytes = cnas.file.size(path)
  if bytes > BYTES then
    args.fail("data", "%s: %d bytes are too many for this table: expected at most %d", path, bytes, BYTES)
  end
  local self = setmetatable({ path = path, columns = {}, rows = {}, row_of_code = {} }, Bench)
  local names, place, lists
  for number, line in lines_of(cnas.file.read(path)) do
    if number == 1 then
      names, place = header_of(path, line)
      lists = {}
      for i, name in ipairs(names) do
        if name ~= "arch" then
          lists[i] = {}
          self.columns[name] = lists[i]
        end
      end
    else
      local fields = fields_of(line, #names)
      if not fields or #fields ~= #names then
        args.fail("data", "%s: line %d: expected %d fields as in the header, got %s", path, number, #names,
                  fields and #fields or "more")
      end
      local choices, why = nasbench201.parse(fields[place.arch])
      if not choices then
        args.fail("data", "%s: line %d: arch %s: %s", path, number, shown(fields[place.arch]), why)
      end
      local code, row = code_of(choices), #self.rows + 1
      if self.row_of_code[code] then
        args.fail("data", "%s: line %d: arch %s is that of line %d again", path, number, shown(fields[place.arch]),
                  self.row_of_code[code] + 1)
      end
      self.row_of_code[code], self.rows[row] = row, choices
      for i, list in pairs(lists) do list[row] = value_of(path, number, names[i], fields[i]) end
    end
  end
  if #self.rows ~= ROWS then
    args.fail("data", "%s: %d architectures: the table must have all %d", path, #self.rows, ROWS)
  end
  self.seconds = seconds_of(path, self.rows, self.columns[TIME])
  return self
end

-- Architectures -------------------------------------------------------------------------------------------------------

--- The row of an architecture: six operations, or its string.
function Bench:row(arch)
  local choices, why = arch, nil
  if type(arch) == "string" then choices, why = nasbench201.parse(arch) end
  local row = type(choices) == "table" and self.row_of_code[code_of(choices) or -1]
  if row then return row end
  local given = type(arch) == "table" and "{ " .. table.concat(arch, ", ") .. " }" or tostring(arch)
  error(("nasbench201: there is no architecture %s%s"):format(given, why and ": " .. why or ""), 2)
end

--- The six operations of a row.
function Bench:choices(row) return table.move(self.rows[row], 1, EDGES, 1, {}) end

--- The string of a row's architecture.
function Bench:text(row)
  local names = {}
  for edge, k in ipairs(self.rows[row]) do names[edge] = nasbench201.operations[k] end
  return form:format(table.unpack(names))
end

--- An architecture drawn uniformly: six operations.
function Bench:sample(rng) -- luacheck: ignore 212
  local choices = {}
  for edge = 1, EDGES do choices[edge] = rng:integer(CHOICES) + 1 end
  return choices
end

--- Another operation on one edge, both drawn uniformly.
function Bench:mutate(choices, rng) -- luacheck: ignore 212
  local child, edge = table.move(choices, 1, EDGES, 1, {}), rng:integer(EDGES) + 1
  child[edge] = (child[edge] + rng:integer(CHOICES - 1)) % CHOICES + 1
  return child
end

function Bench:__len() return #self.rows end

function Bench:__tostring() return ("cnas.NasBench201: %s, %d architectures"):format(self.path, #self.rows) end

-- Searching on a simulated clock --------------------------------------------------------------------------------------

local Task = { __name = "cnas.NasBench201.Task" }
Task.__index = Task

--- One search: queries cost the time that 12 epochs of training would have taken, also when repeated, until `budget`
--- seconds are spent; the reward is the column `reward`.
function Bench:task(given)
  local o = args.check("nasbench201.task", given or {}, { budget = 20000, reward = "c10_valid_12" })
  local column = self.columns[o.reward]
  if not column then
    args.fail("usage", "nasbench201: the table has no column '%s'%s", o.reward,
              args.suggestion(o.reward, args.keys(self.columns)))
  end
  return setmetatable({ bench = self, budget = o.budget, column = column, spent = 0.0, queries = 0,
                        best = nil, best_reward = -math.huge }, Task)
end

--- Whether there is time for another query: the last one may run over.
function Task:open() return self.spent < self.budget end

--- The reward of an architecture (six operations), in percent. Notes the best so far: task.best (its row) and
--- task.best_reward; task.queries and task.spent count.
function Task:query(choices)
  local row = self.bench:row(choices)
  local reward = self.column[row]
  if reward ~= reward then
    args.fail("data", "%s: architecture %d has no number in the column that is the reward", self.bench.path, row - 1)
  end
  self.spent, self.queries = self.spent + self.bench.seconds[row], self.queries + 1
  if reward > self.best_reward then self.best, self.best_reward = row, reward end
  return reward
end

return nasbench201
