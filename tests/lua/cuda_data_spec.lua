-- Batches for the GPU: images that live there are augmented there, photographs are sent while work goes on; both are
-- what a loader makes on the CPU, to the bit, and a batch of the first kind is one launch and no wait.

local cnas = require "cnas"
local T = require "spec"

local usable, why = pcall(cnas.zeros, 1, { device = "cuda" })
if not usable then
  T.it("batches on the GPU", function() T.skip(tostring(why)) end)
  return
end

local function options(dataset, more)
  local o = { dataset = dataset, batch = 7, seed = 3, stream = "train", pass = 2 }
  for key, value in pairs(more) do o[key] = value end
  return o
end

-- A folder of photographs of several sizes, one of them broken.
local function photographs()
  local root = T.folder()
  os.execute(("mkdir -p %s/train/a %s/train/b %s/val/a %s/val/b"):format(root, root, root, root))
  for i = 1, 11 do
    local rows = {}
    for y = 1, 20 + i do
      rows[y] = {}
      for x = 1, 34 - i do rows[y][x] = { (x * 7 + i * 31) % 256, (y * 5) % 256, i * 20 } end
    end
    local bytes = cnas.image.encode(cnas.tensor(rows, { dtype = "u8" }))
    if i == 6 then bytes = bytes:sub(1, 60) end
    for _, part in ipairs { "train", "val" } do
      T.write(("%s/%s/%s/%02d.png"):format(root, part, i % 2 == 0 and "a" or "b", i), bytes)
    end
  end
  return cnas.data.load("folder", { root = root, max_bad = 20 })
end

-- All batches of both devices are the same.
local function same(o)
  local here = cnas.data.loader(o)
  o.device = "cuda"
  local there = cnas.data.loader(o)
  T.equal(#there, #here)
  for batch = 1, #here - (o.start or 1) + 1 do
    local x, y = here()
    local x_there, y_there = there()
    T.equal(x_there.device, "cuda:0")
    T.equal(x_there:shape(), x:shape())
    T.equal(x_there:to("cpu"):reshape(-1):totable(), x:reshape(-1):totable(), "images of batch " .. batch)
    T.equal(y_there:to("cpu"):totable(), y:totable(), "labels of batch " .. batch)
    T.equal({ there:share() }, { here:share() })
  end
  T.equal(there(), nil)
  there:close()
  here:close()
end

T.describe("a loader for the GPU", function()
  local all = cnas.data.load("shapes", { seed = 1, train_images = 40, test_images = 5 })
  local part = all:subset { 3, 1, 17, 17, 40, 22, 9, 8, 30 }

  T.it("augments images that live there", function()
    for _, augment in ipairs { false, true, { crop = 4, flip = true, cutout = 16 }, { crop = 32 }, { flip = true },
                               { cutout = 7 } } do
      same(options(all, { augment = augment, shuffle = true }))
    end
    same(options(part, { augment = true, shuffle = true, drop_last = true }))
    same(options(part, { augment = { cutout = 40 }, start = 2 }))
    same(options(part, { shard = 2, shards = 3, batch = 2, shuffle = true, augment = true }))
  end)

  T.it("keeps one copy, and makes a batch by one launch without a wait", function()
    same(options(all, {}))
    local loader = cnas.data.loader(options(all, { augment = true, device = "cuda" }))
    local before = cnas.gpu_work()
    for _ = 1, 3 do T.equal(loader():size(1), 7) end
    local after = cnas.gpu_work()
    T.equal({ after.launches - before.launches, after.waits - before.waits, after.copies - before.copies },
            { 3, 0, 0 })
    loader:close()
    T.raises("unknown device", cnas.data.loader, options(all, { device = "gpu" }))
  end)

  T.it("sends photographs", function()
    local said, on_bad = 0, cnas.data.on_bad
    cnas.data.on_bad = function() said = said + 1 end
    local train = photographs()
    local ok, e = pcall(function()
      for _, threads in ipairs { 2, 1, 0 } do
        for _, augment in ipairs { { size = 16 }, { size = 16, resize = 20 } } do
          same(options(train, { batch = 3, threads = threads, augment = augment, shuffle = true }))
        end
      end
      same(options(train, { batch = 2, threads = 2, augment = { size = 16 }, start = 3 }))
    end)
    cnas.data.on_bad = on_bad
    if not ok then error(e, 0) end
    T.truthy(said > 0)
    local before = cnas.gpu_work()
    local loader = cnas.data.loader(options(train:subset { 1, 2, 3, 4, 5, 7 },
      { batch = 2, threads = 1, augment = { size = 16 }, device = "cuda" }))
    local x, y = loader()
    local after = cnas.gpu_work()
    T.equal({ after.launches - before.launches, after.waits - before.waits, after.copies - before.copies },
            { 0, 0, 2 })
    loader:close() -- with a batch under way, and batches made that nobody took
    T.equal({ x:to("cpu"):size(1), y:to("cpu"):size(1) }, { 2, 2 })
  end)

  T.it("serves one GPU after the other", function()
    if cnas.devices()[2].count < 2 then T.skip "there is one GPU" end
    for _, device in ipairs { "cuda:1", "cuda:0" } do
      local x = cnas.data.loader(options(all, { device = device }))()
      T.equal(x.device, device)
      T.equal(x:to("cpu"):reshape(-1):totable(), cnas.data.loader(options(all, {}))():reshape(-1):totable())
    end
  end)

  local simt = (os.getenv "CNAS_CUDA_MODULE" or ""):find("simt", 1, true)
  if not os.getenv "CNAS_SIMT" then
    T.it("does so when work is put off until it is waited for, and memory is kept", function()
      if not simt then T.skip "this is a GPU" end
      local status, out, err = T.run { arg[0], arg[#arg], seconds = 120,
                                       env = { CNAS_SIMT = "reversed,lazy", CNAS_GPU_CACHE = "1" } }
      T.equal(status, 0, (out .. err):sub(1, 2000))
    end)
  end
end)
