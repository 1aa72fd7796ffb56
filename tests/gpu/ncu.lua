-- ncu.lua - what Nsight Compute's command says about the kernels of one training step: time and memory traffic.

local cnas = require "cnas"
local bench = require "bench"
local jobs = require "jobs"
local timings = require "timings"

local ncu = {}

-- The fields of a line of CSV whose fields are all quoted.
local function fields(line)
  local list = {}
  for field in line:gmatch '"([^"]*)"' do list[#list + 1] = field end
  return list
end

-- A kernel's name without its arguments and namespaces: conv_tiles<float, 3>.
local function short(name)
  name = name:gsub("^void ", ""):gsub("<unnamed>::", ""):gsub("%(anonymous namespace%)::", "")
  return (name:gsub("%([^()]*%)$", ""):gsub("%(int%)", ""):gsub("%(bool%)", ""))
end

--- Sums of a log of `ncu --csv --page raw --print-units base`: kernels with the most time first, as a list of { name,
--- count, ms, share, gb_per_second }, and what they are together.
function ncu.read(text)
  local columns, by_name, list, total = nil, {}, {}, { count = 0, ms = 0, bytes = 0 }
  for line in text:gmatch "[^\n]+" do
    local row = line:sub(1, 1) == '"' and fields(line) or {}
    if row[1] == "ID" then
      columns = {}
      for i, name in ipairs(row) do columns[name] = i end
    elseif columns and tonumber(row[1]) then
      local function number(name)
        local digits = (row[columns[name] or 0] or ""):gsub(",", "")
        return tonumber(digits) or 0
      end
      local name = short(row[columns["Kernel Name"]])
      local one = by_name[name]
      if not one then
        one = { name = name, count = 0, ms = 0, bytes = 0 }
        by_name[name], list[#list + 1] = one, one
      end
      local ms, bytes = number "gpu__time_duration.sum" * 1e-6, number "dram__bytes.sum"
      for _, sum in ipairs { one, total } do
        sum.count, sum.ms, sum.bytes = sum.count + 1, sum.ms + ms, sum.bytes + bytes
      end
    end
  end
  table.sort(list, function(a, b) return a.ms > b.ms or a.ms == b.ms and a.name < b.name end)
  list[#list + 1] = total
  for _, one in ipairs(list) do
    one.gb_per_second = one.ms > 0 and bench.rounded(one.bytes / one.ms * 1e-6) or 0
    one.share, one.bytes = total.ms > 0 and bench.rounded(one.ms / total.ms) or 0, nil
    one.ms = bench.rounded(one.ms)
  end
  list[#list] = nil
  return list, total
end

--- One training step of the supernet. ncu runs each kernel by itself, so the sum of their times, over what a step takes
--- where nobody watches, is how busy the GPU is at least where kernels do not overlap.
function ncu.measure(round, left)
  local supernet = round.results.supernet
  local ours = supernet and supernet.contestants[1]
  local ahead, count = ours and ours.launches_ahead, ours and ours.train_launches
  if not ahead or not count then round.skip "needs the launches that the part supernet counts" end
  local log = round.scratch .. "/ncu.csv"
  local job = jobs.start("ncu", left(), ([[ncu --csv --page raw --print-units base --clock-control none --log-file %s \
    --metrics gpu__time_duration.sum,dram__bytes.sum --launch-skip %d --launch-count %d %s]]):format(
    bench.quote(log), ahead, math.ceil(count), timings.step(round, 1)))
  jobs.wait(job)
  local list, total = ncu.read(cnas.file.read(log))
  if total.count == 0 then error("ncu saw no kernel" .. jobs.tail(jobs.content(log), 3), 0) end
  return { kernels = table.move(list, 1, 25, 1, {}), of = #list, total = total,
           busy = ours.train_stream_ms and bench.rounded(total.ms / ours.train_stream_ms) or nil }
end

return ncu
