-- checkpoint.lua - everything a run must know to go on, in one file, and the newest valid one of a folder.
--
-- A checkpoint is a safetensors file. Its tensors are the states of the kept objects, "OBJECT.NAME" each; its metadata
-- "cnas.run" is the run's position and sums as JSON. It holds no time, no path and nothing else that would differ
-- between a run that was interrupted and one that was not: the same position gives the same bytes.

local cnas = require "cnas"
local args = require "cnas.args"

local checkpoint = {}

--- checkpoints/step-00001234.safetensors; names sort by age.
function checkpoint.path_of(folder, step) return ("%s/step-%08d.safetensors"):format(folder, step) end

-- The steps of the checkpoints in a folder, newest first.
local function steps_in(folder)
  local steps = {}
  for _, name in ipairs(cnas.file.list(folder)) do
    local step = name:match("^step%-(%d+)%.safetensors$")
    if step then steps[#steps + 1] = math.tointeger(tonumber(step)) end
  end
  table.sort(steps, function(a, b) return a > b end)
  return steps
end

-- What an object tells about itself: a list of { name =, tensor = }. A random stream is its counter.
function checkpoint.state_of(name, object)
  if type(object) == "userdata" and (getmetatable(object) or {}).__name == "cnas.Rng" then
    return { { name = "counter", tensor = cnas.tensor(object.counter, { dtype = "i64" }) } }
  end
  local known, state = pcall(function() return object.state end)
  if not known or not state then
    error(("run:keep: '%s' is a %s without state() and load()"):format(name, type(object)), 0)
  end
  return object:state()
end

--- Gives an object back its state, a table from names to tensors.
function checkpoint.restore(object, state)
  if type(object) == "userdata" and (getmetatable(object) or {}).__name == "cnas.Rng" then
    object.counter = state.counter:item()
  else
    object:load(state)
  end
end

--- Writes the states of `objects` (by name) and the run's own table `about`, then removes the oldest checkpoints beyond
--- `keep`. When writing fails the others are as they were. Returns the path.
function checkpoint.save(folder, step, objects, about, keep)
  local tensors = {}
  for _, name in ipairs(args.keys(objects)) do
    for _, entry in ipairs(checkpoint.state_of(name, objects[name])) do
      tensors[#tensors + 1] = { name = name .. "." .. entry.name, tensor = entry.tensor }
    end
  end
  local path = checkpoint.path_of(folder, step)
  cnas.safetensors.save(path, tensors, { ["cnas.run"] = cnas.json.encode(about) })
  local steps = steps_in(folder)
  for i = keep + 1, #steps do cnas.file.remove(checkpoint.path_of(folder, steps[i])) end
  return path
end

-- { ["net.stem.0.weight"] = t } as { net = { ["stem.0.weight"] = t } }.
local function by_object(tensors)
  local states = {}
  for full, tensor in pairs(tensors) do
    local object, name = full:match("^([^.]+)%.(.+)$")
    if object then
      states[object] = states[object] or {}
      states[object][name] = tensor
    end
  end
  return states
end

--- The newest checkpoint whose checksums hold: { path =, step =, about =, states = { OBJECT = { NAME = tensor } } }, or
--- nil when there is none. warn(text) hears of each that does not; such a file is set aside as NAME.bad.
function checkpoint.newest(folder, warn)
  for _, step in ipairs(steps_in(folder)) do
    local path = checkpoint.path_of(folder, step)
    local good, tensors, metadata = pcall(cnas.safetensors.load, path)
    local read, about = false, nil
    if good then read, about = pcall(cnas.json.decode, metadata["cnas.run"] or "", path) end
    if good and read then return { path = path, step = step, about = about, states = by_object(tensors) } end
    warn(("checkpoint not used: %s"):format(tostring(good and about or tensors)))
    cnas.file.rename(path, path .. ".bad")
  end
end

return checkpoint
