-- profile.lua - what a network costs on this machine, and which of its parts: parameters, multiply-adds, time, memory.
--
--   cnas recipes/profile.lua --arch cnas                              the published cell in the network for CIFAR-10
--   cnas recipes/profile.lua --arch cnas --imagenet --batch 1 --no-train
--   cnas recipes/profile.lua --model runs/evaluate --json             a trained one
--   cnas recipes/profile.lua --supernet --arch cnas                   a path of the search's supernet
--   cnas recipes/profile.lua --arch cnas --device cpu                 not on the GPU that is there
--
-- Times are medians. Run it on a machine that does nothing else. On a GPU each operation is waited for when it is timed
-- by itself: together they take longer than the whole, which is timed too, and memory is not counted.

local cnas = require "cnas"
local args = cnas.args

local opt = cnas.options(cnas.subject.declare {
  about = "Parameters, multiply-adds, latency and memory of a network by operation.",
  folder = false,
  { "supernet", default = false, help = "the path --arch of a supernet on the DARTS space (16 channels, 8 cells)" },
  { "batch", default = 16, min = 1, help = "images in a batch" },
  { "size", type = "integer", min = 1, help = "height and width of the images (default: the network's)" },
  { "runs", default = 5, min = 1, help = "calls of which medians are taken" },
  { "train", default = true, help = "measure a training step too" },
  { "by", default = "operation", choices = { "operation", "cell", "part" }, help = "what the table has a line for" },
  { "json", default = false, help = "print everything as JSON" },
  cnas.declared.device,
})
cnas.threads(opt.threads or cnas.threads())

-- The network, what it is called, and what cnas.profile wants to know of it.
local function open()
  if not opt.supernet then
    local net, about = cnas.subject.open(opt)
    return net, about.arch or opt.model, about
  end
  if not opt.arch or opt.model then args.fail("usage", "--supernet takes its path from --arch") end
  local about = { channels = opt.channels or 16, layers = opt.layers or 8, classes = opt.classes or 10, size = 32,
                  space = cnas.space.darts() }
  local arch, label = cnas.arch(opt.arch)
  about.route = arch
  return cnas.supernet { space = about.space, channels = about.channels, layers = about.layers,
                         nodes = #arch.normal // 2, classes = about.classes, rng = cnas.rng(opt.seed, "weights") },
    label .. " as a path of a supernet", about
end

local net, label, about = open()
local device, why = cnas.device(opt.device)
if why then io.stderr:write("warning: ", why, "\n") end
net:to(device)
local here = device == "cpu" -- memory is counted on the CPU
local size = opt.size or about.size
local height = type(size) == "table" and size[1] or size
local width = type(size) == "table" and size[2] or size
local report = cnas.profile(net, {
  layers = about.layers, genotype = about.genotype, arch = about.route, space = about.space, batch = opt.batch,
  height = height, width = width, channels = about.in_channels, classes = about.classes, train = opt.train,
  runs = opt.runs,
})

if opt.json then
  report.network = { label = label, channels = about.channels, layers = about.layers, classes = about.classes,
                     imagenet = about.imagenet or false, supernet = opt.supernet }
  print(cnas.json.encode(report))
  return
end

-- A table for people -------------------------------------------------------------------------------------------------

local function grouped(n)
  local text = ("%d"):format(n):reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (text:gsub("^,", ""))
end

local function line(what, m)
  local memory = here and (", at most %.1f MB of memory"):format(m.bytes_peak / 1e6) or ""
  print(("%-14s %8.2f ms (%.2f to %.2f), %.3f ms an image%s"):format(what, m.ms, m.least_ms, m.most_ms,
    m.ms / report.batch, memory))
end

-- "2 threads, avx512", or the GPU.
local function machine()
  if here then return ("%d thread%s, %s"):format(report.threads, report.threads == 1 and "" or "s", report.isa) end
  for _, kind in ipairs(cnas.devices()) do
    if device:find(kind.name, 1, true) == 1 then return ("%s: %s"):format(device, kind.detail) end
  end
end

print(("%s: %d channels, %d cells, %d classes; batches of %d images %dx%d; %s"):format(label, about.channels,
  about.layers, about.classes, report.batch, report.height, report.width, machine()))
print(("%s parameters, %s multiply-adds in convolutions + %s linear for an image"):format(grouped(report.parameters),
  grouped(report.conv_macs), grouped(report.linear_macs)))
line("forward", report.forward)
if report.train then line("training step", report.train) end

local rows = opt.by == "operation" and report.operations or opt.by == "cell" and report.cells or {}
if opt.by == "part" then
  for _, part in ipairs(report.parts) do
    part.name = part.operation and ("%s  %s %d-%d"):format(part.root, part.operation, part.from, part.to)
      or part.root ~= "" and part.root or part.part
    rows[#rows + 1] = part
  end
end

local total = { name = "total", bytes_peak = 0 }
for _, key in ipairs { "count", "parameters", "macs", "forward_ms", "train_forward_ms", "train_backward_ms",
                       "bytes_made" } do
  total[key] = 0
  for _, row in ipairs(rows) do total[key] = total[key] + row[key] end
end
for _, row in ipairs(rows) do total.bytes_peak = math.max(total.bytes_peak, row.bytes_peak) end
rows[#rows + 1] = total

local longest = 0
for _, row in ipairs(rows) do longest = math.max(longest, #row.name) end
local function share(a, b) return b > 0 and 100 * a / b or 0 end
local left = "%-" .. longest .. "s %5s %11s %8s %6s %10s %6s"
print()
print((left .. "%s"):format("", "count", "parameters", "M macs", "", "forward", "", report.train
  and "   training: forward, backward         results" .. (here and "    most in use" or "") or ""))
for _, row in ipairs(rows) do
  local text = left:format(row.name, row.count, grouped(row.parameters), ("%.1f"):format(row.macs / 1e6),
    ("%.1f%%"):format(share(row.macs, total.macs)), ("%.2f ms"):format(row.forward_ms),
    ("%.1f%%"):format(share(row.forward_ms, total.forward_ms)))
  if report.train then
    text = text .. ("  %9.2f ms %9.2f ms %5.1f%% %8.1f MB"):format(row.train_forward_ms, row.train_backward_ms,
      share(row.train_forward_ms + row.train_backward_ms, total.train_forward_ms + total.train_backward_ms),
      row.bytes_made / 1e6)
    if here then text = text .. (" %8.1f MB"):format(row.bytes_peak / 1e6) end
  end
  print(text)
end
print "\nThe last normalisation of an operation is done by the sum of the node that reads it; inputs of cells that"
print "are made of one image together are laid to the first."
