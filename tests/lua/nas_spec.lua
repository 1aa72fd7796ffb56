-- The search space in Lua: genotypes, spaces with operations of one's own, supernets, networks and their cost.
local T = require "spec"
local cnas = require "cnas"

local nn, genotype = cnas.nn, cnas.genotype
local function rng(name) return cnas.rng(1, name or "weights") end
local function images(...) return cnas.randn({ ... }, { rng = rng "images" }) end

T.describe("a genotype", function()
  T.it("that was published survives JSON and both texts", function()
    T.equal(genotype.published(), { "CNAS", "DARTS_V1", "DARTS_V2", "PC_DARTS_cifar", "PC_DARTS_image", "PDARTS",
                                    "NASNet", "AmoebaNet", "ENAS" })
    for _, name in ipairs(genotype.published()) do
      local g = genotype.named(name)
      T.equal(genotype.parse(g:json()), g, name)
      T.equal(genotype.parse(tostring(g)), g, name)
      T.equal(genotype.parse(name .. " = " .. g:text { style = "darts" }), g, name)
      T.truthy(genotype.parse(g:json()) == g)
    end
    T.truthy(genotype.named "DARTS_V1" ~= genotype.named "DARTS_V2")
    T.raises("none was published as 'DARTS_V3'", genotype.named, "DARTS_V3")
  end)

  T.it("is a plain table; concats may be left out", function()
    local pair = { { "none", 0, 2 }, { "skip_connect", 1, 2 } }
    local g = genotype.new { normal = pair, reduction = pair }
    T.equal(g.normal[2], { "skip_connect", 1, 2 })
    T.equal(g.reduction_concat, { 2 })
    T.equal(g:json(), '{"normal":[["none",0,2],["skip_connect",1,2]],"normal_concat":[2],' ..
                      '"reduction":[["none",0,2],["skip_connect",1,2]],"reduction_concat":[2]}')
  end)

  local function spoiled(change)
    local g = genotype.named "CNAS"
    change(g)
    return g
  end

  T.it("with a cycle is refused, naming the triple", function()
    local e = T.raises("genotype: normal: triple 6 %(max_pool_3x3, 4, 4%): from must be less than to: .* no cycles",
                       genotype.check, spoiled(function(g) g.normal[6][2] = 4 end))
    T.equal(e.code, "data")
  end)

  T.it("with an unknown operation is refused, naming the triple and a likely name", function()
    local g = spoiled(function(x) x.reduction[1][1] = "sep_conv_3x4" end)
    T.equal(genotype.check(g), g) -- in some space it may exist
    local e = T.raises("reduction: triple 1 %(sep_conv_3x4, 0, 2%): .* %(did you mean 'sep_conv_3x3'%?%)",
                       genotype.check, g, cnas.space.darts())
    T.equal(e.code, "data")
    T.raises("no built%-in operation 'sep_conv_3x4'", cnas.network, { genotype = g })
  end)

  T.it("of the wrong length is refused", function()
    T.raises("normal: has 7 triples, must have two for each", genotype.check,
             spoiled(function(g) g.normal[8] = nil end))
    T.raises("reduction: has 6 triples, but normal has 8", genotype.check, spoiled(function(g)
      g.reduction[8], g.reduction[7], g.reduction_concat[4] = nil, nil, nil
    end))
    T.raises("normal: has 0 triples", genotype.check, spoiled(function(g) g.normal = {} end))
    T.raises("the reduction cell is missing", genotype.check, spoiled(function(g) g.reduction = nil end))
  end)

  T.it("of the wrong types is refused", function()
    T.raises("triple 2 must be {operation, from, to}", genotype.check, spoiled(function(g) g.normal[2] = 7 end))
    T.raises("triple 2: the operation must be a string", genotype.check, spoiled(function(g) g.normal[2][1] = {} end))
    T.raises("whole numbers", genotype.check, spoiled(function(g) g.normal[2][2] = 0.5 end))
    T.raises("normal: concat entry 1 is node 1, must be one of 2 to 5", genotype.check,
             spoiled(function(g) g.normal_concat[1] = 1 end))
    T.raises("genotype", genotype.check, 7)
    T.contains(spoiled(function(g) g.normal = nil end), "not valid")
  end)
end)

