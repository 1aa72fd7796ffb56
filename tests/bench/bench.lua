-- bench.lua - what the benchmarks share: medians, clocks, paths, programs to run.

local cnas = require "cnas"

local bench = {}

function bench.median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  return (sorted[(#sorted + 1) // 2] + sorted[#sorted // 2 + 1]) / 2
end

function bench.rounded(value) return math.floor(value * 1e3 + 0.5) / 1e3 end

--- Where a benchmark computes, by the option --device: { name, wait = until all that was asked for is done,
--- launches = of kernels so far, nil on the CPU }.
function bench.place(device)
  local name = cnas.device(device)
  local probe = cnas.zeros(1, { device = name })
  return { name = name,
           wait = function() if name ~= "cpu" then probe:to "cpu" end end,
           launches = function() return name ~= "cpu" and cnas.gpu_work().launches or nil end }
end

--- Milliseconds of f(item), for each item, and of all that it asked the device for.
function bench.timed(f, items, wait)
  local ms = {}
  for i, item in ipairs(items) do
    collectgarbage()
    local start = cnas.clock()
    f(item)
    if wait then wait() end
    ms[i] = (cnas.clock() - start) * 1e3
  end
  return ms
end

--- Puts the times into a report: `name`_ms is their median, `name`_range the shortest and the longest.
function bench.put(report, name, ms)
  report[name .. "_ms"] = bench.rounded(bench.median(ms))
  report[name .. "_range"] = { bench.rounded(math.min(table.unpack(ms))), bench.rounded(math.max(table.unpack(ms))) }
end

--- Puts into a report what a GPU makes of f(item) for one item after the other: `name`_stream_ms for one of them when
--- nobody waits in between, and `name`_launches of kernels. Nothing for the CPU, which has no work ahead of it.
function bench.put_stream(report, name, f, items, place)
  if place.name == "cpu" then return end
  collectgarbage()
  place.wait()
  local before, start = place.launches(), cnas.clock()
  for _, item in ipairs(items) do f(item) end
  place.wait()
  report[name .. "_stream_ms"] = bench.rounded((cnas.clock() - start) * 1e3 / #items)
  report[name .. "_launches"] = before and bench.rounded((place.launches() - before) / #items)
end

--- Prints a report of training steps and forward passes.
function bench.show(report, as_json)
  if as_json then
    print(cnas.json.encode(report))
    return
  end
  print(("%s: %d steps, batch %d, %d threads, at most %.0f MiB of tensors, %.0f MiB resident"):format(report.what,
        report.steps, report.batch, report.threads, report.bytes_peak / 2^20, report.resident_peak / 2^20))
  for _, name in ipairs { "train", "forward" } do
    print(("%-8s median %8.1f ms   min %8.1f   max %8.1f"):format(name, report[name .. "_ms"],
                                                                 table.unpack(report[name .. "_range"])))
    if report[name .. "_stream_ms"] then
      print(("%-8s %8.1f ms where nobody waits in between, %s kernels"):format("", report[name .. "_stream_ms"],
            report[name .. "_launches"] or "?"))
    end
  end
end

--- The most that this process had resident, in bytes.
function bench.resident_peak()
  local file <close> = assert(io.open "/proc/self/status")
  return tonumber(file:read "a":match "VmHWM:%s*(%d+) kB") * 1024
end

--- A path drawn uniformly: for each inner node two triples { operation, from, to }.
function bench.random_path(space, nodes, rng)
  local path = {}
  for _, cell in ipairs { "normal", "reduction" } do
    path[cell] = {}
    for t = 2, nodes + 1 do
      for _ = 1, 2 do
        local op = space:names()[rng:integer(#space) + 1]
        table.insert(path[cell], { op, rng:integer(t), t })
      end
    end
  end
  return path
end

function bench.read_json(path)
  local file <close> = assert(io.open(path, "rb"))
  return cnas.json.decode(file:read "a")
end

function bench.write_json(path, value)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(cnas.json.encode(value), "\n"))
end

--- A random batch: images (N,size,size,3), classes (N).
function bench.batch(n, size, classes, rng)
  local labels = {}
  for i = 1, n do labels[i] = rng:integer(classes) end
  return cnas.randn({ n, size, size, 3 }, { rng = rng }), cnas.tensor(labels, { dtype = "i64" })
end

function bench.quote(word) return "'" .. tostring(word):gsub("'", "'\\''") .. "'" end

--- Runs a command of the shell so many times at once, and decodes the JSON that each prints.
function bench.run_at_once(count, command)
  local pipes, reports = {}, {}
  for i = 1, count do pipes[i] = assert(io.popen(command, "r")) end
  for i, pipe in ipairs(pipes) do
    local text = pipe:read "a"
    if not pipe:close() then error("failed: " .. command, 0) end
    reports[i] = cnas.json.decode(text)
  end
  return reports
end

--- Runs a command of the shell, given in pieces, and decodes the JSON that it prints.
function bench.run(...) return bench.run_at_once(1, table.concat({ ... }, " "))[1] end

--- The program that runs this, and the folder of the script.
function bench.program()
  local place = -1
  while arg[place - 1] do place = place - 1 end
  return arg[place], arg[0]:match "^(.*)/[^/]*$" or "."
end

return bench
