-- contest.lua - who is measured: cnas, and PyTorch in every version that was named, in both layouts of images, the
-- better one once more with a malloc that keeps what it has. Everybody is a process of its own that prints JSON.

local cnas = require "cnas"
local bench = require "bench"

local contest = {}

local layouts = { "nchw", "nhwc" }

-- glibc's malloc without a system call for each large block: no mmap, nothing given back, room to grow, one arena.
local tuned_malloc = "env MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456 " ..
                     "MALLOC_ARENA_MAX=1"

--- The Pythons with torch by name, in order: { python =, name = "PyTorch 2.1.0" }, and the paths that the peer draws.
function contest.peers(peer, pythons, seed, steps, here)
  local list, paths = {}, nil
  for python in pythons:gmatch "[^,]+" do
    local drawn = bench.run(bench.quote(python), bench.quote(here .. "/peer.py"), bench.quote(peer), "paths",
                            "--seed", seed, "--steps", steps)
    paths = paths or drawn.paths
    list[#list + 1] = {
      name = "PyTorch " .. drawn.torch:gsub("%+.*", ""),
      command = bench.quote(python) .. " " .. bench.quote(here .. "/peer.py") .. " " .. bench.quote(peer) }
  end
  return list, paths
end

local function measure(contestant, o)
  o.tell(contestant.name)
  local report = bench.run(contestant.command, o.settings)
  -- The peer's times are tables, with a median each.
  local function plain(name) return type(report[name]) == "table" and report[name].median or report[name] end
  contestant.train[#contestant.train + 1] = plain "train_ms"
  contestant.forward[#contestant.forward + 1] = plain "forward_ms"
  o.parameters = o.parameters or report.parameters
  if report.parameters ~= o.parameters then
    error(("%s has a network of %d parameters, ours has %d: not the same work"):format(contestant.name,
          report.parameters, o.parameters), 0)
  end
  contestant.resident_peak = math.max(contestant.resident_peak or 0, report.resident_peak)
  contestant.resident_program = report.resident_program
  contestant.bytes_peak = report.bytes_peak
end

local function contestant(name, command, family)
  return { name = name, command = command, family = family, train = {}, forward = {} }
end

--- Measures everybody in turn, `rounds` times. ours: our command; unfused: measure it without fused rows too; what,
--- settings: what a peer is told; tell(name): is called before each. Returns the contestants, ours first: name,
--- train_ms, forward_ms (medians over the rounds), train_ratio, forward_ratio (to ours), train_rounds, forward_rounds,
--- resident_peak, resident_program.
function contest.run(o)
  local list, families = { contestant("cnas", o.ours) }, {}
  if o.unfused then list[2] = contestant("cnas, not fused", o.ours .. " --no-blocks") end
  for _, peer in ipairs(o.peers) do
    local family = {}
    families[#families + 1] = family
    for _, layout in ipairs(layouts) do
      local c = contestant(peer.name .. " " .. layout,
                           ("%s %s --layout %s"):format(peer.command, o.what, layout), family)
      family[#family + 1], list[#list + 1] = c, c
    end
  end
  for round = 1, o.rounds do
    for _, c in ipairs(list) do measure(c, o) end
    for _, family in ipairs(round == 1 and families or {}) do
      local best = family[1].train[1] <= family[2].train[1] and family[1] or family[2]
      local tuned = contestant(best.name .. ", malloc tuned", tuned_malloc .. " " .. best.command)
      for i, c in ipairs(list) do
        if c == family[2] then table.insert(list, i + 1, tuned) break end
      end
      measure(tuned, o)
    end
  end
  local ours = list[1]
  for _, c in ipairs(list) do
    c.train_ms, c.forward_ms = bench.median(c.train), bench.median(c.forward)
    c.train_ratio, c.forward_ratio = c.train_ms / ours.train_ms, c.forward_ms / ours.forward_ms
    c.train_rounds, c.forward_rounds = c.train, c.forward
    c.family, c.command, c.train, c.forward = nil, nil, nil, nil
  end
  return list
end

--- Every operation alone: ours and, for each PyTorch, that of the layout that is faster. Returns a table by operation:
--- a list of { name, forward_ms, backward_ms }, ours first.
function contest.operations(o)
  local space = cnas.space.darts()
  o.tell "cnas"
  local reports = { { name = "cnas", bench.run(o.ours, o.settings) } }
  for _, peer in ipairs(o.peers) do
    local r = { name = peer.name }
    o.tell(peer.name)
    for i, layout in ipairs(layouts) do r[i] = bench.run(peer.command, "ops --layout", layout, o.settings) end
    reports[#reports + 1] = r
  end
  local table_of = {}
  for _, op in ipairs(space:names()) do
    table_of[op] = {}
    for i, r in ipairs(reports) do
      local best
      for _, report in ipairs(r) do
        local times = report[op]
        local backward = times.backward_ms or times.forward_backward_ms - times.forward_ms
        local both = times.forward_ms + backward
        if not best or both < best.both then
          best = { name = r.name, forward_ms = times.forward_ms, backward_ms = math.max(backward, 0), both = both }
        end
      end
      best.both = nil
      table_of[op][i] = best
    end
  end
  return table_of
end

return contest
