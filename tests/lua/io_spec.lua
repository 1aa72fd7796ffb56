-- Files as a recipe uses them: JSON, safetensors, images, events, drawings, locks; and how each refuses what is wrong.

local cnas = require "cnas"
local T = require "spec"

local json, file = cnas.json, cnas.file

-- The code of the error that f(...) raises.
local function code(f, ...)
  local ok, e = pcall(f, ...)
  T.equal(ok, false)
  return type(e) == "table" and e.code or "usage"
end

T.describe("json.encode", function()
  T.it("writes the same bytes for the same value", function()
    local text = '{"a":[1,2.5,true,null],"b":{},"c":[],"é":"\\"\\\\\\n\\u0001/"}'
    local value = { a = { 1, 2.5, true, json.null }, b = {}, c = json.array(), ["é"] = "\"\\\n\1/" }
    T.equal(json.encode(value), text)
    T.equal(json.encode(json.decode(text)), text)
  end)

  T.it("writes numbers shortly and exactly", function()
    local cases = {
      [0.1] = "0.1", [1 / 3] = "0.3333333333333333", [1e300] = "1e+300", [5e-324] = "5e-324", [-7] = "-7", [1.0] = "1",
      [2^53] = "9007199254740992", [0.1 + 0.2] = "0.30000000000000004", [123456789.125] = "123456789.125",
    }
    for value, text in pairs(cases) do
      T.equal(json.encode(value), text)
      T.equal(json.decode(text), value)
    end
    T.equal(json.encode(-0.0), "-0")
    T.equal(1 / json.decode "-0", -math.huge)
    T.equal(math.type(json.decode "3"), "integer")
    for _ = 1, 300 do
      local x = string.unpack("d", string.pack("i8", math.random(0)))
      if x == x and math.abs(x) < math.huge then T.equal(json.decode(json.encode(x)), x) end
    end
  end)

  T.it("indents, with plain arrays on one line", function()
    T.equal(json.encode({ normal = { { "skip", 0, 2 }, { "none", 1, 2 } }, n = 1, e = {} }, { indent = true }), [[
{
  "e": {},
  "n": 1,
  "normal": [
    ["skip", 0, 2],
    ["none", 1, 2]
  ]
}]])
  end)

  T.it("names the place of what JSON cannot hold", function()
    T.raises("value%.a%.b%[2%]: NaN", json.encode, { a = { b = { 1, 0 / 0 } } })
    T.raises("value: infinity", json.encode, math.huge)
    T.raises("value%[1%]: a function", json.encode, { print })
    T.raises("value%.seed: an integer beyond 2%^53", json.encode, { seed = math.maxinteger })
    T.raises("value: an array with holes", json.encode, { 1, nil, 3 })
    T.raises("value: an array with string keys", json.encode, { 1, x = 2 })
    T.raises("value: a key that is neither", json.encode, { [1.5] = 2 })
    T.raises("value: a string that is not UTF%-8", json.encode, "\xff")
    T.raises("value%.x: a string with a 0 byte", json.encode, { x = "a\0b" })
    local loop = {}
    loop.loop = loop
    T.raises("nested too deeply", json.encode, loop)
    T.raises("unknown option 'indnt'.*indent", json.encode, 1, { indnt = true })
  end)
end)

T.describe("json.decode", function()
  T.it("says line and column", function()
    T.raises("config.json, line 2, column 8: not JSON", json.decode, '{"a": 1,\n "b": [,]}', "config.json")
    T.equal(code(json.decode, "{"), "data")
    T.raises("the key 'a' twice", json.decode, '{"a":1,"a":2}')
    T.raises("nested too deeply", json.decode, ("["):rep(1000))
  end)

  T.it("knows null, arrays and objects", function()
    local v = json.decode '{"n": null, "a": [], "o": {}, "t": [true, false]}'
    T.equal(v.n, json.null)
    T.equal(tostring(v.n), "null")
    T.equal(json.encode(v), '{"a":[],"n":null,"o":{},"t":[true,false]}')
    T.equal(json.decode " null ", json.null)
  end)
end)

