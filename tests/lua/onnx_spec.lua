-- onnx_spec.lua - networks as ONNX files: every operation, both networks, what cannot be exported, what is checked.

local cnas = require "cnas"
local T = require "spec"

local here = arg[0]:match "^(.*)/lua/[^/]*$" or "tests"
local recipe = cnas.home .. "/recipes/export.lua"

local function with_onnx()
  if not cnas.onnx_model.available() then T.skip "this build has no ONNX" end
end

-- Statistics and scales as after training: fresh ones make logits that hardly depend on the images.
local function trained(m)
  local rng = cnas.rng(7, "trained")
  for _, entry in ipairs(m:state()) do
    local shape = entry.tensor:shape()
    if entry.name:find "running_var" then
      entry.tensor:copy_(cnas.rand(shape, { rng = rng }) * 0.2 + 0.02)
    elseif #shape == 1 then
      entry.tensor:detach():copy_(cnas.rand(shape, { rng = rng }) - (entry.name:find "weight" and -0.5 or 0.5))
    end
  end
  return m:train(false)
end

local function network(o)
  o.channels, o.layers, o.rng = o.channels or 4, o.layers or 3, cnas.rng(1, "weights")
  return trained(cnas.network(o))
end

local function count(model, op)
  local n = 0
  for _, node in ipairs(model.nodes) do if node.op == op then n = n + 1 end end
  return n
end

local function difference(a, b) return (a - b):abs():reshape(-1):max():item() end

