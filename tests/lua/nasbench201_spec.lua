-- The NAS-Bench-201 table as a search target: reading it, naming what is wrong with it, the simulated clock, and the
-- four searches. The table here is made up, in the real one's form; one test wants the real one, as
-- CNAS_DATA/nasbench201.csv.
local T = require "spec"
local cnas = require "cnas"
local nasbench201 = cnas.nasbench201

local here = arg[0]:match("^(.*)/tests/lua/[^/]*$") or "."
local recipe = here .. "/recipes/nasbench201.lua"

local ops = nasbench201.operations
local worth = { none = -4, skip_connect = 0, nor_conv_1x1 = 2, nor_conv_3x3 = 4, avg_pool_3x3 = -1 }
local header = "index,arch,c10_params_M,c10_train_time_200ep_s,c10_valid_12,c10_test_200,c100_test_200,in16_test_200"

-- All rows in the order of codes: accuracies that grow with the operations' worth; the time of one is missing.
local lines = { header }
for code = 0, 15624 do
  local names, sum, digits = {}, 0, code
  for edge = 6, 1, -1 do
    names[edge] = ops[digits % 5 + 1]
    sum, digits = sum + worth[names[edge]], digits // 5
  end
  local arch = ("|%s~0|+|%s~0|%s~1|+|%s~0|%s~1|%s~2|"):format(table.unpack(names))
  lines[#lines + 1] = ("%d,%s,%.3f,%s,%.2f,%.2f,%.2f,%.2f"):format(code, arch, 0.1 + code / 1e5,
    code == 8 and "" or tostring(3000 + 20 * sum), 60 + sum / 2 + code % 7 / 10, 80 + sum / 2, 50 + sum / 2,
    30 + sum / 2)
end
local whole = table.concat(lines, "\n") .. "\n"

local function write(text) return T.write(T.folder() .. "/table.csv", text) end