T.describe("safetensors", function()
  T.it("keeps values, types, shapes and metadata", function()
    local path = T.folder() .. "/t.safetensors"
    local a = cnas.randn({ 3, 4 }, { rng = cnas.rng(1, "a") })
    local n = cnas.tensor(7, { dtype = "i64" })
    cnas.safetensors.save(path, { a = a, n = n, e = cnas.zeros { 0, 3 } }, { note = "é" })
    local t, metadata = cnas.safetensors.load(path)
    T.equal(t.a:totable(), a:totable())
    T.equal(t.n:item(), 7)
    T.equal(t.e:shape(), { 0, 3 })
    T.equal(metadata, { note = "é" })
  end)

  T.it("takes the list that a module's state is", function()
    local path = T.folder() .. "/t.safetensors"
    cnas.safetensors.save(path, { { name = "x", tensor = cnas.ones(2) }, { name = "y", tensor = cnas.zeros(1) } })
    local t = cnas.safetensors.load(path)
    T.equal(t.x:totable(), { 1, 1 })
    T.equal(t.y:totable(), { 0 })
  end)

  T.it("names the tensor that was damaged", function()
    local path = T.folder() .. "/t.safetensors"
    cnas.safetensors.save(path, { first = cnas.ones(2), second = cnas.ones(2) })
    local bytes = file.read(path)
    file.write(path, bytes:sub(1, -2) .. "\0")
    T.raises("tensor second is damaged: its checksum is", cnas.safetensors.load, path)
    T.equal(code(cnas.safetensors.load, path), "data")
    file.write(path, bytes:sub(1, -2))
    T.raises("the file is cut", cnas.safetensors.load, path)
  end)

  T.it("refuses what is no tensor or no text", function()
    local path = T.folder() .. "/t.safetensors"
    T.raises("'a' must be a tensor, got number", cnas.safetensors.save, path, { a = 1 })
    T.raises("a metadata value must be a string, got number", cnas.safetensors.save, path, {}, { a = 1 })
    T.raises("entry 1 must be", cnas.safetensors.save, path, { cnas.ones(1) })
    T.raises("two tensors are named 'x'", cnas.safetensors.save, path,
             { { name = "x", tensor = cnas.ones(2) }, { name = "x", tensor = cnas.zeros(1) } })
    T.equal(file.exists(path), false)
  end)
end)

T.describe("image", function()
  T.it("keeps pixels", function()
    local path = T.folder() .. "/i.png"
    local image = cnas.tensor({ { { 1, 2, 3 }, { 4, 5, 255 } } }, { dtype = "u8" })
    cnas.image.save(path, image)
    T.equal(cnas.image.load(path):totable(), image:totable())
    T.equal(cnas.image.encode(image), file.read(path))
    T.equal(cnas.image.decode(file.read(path)):shape(), { 1, 2, 3 })
  end)

  T.it("refuses other tensors and other files", function()
    T.raises("image must be u8, got f32", cnas.image.encode, cnas.zeros(2, 2, 3))
    T.raises("not a PNG file", cnas.image.decode, "GIF89a")
    T.raises("none.png: No such file", cnas.image.load, T.folder() .. "/none.png")
  end)
end)

