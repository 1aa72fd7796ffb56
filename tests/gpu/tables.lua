-- tables.lua - what the round found, as text for people; it is printed and kept as round.txt.

local tables = {}

local lines
local function say(format, ...) lines[#lines + 1] = select("#", ...) > 0 and format:format(...) or format end

local function indented(text) return (text:gsub("\n", "\n             ")) end

local function number(value, format) return value and (format or "%.2f"):format(value) or "-" end

local function show_contest(title, contest)
  say("\n%s\n%-24s %10s %10s %12s %12s %9s %9s", title, "milliseconds", "train", "forward", "unwaited", "unwaited",
      "kernels", "forward")
  for _, c in ipairs(contest.contestants) do
    if c.train_ms then
      say("%-24s %10s %10s %12s %12s %9s %9s", c.name, number(c.train_ms), number(c.forward_ms),
          number(c.train_stream_ms), number(c.forward_stream_ms), number(c.train_launches, "%.0f"),
          number(c.forward_launches, "%.0f"))
    else
      say("%-24s %s", c.name, (c.failed or "not measured"):match "^[^\n]*")
    end
  end
  for _, pair in ipairs(contest.against) do
    say("%s against %s: training step %.2fx, forward %.2fx%s", pair.ours, pair.peer, pair.train, pair.forward,
        pair.equal and "" or "   (other precision)")
  end
end

-- What the project wants of a GPU, and whether the round saw it.
local function show_goals(results)
  local function goal(what, value, wanted, more)
    local reached = more and value >= wanted or not more and value <= wanted
    say("%-62s %8.2f  wanted %s %g  %s", what, value, more and ">=" or "<=", wanted, reached and "yes" or "NO")
  end
  say "\nGoals (stated for one H200)"
  local before = #lines
  for _, pair in ipairs(results.supernet and results.supernet.against or {}) do
    if pair.equal then
      goal("supernet, training step: times faster than PyTorch, " .. pair.precision, pair.train, 5, true)
      goal("supernet, forward: times faster than PyTorch, " .. pair.precision, pair.forward, 4, true)
    end
  end
  for _, pair in ipairs(results.network and results.network.against or {}) do
    if pair.equal and pair.precision == "bf16" then
      goal("evaluation network, training step: times faster, bf16", pair.train, 1.5, true)
    end
  end
  for _, projected in ipairs(results.schedule or {}) do
    goal("the published search in " .. projected.precision .. ", projected: minutes", projected.minutes, 10, false)
  end
  if #lines == before then say "  none could be looked at" end
end

--- The report as text; results: by part.
function tables.report(report, results)
  lines = {}
  local device = results.device or {}
  say("\nA round on %s, %s%s", device.gpu or "no GPU", report.at, report.rehearsal and ", A REHEARSAL" or "")
  say("cnas %s, revision %s; %s, %s processors", device.cnas or "?", device.revision or "unknown",
      device.processor or "?", device.processors or "?")
  say("\n%-12s %-8s %8s   %s", "part", "", "seconds", "")
  for _, part in ipairs(report.parts) do
    say("%-12s %-8s %8.1f   %s", part.name, part.verdict, part.seconds, indented(part.why or part.about))
  end
  for name, counted in pairs(results.specs or {}) do
    say("%s: %d passed, %d skipped", name, counted.passed, counted.skipped)
  end
  for _, tool in ipairs { "memcheck", "racecheck" } do
    local found = results[tool]
    if found then
      say("%s: %d of %d operations clean%s", tool, found.clean, found.of,
          found.cut and ", out of time: " .. table.concat(found.cut, " ") or "")
    end
  end
  if results.supernet then show_contest("Supernet, one path a step", results.supernet) end
  if results.network then show_contest("Evaluation network, auxiliary head", results.network) end
  if results.controller then
    say("\nController: a sample %.2f ms, an update %.2f ms", results.controller.sample_ms, results.controller.update_ms)
  end
  for _, epoch in ipairs(results.recipe or {}) do
    say("Recipe, %s: %.0f images a second; %.1f of %.1f s waiting for images", epoch.phase,
        epoch.images_per_second or 0, epoch.loader_seconds or 0, epoch.seconds or 0)
  end
  if results.busy then
    say("Busy by nvidia-smi: %.0f %% (%d samples), %.0f MHz, %.0f MiB", results.busy.percent, results.busy.samples,
        results.busy.mhz, results.busy.mib)
  end
  if results.kernels then
    local k = results.kernels
    say("\nKernels of a training step in f32: %d, %.3f ms together%s\n%9s %9s %7s %9s  %s", k.total.count, k.total.ms,
        k.busy and (" = %.0f %% of a step"):format(k.busy * 100) or "", "launches", "ms", "share", "GB/s", "kernel")
    for _, one in ipairs(k.kernels) do
      say("%9d %9.3f %6.1f%% %9.0f  %s", one.count, one.ms, one.share * 100, one.gb_per_second, one.name:sub(1, 90))
    end
  end
  for _, p in ipairs(results.schedule or {}) do
    say("\nThe published search in %s: weights %.0f s, controller %.0f s, deriving %.0f s: %.1f minutes (projected)",
        p.precision, p.weights_seconds, p.controller_seconds, p.derive_seconds, p.minutes)
  end
  show_goals(results)
  say("\n%s in %.0f s", report.passed and "all passed" or "NOT ALL PASSED", report.seconds)
  return table.concat(lines, "\n") .. "\n"
end

return tables
