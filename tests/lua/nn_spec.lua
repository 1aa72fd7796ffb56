-- Modules in Lua: options, calling, names, state in and out, what a module keeps alive.
local T = require "spec"
local cnas = require "cnas"

local nn = cnas.nn
local function rng(name) return cnas.rng(1, name or "weights") end
local function images(...) return cnas.randn({ ... }, { rng = rng "images" }) end

T.describe("a layer", function()
  T.it("gives the shape its settings say", function()
    local x = images(2, 7, 9, 4)
    local function shape(m) return m(x):shape() end
    T.equal(shape(nn.conv2d { inp = 4, out = 6, kernel = 3, stride = 2, padding = 1 }), { 2, 4, 5, 6 })
    T.equal(shape(nn.conv2d { inp = 4, out = 4, kernel = { 1, 3 }, padding = { 0, 1 }, groups = 4 }), { 2, 7, 9, 4 })
    T.equal(shape(nn.batch_norm { channels = 4 }), { 2, 7, 9, 4 })
    T.equal(shape(nn.relu()), { 2, 7, 9, 4 })
    T.equal(shape(nn.zero { stride = 2 }), { 2, 4, 5, 4 })
    T.equal(shape(nn.max_pool { kernel = 3, stride = 2, padding = 1 }), { 2, 4, 5, 4 })
    T.equal(shape(nn.avg_pool { kernel = 5 }), { 2, 3, 5, 4 })
    T.equal(shape(nn.global_avg_pool()), { 2, 4 })
    T.equal(shape(nn.factorized_reduce { inp = 4, out = 6 }), { 2, 4, 5, 6 })
    T.equal(nn.linear { inp = 4, out = 3 }(nn.global_avg_pool()(x)):shape(), { 2, 3 })
    T.equal(nn.embedding { rows = 5, width = 3 }(cnas.tensor({ 0, 4 }, { dtype = "i64" })):shape(), { 2, 3 })
  end)

  T.it("of LSTM type takes and gives hidden and cell state", function()
    local cell = nn.lstm_cell { inp = 3, hidden = 5, rng = rng() }
    local h, c = cell(cnas.zeros(2, 3), cnas.zeros(2, 5), cnas.zeros(2, 5))
    T.equal(h:shape(), { 2, 5 })
    T.equal(c:shape(), { 2, 5 })
    T.equal(cell:count(), 20 * (3 + 5 + 1))
  end)

  T.it("starts from its stream, or from zeros", function()
    local function weight(o) return nn.linear(o):parameters()[1]:totable() end
    local stream = rng()
    local first = weight { inp = 3, out = 2, rng = stream }
    T.equal(weight { inp = 3, out = 2, rng = rng() }, first)
    T.truthy(weight { inp = 3, out = 2, rng = stream }[1][1] ~= first[1][1])
    for _, row in ipairs(first) do for _, w in ipairs(row) do T.truthy(math.abs(w) <= 1 / math.sqrt(3)) end end
    T.equal(weight { inp = 3, out = 2, rng = false }, { { 0, 0 }, { 0, 0 }, { 0, 0 } })
  end)

  T.it("refuses unknown and wrong options by name", function()
    T.raises("nn%.conv2d: unknown option 'strid' %(did you mean 'stride'%?%)", nn.conv2d, { inp = 1, strid = 2 })
    T.raises("nn%.conv2d: option 'inp' is missing", nn.conv2d, { out = 1 })
    T.raises("option 'kernel' must be a number or", nn.conv2d, { inp = 1, out = 1, kernel = { 3 } })
    T.raises("groups must divide", nn.conv2d, { inp = 3, out = 4, groups = 2 })
    T.raises("option 'rng' must be a random stream", nn.linear, { inp = 1, out = 1, rng = 7 })
    T.raises("entry 2 must be a module, got number", nn.sequential, { nn.relu(), 7 })
    T.raises("option 'rng' is missing", nn.dropout, { p = 0.5 })
  end)

  T.it("that fails inside others says where", function()
    local net = nn.sequential { nn.relu(), nn.sequential { nn.conv2d { inp = 3, out = 4 } } }
    T.raises("in 1: in 0: conv2d:", net, images(1, 4, 4, 5))
  end)
end)

