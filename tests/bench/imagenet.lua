-- imagenet.lua - how many photographs a core prepares in a second: ours, and torchvision's with PIL in the same run.
--
--   ./cnas tests/bench/imagenet.lua --root ~/imagenet/val --peer_python …/bin/python --rounds 3
--
-- Measured is processor time for an image, from the file to normalised floats: for training (RandomResizedCrop 224,
-- flip, colour jitter), for evaluation (256, of that the middle 224), and training with every JPEG decoded in full size
-- (exact). Everybody is measured in each round, in turn, on one core; the tables have medians over the rounds. With a
-- peer the middles are compared too: how far bytes are off at most.

local cnas = require "cnas"
local bench = require "bench"

local opt = cnas.options { about = "Times the preparation of photographs, ours and torchvision's.",
  { "root", type = "string", metavar = "FOLDER", help = "class folders of photographs" },
  { "rounds", default = 1, min = 1, help = "how often everybody is measured" },
  { "passes", default = 2, min = 1, help = "over the folder in a round; the quickest counts" },
  { "batch", default = 16, min = 1, help = "images in a batch" },
  { "peer_python", default = os.getenv "VISION_PYTHON" or "",
    help = "a Python with torchvision (environment: VISION_PYTHON)" },
  { "json", default = false, help = "print one JSON object" } }
local root = opt.root or (os.getenv "CNAS_DATA" or os.getenv "HOME" .. "/.cache/cnas-data") .. "/imagenet-sample"

local data = cnas.datasets.folder { root = root }
local _, here = bench.program()
local peer = opt.peer_python ~= "" and bench.quote(opt.peer_python) .. " " .. bench.quote(here .. "/vision_peer.py")

local kinds = { "training", "exact", "evaluation" }
local augment = { training = true, evaluation = false, exact = { exact = true } }

-- Milliseconds of processor time for an image. The loader has no thread of its own.
local function ours(kind)
  local best
  for pass = 1, opt.passes do
    local images, start = 0, os.clock()
    for x in cnas.data.loader { dataset = data, batch = opt.batch, augment = augment[kind], pass = pass,
                                threads = 0 } do
      images = images + x:size(1)
      x:close()
    end
    best = math.min(best or math.huge, (os.clock() - start) * 1e3 / images)
  end
  return best
end

local times = { ours = {}, peer = {} }
local report = { what = "imagenet", images = #data, root = root, ours = {}, isa = cnas.isa and cnas.isa() }
for _, kind in ipairs(kinds) do times.ours[kind], times.peer[kind] = {}, {} end
for round = 1, opt.rounds do
  for _, kind in ipairs(kinds) do times.ours[kind][round] = ours(kind) end
  if peer then
    local theirs = bench.run(peer, "time", bench.quote(root), "--passes", opt.passes)
    report.versions = theirs.versions
    times.peer.training[round], times.peer.evaluation[round] = theirs.training_ms, theirs.evaluation_ms
    times.peer.exact[round] = theirs.training_ms
  end
end
for _, kind in ipairs(kinds) do bench.put(report.ours, kind, times.ours[kind]) end

if peer then
  report.peer = {}
  for _, kind in ipairs(kinds) do bench.put(report.peer, kind, times.peer[kind]) end
  local path = os.tmpname()
  os.execute(("%s middle %s %s"):format(peer, bench.quote(root), bench.quote(path)))
  local middles, most, off, bytes = cnas.safetensors.load(path), 0, 0, 0
  os.remove(path)
  for i = 1, #data do
    local file <close> = assert(io.open(data:path(i), "rb"))
    local theirs = middles[data:path(i):sub(#root + 2)]
    local d = (cnas.image.transform(file:read "a"):to "f32" - theirs:to "f32"):reshape(-1)
    local far = (d * d):max():item() ^ 0.5
    most, off, bytes = math.max(most, far), off + (d * d):sum():item(), bytes + d:count()
  end
  report.off_at_most, report.off_mean_square = most, off / bytes
end

if opt.json then
  print(cnas.json.encode(report))
  return
end
print(("%d photographs of %s, one core"):format(#data, root))
for _, kind in ipairs(kinds) do
  local ms = report.ours[kind .. "_ms"]
  local line = ("%-12s %6.2f ms, %5.0f images/s"):format(kind, ms, 1e3 / ms)
  if report.peer then
    local theirs = report.peer[kind .. "_ms"]
    line = line .. ("   %s %6.2f ms, %5.0f images/s: %.2fx"):format(report.versions, theirs, 1e3 / theirs, theirs / ms)
  end
  print(line)
end
if report.peer then print(("evaluation: no byte is off by more than %d"):format(report.off_at_most)) end
