-- folder_spec.lua - datasets of class folders: what is listed, what a loader makes of it for any threads and from any
-- batch, what happens to files that cannot be decoded, and recipes/check_data.lua.

local T = require "spec"
local cnas = require "cnas"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"

local function quiet() end

local made = {}

-- A picture of two waves with a line, as a PNG.
local function picture(width, height, seed)
  local key, rows = ("%d %d %d"):format(width, height, seed), {}
  if made[key] then return made[key] end
  for y = 1, height do
    rows[y] = {}
    for x = 1, width do
      rows[y][x] = { (x * 7 + seed * 31) % 256, (y * 5 + seed * 17) % 256, x == y and 255 or seed * 13 % 256 }
    end
  end
  made[key] = cnas.image.encode(cnas.tensor(rows, { dtype = "u8" }))
  return made[key]
end

-- root/train and root/val: four classes, a few images of several sizes in each.
local function make_root()
  local root = T.folder()
  local classes, folders = { "beta", "alpha", "delta", "gamma" }, {}
  for _, class in ipairs(classes) do
    folders[#folders + 1] = root .. "/train/" .. class
    folders[#folders + 1] = root .. "/val/" .. class
  end
  os.execute("mkdir -p " .. table.concat(folders, " "))
  for _, part in ipairs { "train", "val" } do
    for c, class in ipairs(classes) do
      for i = 1, part == "train" and 3 + c or 2 do
        T.write(("%s/%s/%s/%s%02d.JPEG"):format(root, part, class, class, i),
          picture(20 + 3 * i + c, 30 - 2 * i, 10 * c + i))
      end
    end
  end
  return root
end

local function sums(loader)
  local out = {}
  for x, y in loader do
    local means = x:mean({ 2, 3, 4 }):totable()
    for k, label in ipairs(y:totable()) do out[#out + 1] = ("%d %.9g"):format(label, means[k]) end
  end
  return out
end

T.describe("a folder of class folders", function()
  T.it("is a training and a validation set, classes in the order of their names", function()
    local root = make_root()
    T.write(root .. "/train/alpha/.hidden", "no picture")
    os.execute("mkdir " .. root .. "/train/.git")
    local train, valid, test = cnas.data.load("imagenet", { root = root, split = 0.5, seed = 1 })
    T.equal({ #train, #valid, #test }, { 11, 11, 8 })
    T.equal({ train.name, train.classes, train.channels, train.height }, { "imagenet", 4, 3, 224 })
    T.equal(train.class_names, { "alpha", "beta", "delta", "gamma" })
    local all = cnas.data.load("folder", { root = root })
    T.equal(#all, 22)
    local seen = { 0, 0, 0, 0 }
    for i = 1, #all do
      local class = all.class_names[all:label(i) + 1]
      T.contains(all:path(i), "/train/" .. class .. "/" .. class)
      seen[all:label(i) + 1] = seen[all:label(i) + 1] + 1
    end
    T.equal(seen, { 5, 4, 6, 7 })
    local whole = cnas.datasets.folder { root = root .. "/train/" }
    T.equal(whole:path(2), root .. "/train/alpha/alpha02.JPEG")
    T.equal(whole:image(2):shape(), { 26, 28, 3 })
    T.equal(cnas.data.load("shapes", { train_images = 1, test_images = 1 }):path(1), nil)
  end)

  T.it("may hold folders and links, and gives every image once", function()
    local root = make_root()
    os.execute(("cd %s/train && mkdir -p alpha/more/deep && mv alpha/alpha01.JPEG alpha/more/deep/ && "
      .. "ln -s ../beta/beta01.JPEG alpha/zlink && ln -s gamma epsilon"):format(root))
    local d = cnas.datasets.folder { root = root .. "/train" }
    T.equal(d.class_names, { "alpha", "beta", "delta", "epsilon", "gamma" })
    local paths = {}
    for i = 1, #d do paths[i] = d:path(i):sub(#root + 8) end
    T.equal(table.concat(paths, " ", 1, 6), "alpha/alpha02.JPEG alpha/alpha03.JPEG alpha/alpha04.JPEG "
      .. "alpha/alpha05.JPEG alpha/more/deep/alpha01.JPEG alpha/zlink")
    T.equal(#d, 22 + 1 + 7)
  end)

  T.it("numbers the classes of validation as in training", function()
    local root = make_root()
    os.execute(("rm -r %s/val/alpha && rm %s/val/beta/*"):format(root, root))
    local _, _, test = cnas.data.load("folder", { root = root })
    T.equal({ #test, test:label(1), test.classes }, { 4, 2, 4 })
    os.execute(("mkdir %s/val/zeta"):format(root))
    local e = T.raises("val/zeta: this class is not one of the 4 of the training set", cnas.data.load, "folder",
      { root = root })
    T.equal(e.code, "data")
  end)

  T.it("can be asked for one of its sets", function()
    local root = make_root()
    local train, valid, test = cnas.data.load("folder", { root = root, only = "test" })
    T.equal({ train, valid, #test }, { nil, nil, 8 })
    os.execute(("rm -r %s/train"):format(root))
    train, valid, test = cnas.data.load("imagenet", { root = root, only = "test" })
    T.equal({ train, valid, #test }, { nil, nil, 8 })
    T.raises("only must be 'train' or 'test', got 'val'", cnas.data.load, "folder", { root = root, only = "val" })
  end)

  T.it("says what is missing", function()
    local root = make_root()
    os.execute(("mkdir %s/train/empty"):format(root))
    local e = T.raises("train/empty: this class folder is empty", cnas.data.load, "folder", { root = root })
    T.equal(e.code, "data")
    T.raises("expected the folders train and val in .*ILSVRC2012_img_train", cnas.data.load, "imagenet",
      { root = T.folder() })
    T.raises("cannot open this folder", cnas.datasets.folder, { root = root .. "/nothing" })
    T.raises("expected a folder for each class there, found none", cnas.datasets.folder, { root = T.folder() })
    T.raises("option 'root' is missing", cnas.datasets.folder, {})
    T.raises("unknown option 'rooot'", cnas.datasets.folder, { rooot = "x" })
  end)

  T.it("lists twenty thousand files in little time", function()
    local root = T.folder()
    os.execute(("cd %s && mkdir $(seq -f c%%03g 20) && for c in *; do (cd $c && touch $(seq -f file%%04g.JPEG 1000));"
      .. " done"):format(root))
    local start = os.clock()
    local d = cnas.datasets.folder { root = root }
    T.equal(#d, 20000)
    T.equal({ d:path(20000), d:label(12345) }, { root .. "/c020/file1000.JPEG", 12 })
    T.truthy(os.clock() - start < 1)
  end)
end)

T.describe("a loader of files", function()
  local function dataset() return (cnas.data.load("folder", { root = make_root() })) end

  T.it("gives squares, the same for any number of threads, from any batch", function()
    local d = dataset()
    local function loader(o)
      o.dataset, o.batch, o.shuffle, o.seed, o.augment = d, 5, true, 3, o.augment or { size = 32, cutout = 8 }
      return cnas.data.loader(o)
    end
    local x, y = loader {}()
    T.equal({ x:shape(), x.dtype, y.dtype }, { { 5, 32, 32, 3 }, "f32", "i64" })
    local whole = sums(loader { threads = 0 })
    T.equal(#whole, 22)
    for threads = 1, 4 do
      T.equal(sums(loader { threads = threads }), whole)
      T.equal(sums(loader { threads = threads, start = 3 }), table.move(whole, 11, 22, 1, {}))
    end
    T.truthy(table.concat(sums(loader { pass = 2 })) ~= table.concat(whole))
    local shards = {}
    for b = 1, 3 do
      for r = 1, 2 do
        local part = cnas.data.loader { dataset = d, batch = 5, shuffle = true, seed = 3, shard = r, shards = 2,
                                        augment = { size = 32, cutout = 8 }, start = b }
        local px, py = part()
        local means = px:mean({ 2, 3, 4 }):totable()
        for k, label in ipairs(py:totable()) do shards[#shards + 1] = ("%d %.9g"):format(label, means[k]) end
      end
    end
    T.equal(shards, whole)
  end)

  T.it("evaluates with the middle of each image, normalised", function()
    local d = dataset()
    local x = cnas.data.loader { dataset = d, batch = 1 }()
    T.equal(x:shape(), { 1, 224, 224, 3 })
    local file <close> = io.open(d:path(1), "rb")
    local bytes = cnas.image.transform(file:read "a"):totable()
    local values = x:totable()[1]
    for _, at in ipairs { { 1, 1 }, { 57, 200 }, { 224, 224 } } do
      for c = 1, 3 do
        T.near(values[at[1]][at[2]][c], (bytes[at[1]][at[2]][c] / 255 - d.mean[c]) / d.std[c], 1e-6)
      end
    end
    T.equal(cnas.data.loader({ dataset = d, batch = 2, augment = { size = 16, resize = 20 } })():shape(),
      { 2, 16, 16, 3 })
    T.equal(cnas.data.loader({ dataset = d, batch = 2, augment = true })():shape(), { 2, 224, 224, 3 })
  end)

  T.it("changes nothing that it is not told to", function()
    local d = dataset()
    local plain = { size = 24, scale = { 1, 1 }, ratio = { 1, 1 }, flip = false, jitter = { 0, 0, 0, 0 } }
    local a = sums(cnas.data.loader { dataset = d, batch = 4, augment = plain, pass = 1 })
    T.equal(sums(cnas.data.loader { dataset = d, batch = 4, augment = plain, pass = 2 }), a)
    plain.jitter = { 0.4, 0, 0, 0 }
    T.truthy(table.concat(sums(cnas.data.loader { dataset = d, batch = 4, augment = plain })) ~= table.concat(a))
  end)

  T.it("refuses settings that cannot be", function()
    local d = dataset()
    local function loader(augment) return cnas.data.loader { dataset = d, batch = 1, augment = augment } end
    T.raises("size must be from 1 to 4096, got 0", loader, { size = 0 })
    T.raises("resize must be from size %(32%) to 4096, got 31", loader, { size = 32, resize = 31 })
    T.raises("scale must be two numbers with 0 < first <= second <= 1", loader, { scale = { 0.5, 0.2 } })
    T.raises("ratio must be two numbers", loader, { ratio = { 0, 1 } })
    T.raises("option 'jitter' must be a table of 4 numbers", loader, { jitter = { 1 } })
    T.raises("jitter must be four numbers from 0 on, the fourth up to 0.5", loader, { jitter = { 0, 0, 0, 0.6 } })
    T.raises("unknown option 'crop'", loader, { crop = 4 })
    T.raises("augment must be true, false or a table, got string", loader, "yes")
  end)
end)

T.describe("files that cannot be decoded", function()
  local function spoiled(max_bad)
    local root = make_root()
    T.write(root .. "/train/beta/beta02.JPEG", "no picture at all")
    T.write(root .. "/train/gamma/gamma04.JPEG", picture(20, 20, 1):sub(1, -30))
    return cnas.data.load("folder", { root = root, max_bad = max_bad }), root
  end

  T.it("are an error that names them", function()
    local d, root = spoiled(0)
    for _, threads in ipairs { 0, 2 } do
      local l = cnas.data.loader { dataset = d, batch = 30, augment = { size = 8 }, threads = threads }
      for _ = 1, 2 do -- the same again
        local e = T.raises("bad image 1 of this dataset; 0 may be skipped", l)
        T.equal(e.code, "data")
        T.truthy(tostring(e):find(root .. "/train/beta/beta02.JPEG: expected a JPEG or PNG file, this one begins", 1,
          true) or tostring(e):find(root .. "/train/gamma/gamma04.JPEG", 1, true))
      end
      l:close()
    end
  end)

  T.it("are left out and named once, as many as may be", function()
    local d = spoiled(2)
    for pass = 1, 2 do
      for _, threads in ipairs { 0, 3 } do
        local heard, images = {}, 0
        for x, y in cnas.data.loader { dataset = d, batch = 6, augment = { size = 8 }, threads = threads, pass = pass,
                                       shuffle = true, on_bad = function(m) heard[#heard + 1] = m end } do
          T.equal(x:size(1), y:size(1))
          images = images + x:size(1)
        end
        T.equal(images, 20)
        T.equal(#heard, pass == 1 and threads == 0 and 2 or 0)
      end
    end
    T.equal(#d:bad(), 2)
    T.equal(#d:bad(2), 1)
    T.contains(table.concat(d:bad(), "\n"),
      "beta02.JPEG: expected a JPEG or PNG file, this one begins with 'no\\x20pic'")
    T.contains(table.concat(d:bad(), "\n"), "gamma04.JPEG: damaged or unusable PNG file")
  end)

  T.it("leave the others what they are", function()
    local d = spoiled(2)
    local good = cnas.data.load("folder", { root = make_root() })
    local augment = { size = 16 }
    local with, without = {}, sums(cnas.data.loader { dataset = good, batch = 22, augment = augment })
    for _, line in ipairs(sums(cnas.data.loader { dataset = d, batch = 22, augment = augment, on_bad = quiet })) do
      with[line] = true
    end
    local found = 0
    for _, line in ipairs(without) do found = found + (with[line] and 1 or 0) end
    T.equal(found, 20)
  end)

  T.it("are an error where one too many comes, or nothing is left of a batch", function()
    T.raises("bad image 2 of this dataset; 1 may be skipped", sums, cnas.data.loader { dataset = spoiled(1), batch = 5,
      augment = { size = 8 }, on_bad = quiet })
    T.raises("no image of its batch is left", sums, cnas.data.loader { dataset = spoiled(2), batch = 1,
      augment = { size = 8 }, on_bad = quiet })
  end)

  T.it("count for their shard alone", function()
    local d = spoiled(2)
    local images, own = 0, 0
    for r = 1, 2 do
      local l = cnas.data.loader { dataset = d, batch = 6, augment = { size = 8 }, shard = r, shards = 2,
                                   on_bad = quiet }
      for x in l do
        images = images + x:size(1)
        own = own + l:share()
      end
    end
    T.equal({ images, own }, { 20, 20 })
  end)
end)

T.describe("check_data", function()
  local recipe = here .. "/../../recipes/check_data.lua"

  local function run(options)
    return T.shell(("%s %s %s"):format(T.quote(T.program), T.quote(recipe), options))
  end

  T.it("finds nothing where nothing is wrong", function()
    local root = make_root()
    local status, out, err = run("--json --root " .. root)
    T.equal(status, 0, err)
    local report = cnas.json.decode(out)
    T.equal({ report.bad, #report.sets, report.sets[1].images, report.sets[2].images }, { 0, 2, 22, 8 })
    T.equal(report.sets[1].counts.png, 22)
    T.equal(#report.sets[1].lies, 22) -- the names say JPEG
    T.equal(report.sets[1].smallest, { 24, 28 })
  end)

  T.it("lists every bad file, empty folders and unknown classes", function()
    local root = make_root()
    T.write(root .. "/train/beta/beta02.JPEG", "no picture at all")
    T.write(root .. "/train/gamma/gamma04.JPEG", picture(20, 20, 1):sub(1, -30))
    T.write(root .. "/val/gamma/gamma01.JPEG", "")
    os.execute(("cd %s && mkdir train/hollow val/zeta && cp train/beta/beta01.JPEG val/zeta/right.png"):format(root))
    local status, out, err = run("--threads 2 --json --root " .. root .. "/")
    T.equal(status, 3)
    T.contains(err, "3 bad files, 5 things wrong in all")
    local report = cnas.json.decode(out)
    local train, val = report.sets[1], report.sets[2]
    T.equal({ report.bad, #train.bad, #val.bad }, { 3, 2, 1 })
    T.equal({ train.bad[1].file, train.bad[2].file, val.bad[1].file },
      { "beta/beta02.JPEG", "gamma/gamma04.JPEG", "gamma/gamma01.JPEG" })
    T.contains(train.bad[1].why, "expected a JPEG or PNG file")
    T.equal({ train.empty, train.unknown, val.unknown }, { { "hollow" }, {}, { "zeta" } })
    T.equal(#val.lies, 7)
    status, out = run("--root " .. root .. "/val")
    T.equal(status, 3)
    T.contains(out, "bad: gamma/gamma01.JPEG: expected a JPEG or PNG file, this one is empty")
    T.contains(out, "9 files in 5 classes, 1 bad")
  end)

  T.it("wants a folder", function()
    local status, _, err = run ""
    T.equal(status, 2)
    T.contains(err, "--root FOLDER is needed")
    status, _, err = run "--root /nowhere"
    T.equal(status, 3)
    T.contains(err, "/nowhere: cannot open this folder")
  end)
end)

T.describe("real photographs", function()
  local root = (os.getenv "CNAS_DATA" or os.getenv "HOME" .. "/.cache/cnas-data") .. "/imagenet-sample"

  T.it("are all decoded and made squares", function()
    if not cnas.file.exists(root) then T.skip("there is no " .. root) end
    if not cnas.image.reads_jpeg then T.skip "built without libjpeg-turbo" end
    local d = cnas.datasets.folder { root = root }
    for i, file in ipairs(cnas.datasets.survey(d, 1, #d)) do T.equal(file.bad, nil, d:path(i)) end
    for _, augment in ipairs { false, true } do
      local images, sum = 0, 0
      for x in cnas.data.loader { dataset = d, batch = 20, augment = augment, shuffle = true } do
        images, sum = images + x:size(1), sum + x:mean():item() * x:size(1)
      end
      T.equal(images, #d)
      T.truthy(math.abs(sum / images) < 0.5)
    end
  end)
end)

T.describe("memory that runs out", function()
  T.it("is survived by a loader of files, wherever that is", function()
    local root = make_root()
    local function pass()
      local d = cnas.data.load("folder", { root = root })
      local lines = sums(cnas.data.loader { dataset = d, batch = 15, augment = { size = 8 }, threads = 1 })
      return table.concat(lines, "\n")
    end
    local whole = pass()
    local function live()
      collectgarbage()
      collectgarbage()
      return { cnas.live(), cnas.memory().blocks_live }
    end
    local before, n, clean = live(), 0, 0
    while clean < 3 do
      n = n + 1 + n // 40
      cnas.fail_allocation(n)
      local ok, lines = pcall(pass)
      cnas.fail_allocation(0)
      if ok then T.equal(lines, whole) else T.contains(lines, "memory") end
      clean = ok and clean + 1 or 0
      lines = nil -- luacheck: ignore 311
      T.equal(live(), before)
    end
    T.truthy(n > 60)
  end)
end)
