-- run.lua - a run is a folder and a place in the recipe's loops.
--
-- A recipe's loops are plain `for` loops over run:stages, run:epochs and run:batches. Each is known by its ordinal: it
-- is the first, second, … loop that began within the present item of the loop around it. So a place in the program is a
-- path of (loop, item) pairs, and going on from one means that loops before it yield nothing, loops on the path begin
-- at its item, and the last begins with the item that was next. Everything else that a recipe knows is in the objects
-- it keeps (run:keep), saved and given back together with the path. A recipe may do what it likes inside its loops as
-- long as what it does depends on kept objects, options and items alone.

local cnas = require "cnas"
local args = require "cnas.args"
local checkpoint = require "cnas.checkpoint"
local choices = require "cnas.choices"
local options = require "cnas.options"
local progress = require "cnas.progress"
local record = require "cnas.record"
local together = require "cnas.together"

local Run = { __name = "cnas.Run" }
Run.__index = Run

-- The run folder ------------------------------------------------------------------------------------------------------

local folders = { "checkpoints", "genotypes", "drawings", "weights" }
local files = { "metrics.jsonl", "summary.json", "pareto.json", "recipe.lua", "modules" } -- modules: a folder, if any

-- What lies in the folder besides the lock and temporary files.
local function entries(folder)
  local list = {}
  if cnas.file.exists(folder) then
    for _, name in ipairs(cnas.file.list(folder)) do
      if name ~= "lock" and name:sub(1, 1) ~= "." then list[#list + 1] = name end
    end
  end
  return list
end

-- Whether a run got far enough that there is something to lose: an epoch's line or a checkpoint.
local function has_results(folder)
  return cnas.file.exists(folder .. "/metrics.jsonl") and cnas.file.size(folder .. "/metrics.jsonl") > 0
    or cnas.file.exists(folder .. "/checkpoints") and #cnas.file.list(folder .. "/checkpoints") > 0
end

-- Says at once when a new run may not use the folder. One that ended before its first result, because the data was
-- not where it looked, say, is no obstacle. True when there is a run to go on with.
local function inspect(folder, opt)
  local holds_run = cnas.file.exists(folder .. "/config.json")
  if holds_run and has_results(folder) and not opt.resume and not opt.overwrite then
    args.fail("usage", "%s holds a run already: go on with it by --resume, delete it by --overwrite, or choose another "
              .. "folder by -o DIR", folder)
  elseif not holds_run and #entries(folder) > 0 then
    args.fail("usage", "%s is not empty and holds no run (no config.json): choose another folder by -o DIR", folder)
  end
  return holds_run and opt.resume and not opt.overwrite
end

local function clear(folder)
  for _, name in ipairs(cnas.file.list(folder)) do
    if name:find("tfevents", 1, true) then cnas.file.remove(folder .. "/" .. name) end
  end
  for _, list in ipairs { files, folders } do
    for _, name in ipairs(list) do cnas.file.remove_tree(folder .. "/" .. name) end
  end
  cnas.file.remove(folder .. "/config.json") -- last: it marks a run
end

-- The recipe's file: as it was named, or beside the library.
local function source_of(recipe)
  for _, path in ipairs { recipe, cnas.home and recipe and cnas.home .. "/" .. recipe } do
    if cnas.file.exists(path) == "file" then return path end
  end
end

-- A folder without config.json is no run, so that is written first: a run that is killed here can be begun again.
local function start(self, opt)
  local values, preset, origins = options.record(opt)
  cnas.file.write(self.folder .. "/config.json", cnas.json.encode({
    recipe = self.recipe, options = values, origins = origins, preset = preset, machine = record.machine(),
    started = os.date("!%Y-%m-%dT%H:%M:%SZ"),
  }, { indent = true }) .. "\n")
end

-- What every run folder has beside config.json; temporary files of writers that were killed go.
local function furnish(self)
  for _, name in ipairs { ".", table.unpack(folders) } do
    cnas.file.mkdir(self.folder .. "/" .. name)
    cnas.file.sweep(self.folder .. "/" .. name)
  end
  local source = source_of(self.recipe)
  if source and not cnas.file.exists(self.folder .. "/recipe.lua") then record.keep_sources(self.folder, source) end
end

-- A run that goes on with another machine or number of processes is not the same to the last bit: says so, and keeps
-- it in config.json.
local function note_changes(self, config, path)
  local before, now = config.machine.kernels, cnas.isa()
  if before ~= now then
    self.progress:warn(("begun with %s kernels, going on with %s: not to the last bit (CNAS_ISA=%s would be)"):format(
      before, now, before))
  end
  local parts, size = self.loaded and #self.loaded.about.processes or self.world.size, self.world.size
  if parts == size then return end
  local text = "was on %d process%s, going on with %d: not to the last bit, and %d batches at a time are one step"
  self.progress:warn(text:format(parts, parts > 1 and "es" or "", size, size))
  config.changes = config.changes or {}
  config.changes[#config.changes + 1] = { step = self.step, processes = size, before = parts }
  cnas.file.write(path, cnas.json.encode(config, { indent = true }) .. "\n")
end

-- Takes the folder for this run, on rank 0: what the others need to know.
local function take_folder(self, opt)
  local folder, resumes = self.folder, inspect(self.folder, opt)
  cnas.file.mkdir(folder)
  self.lock = cnas.file.lock(folder)
  if not resumes then
    if opt.resume then self.progress:warn(("there is no run in %s yet: starting one"):format(folder)) end
    clear(folder)
    start(self, opt)
    furnish(self)
    return {}
  end
  local path = folder .. "/config.json"
  local config = cnas.json.decode(cnas.file.read(path), path)
  options.restore(opt, config.options, folder)
  furnish(self)
  self:find_checkpoint()
  note_changes(self, config, path)
  return { options = config.options, about = self.loaded and self.loaded.about,
           path = self.last_checkpoint, replay = self:recall_changes() }
end

-- The run of these options (see options.lua): a new one, or the one to be resumed, whose options `opt` then gets.
local function open(opt)
  local recipe = options.script(opt)
  local folder = options.folder(opt)
  local world = cnas.dist.world()
  local self = setmetatable({
    world = world, writes = world.rank == 0, -- one process writes, prints and keeps the folder
    folder = folder, opt = opt, recipe = recipe, progress = progress.new(opt.color or "auto", world.rank),
    kept = {},                     -- objects by name
    changes = {},                  -- made by hand, in order: see steer.lua
    levels = { { loops = 0 } },    -- the loops we are in: see enter
    step = 0, passes = 0,          -- batches and whole passes done
    moved = false,                 -- whether this process has done anything
    sums = {},                     -- what was logged in this epoch: { sum, weight } by name (see logged.lua)
    owed = {},                     -- and what a GPU has yet to tell
    chosen = {},                   -- how often what was chosen in it: counts by "CELL KIND NAME"
    weight = 1,                    -- images of the present batch
    epoch_seconds = {},            -- of the last epoch of each phase
    saved_at = cnas.clock(), started_at = cnas.clock(),
  }, Run)
  local news = self:told(function() return take_folder(self, opt) end)
  if not self.writes then
    if news.options then options.restore(opt, news.options, folder) end
    if news.about then self:go_on(news.about, {}, news.path) end
    rawset(_G, "print", function() end)
  end
  if opt.threads then cnas.threads(opt.threads) end
  local why
  self.device, why = cnas.device(rawget(opt, "device") or "cpu", world.rank)
  if why then self.progress:warn(why) end
  self.record = self.writes and record.open(folder, self.loaded and self.loaded.about.lines or 0,
                                            self.loaded and self.step) or record.silent
  self:decide_about_changes(news.replay)
  self:open_door()
  return self
end

function Run:find_checkpoint()
  local found = checkpoint.newest(self.folder .. "/checkpoints", function(text) self.progress:warn(text) end)
  if not found then
    self.progress:line(("resuming %s: no checkpoint yet, from the beginning"):format(self.folder))
    return
  end
  self:go_on(found.about, found.states, found.path)
  self.progress:line(("resuming %s from step %d"):format(self.folder, self.step))
end

--- Takes the place of a checkpoint for its own.
function Run:go_on(about, states, path)
  local position = about.position
  if #position == 0 then position = nil end -- saved outside of all loops
  self.loaded = { about = about, states = states, path = path }
  self.target, self.step, self.passes = position, about.step, about.passes
  self:take_part(about.processes)
  self:take_changes(about.changes, path)
  self.last_checkpoint = path
end

--- Objects to be saved, by name: anything with state() and load(), and random streams. Resuming, they get their state
--- back here: call it when they are made and before the first loop. Among several processes a kept object is one of
--- the whole run (see together.lua): it begins with rank 0's state, and an optimizer averages gradients over all.
function Run:keep(objects)
  for _, name in ipairs(args.keys(objects)) do
    if name:find(".", 1, true) then error("run:keep: a name must have no dot: '" .. name .. "'", 2) end
    self.kept[name] = objects[name]
    if self.loaded and self.writes then checkpoint.restore(objects[name], self.loaded.states[name] or {}) end
    self:unite(name, objects[name], checkpoint)
  end
end

-- Places --------------------------------------------------------------------------------------------------------------

-- What stands in for a loop that is over.
local function nothing() end

--- Enters a loop: its level { item, loops }, where item is the first to do; nil when it was over at the checkpoint.
function Run:enter()
  if self.steered then error("the run stands still: none of its loops can begin here", 3) end
  local depth = #self.levels
  local outer = self.levels[depth]
  outer.loops = outer.loops + 1
  local level = { item = 1, loops = 0 }
  local goal = self.target and self.target[depth]
  if goal and outer.loops < goal[1] then return nil end
  if self.lacking then self:make_again(depth) end
  if goal then
    level.item = goal[2]
    if depth == #self.target then -- arrived
      self.target, level.arrived = nil, true
      for _, name in ipairs(args.keys(self.loaded.states)) do
        if not self.kept[name] then
          args.fail("data", "%s has the state of '%s', which the recipe does not keep", self.loaded.path, name)
        end
      end
      self.loaded.states = {}
    end
  end
  self.levels[depth + 1] = level
  return level
end

--- A loop's to-be-closed value: leaves the loop however it ends, and tells an error where it happened.
function Run:leaving(level)
  local depth = #self.levels - 1
  return setmetatable({}, { __close = function(_, err)
    if err ~= nil then self:locate(err) end
    if level.close then level.close(err) end
    for i = #self.levels, depth + 1, -1 do self.levels[i] = nil end
  end })
end

--- "stage 2 of 8 (+ none), search epoch 3, step 1234 (batch 17)"
function Run:place()
  local words = {}
  if self.stage then
    words[#words + 1] = ("stage %d of %d (%s)"):format(self.stage.index, self.stages_total, self.stage.name)
  end
  if self.epoch then words[#words + 1] = ("%s epoch %d"):format(self.phase, self.epoch) end
  if self.batch then words[#words + 1] = ("step %d (batch %d)"):format(self.step, self.batch) end
  return table.concat(words, ", ")
end

--- Puts the place in front of a coded error's message, once; other errors have a traceback.
function Run:locate(err)
  self.progress:clear()
  if type(err) ~= "table" or rawget(err, "located") or rawget(err, "code") == "interrupted" then return end
  rawset(err, "located", true)
  local place = self:place()
  err.message = (place ~= "" and place .. ": " or "") .. err.message
  if self.last_checkpoint then
    err.message = ("%s\nthe last good checkpoint is %s"):format(err.message, self.last_checkpoint)
  end
end

-- Saving --------------------------------------------------------------------------------------------------------------

--- The path of (loop, item) pairs down to the innermost loop.
function Run:position()
  local path = {}
  for depth = 1, #self.levels - 1 do
    path[depth] = { self.levels[depth].loops, self.levels[depth + 1].item }
  end
  return path
end

--- Saves everything, the items of all loops being those to be done next.
function Run:save()
  local parts, folder = self:all_parts(), self.folder .. "/checkpoints"
  if self.writes then
    checkpoint.save(folder, self.step, self.kept, {
      position = self:position(), step = self.step, passes = self.passes, lines = self.record.lines, processes = parts,
      changes = #self.changes > 0 and self.changes or nil,
    }, self.opt.keep or 3)
  end
  self.last_checkpoint = checkpoint.path_of(folder, self.step)
  self.saved_at, self.unsaved = cnas.clock(), nil
end

--- A place between two batches: lets people in who want to look or to change something (see steer.lua), saves when the
--- time has come, and stops when the user asked for it: all processes at the same place.
function Run:pause(now)
  if self.steered then return end -- a text that was typed
  if self.without then self:go_without_changes() end
  local due = now or cnas.clock() - self.saved_at >= (self.opt.save_every or 600)
  local stops, saves, serves = self:agree(self:asked_to_stop(true), due, self:visited())
  if serves then stops = self:serve() or stops end
  if stops or saves then self:save() end
  if stops then self:stop() end
end

--- Stops at the user's wish; the newest checkpoint is where it goes on.
function Run:stop()
  self.stops = self.steered ~= nil -- a text that was typed says so: when it is done
  if self.stops then return end
  local text = ("stopped at %s; go on with: cnas %s -o %s --resume"):format(self:where(), self.recipe or "RECIPE",
    self.folder)
  self:close_door(text)
  args.fail_with("interrupted", { quiet = not self.writes }, text)
end

-- Loops ---------------------------------------------------------------------------------------------------------------

--- A loop over items 1 … count: before(item) returns what the body gets, after(item) follows the body.
function Run:loop(count, before, after, last)
  local level = self:enter()
  if not level then return nothing end
  local item = level.item - 1
  local running = false
  return function()
    if running then
      level.item, level.loops = item + 1, 0
      after(item)
    end
    item = item + 1
    if item > count then
      if last then last() end
      return nil
    end
    level.item, level.loops, running, self.moved = item, 0, true, true
    return before(item)
  end, nil, nil, self:leaving(level)
end

--- The stages of a curriculum, or any list. After the last one the run is finished.
function Run:stages(list)
  self.stages_total = #list
  return self:loop(#list, function(i)
    self.stage = list[i]
    self.stage_started = cnas.clock()
    if self.target == nil or #self.target < 2 then
      self.progress:line(self.progress:paint("bold", ("stage %d of %d: %s"):format(i, #list, list[i].name or "")))
    end
    return list[i]
  end, function()
    self.stage_seconds = (self.stage_seconds or 0) + cnas.clock() - self.stage_started
    self.stages_timed = (self.stages_timed or 0) + 1
    self.stage = nil
    self:pause(true)
  end, function()
    self:finish()
  end)
end

--- Epochs 1 … count of a phase with a name.
function Run:epochs(name, count)
  return self:loop(count, function(i)
    if not self.target then self:start_sums() end -- else they are of the epoch we go on with
    self.phase, self.epoch, self.epochs_total = name, i, count
    self.epoch_started, self.images, self.waited = cnas.clock(), 0, 0.0
    return i
  end, function(i)
    self:end_epoch(i)
    self:start_sums()
    self.epoch = nil
    self:pause(true)
  end)
end

--- One pass over a dataset in batches: x (N,H,W,C) f32, y (N) i64. Each pass of a run has a number of its own, from
--- which the loader draws the order and the augmentation. Options: augment, shuffle (both true), drop_last (false),
--- accumulate (1): so many batches make one step. For that each batch comes with its share of the step's images, and
--- with whether it is the step's last: gradients of share * loss, summed over a step, are those of one large batch. A
--- run is saved and stopped between steps alone.
--- Several processes share the pass out, each image to one of them; `batch` is what each of them gets at a time.
function Run:batches(dataset, batch, given)
  local o = args.check("run:batches", given or {}, { augment = true, shuffle = true, drop_last = false,
                                                     accumulate = 1 })
  local level = self:enter()
  if not level then return nothing end
  local parts = level.arrived and #self.loaded.about.processes or self.world.size
  if parts ~= self.world.size then -- the same images, in batches of another size; some come twice
    level.item = (level.item - 1) * parts // self.world.size // o.accumulate * o.accumulate + 1
  end
  local loader = cnas.data.loader {
    dataset = dataset, batch = batch, seed = self.opt.seed, stream = "batches", pass = self.passes + 1,
    start = level.item, augment = o.augment, shuffle = o.shuffle, drop_last = o.drop_last,
    shard = self.world.rank + 1, shards = self.world.size, device = self.device,
  }
  local item = level.item - 1
  local before = self.waited or 0.0 -- in the epoch's other passes
  level.close = function(err)
    loader:close()
    self.batch, self.weight = nil, 1
    self.world:weigh(1 / self.world.size)
    if err == nil then self:settle() end
  end
  local step = o.accumulate * batch * self.world.size -- images in a whole one, everywhere
  local images = o.drop_last and #loader * batch * self.world.size or #dataset
  return function()
    local x, y = loader()
    self.waited = before + loader:waited()
    if x == nil then
      self.passes = self.passes + 1
      return nil
    end
    item = item + 1
    if (item - 1) % o.accumulate == 0 then
      level.item = item
      self:pause()
    end
    local own, all = loader:share() -- images that count here, and everywhere
    self.step, self.batch, self.weight = self.step + 1, item, own
    self.images = (self.images or 0) + all
    self.progress:moving(function() return self:status(item, #loader) end)
    local in_step = math.min(step, images - (item - 1) // o.accumulate * step)
    local own_in_step = self:own_images(in_step, batch)
    self.world:weigh(own_in_step / in_step)
    return x, y, own / math.max(own_in_step, 1), item % o.accumulate == 0 or item == #loader
  end, nil, nil, self:leaving(level)
end

--- Prints a line that stays.
function Run:say(text) self.progress:line(text) end

-- Numbers ------------------------------------------------------------------------------------------------------------

--- Counts the operations and edges of an architecture among those chosen in this epoch; returns the architecture.
function Run:chose(arch)
  choices.add(self.chosen, arch)
  return arch
end

function Run:times()
  local seconds = cnas.clock() - self.epoch_started
  return { seconds = seconds, images_per_second = self.images / math.max(seconds, 1e-9),
           loader_seconds = self.waited, memory = cnas.memory().bytes_peak }
end

function Run:end_epoch(i)
  local means, times = self:means(), self:times()
  local line = {}
  for name, value in pairs(means) do line[name] = value end
  line.stage, line.name = self.stage and self.stage.index, self.stage and self.stage.name
  line.phase, line.epoch, line.step, line.time = self.phase, i, self.step, times
  line.chosen = choices.tree(self:all_chosen())
  self.epoch_seconds[self.phase] = times.seconds
  self.record:add(line)
  self.progress:line(("  %-8s %3d/%d  %s  %s"):format(self.phase, i, self.epochs_total,
    self.progress.values(means), self.progress:paint("dim", ("%.0f images/s, %s, %s"):format(
    times.images_per_second, self.progress.duration(times.seconds), self.progress.waiting(self.waited,
    times.seconds)))))
end

--- How long it will take: to the end of the phase; once a stage is over, to the end of all. An epoch takes as long as
--- the last one of its name did; before there is one, its present pass counts as all of it.
function Run:left(fraction)
  local elapsed = cnas.clock() - self.epoch_started
  local epoch = math.max(self.epoch_seconds[self.phase] or elapsed / math.max(fraction, 1e-3), elapsed)
  local phase = epoch * (self.epochs_total - self.epoch + 1) - elapsed
  if not self.stages_timed then return self.progress.duration(phase) .. " left (" .. self.phase .. ")" end
  local stage = self.stage_seconds / self.stages_timed
  local rest = math.max(phase, stage - (cnas.clock() - self.stage_started))
  return self.progress.duration(rest + stage * (self.stages_total - self.stage.index)) .. " left"
end

--- The moving line, what matters most first: a narrow terminal cuts its end off. Its means are this process's own.
function Run:status(batch, batches)
  if not self.epoch then return ("step %d, batch %d/%d"):format(self.step, batch, batches) end
  local seconds = math.max(cnas.clock() - self.epoch_started, 1e-9)
  local pass, means = self.levels[#self.levels - 1].loops, {}
  for name, pair in pairs(self:summed(1)) do means[name] = pair[1] / pair[2] end
  return ("%s%s %d/%d  %d/%d%s  %s  %.0f images/s  %s  %s"):format(
    self.stage and ("stage %d/%d  "):format(self.stage.index, self.stages_total) or "", self.phase, self.epoch,
    self.epochs_total, batch, batches, pass > 1 and " (pass " .. pass .. ")" or "", self:left(batch / batches),
    self.images / seconds, self.progress.waiting(self.waited, seconds), self.progress.values(means))
end

--- The end, which a loop over stages brings by itself: summary.json, with `results` (a table) as the recipe found them,
--- and what it says. True unless the run was complete before.
function Run:finish(results)
  if self.target then
    args.fail("data", "%s: the recipe's loops do not lead to the place where it was saved", self.loaded.path)
  end
  local complete = self:told(function() return { cnas.file.exists(self.folder .. "/summary.json") ~= false } end)[1]
  if self.loaded and not self.moved and complete then
    self.progress:line(("the run in %s is complete"):format(self.folder))
    self:close_door("the run is complete")
    return false
  end
  local derived, peak = {}, cnas.memory().bytes_peak
  for _, line in ipairs(self.record.kept) do
    if line.phase == "derive" then derived[#derived + 1] = line end
    peak = math.max(peak, line.time.memory or 0)
  end
  local summary = {
    step = self.step, derived = #derived > 0 and derived or nil, results = results,
    finished = os.date("!%Y-%m-%dT%H:%M:%SZ"),
    time = { seconds = self.record:seconds(), this_process = cnas.clock() - self.started_at },
    memory = { tensors_peak = peak, resident_peak = record.resident_peak() },
  }
  self.record:json("summary.json", summary)
  self.progress:line(("done in %s, %d steps, at most %.0f MB; everything is in %s"):format(
    self.progress.duration(summary.time.seconds), self.step,
    (summary.memory.resident_peak or peak) / 1e6, self.folder))
  self:close_door("the run is complete")
  return true
end

function Run:__tostring() return ("cnas.Run: %s, step %d"):format(self.folder, self.step) end

Run.candidates = require "cnas.candidates"
Run.derive = require "cnas.derive"
for _, methods in ipairs { require "cnas.logged", require "cnas.trainee", require "cnas.steer", together } do
  for name, method in pairs(methods) do Run[name] = method end
end

return { open = open, Run = Run }
