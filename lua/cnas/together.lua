-- together.lua - what the processes of a run do together: methods of a run (see run.lua).
--
-- Every process goes through the same loops of the recipe and works on its shard of each batch. Rank 0 alone reads and
-- writes the run folder; what it reads, it tells. What is kept is one thing of the whole run: rank 0's state is given
-- to all when it is kept, optimizers average their gradients over the processes, and streams go on in a part of their
-- own on each. So parameters stay the same everywhere, to the bit. Statistics of batch norm do not: rank 0's are
-- everybody's at the end of each pass, before anything is evaluated with them.
-- A place where all must agree (to save, to stop) is a sum over the processes, reached by all at the same batch.

local cnas = require "cnas"

local together = {}

local function is(object, name)
  return type(object) == "userdata" and (getmetatable(object) or {}).__name == name
end

-- The random stream of a kept object: itself, or its field `rng`.
local function stream_of(object)
  if is(object, "cnas.Rng") then return object end
  local stream = type(object) == "table" and rawget(object, "rng")
  return stream and is(stream, "cnas.Rng") and stream or nil
end

local PART = 1 << 48 -- draws of a stream that are one rank's: rank r's counters begin at r * PART

--- Gives all processes rank 0's state of an object, in the form of a checkpoint (see checkpoint.lua).
local function share_state(world, object, checkpoint)
  local list, about = checkpoint.state_of("", object), {}
  for i, entry in ipairs(list) do
    about[i] = { name = entry.name, dtype = entry.tensor.dtype, shape = entry.tensor:shape() }
  end
  about = cnas.json.decode(world:broadcast(cnas.json.encode(about)))
  local state = {}
  for i, entry in ipairs(about) do
    local tensor = world.rank == 0 and list[i].tensor or cnas.empty(entry.shape, { dtype = entry.dtype })
    state[entry.name] = world:broadcast(tensor)
  end
  if world.rank > 0 then checkpoint.restore(object, state) end
end

--- Makes a kept object one of all processes.
function together:unite(name, object, checkpoint)
  local world, stream = self.world, stream_of(object)
  if world.size > 1 then
    share_state(world, object, checkpoint)
    if is(object, "cnas.Optimizer") then object:share() end
    if stream then stream.counter = stream.counter % PART + world.rank * PART end
  end
  local counter = stream and self.counters and self.counters[name]
  if counter then stream.counter = math.tointeger(tonumber(counter)) end
end

--- What only this process knows, for a checkpoint: the epoch's sums and choices, how far its streams have come.
function together:own_part()
  local part = { sums = {}, counters = {}, chosen = next(self.chosen) and self.chosen or nil }
  for name, pair in pairs(self:summed()) do part.sums[name] = { ("%a"):format(pair[1]), ("%a"):format(pair[2]) } end
  for name, object in pairs(self.kept) do
    local stream = stream_of(object)
    if stream and self.world.size > 1 then part.counters[name] = tostring(stream.counter) end
  end
  return part
end

--- All processes' parts in the order of the ranks, on each.
function together:all_parts()
  local parts = self.world:gather(cnas.json.encode(self:own_part()))
  for r, text in ipairs(parts) do parts[r] = cnas.json.decode(text) end
  return parts
end

local function add_sums(to, part)
  for name, pair in pairs(part.sums) do
    local sum = to[name] or { 0.0, 0.0 }
    to[name] = { sum[1] + tonumber(pair[1]), sum[2] + tonumber(pair[2]) }
  end
end

local function add_chosen(to, part)
  for name, count in pairs(part.chosen or {}) do to[name] = (to[name] or 0) + count end
end

--- Takes this process's part out of a checkpoint's. When another number of processes goes on, rank 0 takes all sums,
--- and streams go on behind the furthest.
function together:take_part(parts)
  local world = self.world
  self.sums, self.chosen, self.counters = {}, {}, nil
  if #parts == world.size then
    add_sums(self.sums, parts[world.rank + 1])
    add_chosen(self.chosen, parts[world.rank + 1])
    self.counters = parts[world.rank + 1].counters
    return
  end
  if world.rank == 0 then
    for _, part in ipairs(parts) do
      add_sums(self.sums, part)
      add_chosen(self.chosen, part)
    end
  end
  self.counters = {}
  for _, part in ipairs(parts) do
    for name, counter in pairs(part.counters) do
      local draws = math.tointeger(tonumber(counter)) % PART
      self.counters[name] = math.max(self.counters[name] or 0, draws + world.rank * PART)
    end
  end
end

--- The means of what was logged in this epoch, over all processes; all ask at the same place.
function together:means()
  local sums, means = {}, {}
  if self.world.size == 1 then sums = self:summed()
  else
    for _, part in ipairs(self:all_parts()) do add_sums(sums, part) end
  end
  for name, pair in pairs(sums) do means[name] = pair[2] > 0 and pair[1] / pair[2] or 0.0 end
  return means
end

--- How often what was chosen in this epoch, on all processes; all ask at the same place.
function together:all_chosen()
  if self.world.size == 1 then return self.chosen end
  local all = {}
  for _, text in ipairs(self.world:gather(cnas.json.encode(self.chosen))) do
    add_chosen(all, { chosen = cnas.json.decode(text) })
  end
  return all
end

--- The mean of a number over all processes, weighted by the images that each has in the present batch.
function together:mean(number)
  if self.world.size == 1 then return number end
  local sum, weight = self.world:sum(number * self.weight, self.weight)
  return sum / weight
end

--- How many of the next `images` images of a pass are this process's, in batches of `batch` on each (see loader.h).
function together:own_images(images, batch)
  local rank, size = self.world.rank, self.world.size
  local rest = images % (batch * size) -- of the last batch; the first ranks have one more
  return images // (batch * size) * batch + (rest * (rank + 1) + size - 1) // size - (rest * rank + size - 1) // size
end

--- Whether anybody was asked to stop, whether rank 0 wants to save, and whether it has visitors.
function together:agree(asked, due, visited)
  if self.world.size == 1 then return asked, due, visited end
  local askers, savers, hosts = self.world:sum(asked and 1 or 0, due and self.writes and 1 or 0, visited and 1 or 0)
  return askers > 0, savers > 0, hosts > 0
end

--- The end of a pass: buffers (statistics of batch norm) become rank 0's.
function together:settle()
  if self.world.size == 1 then return end
  for _, name in ipairs(cnas.args.keys(self.kept)) do
    local object = self.kept[name]
    if is(object, "cnas.Module") then
      for _, entry in ipairs(object:state()) do
        if entry.buffer then self.world:broadcast(entry.tensor) end
      end
    end
  end
end

--- What rank 0 finds in f(), a table that JSON can hold, on all processes.
function together:told(f)
  if self.world.size == 1 then return f() end
  return cnas.json.decode(self.world:broadcast(self.writes and cnas.json.encode(f()) or ""))
end

--- The results, numbers in the order of the list, of f(item), each of which one process finds. All get all.
function together:divide(list, f)
  local world, results = self.world, {}
  for i, item in ipairs(list) do results[i] = (i - 1) % world.size == world.rank and f(item) or 0.0 end
  if #list == 0 then return results end
  return { world:sum(table.unpack(results)) }
end

return together