T.describe("a space", function()
  T.it("of DARTS has its operations in its order", function()
    local space = cnas.space.darts()
    T.equal(#space, 8)
    T.equal(space:names(), { "sep_conv_3x3", "sep_conv_5x5", "max_pool_3x3", "avg_pool_3x3", "none", "skip_connect",
                             "dil_conv_3x3", "dil_conv_5x5" })
    T.equal(space:index "none", 5)
    T.equal(space:index "conv_1x1", nil)
  end)

  T.it("has every built-in operation, which keeps the size at stride 1 and halves it at stride 2", function()
    local names = cnas.space.builtin()
    local space = cnas.space(names)
    T.equal(#space, 17)
    for _, name in ipairs(names) do
      for _, supernet in ipairs { true, false } do
        for stride = 1, 2 do
          local op = space:build(name, { channels = 4, stride = stride, supernet = supernet, rng = rng() })
          T.equal(op(images(1, 6, 6, 4)):shape(), stride == 1 and { 1, 6, 6, 4 } or { 1, 3, 3, 4 }, name)
          T.equal(op(images(1, 7, 7, 4)):shape(), stride == 1 and { 1, 7, 7, 4 } or { 1, 4, 4, 4 }, name)
        end
      end
    end
  end)

  T.it("takes operations written in Lua, after the others and sorted by name", function()
    local space = cnas.space { "skip_connect", "none", { name = "listed", build = function() return nn.relu() end },
                               zeta = function() return nn.identity() end, alpha = function() return nn.relu() end }
    T.equal(space:names(), { "skip_connect", "none", "listed", "alpha", "zeta" })
  end)

  T.it("builds such an operation for every edge, with its settings, and keeps it", function()
    local seen = {}
    local function make()
      local space = cnas.space { "none", mine = function(o)
        seen[#seen + 1] = { o.channels, o.stride, o.affine, o.track, o.supernet }
        return nn.sequential {
          nn.relu(), nn.conv2d { inp = o.channels, out = o.channels, stride = o.stride, rng = o.rng },
          nn.batch_norm { channels = o.channels, affine = o.affine, track = o.track } }
      end }
      return cnas.supernet { space = space, channels = 4, layers = 3, nodes = 1, classes = 3, rng = rng() }
    end
    local net, pair = make(), { { "mine", 0, 2 }, { "none", 1, 2 } }
    collectgarbage()
    local y = net(images(2, 8, 8, 3), { normal = pair, reduction = pair })
    T.equal(make()(images(2, 8, 8, 3), { normal = pair, reduction = pair }):totable(), y:totable())
    local settings = { { 4, 1, false, false, true }, { 4, 1, false, false, true }, { 8, 2, false, false, true },
                       { 8, 2, false, false, true }, { 16, 2, false, false, true }, { 16, 2, false, false, true } }
    T.equal(seen, table.move(settings, 1, 6, 7, settings))
    T.contains(table.concat(net:parameters().names, " "), "cells.1._ops.1._ops.1.1.weight")
  end)

  T.it("reports what goes wrong in such an operation", function()
    local function build(f) cnas.space { mine = f }:build("mine", { channels = 4, rng = rng() }) end
    T.raises("operation 'mine': must return a module, got nil", build, function() end)
    T.raises("operation 'mine': .*nas_spec.lua:%d+: no idea", build, function() error "no idea" end)
    T.raises("operation 'mine': .*unknown option 'inpt'", build, function() return nn.conv2d { inpt = 1 } end)
  end)

  T.it("refuses what is no operation", function()
    T.raises("no built%-in operation 'sep_conv_3x2' %(did you mean 'sep_conv_3x3'%?%)", cnas.space, { "sep_conv_3x2" })
    T.raises("'none' is in it already", cnas.space, { "none", "none" })
    T.raises("operation 'mine' must be a function", cnas.space, { mine = 7 })
    T.raises("letters, digits and _", cnas.space, { ["my op"] = function() end })
    T.raises("there is no operation in it", cnas.space, {})
    T.raises("entry 1 must be a name or", cnas.space, { 7 })
  end)
end)

T.describe("a supernet", function()
  local function small()
    return cnas.supernet { space = cnas.space.darts(), channels = 4, layers = 3, nodes = 2, classes = 3, rng = rng() }
  end

  T.it("of the default size has 1,930,618 parameters", function()
    T.equal(cnas.supernet { space = cnas.space.darts(), rng = false }:count(), 1930618)
  end)

  T.it("gives gradients to its path alone", function()
    local net = small()
    local path = genotype.parse [[Genotype(normal=[('sep_conv_3x3', 0), ('max_pool_3x3', 1)],
                                           reduce=[('skip_connect', 0), ('skip_connect', 1)])]]
    local loss = cnas.cross_entropy(net(images(2, 8, 8, 3), path), cnas.tensor({ 0, 2 }, { dtype = "i64" }))
    loss:backward()
    local list, touched = net:parameters(), 0
    for i, name in ipairs(list.names) do
      local on_path = not name:find "_ops" or name:find "^cells%.0%._ops%.0%._ops%.0%."
        or name:find "^cells%.[12]%._ops%.[01]%._ops%.5%."
      T.equal(list[i].grad ~= nil, on_path and true or false, name)
      touched = touched + (list[i].grad and list[i]:count() or 0)
    end
    T.equal(net:cost(path, { height = 8 }).parameters, touched)
  end)

  T.it("refuses a path that does not fit", function()
    local net = small()
    T.equal(T.raises("4 inner nodes, its cells have 2", net, images(1, 8, 8, 3), "CNAS").code, "data")
    T.raises("genotype", net, images(1, 8, 8, 3))
    T.raises("supernet: unknown option 'layer'", cnas.supernet, { space = cnas.space.darts(), layer = 3 })
    T.raises("option 'space' is missing", cnas.supernet, {})
    T.raises("nodes must be at most 12", cnas.supernet, { space = cnas.space.darts(), nodes = 13 })
  end)
end)

T.describe("an evaluation network", function()
  T.it("of the published cell has the published size", function()
    T.equal(cnas.cost.network { genotype = "CNAS" },
            { parameters = 3695374, conv_macs = 564019200, linear_macs = 5760 })
    T.equal(cnas.cost.network { genotype = "CNAS", imagenet = true, auxiliary = true },
            { parameters = 5318368, conv_macs = 576390528, linear_macs = 768000 })
  end)

  T.it("has the sizes that other published cells are known by", function()
    for name, parameters in pairs {
      DARTS_V1 = 3169414, DARTS_V2 = 3349342, PDARTS = 3433798, PC_DARTS_cifar = 3634678, PC_DARTS_image = 3721510,
      NASNet = 3830950, AmoebaNet = 3145078, ENAS = 3859894,
    } do
      T.equal(cnas.cost.network { genotype = name }.parameters, parameters, name)
    end
    for name, millions in pairs { DARTS_V2 = "4.7", PDARTS = "4.9", PC_DARTS_image = "5.3" } do
      local parameters = cnas.cost.network { genotype = name, imagenet = true }.parameters
      T.equal(("%.1f"):format(parameters / 1e6), millions, name)
    end
  end)

  T.it("can be made of every published genotype", function()
    for _, name in ipairs(genotype.published()) do
      local net = cnas.network { genotype = name, channels = 4, layers = 3, classes = 5, rng = rng() }
      T.equal(net(images(2, 9, 9, 3)):shape(), { 2, 5 }, name)
      T.equal(net:cost { height = 9 }.parameters, net:count(), name)
    end
  end)

  T.it("gives auxiliary logits in training only", function()
    local net = cnas.network { genotype = "CNAS", channels = 4, layers = 3, classes = 5, auxiliary = true, rng = rng() }
    local x = images(2, 32, 32, 3)
    local logits, auxiliary = net(x)
    T.equal(logits:shape(), auxiliary:shape())
    T.equal(select("#", net:train(false)(x)), 1)
  end)

  T.it("whose auxiliary head fails gives nothing, and says where", function()
    local net = cnas.network { genotype = "CNAS", channels = 4, layers = 3, classes = 5, auxiliary = true, rng = rng() }
    collectgarbage()
    local before = cnas.live()
    T.raises("in auxiliary_head: .*training needs more than one value for each channel", net, images(1, 32, 32, 3))
    collectgarbage()
    T.equal(cnas.live(), before)
  end)

  T.it("drops paths from its own stream, in training", function()
    local noise = rng "drop-path"
    local net = cnas.network { genotype = "CNAS", channels = 4, layers = 3, classes = 5, drop_path = 0.5, noise = noise,
                               rng = rng() }
    local x = images(4, 8, 8, 3)
    local first = net(x):totable()
    T.truthy(noise.counter > 0)
    noise.counter = 0
    T.equal(net(x):totable(), first)
    T.truthy(net(x):totable()[1][1] ~= first[1][1])
    T.equal(net:drop_path(0), 0)
    local counter = noise.counter
    net(x)
    T.equal(noise.counter, counter)
    T.raises("drop_path must be in %[0, 1%)", net.drop_path, net, 1)
    T.raises("needs a stream in option 'noise'", cnas.network, { genotype = "CNAS", drop_path = 0.1 })
  end)
end)