T.describe("a layer that is a Lua function", function()
  local swish = cnas.op {
    name = "swish",
    forward = function(ctx, x)
      ctx.x = x
      return x * x:sigmoid()
    end,
    backward = function(ctx, gy)
      local s = ctx.x:sigmoid()
      return gy * (s + ctx.x * s * (1 - s))
    end,
  }
  local function gated(f)
    return nn.sequential { nn.conv2d { inp = 3, out = 3, rng = rng() }, nn.apply(f), nn.global_avg_pool() }
  end

  T.it("computes it, with its gradient, within others", function()
    local own, recorded = gated(swish), gated(function(x) return x * x:sigmoid() end)
    local x = images(2, 4, 4, 3)
    local gradients = {}
    for i, m in ipairs { own, recorded } do
      m(x):sum():backward()
      gradients[i] = m:parameters()[1].grad
    end
    T.near(own(x), recorded(x))
    T.near(gradients[1], gradients[2])
    T.contains(tostring(own), "apply")
    T.equal(own:cost { shape = { 1, 4, 4, 3 } }.conv_macs, 9 * 16)
    T.equal(own:state()[1].name, "0.weight")
  end)

  T.it("is an operation of a space like any other, also on a coroutine and within itself", function()
    local space = cnas.space { "sep_conv_3x3", swish = function(o)
      local inner = nn.apply(swish)
      return nn.sequential {
        nn.apply(function(x) return inner(x) end),
        nn.conv2d { inp = o.channels, out = o.channels, stride = o.stride, rng = o.rng },
      }
    end }
    local net = cnas.supernet { space = space, channels = 2, layers = 3, nodes = 1, classes = 3, rng = rng() }
    local arch = { normal = { { "swish", 0, 2 }, { "swish", 1, 2 } }, normal_concat = { 2 },
                   reduction = { { "swish", 0, 2 }, { "swish", 1, 2 } }, reduction_concat = { 2 } }
    local x = images(2, 8, 8, 3)
    local here, there = net(x, arch), coroutine.wrap(function() return net(x, arch) end)()
    T.equal(here:totable(), there:totable())
    cnas.cross_entropy(here, cnas.tensor({ 0, 2 }, { dtype = "i64" })):backward()
    T.truthy(net:parameters()[1].grad)
    T.truthy(net:cost(arch, { height = 8, width = 8 }).conv_macs > 0)
  end)

  T.it("says what is wrong with its function", function()
    local x = images(1, 2, 2, 3)
    T.raises("nn.apply: the function must return a tensor, got number", nn.apply(function() return 7 end), x)
    local other = nn.apply(function() return x:sum() end)
    T.raises("nn.apply: the function must return a tensor of its input's shape", other, x)
    T.raises("in 1: nn.apply: .*nn_spec.lua:%d+: mine", gated(function() error "mine" end), x)
    T.equal(T.raises("nothing there", nn.apply(function() cnas.args.fail("data", "nothing there") end), x).code, "data")
    T.raises("function expected, got no value", nn.apply)
  end)

  T.it("survives that memory runs out at any point", function()
    local m, x = gated(swish), images(2, 4, 4, 3)
    local before, failures = m(x):totable(), 0
    local function step() m(x):sum():backward() end
    for n = 1, 400 do
      collectgarbage()
      local done, message = pcall(function()
        cnas.fail_allocation(n)
        step()
      end)
      cnas.fail_allocation()
      if done then break end
      failures = failures + 1
      T.contains(tostring(message), "memory")
    end
    T.truthy(failures > 20)
    T.equal(m(x):totable(), before)
  end)
end)

