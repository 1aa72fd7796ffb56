-- PyTorch's files: what older and newer versions wrote (tests/fixtures/make_fixtures.py models) is what was saved;
-- their networks compute what PyTorch computed; hostile files are refused quickly. tests/c/test_pickle.c and test_pth.c
-- have every opcode, every truncation and every flipped bit.

local cnas = require "cnas"
local fixture = require "fixture"
local T = require "spec"

local folder = debug.getinfo(1, "S").source:match "^@(.*)pth_spec%.lua$" .. "../fixtures/"
local network = fixture.load "network"

local function values(t) return t:to "f64":totable() end

T.describe("a file of torch.save", function()
  for _, name in ipairs { "torch1.legacy", "torch1.zip", "torch2.legacy", "torch2.zip" } do
    T.it(("gives back views of one storage, scalars and empty tensors (%s)"):format(name), function()
      local views = cnas.pth.load(folder .. "odd." .. name .. ".pth").views
      T.equal(views.whole:shape(), { 4, 6 })
      T.equal(views.whole:totable()[4], { 18.0, 19.0, 20.0, 21.0, 22.0, 23.0 })
      T.equal(views.again:totable(), views.whole:totable())
      T.equal(views.transposed:shape(), { 6, 4 })
      T.equal(views.transposed:totable()[2], { 1.0, 7.0, 13.0, 19.0 })
      T.equal(views.block:totable(), { { 8.0, 9.0, 10.0 }, { 14.0, 15.0, 16.0 } })
      T.equal(views.step:totable()[2], { 6.0, 8.0, 10.0 })
      T.equal(views.row:totable(), { 12.0, 13.0, 14.0, 15.0, 16.0, 17.0 })
      T.equal(views.deep:shape(), { 2, 2, 3, 2 })
      T.equal(views.deep:totable()[2][1][3], { 5.0, 11.0 })
      T.equal(views.scalar:shape(), {})
      T.equal(views.scalar:item(), 3.5)
      T.equal(views.element:item(), 23.0)
      T.equal(views.count:item(), 7)
      T.equal(views.empty:shape(), { 0, 3 })
      T.equal(views.parameter:totable(), { 0.0, 1.0, 2.0 })
      views.whole:fill_(-1) -- what shares a storage in the file shares it here
      T.equal(views.block:totable()[1][1], -1.0)
    end)

    T.it(("gives back every type (%s)"):format(name), function()
      local types = cnas.pth.load(folder .. "odd." .. name .. ".pth").types
      local safe = cnas.safetensors.load(folder .. "types.safetensors")
      local dtypes = { f64 = "f64", f32 = "f32", f16 = "f32", bf16 = "bf16", i64 = "i64", i32 = "i64", i16 = "i64",
                       i8 = "i64", u8 = "u8", bool = "u8" }
      for key, dtype in pairs(dtypes) do
        T.equal(types[key].dtype, dtype, key)
        T.equal(safe[key].dtype, dtype, key)
        T.equal(values(safe[key]), values(types[key]), key)
      end
      local third = 1 / 3
      T.equal(types.f64:totable(), { third, -1e300, 5e-324 })
      T.equal(values(types.f16), { 0.0, -0.0, 0.333251953125, -65504.0, 65504.0, 2.0 ^ -24, -2.0 ^ -14, math.huge,
                                   -math.huge })
      T.equal(1 / values(types.f16)[2], -math.huge)
      T.equal(types.i64:totable(), { 0, 1, -1, math.maxinteger, math.mininteger })
      T.equal(types.i32:totable(), { 0, 1, -1, 2147483647, -2147483648 })
      T.equal(types.i16:totable(), { 0, 1, -1, 32767, -32768 })
      T.equal(types.i8:totable(), { 0, 1, -1, 127, -128 })
      T.equal(types.u8:totable(), { 0, 1, 255 })
      T.equal(types.bool:totable(), { 1, 0, 1 })
    end)

    T.it(("gives back plain values beside them (%s)"):format(name), function()
      local saved = cnas.pth.load(folder .. "odd." .. name .. ".pth")
      local plain = saved.plain
      T.equal({ plain.epoch, plain.negative, plain.byte, plain.word, plain.large }, { 3, -5, 200, 40000, 1 << 40 })
      T.equal({ plain.huge, plain.lr, plain.text, plain.yes, plain.no }, { 2.0 ^ 70, 0.1, "café", true, false })
      T.equal(plain.none, cnas.json.null)
      T.equal(plain.list, { 1, 2.5, "x", cnas.json.null, { true, {} } })
      T.equal(plain.pair, { 1, { 2, 3 } })
      T.equal(plain.nothing, {})
      T.equal(plain.ordered.b, 1)
      T.equal(plain.ordered.a[1]:shape(), { 4, 6 })
      T.equal(plain.size, { 2, 3 })
      T.equal(plain.several, { 1, 2 })
      T.truthy(rawequal(plain.several, plain.same), "one list in the file is one table")
      T.equal(plain[7], "seven")
      T.equal(saved.many.key299, 299)
    end)
  end

  -- Weights are a function of names: see fixture.lua. f32 holds them exactly.
  local function check_network(file, key, note)
    local case
    for _, c in ipairs(network.cases) do if c.key == key then case = c end end
    local net, about = cnas.model.open(folder .. file, { arch = "CNAS" })
    T.equal({ about.channels, about.layers, about.classes, about.imagenet, about.auxiliary, about.note },
      { case.channels, case.layers, case.classes, case.imagenet, false, note })
    for _, entry in ipairs(net:state()) do
      local expected = fixture.weight(key .. "." .. entry.name, entry.tensor:shape())
      T.equal(entry.tensor:detach():to "f64":ne(expected):to "f64":sum():item(), 0.0, entry.name)
    end
    local x = fixture.values(key .. ".x", { case.batch, case.size, case.size, 3 })
    fixture.below(network:error(key .. ".logits_eval", cnas.no_grad(net, x:to "f32")), 1e-5, "logits in f32")
    net:to "f64"
    fixture.below(network:error(key .. ".logits_eval", cnas.no_grad(net, x)), 1e-10, "logits in evaluation")
    net:train(true)
    fixture.below(network:error(key .. ".logits", cnas.no_grad(net, x)), 1e-10, "logits in training")
  end

  T.it("is a network for CIFAR that computes what PyTorch did", function()
    check_network("cifar.torch1.zip.pth", "cifar")
  end)
  T.it("is the same as a checkpoint of several devices", function()
    check_network("cifar.torch2.zip.pth", "cifar", "'module.' was taken off all names")
    local _, metadata = cnas.model.read(folder .. "cifar.torch2.zip.pth")
    T.equal({ metadata.epoch, metadata.best_top1, metadata.args.lr, metadata.args.arch }, { 3, 0.5, 0.025, "CNAS" })
    T.raises("no tensors under 'ema'", cnas.model.read, folder .. "cifar.torch2.zip.pth", { prefix = "ema" })
    T.truthy(cnas.model.read(folder .. "cifar.torch2.zip.pth", { prefix = "state_dict" })["stem.0.weight"])
    T.raises("holds no table of tensors.*it has: many, plain, types, views", cnas.model.read,
      folder .. "odd.torch1.zip.pth")
    T.truthy(cnas.model.read(folder .. "odd.torch1.zip.pth", { prefix = "views" }).whole)
  end)
  T.it("is a network for ImageNet that computes what PyTorch did", function()
    check_network("imagenet.torch1.legacy.pth", "imagenet")
  end)
  T.it("of another network is told entry by entry", function()
    local e = T.raises("does not fit", cnas.model.open, folder .. "cifar.torch1.zip.pth", { arch = "DARTS_V2" })
    T.equal(e.code, "data")
    T.truthy(#e.missing > 0 and #e.unexpected > 0)
  end)
end)

T.describe("reading a .pth", function()
  T.it("survives allocations that fail, Lua's own included", function()
    local path, n, failures = folder .. "odd.torch2.zip.pth", 1, 0
    collectgarbage()
    local alive, loaded = cnas.live(), false
    while not loaded do
      cnas.fail_allocation(n)
      local ok, e = pcall(cnas.pth.load, path)
      cnas.fail_allocation(0)
      if not ok then T.contains(e, "memory") end
      loaded, failures, n = ok, failures + (ok and 0 or 1), n + 1 + n // 30
      e = nil -- luacheck: ignore 311 (the tensors that were loaded)
      collectgarbage()
      T.equal(cnas.live(), alive, "tensors alive after failure " .. n)
    end
    T.truthy(failures > 50, "too few failures: " .. failures)
  end)
end)

-- Hostile files, as a user would meet them: from the disk, measured.

-- The error of loading these bytes: it came within a second and within twice the file's memory and a megabyte.
local function refused(bytes, message)
  local path = T.write(T.folder() .. "/file.pth", bytes)
  collectgarbage()
  cnas.reset_peak()
  local before = cnas.memory().bytes_live
  local start = cnas.clock()
  local e = T.raises(message, cnas.pth.load, path)
  T.equal(e.code, "data")
  T.truthy(cnas.clock() - start < 1, "took too long")
  local used = cnas.memory().bytes_peak - before
  T.truthy(used <= 2 * #bytes + (1 << 20), ("%d bytes for a file of %d"):format(used, #bytes))
end

local MAGIC = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
local HEAD = MAGIC .. "\x80\x02M\xe9\x03.\x80\x02}X\x0d\0\0\0little_endian\x88s."

local function text(s) return "X" .. string.pack("<s4", s) end
local function long(n) return "\x8a\x08" .. string.pack("<i8", n) end
local function tensor(count, shape, stride)
  return "ctorch._utils\n_rebuild_tensor_v2\n((" .. text "storage" .. "ctorch\nFloatStorage\n" .. text "0" ..
    text "cpu" .. long(count) .. "tQK\0(" .. shape .. "t(" .. stride .. "t\x89NtR"
end

T.describe("a hostile .pth", function()
  T.it("that calls something is refused by its name and place", function()
    refused(HEAD .. "\x80\x02cposix\nsystem\nX\x02\0\0\0id\x85R.", "opcode GLOBAL at byte 2 names 'posix system'")
    refused(HEAD .. "\x80\x02X\x02\0\0\0osX\x06\0\0\0system\x93.", "opcode STACK_GLOBAL %(0x93%) at byte 20")
    refused(HEAD .. "\x80\x02(ios\nsystem\n.", "opcode INST %(0x69%) at byte 3")
  end)
  T.it("that claims more than it has is refused before memory is taken", function()
    refused(HEAD .. "\x80\x02" .. tensor(1 << 60, long(1 << 60), "K\1") .. ".\x80\x02]" .. text "0" .. "a." ..
      string.pack("<i8", 1 << 60) .. ("x"):rep(100), "too large")
    refused(HEAD .. "\x80\x02" .. tensor(1 << 58, "K\2", "K\1") .. ".\x80\x02]" .. text "0" .. "a." ..
      string.pack("<i8", 1 << 58) .. ("x"):rep(100), "it is cut")
    refused(HEAD .. "\x80\x02X\xff\xff\xff\x7fabc", "longer than the file")
  end)
  T.it("that unfolds is refused", function()
    for _, kind in ipairs { { ")", "(", "t" }, { "]", "](", "e" } } do -- each holds the one before ten times
      local laughs = { HEAD, "\x80\x02](", kind[1], "q\0" }
      for i = 0, 20 do
        laughs[#laughs + 1] = kind[2] .. ("h" .. string.char(i)):rep(10) .. kind[3] .. "q" .. string.char(i + 1)
      end
      refused(table.concat(laughs) .. "e.", "more than four million")
    end
  end)
  for name, bytes in pairs { nones = "(N", marks = "((", tuples = "N\x85", lists = "(]", dicts = "(}" } do
    T.it("of two million " .. name .. " is refused", function()
      refused(HEAD .. "\x80\x02" .. bytes:sub(1, 1) .. bytes:sub(2):rep(2000000) .. ".", "needs more than")
    end)
  end
  T.it("with flipped bits in a network is refused", function()
    local bytes, rng = T.read(folder .. "cifar.torch1.zip.pth"), cnas.rng(1, "flips")
    local path, found = T.folder() .. "/file.pth", 0
    local good = cnas.pth.load(folder .. "cifar.torch1.zip.pth")
    for _ = 1, 300 do
      local at = rng:integer(#bytes) + 1
      T.write(path, bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ 1 << rng:integer(8)) .. bytes:sub(at + 1))
      local ok, e = pcall(cnas.pth.load, path)
      if ok then -- a byte that says nothing: all values must be there
        for key, t in pairs(good) do
          T.equal(e[key]:ne(t):to "f64":sum():item(), 0.0, key)
        end
      else
        T.equal(e.code, "data")
        found = found + 1
      end
    end
    T.truthy(found > 150, "too few flips were noticed: " .. found)
  end)
end)
