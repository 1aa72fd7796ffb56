-- profile_spec.lua - what parts of a network cost: the sums are the network's, places have their names, measuring
-- changes nothing.

local cnas = require "cnas"
local T = require "spec"

local recipe = cnas.home .. "/recipes/profile.lua"

-- Sums over the parts of a network: whole modules only, as cnas.profile counts them.
local function sums(net, about, size, arch)
  local place = cnas.places { layers = about.layers, genotype = about.genotype, space = about.space }
  local parameters, macs, counted = 0, 0, {}
  local costs = arch and net:costs(arch, { height = size }) or net:costs { height = size }
  for _, c in ipairs(costs) do
    local p = place(c.at)
    if p and p.root == c.at then
      parameters = parameters + (counted[c.at] and 0 or c.parameters)
      counted[c.at] = true
      macs = macs + c.conv_macs + c.linear_macs
    end
  end
  return parameters, macs
end

T.describe("net:costs", function()
  T.it("sums up to the published sizes", function()
    local g = cnas.genotype.named "CNAS"
    local cifar = cnas.network { genotype = g, rng = false }
    T.equal({ sums(cifar, { layers = 20, genotype = g }, 32) }, { 3695374, 564019200 + 5760 })
    local imagenet = cnas.network { genotype = g, imagenet = true, auxiliary = true, rng = false }
    T.equal({ sums(imagenet, { layers = 14, genotype = g }, 224) }, { 5318368, 576390528 + 768000 })
  end)

  T.it("sums up to what the whole costs, for every published cell", function()
    for _, name in ipairs(cnas.genotype.published()) do
      local about = { layers = 5, genotype = cnas.genotype.named(name) }
      local net = cnas.network { genotype = name, channels = 6, layers = 5, rng = false }
      local cost = net:cost { height = 32 }
      T.equal({ sums(net, about, 32) }, { cost.parameters, cost.conv_macs + cost.linear_macs }, name)
    end
  end)

  T.it("sums up for a path of a supernet, an operation used twice on an edge too", function()
    local space = cnas.space.darts()
    local net = cnas.supernet { space = space, channels = 4, layers = 3, nodes = 2, rng = false }
    local g = cnas.genotype.new {
      normal = { { "sep_conv_3x3", 0, 2 }, { "sep_conv_3x3", 0, 2 }, { "none", 1, 3 }, { "dil_conv_5x5", 2, 3 } },
      reduction = { { "skip_connect", 0, 2 }, { "max_pool_3x3", 1, 2 }, { "sep_conv_5x5", 2, 3 }, { "none", 0, 3 } },
    }
    local cost = net:cost(g, { height = 16 })
    T.equal({ sums(net, { layers = 3, space = space }, 16, g) }, { cost.parameters, cost.conv_macs + cost.linear_macs })
  end)

  T.it("tells shapes", function()
    local net = cnas.network { genotype = "CNAS", channels = 4, layers = 3, rng = false }
    local shape = {}
    for _, c in ipairs(net:costs { height = 33, width = 20 }) do shape[c.at] = c.shape end
    T.equal(shape.stem, { 1, 33, 20, 12 })
    T.equal(shape["cells.1._ops.1"], { 1, 17, 10, 8 })
    T.equal(shape.classifier, { 1, 10 })
    T.raises("must be a network or a supernet", cnas.nn.relu().costs, cnas.nn.relu(), {})
    T.raises("unknown option 'hight'", net.costs, net, { hight = 3 })
  end)
end)