T.describe("a module", function()
  local function net()
    return nn.sequential { nn.conv2d { inp = 3, out = 4, kernel = 3, rng = rng() }, nn.batch_norm { channels = 4 },
                           nn.relu(), nn.global_avg_pool(), nn.linear { inp = 4, out = 2, rng = rng() } }
  end

  T.it("names its parameters and its state", function()
    local m, names = net(), {}
    T.equal(m:parameters().names, { "0.weight", "1.weight", "1.bias", "4.weight", "4.bias" })
    for _, entry in ipairs(m:state()) do names[#names + 1] = entry.name .. (entry.buffer and "*" or "") end
    T.equal(names, { "0.weight", "1.weight", "1.bias", "1.running_mean*", "1.running_var*", "4.weight", "4.bias" })
    T.equal(m:count(), 27 * 4 + 8 + 10)
    T.contains(m, "0: conv2d (3x3, 3 -> 4)\n")
    T.contains(m, "4: linear (4 -> 2)")
  end)

  T.it("uses the batch's statistics in training, the running ones otherwise", function()
    local m, x = net(), images(2, 5, 5, 3)
    local before = m:state()[4].tensor:totable()
    m:train(false)
    local y = m(x):totable()
    T.equal(m:state()[4].tensor:totable(), before)
    m:train()
    m(x)
    T.truthy(m:state()[4].tensor:totable()[1] ~= before[1])
    m:train(false)
    T.truthy(m(x):totable()[1][1] ~= y[1][1])
  end)

  T.it("keeps its tensors when it changes type", function()
    local m = net()
    local weight = m:parameters()[1]
    m:to "f64"
    T.equal(weight.dtype, "f64")
    T.equal(m(images(1, 5, 5, 3):to "f64").dtype, "f64")
    T.equal(m:to("f32"):parameters()[1].dtype, "f32")
    T.raises("f32 or f64", m.to, m, "i64")
  end)

  T.it("loads what another one's state holds", function()
    local a, b, x = net(), net(), images(2, 5, 5, 3)
    cnas.no_grad(function() a:parameters()[1]:fill_(0.25) end)
    a(x)
    b:load(a:state())
    a:train(false)
    b:train(false)
    T.equal(b(x):totable(), a(x):totable())
    local by_name = {}
    for _, entry in ipairs(a:state()) do by_name[entry.name] = entry.tensor:to "f64" end
    T.equal(net():load(by_name):train(false)(x):totable(), a(x):totable())
  end)

  T.it("lists everything that does not fit, and loads nothing then", function()
    local m, given = net(), {}
    for _, entry in ipairs(m:state()) do given[entry.name] = cnas.ones(table.unpack(entry.tensor:shape())) end
    given["0.weight"], given["4.weight"], given.extra = nil, cnas.ones(2, 2), cnas.ones(1)
    local before = m:state()[3].tensor:totable()
    local e = T.raises("do not fit this sequential", m.load, m, given)
    T.equal(e.code, "data")
    T.contains(e, "1 missing: 0.weight")
    T.contains(e, "1 unexpected: extra")
    T.contains(e, "1 misshapen: 4.weight is (2,2), must be (4,2)")
    T.equal(m:state()[3].tensor:totable(), before)
    local same, wrong = m:load(given, { strict = false })
    T.equal(same, m)
    T.equal(wrong, { missing = { "0.weight" }, unexpected = { "extra" },
                     misshapen = { "4.weight is (2,2), must be (4,2)" } })
    T.equal(m:state()[3].tensor:totable(), { 1, 1, 1, 1 })
  end)

  T.it("counts what a call costs without making it", function()
    T.equal(net():cost { shape = { 2, 6, 6, 3 } }, { parameters = 126, conv_macs = 2 * 16 * 27 * 4, linear_macs = 16 })
    T.raises("expected images %(N,H,W,3%)", net().cost, net(), { shape = { 1, 6, 6, 4 } })
  end)

  T.it("can be closed, and says so", function()
    local closed
    do
      local m <close> = nn.relu()
      closed = m
    end
    T.raises("closed", closed, images(1, 2, 2, 1))
    T.equal(tostring(closed), "module (closed)")
  end)
end)

T.describe("a sequence", function()
  -- Output, then gradients: of the input, and of the parameters in their order.
  local function results(f, x, parameters)
    local leaf = x:detach():requires_grad_(true)
    for _, p in ipairs(parameters) do p:set_grad(nil) end
    local y = f(leaf)
    y:mul(y):sum():backward()
    local all = { y:totable(), leaf.grad:totable() }
    for i, p in ipairs(parameters) do all[i + 2] = p.grad:totable() end
    return all
  end

  T.it("whose convolution takes over the ReLU in front of it computes what the two called apart compute", function()
    local x = images(2, 9, 8, 6)
    for _, o in ipairs { { kernel = 3, padding = 1 }, { kernel = 1, bias = true }, { kernel = 1, stride = 2 },
                         { kernel = 5, padding = 4, dilation = 2, groups = 6 } } do
      o.inp, o.out, o.rng = 6, 6, rng()
      local relu, conv, norm = nn.relu(), nn.conv2d(o), nn.batch_norm { channels = 6 }
      local net = nn.sequential { relu, conv, norm, relu }
      local apart = function(t) return relu(norm(conv(relu(t)))) end
      local expected = results(apart, x, net:parameters())
      T.near(results(net, x, net:parameters()), expected, 1e-5)
      local before = nn.blocks(false)
      T.equal(results(net, x, net:parameters()), expected)
      nn.blocks(before)
      T.contains(net, "0: relu")
      T.equal(net:parameters().names[1], "1.weight")
    end
  end)

  T.it("keeps no tensor of a ReLU that a convolution takes over", function()
    local relu, conv = nn.relu(), nn.conv2d { inp = 4, out = 4, rng = rng() }
    local net, x = nn.sequential { relu, conv }, images(2, 64, 64, 4)
    local function kept(f)
      collectgarbage()
      local before = cnas.memory().bytes_live
      local y = f(x)
      collectgarbage()
      return cnas.memory().bytes_live - before, y
    end
    T.truthy(kept(function(t) return conv(relu(t)) end) - kept(net) >= 0.9 * x:count() * 4)
  end)
end)

T.describe("dropout", function()
  T.it("draws from its stream, which it keeps alive", function()
    local function make() return nn.sequential { nn.dropout { p = 0.5, rng = rng "noise" } } end
    local x, m, again = cnas.ones(8, 8), make(), make()
    collectgarbage()
    collectgarbage()
    local first = m(x):totable()
    T.equal(again(x):totable(), first)
    local differs = false
    for i, row in ipairs(m(x):totable()) do
      for j, v in ipairs(row) do
        T.truthy(v == 0 or v == 2)
        differs = differs or v ~= first[i][j]
      end
    end
    T.truthy(differs, "a second call draws new numbers")
    m:train(false)
    T.equal(m(x):totable(), x:totable())
  end)
end)