-- The table with line `number` replaced by what change(line) gives.
local function with_line(number, change)
  local copy = table.move(lines, 1, #lines, 1, {})
  copy[number] = change(copy[number])
  return table.concat(copy, "\n") .. "\n"
end

T.describe("the NAS-Bench-201 table", function()
  T.it("is read with its columns, and finds architectures by name and by operations", function()
    local bench = nasbench201.open(write(whole))
    T.equal(#bench, 15625)
    for _, row in ipairs { 1, 2, 777, 15625 } do
      T.equal(bench:text(row), lines[row + 1]:match("|[^,]*"))
      T.equal(bench:row(bench:text(row)), row)
      T.equal(bench:row(bench:choices(row)), row)
      T.equal(("%.2f"):format(bench.columns.c10_test_200[row]), lines[row + 1]:match("([^,]*),[^,]*,[^,]*$"))
    end
    T.equal(bench:choices(2), { 1, 1, 1, 1, 1, 2 })
    T.near(bench.seconds[1], (3000 - 480) * 12 / 200, 1e-12)
    T.contains(tostring(bench), "15625 architectures")
  end)

  T.it("gives an architecture without a time that of those with the same operations", function()
    local bench = nasbench201.open(write(whole))
    local row = 9 -- code 8: none none none none skip_connect nor_conv_3x3
    T.equal(bench:choices(row), { 1, 1, 1, 1, 2, 4 })
    T.truthy(bench.columns.c10_train_time_200ep_s[row] ~= bench.columns.c10_train_time_200ep_s[row])
    T.near(bench.seconds[row], bench.seconds[bench:row { 2, 4, 1, 1, 1, 1 }], 1e-12)
  end)

  T.it("may have other line ends, a byte order mark and no end of the last line", function()
    local bench = nasbench201.open(write("\xef\xbb\xbf" .. table.concat(lines, "\r\n")))
    T.equal(bench:text(15625), lines[15626]:match("|[^,]*"))
  end)

  T.it("says what is wrong, and in which line", function()
    local function refused(message, text)
      local e = T.raises(message, nasbench201.open, write(text))
      T.equal(e.code, "data")
    end
    T.equal(T.raises("no such file", nasbench201.open, "/nowhere/table.csv").code, "data")
    refused("0 architectures: the table must have all 15625", header)
    refused("0 architectures", "")
    refused("line 1: expected a header with the column 'arch', got 'hello'", "hello\n")
    refused("line 1: expected a header with the column 'c10_valid_12'", (whole:gsub("c10_valid_12", "valid", 1)))
    refused("line 1: two columns are called 'index'", (whole:gsub("c10_params_M", "index", 1)))
    refused("line 1: more than 200 columns", header .. (",x"):rep(300) .. "\n")
    refused("3 architectures: the table must have all 15625", table.concat(lines, "\n", 1, 4))
    refused("line 5: arch '|none~0|[^']*' is that of line 4 again", with_line(5, function() return lines[4] end))
    refused("line 9: expected 8 fields as in the header, got 7",
            with_line(9, function(l) return (l:gsub(",", "", 1)) end))
    refused("line 9: expected 8 fields as in the header, got more", with_line(9, function(l) return l .. "," end))
    refused("line 9: expected 8 fields as in the header, got 1", with_line(9, function() return "" end))
    refused("line 7: arch '[^']*': there is no operation 'skip_conect' %(did you mean 'skip_connect'%?%)",
            with_line(7, function(l) return (l:gsub("skip_connect", "skip_conect", 1)) end))
    refused("line 7: arch '[^']*': expected an architecture like |none~0|%+",
            with_line(7, function(l) return (l:gsub("~0", "~1", 1)) end))
    for _, bad in ipairs { "x", "nan", "inf", "1e999", "0x10", "1 2", "--1", "" } do
      refused("line 3: c10_valid_12: expected a number, got '",
              with_line(3, function(l) return (l:gsub("^(.-,.-,.-,.-,)[^,]*", "%1" .. bad)) end))
    end
    refused("line 3: c10_test_200: expected 0 to 100 percent, got '180'",
            with_line(3, function(l) return (l:gsub(",[^,]*(,[^,]*,[^,]*)$", ",180%1")) end))
    refused("line 3: c10_train_time_200ep_s: expected seconds above 0, got '%-1'",
            with_line(3, function(l) return (l:gsub("^(.-,.-,.-,)[^,]*", "%1-1")) end))
    refused("c10_train_time_200ep_s has no number for architecture 0, nor for any other",
            with_line(2, function(l) return (l:gsub("^(.-,.-,.-,)[^,]*", "%1")) end))
  end)

  T.it("never crashes on damage: each is a named error or a table", function()
    local rng, piece = cnas.rng(3, "damage"), table.concat(lines, "\n", 1, 40)
    for _ = 1, 300 do
      local cut = piece:sub(1, rng:integer(#piece + 1))
      local bytes = { cut:byte(1, -1) }
      for _ = 1, #bytes > 0 and 1 + rng:integer(3) or 0 do
        local at = rng:integer(#bytes) + 1
        bytes[at] = bytes[at] ~ (1 << rng:integer(8))
      end
      local damaged = T.write(T.folder() .. "/t.csv", #bytes > 0 and string.char(table.unpack(bytes)) or "")
      local ok, e = pcall(nasbench201.open, damaged)
      T.equal(ok, false)
      T.equal(e.code, "data", tostring(e))
      T.truthy(#tostring(e) < 600)
    end
  end)

  T.it("refuses what is too large to be it before reading", function()
    local path = T.folder() .. "/large.csv"
    T.equal(T.shell("truncate -s 70M " .. T.quote(path)), 0)
    T.raises("too many for this table", nasbench201.open, path)
  end)

  T.it("has a simulated clock: queries cost their training, the last may run over", function()
    local bench = nasbench201.open(write(whole))
    local task = bench:task { budget = 400 }
    local first, second = { 4, 4, 4, 4, 4, 4 }, { 1, 1, 1, 1, 1, 1 }
    T.near(task:query(first), bench.columns.c10_valid_12[bench:row(first)], 0)
    T.near(task.spent, (3000 + 480) * 12 / 200, 1e-12)
    task:query(second)
    T.truthy(task:open())
    task:query(second) -- again, and paid again
    T.truthy(not task:open())
    T.equal(task.queries, 3)
    T.equal(task.best, bench:row(first))
    T.raises("no column 'c10_valid_21' %(did you mean 'c10_valid_12'%?%)", bench.task, bench,
             { reward = "c10_valid_21" })
    T.raises("unknown option 'budgte' %(did you mean 'budget'%?%)", bench.task, bench, { budgte = 1 })
    T.raises("there is no architecture", bench.row, bench, "|none~0|")
    T.raises("there is no architecture", bench.row, bench, { 1, 2, 3 })
    T.raises("there is no architecture", bench.row, bench, { 1, 2, 3, 4, 5, 6 })
  end)

  T.it("samples all, and mutates one edge", function()
    local bench, rng = nasbench201.open(write(whole)), cnas.rng(1, "mutate")
    local seen = {}
    for _ = 1, 300 do
      local parent = bench:sample(rng)
      local child, changed = bench:mutate(parent, rng), 0
      for edge = 1, 6 do
        if child[edge] ~= parent[edge] then
          changed = changed + 1
          seen[edge * 10 + child[edge]] = true
        end
      end
      T.equal(changed, 1)
      T.truthy(bench:row(child))
    end
    local count = 0
    for _ in pairs(seen) do count = count + 1 end
    T.equal(count, 30)
  end)
end)

T.describe("the NAS-Bench-201 recipe", function()
  T.it("runs its four searches, the same with the same seed", function()
    local path = write(whole)
    local function run(...)
      local status, out, err = T.run { recipe, "--table", path, "--seeds", "12", "--json", seconds = 600, ... }
      T.equal(status, 0, err)
      local found = cnas.json.decode(out)
      found.seconds = nil
      for _, result in ipairs(found.results) do result.seconds = nil end
      return found
    end
    local found = run()
    local names = {}
    for i, result in ipairs(found.results) do
      names[i] = result.search
      T.truthy(result.queries > 50 and result.queries < 200)
      T.truthy(result.c10_test_200[1] > 84 and result.c10_test_200[1] <= 92)
    end
    T.equal(names, { "random", "evolution", "reinforce", "curriculum" })
    for i = 2, 4 do -- the made-up accuracies add up over the edges: everybody beats drawing at random
      T.truthy(found.results[i].c10_test_200[1] > found.results[1].c10_test_200[1], names[i])
    end
    T.equal(found.agreement.c10_test_200.best, 92)
    T.truthy(found.agreement.c100_test_200.kendall > 0.8)
    T.equal(run(), found)
    local other = run("--only", "evolution", "--seed", "77")
    T.equal(#other.results, 1)
    T.truthy(other.results[1].queries ~= found.results[2].queries)
  end)

  T.it("prints a table beside the literature, and names what it misses", function()
    local status, out, err = T.run { recipe, "--table", write(whole), "--seeds", "2", "--only", "random" }
    T.equal(status, 0, err)
    for _, part in ipairs { "2 seeds, 20000 simulated seconds", "random", "93.70 ± 0.36", "Kendall's tau" } do
      T.contains(out, part)
    end
    local _
    status, _, err = T.run { recipe }
    T.equal(status, 2)
    T.contains(err, "--table FILE is needed")
    status, _, err = T.run { recipe, "--table", write(header .. "\n1,2\n") }
    T.equal(status, 3)
    T.contains(err, "line 2: expected 8 fields as in the header, got 2")
    status, _, err = T.run { recipe, "--table", "x", "--resume" }
    T.equal(status, 2)
    T.contains(err, "unknown option '--resume'")
  end)

  T.it("agrees with the literature on the real table", function()
    local path = (os.getenv "CNAS_DATA" or "") .. "/nasbench201.csv"
    if not cnas.file.exists(path) then T.skip("no nasbench201.csv in CNAS_DATA") end
    local status, out, err = T.run { recipe, "--table", path, "--seeds", "200", "--json", seconds = 600 }
    T.equal(status, 0, err)
    for _, result in ipairs(cnas.json.decode(out).results) do
      local expected = result.literature or { 93.85, 0.4 }
      T.truthy(math.abs(result.c10_test_200[1] - expected[1]) < 0.12, result.search .. ": " .. result.c10_test_200[1])
    end
  end)
end)
