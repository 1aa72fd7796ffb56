-- picture_spec.lua - photographs: every kind of JPEG and PNG as PIL and torchvision show it, damaged and hostile ones,
-- and datasets of class folders. The files and what they must become are made by tests/fixtures/make_pictures.py.

local T = require "spec"
local cnas = require "cnas"

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"
local stored, about = cnas.safetensors.load(here .. "/../fixtures/pictures.safetensors")
local cases = cnas.json.decode(about.cases)
local shortest = cnas.json.decode(about.shortest)
local jpeg = cnas.image.reads_jpeg

-- The bytes of a tensor of bytes as a string.
local function text(t)
  local list, parts = t:totable(), {}
  for i = 1, #list, 4096 do parts[#parts + 1] = string.char(table.unpack(list, i, math.min(i + 4095, #list))) end
  return table.concat(parts)
end

local files = {}
for name, tensor in pairs(stored) do
  local file = name:match "^file%.(.*)$"
  if file then files[file] = text(tensor) end
end

local function is_jpeg(name) return files[name]:sub(1, 2) == "\xff\xd8" end

-- The largest and the mean difference of two tensors of bytes.
local function difference(a, b)
  T.equal(a:shape(), b:shape())
  local x, y, most, sum = a:reshape(-1):totable(), b:reshape(-1):totable(), 0, 0
  for i = 1, #x do
    local d = math.abs(x[i] - y[i])
    most, sum = math.max(most, d), sum + d
  end
  return most, sum / #x
end

local function transformed(case)
  return cnas.image.transform(files[case.file], { size = case.size, resize = case.resize, part = case.part,
                                                  changes = case.changes, exact = case.exact })
end

local function need_jpeg() if not jpeg then T.skip "built without libjpeg-turbo" end end

T.describe("a picture", function()
  for i, case in ipairs(cases) do
    local what = case.part and "a part, resized" or "the middle, resized"
    if case.changes then
      local names = {}
      for k, change in ipairs(case.changes) do names[k] = change[1] end
      what = table.concat(names, ", ")
    end
    T.it(("%d, %s, is torchvision's: %s"):format(i, case.file, what), function()
      if is_jpeg(case.file) then need_jpeg() end
      local most, mean = difference(transformed(case), stored["expected." .. i])
      T.truthy(most <= 1, ("a byte is off by %d (mean %.3f)"):format(most, mean))
      T.truthy(mean < 0.3, ("bytes are off by %.3f in the mean"):format(mean))
    end)
  end

  T.it("decoded at a fraction of its size is nearly the same", function()
    need_jpeg()
    for _, part in ipairs { { 0, 0, 163, 127 }, { 13, 9, 130, 101 }, { 60, 30, 70, 70 } } do
      for _, size in ipairs { 8, 16 } do
        local exact = cnas.image.transform(files["large.jpg"], { size = size, part = part, exact = true })
        local quick = cnas.image.transform(files["large.jpg"], { size = size, part = part })
        local most, mean = difference(quick, exact)
        T.truthy(most <= 12 and mean < 2, ("size %d: off by %d, mean %.3f"):format(size, most, mean))
      end
    end
  end)

  T.it("is cut out of the middle of what is decoded around it, wherever that is", function()
    need_jpeg()
    for _, name in ipairs { "420.jpg", "422.jpg", "progressive.jpg", "large.jpg", "restart.jpg" } do
      local info = cnas.image.inspect(files[name])
      local whole = cnas.image.load(T.write(T.folder() .. "/x", files[name]))
      for k = 0, 40 do
        local w, h = 1 + k * 7 % info.width, 1 + k * 5 % info.height
        local x, y = k * 11 % (info.width - w + 1), k * 13 % (info.height - h + 1)
        local size = math.min(w, h)
        -- a square of its own size is copied
        local got = cnas.image.transform(files[name], { size = size, part = { x, y, size, size }, exact = true })
        local most = difference(got, whole:narrow(1, y + 1, size):narrow(2, x + 1, size))
        T.equal(most, 0, ("%s: %dx%d at (%d,%d)"):format(name, size, size, x, y))
      end
    end
  end)

  T.it("says what it is", function()
    local function check(name, expected)
      local info = cnas.image.inspect(files[name], name)
      for key, value in pairs(expected) do T.equal(info[key], value, name .. " " .. key) end
    end
    check("grey16.png", { format = "png", colour = "grey", bits = 16, alpha = false, width = 40, height = 33 })
    check("rgba.png", { format = "png", colour = "rgb", alpha = true, orientation = 1, warnings = 0 })
    check("palette.png", { colour = "palette", progressive = false })
    check("interlaced.png", { progressive = true })
    check("lie.jpg", { format = "png" })
    need_jpeg()
    check("420.jpg", { format = "jpeg", colour = "rgb", width = 60, height = 45, orientation = 1, warnings = 0 })
    check("exif.jpg", { orientation = 6 })
    check("cmyk.jpg", { colour = "cmyk" })
    check("grey.jpg", { colour = "grey" })
    check("progressive.jpg", { progressive = true })
    check("lie.png", { format = "jpeg" })
  end)

  T.it("is read from a file by cnas.image.load, whatever its name says", function()
    local path = T.write(T.folder() .. "/picture.txt", files["lie.jpg"])
    T.equal(cnas.image.load(path):shape(), { 45, 60, 3 })
    need_jpeg()
    T.equal(cnas.image.load(T.write(path, files["thin.jpg"])):shape(), { 3, 90, 3 })
  end)

  T.it("must hold the part that is wanted", function()
    T.raises("the part is not in the picture of 60x45", cnas.image.transform, files["rgb.png"],
      { part = { 0, 0, 61, 45 } })
    T.raises("resize must be from size %(24%)", cnas.image.transform, files["rgb.png"], { size = 24, resize = 20 })
    T.raises("a change must be brightness, contrast, saturation or hue, and a number", cnas.image.transform,
      files["rgb.png"], { changes = { { "colour", 1 } } })
  end)
end)

