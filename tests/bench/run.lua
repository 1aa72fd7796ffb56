-- run.lua - our supernet's step beside PyTorch's: the same paths, the same batch, the same threads, in turn.
--
--   PEER=…/torch_peer.py PEER_PYTHON=python3 tests/bench/run --rounds 3
--
-- The peer is measured in both of its image layouts. Without one, ours alone. A round measures everybody once; the
-- table has the median over the rounds of the medians over the paths, and how many times longer than ours that is.

local cnas = require "cnas"

local opt = cnas.options { about = "Times the supernet's step, ours and PyTorch's in turn.",
  { "batch", default = 96, min = 1, help = "images in a batch" },
  { "steps", default = 12, min = 1, help = "paths" },
  { "rounds", default = 1, min = 1, help = "how often everybody is measured" },
  { "peer", default = os.getenv "PEER" or "", help = "path of torch_peer.py (environment: PEER)" },
  { "peer_python", default = os.getenv "PEER_PYTHON" or "python3",
    help = "Python with torch (environment: PEER_PYTHON)" },
  { "json", default = false, help = "print one JSON object" } }

local here = arg[0]:match "^(.*)/[^/]*$" or "."
local threads = opt.threads or cnas.threads()
local program = -1 -- position in arg of the program that runs this
while arg[program - 1] do program = program - 1 end

local function quote(s) return "'" .. tostring(s):gsub("'", "'\\''") .. "'" end

-- What a command printed, decoded.
local function measure(...)
  local pipe = assert(io.popen(table.concat({ ... }, " "), "r"))
  local text = pipe:read "a"
  if not pipe:close() then error("failed: " .. table.concat({ ... }, " "), 0) end
  return cnas.json.decode(text)
end

local settings = ("--threads %d --batch %d --seed %d"):format(threads, opt.batch, opt.seed)
local contestants = { { name = "cnas", command = { quote(arg[program]), quote(here .. "/supernet.lua"), "--json",
                                                  settings, "--steps " .. opt.steps } } }

-- The paths that the peer draws from the seed, for ours to take the same.
local paths
if opt.peer ~= "" then
  paths = os.tmpname()
  local script = table.concat({
    "import importlib.util, json, random, sys",
    "spec = importlib.util.spec_from_file_location('peer', sys.argv[1])",
    "peer = importlib.util.module_from_spec(spec)",
    "spec.loader.exec_module(peer)",
    "rng = random.Random(int(sys.argv[2]))",
    "print(json.dumps([dict(normal=peer.sample(rng), reduction=peer.sample(rng)) for _ in range(int(sys.argv[3]))]))",
  }, "\n")
  local drawn = measure(quote(opt.peer_python), "-c", quote(script), quote(opt.peer), opt.seed, opt.steps)
  local file <close> = assert(io.open(paths, "wb"))
  file:write(cnas.json.encode(drawn))
  table.insert(contestants[1].command, "--paths " .. quote(paths))
  for _, layout in ipairs { "nchw", "nhwc" } do
    contestants[#contestants + 1] = { name = "PyTorch " .. layout,
      command = { quote(opt.peer_python), quote(opt.peer), "supernet", settings, "--steps " .. opt.steps,
                  "--layout " .. layout } }
  end
end

local function median(list)
  table.sort(list)
  return (list[(#list + 1) // 2] + list[#list // 2 + 1]) / 2
end

for _ = 1, opt.rounds do
  for _, c in ipairs(contestants) do
    c.train, c.forward = c.train or {}, c.forward or {}
    local report = measure(table.unpack(c.command))
    table.insert(c.train, report.train_ms.median)
    table.insert(c.forward, report.forward_ms.median)
  end
end
if paths then os.remove(paths) end
for _, c in ipairs(contestants) do c.train, c.forward = median(c.train), median(c.forward) end

local ours = contestants[1]
if opt.json then
  local report = {}
  for i, c in ipairs(contestants) do report[i] = { name = c.name, train_ms = c.train, forward_ms = c.forward } end
  print(cnas.json.encode(report))
else
  print(("%d paths, batch %d, %d threads, %d rounds; medians in ms"):format(opt.steps, opt.batch, threads, opt.rounds))
  print(("%-14s %10s %8s %10s %8s"):format("", "train", "ratio", "forward", "ratio"))
  for _, c in ipairs(contestants) do
    print(("%-14s %10.1f %7.2fx %10.1f %7.2fx"):format(c.name, c.train, c.train / ours.train, c.forward,
                                                       c.forward / ours.forward))
  end
end