T.describe("onnx.export", function()
  T.before(with_onnx)

  for _, name in ipairs(cnas.space.builtin()) do
    for _, stride in ipairs { 1, 2 } do
      T.it(("writes %s of stride %d, on even and odd sizes"):format(name, stride), function()
        local space = cnas.space { name }
        local op = trained(space:build(name, { channels = 6, stride = stride, rng = cnas.rng(1, "weights") }))
        for _, size in ipairs { { 8, 8 }, { 9, 7 }, { 8, 9 } } do
          for _, fold in ipairs { false, true } do
            -- something around it, as in a cell: zeros alone are no function of the images
            local function f(x) return cnas.concat(op(x), op(x) + op(x), 4) end
            local path = T.folder() .. "/op.onnx"
            local r = cnas.onnx.export(path, f, { module = op, size = size, channels = 6, fold = fold })
            T.truthy(name == "none" or r.spread > 0.1, "results must depend on the images")
            local x = cnas.randn(4, size[1], size[2], 6, { rng = cnas.rng(2, "x") })
            local model = cnas.onnx.read(path)
            local came, expected = cnas.onnx.run(model, x), cnas.no_grad(f, x)
            T.near(came, expected, 1e-5)
            T.equal(model.outputs[1].shape, { "N", 12, expected:size(2), expected:size(3) })
          end
        end
      end)
    end
  end

  for _, name in ipairs(cnas.genotype.published()) do
    T.it("writes both networks of " .. name .. " for odd sizes, folded and not", function()
      for _, imagenet in ipairs { false, true } do
        local size = imagenet and 67 or 33
        local net = network { genotype = name, imagenet = imagenet, classes = 7, auxiliary = not imagenet }
        for _, fold in ipairs { false, true } do
          local path = T.folder() .. "/net.onnx"
          local r = cnas.onnx.export(path, net, { size = size, fold = fold })
          T.truthy(r.spread > 1e-3 and r.difference < 1e-5 * r.largest)
          T.equal(count(cnas.onnx.read(path), "BatchNormalization") == 0, fold)
        end
      end
    end)
  end

  T.it("writes nodes that are zeros, for any batch", function()
    local g = cnas.genotype.new {
      normal = { { "none", 0, 2 }, { "none", 1, 2 }, { "sep_conv_3x3", 2, 3 }, { "none", 0, 3 } },
      reduction = { { "none", 0, 2 }, { "none", 1, 2 }, { "skip_connect", 0, 3 }, { "max_pool_3x3", 2, 3 } },
    }
    local net, path = network { genotype = g }, T.folder() .. "/zeros.onnx"
    cnas.onnx.export(path, net, { size = 17 })
    local model = cnas.onnx.read(path)
    T.truthy(count(model, "ConstantOfShape") > 0)
    for _, batch in ipairs { 1, 5 } do
      local x = cnas.randn(batch, 17, 17, 3, { rng = cnas.rng(batch, "x") })
      T.near(cnas.onnx.run(model, x), cnas.no_grad(net, x), 1e-5)
    end
  end)

  T.it("folds into the same logits, joined convolutions too, with fewer nodes", function()
    local net, folder = network { genotype = "CNAS", layers = 5 }, T.folder()
    local plain = cnas.onnx.export(folder .. "/plain.onnx", net)
    local folded = cnas.onnx.export(folder .. "/fold.onnx", net, { fold = true })
    T.truthy(folded.nodes < plain.nodes and folded.bytes < plain.bytes)
    local x = cnas.randn(3, 32, 32, 3, { rng = cnas.rng(3, "x") })
    local a = cnas.onnx.run(cnas.onnx.read(folder .. "/plain.onnx"), x)
    T.near(cnas.onnx.run(cnas.onnx.read(folder .. "/fold.onnx"), x), a, 1e-5)
  end)

  T.it("writes what the recipe's own operation is made of", function()
    local nn = cnas.nn
    local space = cnas.space { "skip_connect", mine = function(o)
      return nn.sequential { nn.relu(), nn.conv2d { inp = o.channels, out = o.channels, kernel = { 3, 1 },
        padding = { 1, 0 }, stride = o.stride, groups = 2, bias = true, rng = o.rng },
        nn.batch_norm { channels = o.channels, affine = o.affine, track = o.track }, nn.avg_pool { kernel = 3,
        padding = 1 } }
    end }
    local g = cnas.genotype.new {
      normal = { { "mine", 0, 2 }, { "skip_connect", 1, 2 } }, reduction = { { "mine", 0, 2 }, { "mine", 1, 2 } },
    }
    for _, fold in ipairs { false, true } do
      local r = cnas.onnx.export(T.folder() .. "/own.onnx", network { genotype = g, space = space }, { fold = fold })
      T.truthy(r.spread > 1e-3)
    end
  end)

  T.it("writes what a layer that is a Lua function computes, with a gradient of its own or not", function()
    with_onnx()
    local swish = cnas.op {
      name = "swish",
      forward = function(ctx, x)
        ctx.x = x
        return x * x:sigmoid()
      end,
      backward = function(_, gradient) return gradient end,
    }
    for _, f in ipairs { swish, function(x) return x * x:sigmoid() end } do
      local net = cnas.nn.sequential {
        cnas.nn.conv2d { inp = 3, out = 4, kernel = 3, padding = 1 }, cnas.nn.apply(f), cnas.nn.global_avg_pool(),
        cnas.nn.linear { inp = 4, out = 10 },
      }
      local path = T.folder() .. "/net.onnx"
      T.truthy(cnas.onnx.export(path, net:train(false), { size = 8 }).difference < 1e-5)
    end
  end)

  T.it("names the operation that normalises by the batch's statistics", function()
    local nn = cnas.nn
    local space = cnas.space { "skip_connect", mine = function(o)
      return o.stride == 1 and nn.batch_norm { channels = o.channels, track = false }
        or nn.max_pool { kernel = 3, stride = 2, padding = 1 }
    end }
    local g = cnas.genotype.new {
      normal = { { "mine", 0, 2 }, { "skip_connect", 1, 2 } }, reduction = { { "mine", 0, 2 }, { "mine", 1, 2 } },
    }
    local path = T.folder() .. "/own.onnx"
    local e = T.raises("cells%.0%._ops%.0 %(operation mine%) normalises by the statistics of the batch",
      cnas.onnx.export, path, network { genotype = g, space = space, layers = 5 }, { genotype = g, layers = 5 })
    T.equal({ e.code, cnas.file.exists(path) }, { "usage", false })
  end)

  T.it("refuses a supernet, and rows that have no form", function()
    local space, path = cnas.space.darts(), T.folder() .. "/no.onnx"
    local net = cnas.supernet { space = space, channels = 4, layers = 3, rng = cnas.rng(1, "weights") }
    T.raises("a supernet has none", cnas.onnx.export, path,
             function(x) return net(x, cnas.genotype.named "CNAS") end, { module = net })
    local fixed = network { genotype = "CNAS" }
    T.raises("runs row 'topk'", cnas.onnx.export, path, function(x) return fixed(x):topk(1) end, { module = fixed })
    T.raises("does not come from its images", cnas.onnx.export, path, function() return cnas.ones(1, 2) end)
    T.raises("unknown option 'folds'", cnas.onnx.export, path, fixed, { folds = true })
    T.raises("writes in place", cnas.onnx.export, path, function(x) return x:fill_(0) end)
  end)

  T.it("refuses images in bf16, which would not be what the file computes", function()
    local net = network { genotype = "CNAS", precision = "bf16" }
    T.raises("keeps images in bf16", cnas.onnx.export, T.folder() .. "/bf16.onnx", net)
  end)

  T.it("says that memory failed, and loses none", function()
    local op, path = trained(cnas.nn.conv2d { inp = 3, out = 2, rng = cnas.rng(1, "w") }), T.folder() .. "/op.onnx"
    cnas.onnx.export(path, op, { size = 4 })
    collectgarbage()
    local live, failed = cnas.live(), 0
    local x, trace, load, save = cnas.ones(1, 4, 4, 3), cnas.trace, cnas.onnx_model.load, cnas.onnx_model.save
    local model = load(path)
    for _, work in ipairs { function() trace(op, x, op) end, function() load(path) end,
                            function() save(path, model) end } do
      for n = 1, 60 do
        cnas.fail_allocation(n)
        local ok = pcall(work)
        cnas.fail_allocation()
        failed = failed + (ok and 0 or 1)
      end
    end
    T.truthy(failed > 30, failed)
    T.equal(#load(path).nodes, 1)
    model, x = nil, x:close()
    collectgarbage()
    T.equal(cnas.live(), live)
  end)

  T.it("writes a function around a network", function()
    local net, path = network { genotype = "CNAS" }, T.folder() .. "/softmax.onnx"
    cnas.onnx.export(path, function(x) return (net(x) * cnas.full({ 10 }, 3) - 1):softmax(-1) end, { module = net })
    local x = cnas.randn(2, 32, 32, 3, { rng = cnas.rng(3, "x") })
    T.near(cnas.onnx.run(cnas.onnx.read(path), x), ((cnas.no_grad(net, x) * 3) - 1):softmax(-1), 1e-5)
  end)

  T.it("says what is in the file", function()
    local net, path = network { genotype = "CNAS", classes = 7 }, T.folder() .. "/net.onnx"
    local r = cnas.onnx.export(path, net, { size = { 40, 24 }, metadata = { mean = "[0.5]", classes = "7" } })
    local m = cnas.onnx.read(path)
    T.equal({ m.ir_version, m.opset, m.producer, m.metadata }, { 7, 13, "cnas", { mean = "[0.5]", classes = "7" } })
    T.equal(m.inputs, { { name = "images", type = "f32", shape = { "N", 3, 40, 24 } } })
    T.equal(m.outputs, { { name = "logits", type = "f32", shape = { "N", 7 } } })
    T.equal({ r.nodes, r.bytes }, { #m.nodes, #T.read(path) })
    T.equal(m.nodes[1].name, "stem.0")
    T.equal(m.nodes[1].inputs, { "images", "stem.0.weight" })
    local constant = {}
    for _, c in ipairs(m.constants) do constant[c.name] = c.tensor end
    for _, entry in ipairs(net:state()) do
      if entry.name == "stem.0.weight" then
        T.equal(difference(constant["stem.0.weight"], entry.tensor:detach():permute { 4, 3, 1, 2 }), 0)
      end
    end
  end)

  T.it("gives the same bytes for the same network", function()
    local folder = T.folder()
    for i = 1, 2 do
      cnas.onnx.export(folder .. "/" .. i, network { genotype = "CNAS" }, { metadata = { b = "1", a = "2", c = "3" } })
    end
    T.truthy(T.read(folder .. "/1") == T.read(folder .. "/2"))
  end)

  T.it("leaves no file that computes something else", function()
    local net, folder = network { genotype = "CNAS" }, T.folder()
    local conv = cnas.onnx.rows.conv2d
    cnas.onnx.rows.conv2d = function(g, row)
      row.attributes.relu = false
      return conv(g, row)
    end
    local ok, e = pcall(cnas.onnx.export, folder .. "/wrong.onnx", net)
    cnas.onnx.rows.conv2d = conv
    net:state()[1].tensor:detach():fill_(0 / 0)
    T.raises("differ by inf", cnas.onnx.export, folder .. "/nan.onnx", net)
    T.equal({ ok, e.code, #cnas.file.list(folder) }, { false, "data", 0 })
    T.contains(e, "not written")
  end)

  T.it("is what ONNX's checker and ONNX Runtime say too", function()
    local python
    for candidate in (os.getenv "PEER_PYTHON" or "python3"):gmatch "[^,]+" do
      if T.shell(T.quote(candidate) .. " -c 'import onnx, onnxruntime, numpy'") == 0 then python = candidate end
    end
    if not python then T.skip "no Python with onnx and onnxruntime in PEER_PYTHON (or python3)" end
    local folder = T.folder()
    local function add(name, net, size, options)
      options = options or {}
      options.size = size
      cnas.onnx.export(folder .. "/" .. name .. ".onnx", net, options)
      local channels = options.channels or 3
      local x = cnas.randn(3, size, size, channels, { rng = cnas.rng(5, "x") })
      local y = cnas.no_grad(net, x)
      cnas.safetensors.save(folder .. "/" .. name .. ".safetensors", {
        images = x:permute { 1, 4, 2, 3 }, logits = y:dim() == 4 and y:permute { 1, 4, 2, 3 } or y })
    end
    for _, name in ipairs(cnas.genotype.published()) do
      for _, fold in ipairs { false, true } do
        local label = name .. (fold and "_folded" or "")
        add(label .. "_cifar", network { genotype = name }, 33, { fold = fold })
        add(label .. "_imagenet", network { genotype = name, imagenet = true }, 64, { fold = fold })
      end
    end
    for _, name in ipairs(cnas.space.builtin()) do
      for _, stride in ipairs { 1, 2 } do
        local op = trained(cnas.space { name }:build(name, { channels = 4, stride = stride, rng = cnas.rng(1, "w") }))
        add(name .. stride, function(x) return cnas.concat(op(x), op(x) * 2, 4) end, 9, { module = op, channels = 4 })
      end
    end
    local status, out, err = T.shell(T.quote(python) .. " " .. T.quote(here .. "/fixtures/onnx_check.py") .. " "
                                     .. T.quote(folder))
    T.equal({ status, err }, { 0, "" }, out)
    local _, lines = out:gsub("\n", "\n")
    T.equal(lines, 4 * #cnas.genotype.published() + 2 * #cnas.space.builtin())
  end)
end)

T.describe("onnx.read and onnx.run", function()
  T.before(with_onnx)

  T.it("name what is wrong with a file", function()
    local folder = T.folder()
    T.equal(T.raises("No such file", cnas.onnx.read, folder .. "/missing.onnx").code, "data")
    local path = T.write(folder .. "/text.onnx", "not a model at all, but text")
    T.equal(T.raises("not an ONNX model", cnas.onnx.read, path).code, "data")
    local whole = folder .. "/net.onnx"
    cnas.onnx.export(whole, network { genotype = "CNAS" })
    local bytes = T.read(whole)
    T.equal(T.raises("damaged", cnas.onnx.read, T.write(folder .. "/cut.onnx", bytes:sub(1, #bytes // 2))).code, "data")
  end)

  T.it("name what is wrong with a graph", function()
    local folder = T.folder()
    local function run(change)
      local model = {
        graph = "g", metadata = {}, constants = {},
        nodes = { { op = "Relu", name = "first", inputs = { "x" }, outputs = { "y" }, attributes = {} } },
        inputs = { { name = "x", type = "f32", shape = { "N", 2, 3, 3 } } },
        outputs = { { name = "y", type = "f32", shape = { "N", 2, 3, 3 } } },
      }
      change(model)
      cnas.onnx.write(folder .. "/g.onnx", model)
      return cnas.onnx.run(cnas.onnx.read(folder .. "/g.onnx"), cnas.ones(1, 3, 3, 2))
    end
    T.equal(run(function() end):shape(), { 1, 3, 3, 2 })
    for pattern, change in pairs {
      ["'first' %(Loop%): this operation is not supported"] = function(m) m.nodes[1].op = "Loop" end,
      ["nothing has made its input 'z'"] = function(m) m.nodes[1].inputs[1] = "z" end,
      ["nothing makes the output 'q'"] = function(m) m.outputs[1].name = "q" end,
      ["takes x of %(N,2,4,3%), got %(1,2,3,3%)"] = function(m) m.inputs[1].shape[3] = 4 end,
      ["it has no input"] = function(m) m.nodes[1].inputs = {} end,
      ["2 outputs, expected one"] = function(m) m.nodes[1].outputs[2] = "q" end,
      ["its weight must be a constant"] = function(m) m.nodes[1].op, m.nodes[1].inputs[2] = "Conv", "x" end,
      ["axis 7 of 4"] = function(m) m.nodes[1].op, m.nodes[1].attributes.axis = "Concat", 7 end,
      ["expected a model of one input"] = function(m) m.inputs = {} end,
    } do
      T.equal(T.raises(pattern, run, change).code ~= nil, true)
    end
  end)
end)

T.describe("a build without ONNX", function()
  T.it("says so in one line", function()
    if cnas.onnx_model.available() then T.skip "this build has ONNX" end
    local status, out, err = T.run { recipe, "--arch", "cnas", "--channels", "4", "--layers", "3", "--to",
                                     T.folder() .. "/x.onnx" }
    T.equal({ status, out }, { 2, "" })
    T.contains(err, "this build reads and writes no ONNX files: install libprotobuf-c-dev")
  end)
end)

T.describe("recipes/export.lua", function()
  T.before(with_onnx)
  local small = { "--arch", "cnas", "--channels", "4", "--layers", "3" }

  local function export(...)
    local words = { recipe, table.unpack(small) }
    for _, word in ipairs { ... } do words[#words + 1] = word end
    return T.run(words)
  end

  T.it("writes ONNX, says what, and does not replace a file unasked", function()
    local path = T.folder() .. "/net.onnx"
    local status, out, err = export("--to", path, "--fold", "--size", "20")
    T.equal({ status, err }, { 0, "" })
    T.contains(out, "opset 13")
    T.contains(out, "images (N,3,20,20)")
    T.contains(out, "fresh")
    local first = T.read(path)
    local again, _, why = export("--to", path)
    T.equal(again, 2)
    T.contains(why, "--force replaces it")
    T.truthy(T.read(path) == first)
    T.equal(export("--to", path, "--force", "--no-check"), 0)
    T.truthy(T.read(path) ~= first)
    local metadata = cnas.onnx.read(path).metadata
    T.equal({ metadata.classes, metadata.arch, metadata.layers }, { "10", "CNAS", "3" })
    T.equal(cnas.genotype.parse(metadata.genotype).normal[1][1], "dil_conv_3x3")
  end)

  T.it("writes safetensors that it can export again, and the cell", function()
    local folder = T.folder()
    T.equal(export("--to", folder .. "/net.safetensors"), 0)
    T.equal(T.run { recipe, "--model", folder .. "/net.safetensors", "--to", folder .. "/net.onnx" }, 0)
    T.equal(T.run { recipe, "--model", folder .. "/net.safetensors", "--to", folder .. "/cell.json" }, 0)
    T.equal(cnas.arch(folder .. "/cell.json").reduction, cnas.genotype.named("CNAS").reduction)
    local net = cnas.model.open(folder .. "/net.safetensors")
    local x = cnas.randn(2, 32, 32, 3, { rng = cnas.rng(3, "x") })
    T.near(cnas.onnx.run(cnas.onnx.read(folder .. "/net.onnx"), x), cnas.no_grad(net, x), 1e-5)
  end)

  T.it("refuses what it cannot do, by name", function()
    local folder = T.folder()
    for pattern, words in pairs {
      ["--to FILE is needed"] = { "--arch", "cnas" },
      ["got '" .. folder .. "/x.pt'"] = { "--arch", "cnas", "--to", folder .. "/x.pt" },
      ["which network?"] = { "--to", folder .. "/x.onnx" },
      ["unknown option '--folds' (did you mean '--fold'?)"] = { "--folds" },
      ["neither a published cell"] = { "--arch", "nothing", "--to", folder .. "/x.onnx" },
    } do
      local status, _, err = T.run { recipe, table.unpack(words) }
      T.equal(status, 2)
      T.contains(err, pattern)
    end
    T.equal(#cnas.file.list(folder), 0)
    T.equal(export("--to", folder .. "/no/such/folder/net.onnx"), 3)
  end)
end)
