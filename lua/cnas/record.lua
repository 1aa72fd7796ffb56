-- record.lua - what a run writes for people and programs to read: metrics.jsonl, TensorBoard events, genotypes,
-- drawings, summary.json.
--
-- metrics.jsonl has one JSON object a line, whose field "time" holds everything that depends on the clock and the
-- machine; the other fields are a function of the recipe, its options and the seed. A checkpoint knows how many lines
-- there were: a resumed run goes on after exactly those.

local cnas = require "cnas"
local args = require "cnas.args"

local Record = {}
Record.__index = Record

-- The record in `folder`, cut back to its first `lines` lines; `step` is the one a resumed run goes on from, or nil.
local function open(folder, lines, step)
  local self = setmetatable({ folder = folder, path = folder .. "/metrics.jsonl", lines = lines }, Record)
  self.kept = {}
  if cnas.file.exists(self.path) then
    local bytes = 0
    for line in cnas.file.read(self.path):gmatch("[^\n]*\n") do
      if #self.kept == lines then break end
      bytes = bytes + #line
      self.kept[#self.kept + 1] = cnas.json.decode(line, self.path)
    end
    cnas.file.truncate(self.path, bytes)
    self.lines = #self.kept
  end
  self.log = cnas.file.log(self.path)
  self.events = cnas.events.open(folder, { resume_step = step })
  return self
end

-- Appends a line to the metrics and its numbers to the events, as "PHASE/NAME" at the line's step.
function Record:add(line)
  self.log:append(cnas.json.encode(line) .. "\n")
  self.lines = self.lines + 1
  self.kept[#self.kept + 1] = line
  for _, name in ipairs(args.keys(line)) do
    local value = line[name]
    if type(value) == "number" and name ~= "step" and name ~= "stage" and name ~= "epoch" then
      self.events:scalar((line.phase or "run") .. "/" .. name, value, line.step)
    end
  end
end

-- Replaces a JSON file of the run.
function Record:json(name, value)
  cnas.file.write(self.folder .. "/" .. name, cnas.json.encode(value, { indent = true }) .. "\n")
end

-- Draws both cells as SVG and PNG, also into the events.
function Record:draw(name, genotype, step)
  for _, cell in ipairs { "normal", "reduction" } do
    local path = ("%s/drawings/%s-%s"):format(self.folder, name, cell)
    cnas.draw.cell(genotype, cell, { svg = path .. ".svg", png = path .. ".png", title = name .. ", " .. cell })
    self.events:image("cells/" .. cell, cnas.file.read(path .. ".png"), step)
  end
end

-- Seconds of all lines; those of interrupted epochs that were done again are not counted twice.
function Record:seconds()
  local sum = 0.0
  for _, line in ipairs(self.kept) do sum = sum + (line.time and line.time.seconds or 0) end
  return sum
end

-- The process's largest resident size in bytes, where the system tells.
local function resident_peak()
  local file <close> = io.open("/proc/self/status")
  local kilobytes = file and file:read("a"):match("VmHWM:%s*(%d+) kB")
  return kilobytes and math.tointeger(tonumber(kilobytes)) * 1024
end

-- What the run ran on, for config.json.
local function machine()
  local about = { lua = _VERSION, cnas = cnas.version, threads = cnas.threads(), kernels = cnas.isa() }
  local cpu <close> = io.open("/proc/cpuinfo")
  if cpu then about.cpu = cpu:read("a"):match("model name%s*:%s*([^\n]+)") end
  local kernel <close> = io.open("/proc/version")
  if kernel then about.system = kernel:read("l") end
  return about
end

-- Copies the recipe to recipe.lua in the run's folder, and the modules that it has loaded from beside itself to
-- modules/NAME.lua: what the run is made of, but for the library.
local function keep_sources(folder, path)
  local beside, library = (path:match "^(.*)/[^/]*$" or ".") .. "/", cnas.home and cnas.home .. "/lua/"
  for _, name in ipairs(args.keys(package.loaded)) do
    local file = type(name) == "string" and rawget(_G, name) == nil and package.searchpath(name, package.path)
    local own = file and file:sub(1, #beside) == beside and not (library and file:sub(1, #library) == library)
    if own and not name:find "/" then
      cnas.file.mkdir(folder .. "/modules")
      cnas.file.copy(file, ("%s/modules/%s.lua"):format(folder, name))
    end
  end
  cnas.file.copy(path, folder .. "/recipe.lua") -- last: where it is there all of them are
end

-- The record of a process that writes nothing.
local silent = setmetatable({ lines = 0, kept = {} }, Record)
for _, name in ipairs { "add", "json", "draw" } do
  silent[name] = function() end
end

return { open = open, silent = silent, resident_peak = resident_peak, machine = machine,
         keep_sources = keep_sources }
