-- Every public function and method called with what it cannot use: nothing, nil, wrong types and counts, huge and odd
-- numbers, closed objects. Each call returns or raises an error with a message; none crashes, hangs or eats the memory.
-- The calls are made in a process of their own with a limit on its memory, so that an allocation too many shows.

local T = require "spec"

local program = [==[
local cnas = require "cnas"
local rng = cnas.rng(tonumber(arg[1]), "junk")

-- Left out: what writes files or talks to the network by design, and what changes the process for all that follow.
local left_out = { file = true, fail_allocation = true, threads = true, engine = true, run = true, options = true,
                   dist = true, events = true, loaded = true, isa = true, show = true, interact = true,
                   repl = true, manual = true, pretrained = true }

for _, part in ipairs { "controller", "costs", "curriculum", "data", "finalists", "metric", "pareto", "population",
                       "sampler", "schedule" } do assert(cnas[part]) end

local space = cnas.space.darts()
local net = cnas.supernet { space = space, channels = 2, layers = 3, nodes = 2, classes = 4,
                            rng = cnas.rng(1, "weights") }
local objects = {
  tensor = cnas.tensor { { 1, 2, 3 }, { 4, 5, 6 } }, whole = cnas.tensor({ 1, 0, 2 }, { dtype = "i64" }),
  image = cnas.randn({ 2, 8, 8, 3 }, { rng = cnas.rng(1, "x") }), rng = cnas.rng(1, "y"), space = space, net = net,
  layer = cnas.nn.conv2d { inp = 3, out = 2, kernel = 3 }, genotype = cnas.genotype.named "CNAS",
  optimizer = cnas.optim.sgd(net:parameters(), { lr = 0.1 }),
  sampler = cnas.sampler { space = space, nodes = 2 }, costs = cnas.costs { space = space, channels = 2, layers = 3 },
  front = cnas.pareto { accuracy = "most" }, finalists = cnas.finalists(2),
  population = cnas.population { size = 2, sample = 1, rng = cnas.rng(1, "z") },
  controller = cnas.controller { space = space, nodes = 2, hidden = 4 }, average = cnas.metric.moving_average(0.9),
  dataset = (cnas.data.load("shapes", { train_images = 12, test_images = 2 })),
}
local closed = cnas.zeros(2)
closed:close()

local deep = {}
for _ = 1, 300 do deep = { deep } end
local junk = {
  function() return nil end, function() return true end, function() return 0 end, function() return -1 end,
  function() return 1 end, function() return 3 end, function() return 0.5 end, function() return 1e300 end,
  function() return math.huge end, function() return 0 / 0 end, function() return math.mininteger end,
  function() return math.maxinteger end, function() return 1 << 31 end, function() return "" end,
  function() return "x" end, function() return "f32" end, function() return ("long "):rep(2000) end,
  function() return "%s%n\0" end, function() return {} end, function() return { 1, 2 } end,
  function() return { -1, 1 << 40 } end, function() return { {}, { 1 } } end, function() return { x = 1 } end,
  function() return { dim = 99 } end, function() return { kernel = 0, stride = 0, padding = -1 } end,
  function() return { lr = "fast", rng = 3, inp = -5, out = 1 << 40, channels = -1, classes = 0 } end,
  function() return deep end, function() return print end, function() return coroutine.create(print) end,
  function() return io.stdout end, function() return closed end,
}
for _, object in pairs(objects) do junk[#junk + 1] = function() return object end end

local calls = 0
local function try(name, f, self)
  for n = 0, 4 do
    for _ = 1, n == 0 and 1 or 12 do
      local args = { n = n }
      for i = 1, n do args[i] = junk[rng:integer(#junk) + 1]() end
      if self ~= nil then table.insert(args, 1, self) args.n = n + 1 end
      calls = calls + 1
      io.stderr:write(name, "\n") -- the last one is to blame for a crash
      local good, e = pcall(f, table.unpack(args, 1, args.n))
      if not good then
        local message = tostring(e)
        if #message < 4 then error(name .. ": an error without a message: " .. message) end
      end
    end
  end
end

local function methods_of(object)
  if type(object) == "table" then
    local index = getmetatable(object) and getmetatable(object).__index
    return type(index) == "table" and index or {}
  end
  local index = debug.getmetatable(object).__index
  if type(index) == "table" then return index end
  local _, methods = debug.getupvalue(index, 1) -- of a C function that knows fields too
  return type(methods) == "table" and methods or {}
end

local function sorted(t)
  local keys = {}
  for key in next, t do if type(key) == "string" then keys[#keys + 1] = key end end
  table.sort(keys)
  return keys
end

local function walk(prefix, module, depth)
  for _, key in ipairs(sorted(module)) do
    local value = rawget(module, key)
    if depth > 1 or not left_out[key] then
      if type(value) == "function" then try(prefix .. "." .. key, value)
      elseif type(value) == "table" and depth < 2 then
        walk(prefix .. "." .. key, value, depth + 1)
        local meta = getmetatable(value)
        if meta and type(meta.__call) == "function" then try(prefix .. "." .. key .. "()", value) end
      end
    end
  end
end

walk("cnas", cnas, 1)
for _, key in ipairs(sorted(objects)) do
  local object = objects[key]
  for _, method in ipairs(sorted(methods_of(object))) do
    local f = methods_of(object)[method]
    if type(f) == "function" and method ~= "close" then
      try(key .. ":" .. method, f, object)
      try(key .. ":" .. method .. " of nothing", f)
    end
  end
end
collectgarbage()
print("calls", calls)
]==]

T.describe("every public function", function()
  for seed = 1, 2 do
    T.it(("survives what it cannot use (seed %d)"):format(seed), function()
      local folder = T.folder()
      T.write(folder .. "/junk.lua", program)
      local limit = os.getenv "ASAN_OPTIONS" and "" or "ulimit -v 6000000 && " -- the sanitizer maps terabytes
      local status, out, err = T.shell(("cd %s && %sCNAS_THREADS=1 timeout 300 %s junk.lua %d")
        :format(T.quote(folder), limit, T.quote(T.program), seed))
      local last = err:match("([^\n]*)\n*$") or ""
      T.equal(status, 0, "the last call was " .. last .. "\n" .. err:sub(-600))
      T.truthy(tonumber(out:match("calls%s+(%d+)")) > 5000, "too few calls: " .. out:sub(-200))
    end)
  end
end)
