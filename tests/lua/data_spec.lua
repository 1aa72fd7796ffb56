-- data_spec.lua - datasets and loaders as a recipe sees them.

local T = require "spec"
local cnas = require "cnas"

-- A CIFAR-10 of `records` records in each file; label k % 10, pixels all of the record's number.
local function write_cifar(folder, records)
  for i = 1, 6 do
    local name = i < 6 and "data_batch_" .. i .. ".bin" or "test_batch.bin"
    local parts = {}
    for k = 0, records - 1 do parts[#parts + 1] = string.char(k % 10) .. string.char(k + 10 * i):rep(3072) end
    T.write(folder .. "/" .. name, table.concat(parts))
  end
end

local function labels_of(loader)
  local out = {}
  for _, y in loader do
    for _, label in ipairs(y:totable()) do out[#out + 1] = label end
  end
  return out
end

T.describe("shapes", function()
  T.it("are ten classes of 32x32 images with names, mean and deviation", function()
    local train, valid, test = cnas.data.load("shapes", { seed = 3, split = 0.4, train_images = 200, test_images = 50 })
    T.equal({ #train, #valid, #test }, { 80, 120, 50 })
    T.equal({ train.classes, train.name, #train.class_names, #train.mean, #train.std }, { 10, "shapes", 10, 3, 3 })
    local image = train:image(80)
    T.equal({ image.dtype, table.unpack(image:shape()) }, { "u8", 32, 32, 3 })
    T.truthy(train:label(1) >= 0 and train:label(1) < 10)
    T.contains(train, "dataset shapes: 80 images 32x32x3 in 10 classes")
  end)

  T.it("are the same for the same seed", function()
    local a = cnas.data.load("shapes", { seed = 3, train_images = 20, test_images = 1 })
    local b = cnas.data.load("shapes", { seed = 3, train_images = 20, test_images = 1 })
    local c = cnas.data.load("shapes", { seed = 4, train_images = 20, test_images = 1 })
    T.equal(a:image(7):totable(), b:image(7):totable())
    T.truthy(tostring(a:image(7)) ~= tostring(c:image(7)))
  end)

  T.it("are drawn in less than two seconds on two cores", function()
    local start = os.clock() -- processor time, of all threads
    cnas.data.load("shapes", { seed = 1 })
    T.truthy(os.clock() - start < 4, "12,000 images took too long")
  end)
end)

T.describe("a dataset", function()
  local all = cnas.data.load("shapes", { train_images = 30, test_images = 1 })

  T.it("has subsets that share its images", function()
    local some = all:subset { 5, 5, 30 }
    T.equal(#some, 3)
    T.equal(some:label(3), all:label(30))
    T.equal(some:image(2):totable(), all:image(5):totable())
    T.equal(some:subset({ 3 }):label(1), all:label(30))
  end)

  T.it("splits into parts that have nothing in common", function()
    local a, b = all:split(0.5, 1)
    T.equal({ #a, #b }, { 15, 15 })
    local c = all:split(0.5, 1)
    T.equal(a:image(1):totable(), c:image(1):totable())
  end)

  T.it("refuses positions that it does not have", function()
    T.raises("image 0 of 30", all.image, all, 0)
    T.raises("image 31 of 30", all.label, all, 31)
    T.raises("entry 2 must be from 1 to 30, got 31", all.subset, all, { 1, 31 })
    T.raises("split must be a fraction from 0 to 1, got 2", all.split, all, 2, 1)
  end)
end)

T.describe("a loader", function()
  local all = cnas.data.load("shapes", { train_images = 50, test_images = 1 })
  local function loader(o)
    o.dataset, o.batch, o.shuffle, o.augment = all, 8, true, true
    return cnas.data.loader(o)
  end

  T.it("gives batches of normalised images and labels", function()
    local l = loader {}
    T.equal(#l, 7)
    local x, y = l()
    T.equal(x:shape(), { 8, 32, 32, 3 })
    T.equal({ x.dtype, y.dtype }, { "f32", "i64" })
    T.equal(y:shape(), { 8 })
    local count = 8
    for _, more in l do count = count + more:size(1) end
    T.equal(count, 50)
    T.truthy(l:waited() > 0)
  end)

  T.it("gives the same for any number of threads, from any batch", function()
    local whole = labels_of(loader { threads = 0 })
    T.equal(labels_of(loader { threads = 3 }), whole)
    T.equal(labels_of(loader { threads = 2, start = 4 }), table.move(whole, 25, 50, 1, {}))
    T.equal(labels_of(loader { start = 8 }), {})
    T.truthy(table.concat(labels_of(loader { pass = 2 })) ~= table.concat(whole))
    T.equal(#labels_of(loader { drop_last = true }), 48)
  end)

  T.it("is shared out by shards", function()
    local one, two = loader { shard = 1, shards = 3 }, loader { shard = 3, shards = 3 }
    T.equal({ #one, #two }, { 3, 3 })
    for own, counted in pairs { [one] = { 8, 24 }, [two] = { 8, 24 } } do
      own()
      T.equal({ own:share() }, counted)
    end
    for _ = 2, 3 do one() two() end
    T.equal({ one:share() }, { 1, 2 })
    T.equal({ two:share() }, { 0, 2 })
    T.raises("shard must be from 1 to 2, got 3", loader, { shard = 3, shards = 2 })
  end)

  T.it("normalises without augmentation exactly", function()
    local x = cnas.data.loader({ dataset = all, batch = 1 })()
    local pixel, value = all:image(1):totable()[1][1][1], x:totable()[1][1][1][1]
    T.near(value, (pixel / 255 - all.mean[1]) / all.std[1], 1e-6)
  end)

  T.it("ends when its loop is left", function()
    collectgarbage()
    local live = cnas.live()
    local kept
    do
      local l = loader { threads = 2 }
      for _ in l, nil, nil, l do break end -- luacheck: ignore 512
      kept = l
    end
    collectgarbage()
    T.equal(cnas.live(), live)
    T.equal(kept(), nil)
  end)

  T.it("survives every allocation that fails, Lua's own included", function()
    local whole = labels_of(loader {})
    local function live()
      collectgarbage()
      collectgarbage()
      return { cnas.live(), cnas.memory().blocks_live }
    end
    local function pass() return labels_of(loader { threads = 1 }) end
    local before, n, clean = live(), 0, 0
    while clean < 3 do -- the collector's own may come and go
      n = n + 1
      cnas.fail_allocation(n)
      local ok, labels = pcall(pass)
      cnas.fail_allocation(0)
      if ok then T.equal(labels, whole) else T.contains(labels, "memory") end
      clean = ok and clean + 1 or 0
      labels = nil -- luacheck: ignore 311
      T.equal(live(), before)
    end
    T.truthy(n > 30)
  end)

  T.it("refuses what it does not know", function()
    T.raises("loader: unknown option 'shufle' %(did you mean 'shuffle'%?%)", loader, { shufle = true })
    T.raises("option 'dataset' must be a dataset, got nil", cnas.data.loader, { batch = 1 })
    T.raises("option 'batch' is missing", cnas.data.loader, { dataset = all })
    T.raises("batch must be at least 1, got 0", cnas.data.loader, { dataset = all, batch = 0 })
    T.raises("cannot start at batch 9, the pass has 7", loader, { start = 9 })
    T.raises("unknown option 'crops'", cnas.data.loader, { dataset = all, batch = 1, augment = { crops = 4 } })
  end)
end)

T.describe("cifar10", function()
  T.it("is read from its folder or the folder's parent", function()
    local folder = T.folder()
    os.execute("mkdir " .. folder .. "/cifar-10-batches-bin")
    write_cifar(folder .. "/cifar-10-batches-bin", 10)
    for _, root in ipairs { folder, folder .. "/cifar-10-batches-bin" } do
      local train, valid, test = cnas.data.load("cifar10", { root = root, split = 0.4, train_images = 20 })
      T.equal({ #train, #valid, #test, train.classes, train.class_names[4] }, { 8, 12, 10, 10, "cat" })
      T.equal(test:label(4), 3)
      T.equal(test:image(4):totable()[32][32], { 63, 63, 63 })
    end
  end)

  T.it("says how to get what is not there", function()
    local e = T.raises("no data in .*Use %-%-download", cnas.data.load, "cifar10", { root = T.folder() })
    T.equal(e.code, "data")
  end)

  T.it("names the record of a wrong label", function()
    local folder = T.folder()
    write_cifar(folder, 3)
    local file <close> = io.open(folder .. "/data_batch_2.bin", "r+b")
    file:seek("set", 3073)
    file:write("\10")
    file:close()
    T.raises("data_batch_2.bin: record 1 %(offset 3073%): expected a label from 0 to 9, got 10",
      cnas.data.load, "cifar10", { root = folder })
  end)

  T.it("suggests the nearest name", function()
    T.raises("no dataset 'cifar1O'.*did you mean 'cifar10'", cnas.data.load, "cifar1O")
    T.raises("unknown option 'spilt'", cnas.data.load, "cifar10", { spilt = 1 })
  end)

  T.it("loads as published", function()
    local root = os.getenv "CNAS_DATA"
    if not root then T.skip "CNAS_DATA names no folder that holds cifar-10-batches-bin" end
    local train, valid, test = cnas.data.load("cifar10", { root = root, split = 0.4 })
    T.equal(#train + #valid, #test == 10000 and 50000 or 1000)
    local sum, l = { 0, 0, 0 }, cnas.data.loader { dataset = test, batch = 500 }
    local x, y = l()
    T.equal(y:shape(), { 500 })
    T.equal(table.concat(y:totable(), " ", 1, 10), "3 8 8 0 6 6 1 6 3 1")
    for c = 1, 3 do sum[c] = x:mean({ 1, 2, 3 }):totable()[c] end
    for c = 1, 3 do T.truthy(math.abs(sum[c]) < 0.1, "the normalised images' mean is " .. sum[c]) end
  end)
end)