T.describe("places", function()
  T.it("name what stands there", function()
    local g = cnas.genotype.named "CNAS"
    local place = cnas.places { genotype = g, layers = 6 }
    T.equal(place "cells.0._ops.0.op.1", { root = "cells.0._ops.0", part = "operation", cell = 0, kind = "normal",
                                           operation = "dil_conv_3x3", from = 1, to = 2 })
    T.equal(place("cells.4._ops.2").operation, "dil_conv_5x5")
    T.equal(place "cells.3.preprocess1.op", { root = "cells.3.preprocess1", part = "input", cell = 3, kind = "normal" })
    T.equal(place("cells.2").part, "node")
    T.equal({ place("stem0.3").root, place("").part, place("classifier").part, place("auxiliary_head.features").part,
              place("elsewhere") == nil }, { "stem0", "pool", "classifier", "auxiliary", true })
    local shared = cnas.places { space = cnas.space.darts(), layers = 6 }
    for to = 2, 5 do
      for from = 0, to - 1 do
        local p = shared(("cells.2._ops.%d._ops.6.op"):format((to - 2) * (to + 1) // 2 + from))
        T.equal({ p.operation, p.from, p.to, p.kind }, { "dil_conv_3x3", from, to, "reduction" })
      end
    end
  end)
end)

T.describe("timed_rows", function()
  T.it("gives each row to the module it runs for, gradients too", function()
    local net = cnas.network { genotype = "CNAS", channels = 4, layers = 3, rng = cnas.rng(1, "weights") }
    local x = cnas.randn(2, 16, 16, 3, { rng = cnas.rng(1, "x") })
    local y = cnas.tensor({ 0, 1 }, { dtype = "i64" })
    local seen = {}
    local rows = cnas.timed_rows(function() cnas.cross_entropy(net(x), y):backward() end, net)
    for _, e in ipairs(rows) do
      T.truthy(e.calls > 0 and e.seconds >= 0 and e.bytes_peak > 0 and (not e.backward or e.bytes_made == 0))
      seen[("%s %s %s"):format(e.at or "-", e.row, e.backward)] = e
    end
    for _, key in ipairs { "stem conv_block false", "stem conv_block true", "cells.0._ops.1.op separable_block false",
                           "cells.0._ops.1.op separable_block true", "cells.2 add_block false",
                           "cells.2 add_block true", "classifier linear true", "- cross_entropy false" } do
      T.truthy(seen[key], key .. " must be there")
    end
    T.equal(seen["cells.0._ops.1.op separable_block false"].calls, 2)
    T.equal(seen["stem conv_block false"].bytes_made, 4 * (2 * 16 * 16 * 12 + 2 * 12))
    T.truthy(rows.bytes_peak >= seen["classifier linear true"].bytes_peak)
  end)

  T.it("is over after an error, and not made within another", function()
    T.raises("oops", cnas.timed_rows, function() error "oops" end)
    T.raises("watched already", cnas.timed_rows, function() cnas.timed_rows(function() end) end)
    T.raises("watched already", cnas.trace, function(x) cnas.timed_rows(function() end) return x end, cnas.ones(1))
    T.equal(#cnas.timed_rows(function() end), 0)
  end)

  T.it("says that memory failed, and loses none", function()
    collectgarbage()
    local x = cnas.ones(3)
    local live = cnas.live()
    local failed, timed_rows = 0, cnas.timed_rows
    local function work() x:exp():close() end
    for n = 1, 30 do
      cnas.fail_allocation(n)
      local ok = pcall(timed_rows, work)
      cnas.fail_allocation()
      failed = failed + (ok and 0 or 1)
    end
    T.truthy(failed > 2)
    collectgarbage()
    T.equal(cnas.live(), live)
    x:close()
  end)
end)

T.describe("latency", function()
  local small = { batch = 2, height = 8, seconds = 0.0, runs = 3, warmup = 1 }

  T.it("is the median of calls, of networks and of paths", function()
    local net = cnas.network { genotype = "CNAS", channels = 4, layers = 3, rng = cnas.rng(1, "weights") }:train(false)
    local median, least, most = cnas.latency(net, small)
    T.truthy(0 < least and least <= median and median <= most)
    local space = cnas.space.darts()
    local supernet = cnas.supernet { space = space, channels = 4, layers = 3, nodes = 4, rng = cnas.rng(1, "weights") }
    T.truthy(cnas.latency(supernet, cnas.genotype.named "CNAS", small) > 0)
    T.raises("unknown option 'bach'", cnas.latency, net, { bach = 2 })
    T.equal({ cnas.latency.median { 3, 1, 2 }, cnas.latency.median { 4, 1, 2, 3 } }, { 2, 2.5 })
  end)

  T.it("calls at least `runs` times, after the warm-up", function()
    local calls = 0
    cnas.latency(function(x)
      calls = calls + 1
      return x + 1
    end, { height = 4, warmup = 2, runs = 5, seconds = 0.0 })
    T.equal(calls, 7)
  end)
end)

T.describe("profile", function()
  T.it("leaves weights and statistics as they are", function()
    local g = cnas.genotype.named "CNAS"
    local net = cnas.network { genotype = g, channels = 4, layers = 3, rng = cnas.rng(1, "weights") }
    local before = {}
    for i, entry in ipairs(net:state()) do before[i] = entry.tensor:detach():clone() end
    local report = cnas.profile(net, { genotype = g, layers = 3, batch = 2, height = 16, runs = 2, warmup = 1 })
    for i, entry in ipairs(net:state()) do
      T.equal((entry.tensor:detach() - before[i]):abs():sum():item(), 0, entry.name)
    end
    local cost, macs, parameters, made = net:cost { height = 16 }, 0, 0, 0
    for _, part in ipairs(report.parts) do
      macs, parameters, made = macs + part.macs, parameters + part.parameters, made + part.bytes_made
    end
    T.equal({ parameters, macs }, { cost.parameters, cost.conv_macs + cost.linear_macs })
    T.truthy(report.train.bytes_peak > report.forward.bytes_peak and made < 2 * report.train.bytes_peak)
  end)
end)

T.describe("recipes/profile.lua", function()
  local small = { "--channels", "4", "--layers", "3", "--batch", "2", "--runs", "1", "--size", "16" }

  local function run(...)
    return T.run { recipe, "--arch", "cnas", table.unpack(table.move({ ... }, 1, select("#", ...), #small + 1,
      table.move(small, 1, #small, 1, {}))) }
  end

  local numbers = { "parameters", "macs", "forward_ms", "train_forward_ms", "train_backward_ms", "bytes_made",
                    "bytes_peak", "count" }

  T.it("gives everything as JSON", function()
    local status, out, err = run("--json", "--threads", "1")
    T.equal({ status, err }, { 0, "" })
    local r = cnas.json.decode(out)
    T.equal({ r.batch, r.height, r.width, r.threads, r.network.channels, r.network.label },
            { 2, 16, 16, 1, 4, "CNAS" })
    for _, field in ipairs { "forward", "train" } do
      local m = r[field]
      T.truthy(0 < m.least_ms and m.least_ms <= m.ms and m.ms <= m.most_ms and m.bytes_peak > 0 and m.rows_ms > 0)
    end
    local parameters, macs = 0, 0
    for _, list in ipairs { r.parts, r.operations, r.cells } do
      T.truthy(#list > 3)
      for _, part in ipairs(list) do
        for _, key in ipairs(numbers) do T.truthy(math.type(part[key]), key .. " must be a number") end
        T.truthy(part.name or part.root and part.part)
      end
    end
    for _, part in ipairs(r.operations) do parameters, macs = parameters + part.parameters, macs + part.macs end
    T.equal({ parameters, macs }, { r.parameters, r.conv_macs + r.linear_macs })
  end)

  T.it("prints a table by operation, cell or part, and a supernet's path", function()
    local status, out, err = run("--no-train")
    T.equal({ status, err }, { 0, "" })
    T.contains(out, "sep_conv_3x3")
    T.contains(out, "100.0%")
    T.truthy(not out:find "training")
    status, out = run("--by", "cell")
    T.equal(status, 0)
    T.contains(out, "cell  2, reduction")
    T.contains(out, "training step")
    status, out = run("--by", "part", "--supernet")
    T.equal(status, 0)
    T.contains(out, "dil_conv_3x3 1-2")
    T.contains(out, "a path of a supernet")
  end)

  T.it("profiles a model's file", function()
    local path, g = T.folder() .. "/net.safetensors", cnas.genotype.named "CNAS"
    local net = cnas.network { genotype = g, channels = 4, layers = 3, rng = cnas.rng(1, "weights") }
    cnas.model.save(path, net, { genotype = g, channels = 4, layers = 3, classes = 10, size = 20 })
    local status, out, err = T.run { recipe, "--model", path, "--json", "--runs", "1", "--batch", "2", "--no-train" }
    T.equal({ status, err }, { 0, "" })
    local r = cnas.json.decode(out)
    T.equal({ r.network.label, r.height, r.parameters, r.train }, { path, 20, net:count() })
  end)

  T.it("refuses what it cannot profile", function()
    local status, _, err = T.run { recipe }
    T.equal(status, 2)
    T.contains(err, "which network?")
    status, _, err = T.run { recipe, "--supernet" }
    T.equal(status, 2)
    T.contains(err, "--arch")
    status, _, err = T.run { recipe, "--arch", "cnas", "--by", "colour" }
    T.equal(status, 2)
    T.contains(err, "operation, cell, part")
  end)
end)