T.describe("a file that is no picture", function()
  local function refused(pattern, bytes)
    local e = T.raises(pattern, cnas.image.inspect, bytes, "FILE")
    T.equal(e.code, "data")
    T.contains(e, "FILE: ")
  end

  T.it("is refused with its first bytes", function()
    refused("expected a JPEG or PNG file, this one begins with 'GIF89a'", "GIF89a and so on")
    refused("begins with '\\x00\\x01a'", "\0\1a")
    refused("this one is empty", "")
  end)

  T.it("is refused when it ends too early, wherever that is", function()
    for name, least in pairs(shortest) do
      if jpeg then
        T.equal(least, #files[name])
        for n = 3, #files[name] - 1, 7 do refused("", files[name]:sub(1, n)) end
        refused("ends too early", files[name]:sub(1, -2))
      end
    end
    for n = 8, #files["palette.png"] - 1, 3 do refused("", files["palette.png"]:sub(1, n)) end
  end)

  T.it("is refused when it declares more pixels than may be, or than its bytes can hold", function()
    -- the size in a PNG's header, with a checksum that fits
    local function declares(width, height)
      local header = "IHDR" .. string.pack(">I4I4", width, height) .. files["rgb.png"]:sub(25, 29)
      local crc = 0xffffffff
      for i = 1, #header do
        crc = crc ~ header:byte(i)
        for _ = 1, 8 do crc = crc & 1 == 1 and (crc >> 1) ~ 0xedb88320 or crc >> 1 end
      end
      return files["rgb.png"]:sub(1, 12) .. header .. string.pack(">I4", crc ~ 0xffffffff) ..
        files["rgb.png"]:sub(34)
    end
    refused("declares 100000x100000 pixels; the limit is 64 million", declares(100000, 100000))
    refused("declares 8000x8000 pixels, which take at least %d+ bytes, but it has", declares(8000, 8000))
    need_jpeg()
    local at = files["420.jpg"]:find("\xff\xc0", 1, true)
    local function with_size(width, height)
      return files["420.jpg"]:sub(1, at + 4) .. string.pack(">I2I2", height, width) .. files["420.jpg"]:sub(at + 9)
    end
    T.equal(cnas.image.inspect(with_size(60, 45)).width, 60)
    refused("declares 65500x65500 pixels; the limit is 64 million", with_size(65500, 65500))
    local before = cnas.memory().bytes_peak
    refused("declares 8000x8000 pixels, which take at least", with_size(8000, 8000))
    T.truthy(cnas.memory().bytes_peak - before < 1e6)
  end)

  T.it("is refused or shown when bits are wrong, and never worse", function()
    for _, name in ipairs { "420.jpg", "progressive.jpg", "cmyk.jpg", "palette.png", "interlaced.png" } do
      local bytes, refusals = files[name], 0
      for at = 1, #bytes, is_jpeg(name) and 3 or 5 do
        local flipped = bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ (1 << at % 8)) .. bytes:sub(at + 1)
        local ok, e = pcall(cnas.image.transform, flipped, { size = 8, resize = 8 })
        if not ok then
          refusals = refusals + 1
          T.equal(e.code, "data")
        end
      end
      T.truthy(refusals > 0)
    end
  end)

  T.it("is refused in a second when it repeats its scans", function()
    need_jpeg()
    local bytes = files["progressive.jpg"]
    local last = bytes:match ".*()\xff\xda"
    local scan, start = bytes:sub(last, -3), os.clock()
    refused("too many scans", bytes:sub(1, -3) .. scan:rep(600) .. "\xff\xd9")
    T.truthy(os.clock() - start < 1)
  end)

  T.it("says so in one line where JPEG is not built in", function()
    if jpeg then T.skip "built with libjpeg-turbo" end
    refused("built without libjpeg%-turbo and reads no JPEG files", files["420.jpg"])
  end)
end)