T.describe("events", function()
  T.it("are written, one file for each writer", function()
    local folder = T.folder()
    local w = cnas.events.open(folder .. "/new", { resume_step = 3 })
    w:scalar("loss", 1.5, 3)
    w:image("picture", cnas.image.encode(cnas.zeros({ 2, 2, 1 }, { dtype = "u8" })), 3)
    w:flush()
    local size = file.size(w:path())
    T.truthy(size > 100)
    w:scalar("loss", 1.25, 4)
    w:close()
    T.equal(#file.list(folder .. "/new"), 1)
    T.raises("closed", w.scalar, w, "loss", 1, 5)
    w:close()
    T.raises("unknown option 'resume'", cnas.events.open, folder, { resume = 3 })
  end)
end)

T.describe("draw.cell", function()
  local triples = { { "sep_conv_3x3", 0, 2 }, { "skip_connect", 1, 2 } }

  T.it("draws a genotype's cell or a list of triples", function()
    local folder = T.folder()
    local g = { normal = triples, normal_concat = { 2 }, reduction = triples, reduction_concat = { 2 } }
    cnas.draw.cell(g, "reduction", { svg = folder .. "/a.svg", png = folder .. "/a.png", title = "stage 8" })
    cnas.draw.cell(triples, { svg = folder .. "/b.svg" })
    T.contains(file.read(folder .. "/a.svg"), "stage 8")
    T.equal(#cnas.image.load(folder .. "/a.png"):shape(), 3)
    T.equal(file.list(folder), { "a.png", "a.svg", "b.svg" })
    T.contains(cnas.draw.dot(triples), "n0 -> n2")
  end)

  T.it("names the triple that is wrong", function()
    T.raises("triple 2 must be {operation, from, to}", cnas.draw.dot, { { "none", 0, 2 }, { "none", 2, 2 } })
    T.raises("triple 1 must be", cnas.draw.dot, { 1, 2 })
    T.raises("two triples for each", cnas.draw.dot, { { "none", 0, 2 } })
    T.raises("concat must name inner nodes, 2 to 2", cnas.draw.dot, { triples[1], triples[2], concat = { 3 } })
    T.raises("invalid option 'both'", cnas.draw.dot, { normal = triples }, "both")
  end)
end)

T.describe("file", function()
  T.it("writes, reads, copies, renames, removes", function()
    local folder = T.folder()
    file.mkdir(folder .. "/a/b")
    file.write(folder .. "/a/f", "one\0two")
    T.equal(file.read(folder .. "/a/f"), "one\0two")
    T.raises("has 7 bytes, and at most 3 are read", file.read, folder .. "/a/f", 3)
    T.equal(file.size(folder .. "/a/f"), 7)
    file.copy(folder .. "/a/f", folder .. "/a/g")
    file.rename(folder .. "/a/g", folder .. "/a/h")
    T.equal(file.list(folder .. "/a"), { "b", "f", "h" })
    T.equal({ file.exists(folder), file.exists(folder .. "/a/f"), file.exists(folder .. "/x") },
            { "folder", "file", false })
    T.equal(file.remove(folder .. "/a/f"), true)
    T.equal(file.remove(folder .. "/a/f"), false)
    file.remove_tree(folder .. "/a")
    T.equal(file.exists(folder .. "/a"), false)
    T.truthy(file.free_space(folder) > 0)
    T.equal(file.sweep(folder), 0)
  end)

  T.it("reads files that say they are empty", function()
    if not file.exists "/proc/self/maps" then T.skip "no /proc" end
    T.equal(file.size "/proc/self/maps", 0)
    T.contains(file.read "/proc/self/maps", "[stack]")
  end)

  T.it("says data for a missing file and io for one that cannot be written", function()
    local folder = T.folder()
    T.equal(code(file.read, folder .. "/none"), "data")
    T.equal(code(file.size, folder .. "/none"), "data")
    T.equal(code(file.list, folder .. "/none"), "data")
    T.equal(code(file.write, folder .. "/none/f", "x"), "io")
    T.raises("without 0 bytes", file.read, "a\0b")
    T.equal(file.list(folder), {})
  end)

  T.it("appends to logs, and cuts them", function()
    local path = T.folder() .. "/log"
    file.append(path, "one\n")
    local log <close> = file.log(path)
    log:append("two\n")
    log:append("three\n", false)
    T.equal(log:size(), 14)
    log:sync()
    log:close()
    T.raises("closed", log.append, log, "x")
    file.truncate(path, 8)
    T.equal(file.read(path), "one\ntwo\n")
    T.raises("it has 8", file.truncate, path, 9)
  end)

  T.it("locks a folder", function()
    local folder = T.folder()
    local lock = file.lock(folder)
    T.equal(code(file.lock, folder), "busy")
    T.raises("is in use by process %d+ on ", file.lock, folder)
    lock:close()
    lock:close()
    do
      local again <close> = file.lock(folder) -- luacheck: ignore
    end
    file.lock(folder):close()
  end)

  T.it("makes temporary folders", function()
    local folder = file.temporary()
    T.equal(file.exists(folder), "folder")
    T.equal(file.list(folder), {})
    file.remove(folder)
  end)
end)

T.describe("a failing allocation", function()
  T.it("is an error and loses nothing", function()
    local folder = T.folder()
    local function all()
      file.write(folder .. "/f", json.encode { a = { 1, 2, { b = "text" } } })
      json.decode(file.read(folder .. "/f"))
      file.list(folder)
      local image = cnas.full({ 2, 2, 3 }, 5, { dtype = "u8" })
      cnas.image.decode(cnas.image.encode(image))
      cnas.safetensors.save(folder .. "/t", { t = image }, { k = "v" })
      cnas.safetensors.load(folder .. "/t")
      cnas.draw.dot { { "none", 0, 2 }, { "none", 1, 2 } }
      file.lock(folder):close()
      file.append(folder .. "/log", "x")
    end
    all()
    collectgarbage()
    local live, blocks = cnas.live(), cnas.memory().blocks_live
    for n = 1, 5000 do
      cnas.fail_allocation(n)
      local ok, e = pcall(all)
      cnas.fail_allocation(0)
      if ok then
        collectgarbage()
        T.equal(cnas.live(), live)
        T.equal(cnas.memory().blocks_live, blocks)
        return
      end
      T.truthy(tostring(e):find "memory" or tostring(e):find "Cannot allocate", tostring(e))
    end
    error "it never succeeded"
  end)
end)
