-- Tensors as a recipe sees them: how they are made, read, viewed, combined, printed and differentiated, and what a
-- wrong argument is answered with. Values of the single operations are in fixture_ops_spec.lua.

local cnas = require "cnas"
local T = require "spec"

local function values(t) return t:totable() end

local function parameter(...) return cnas.tensor(...):requires_grad_(true) end

T.describe("a new tensor", function()
  T.it("comes from nested tables or a number", function()
    local t = cnas.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
    T.equal(t:shape(), { 2, 3 })
    T.equal(t.dtype, "f32")
    T.equal(t.device, "cpu")
    T.equal(t:dim(), 2)
    T.equal(t:count(), 6)
    T.equal({ t:size(1), t:size(2), t:size(-1) }, { 2, 3, 3 })
    T.equal(#t, 2)
    T.equal(values(t), { { 1, 2, 3 }, { 4, 5, 6 } })
    local scalar = cnas.tensor(7)
    T.equal(scalar:shape(), {})
    T.equal(scalar:item(), 7)
    T.equal(scalar:totable(), 7)
    T.equal(cnas.tensor({}):shape(), { 0 })
  end)

  T.it("has the type asked for, and keeps whole numbers whole", function()
    T.equal(cnas.tensor({ 1, 2^53 + 1 | 0 }, { dtype = "i64" }):totable(), { 1, 2^53 + 1 | 0 })
    T.equal(math.type(cnas.tensor({ 3 }, { dtype = "i64" }):totable()[1]), "integer")
    T.equal(math.type(cnas.tensor({ 3 }, { dtype = "u8" }):totable()[1]), "integer")
    T.equal(math.type(cnas.tensor({ 3 }, { dtype = "f64" }):totable()[1]), "float")
    T.equal(cnas.tensor({ 0.1 }, { dtype = "f64" }):item(), 0.1)
    T.equal(cnas.tensor({ 0.1 }, { dtype = "f32" }):item(), string.unpack("f", string.pack("f", 0.1)))
  end)

  T.it("is filled by zeros, ones, full and arange", function()
    T.equal(values(cnas.zeros(2, 2)), { { 0, 0 }, { 0, 0 } })
    T.equal(values(cnas.zeros { 2, 1 }), { { 0 }, { 0 } })
    T.equal(values(cnas.ones(3, { dtype = "f64" })), { 1, 1, 1 })
    T.equal(values(cnas.full({ 2 }, 2.5)), { 2.5, 2.5 })
    T.equal(values(cnas.full({ 2 }, 7, { dtype = "u8" })), { 7, 7 })
    T.equal(cnas.arange(4):totable(), { 0, 1, 2, 3 })
    T.equal(cnas.empty(2, 0, 3):shape(), { 2, 0, 3 })
    T.equal(cnas.zeros(2, { dtype = "i64" }).dtype, "i64")
  end)

  T.it("is random as a function of its stream", function()
    local a = cnas.randn({ 50, 40 }, { rng = cnas.rng(3, "a") })
    local b = cnas.randn({ 50, 40 }, { rng = cnas.rng(3, "a") })
    local c = cnas.randn({ 50, 40 }, { rng = cnas.rng(3, "b") })
    T.equal(cnas.ne(a, b):sum():item(), 0)
    T.truthy(cnas.ne(a, c):sum():item() > 1900, "another stream gives other numbers")
    T.truthy(math.abs(a:mean():item()) < 0.1)
    T.truthy(math.abs((a * a):mean():item() - 1) < 0.1)
    local u = cnas.rand({ 1000 }, { rng = cnas.rng(3, "u"), dtype = "f64" })
    T.truthy(u:min():item() >= 0 and u:max():item() < 1)
    T.truthy(math.abs(u:mean():item() - 0.5) < 0.05)
  end)

  T.it("refuses what cannot be one", function()
    T.raises("", cnas.tensor)
    T.raises("", cnas.tensor, "text")
    T.raises("", cnas.tensor, { 1, "two" })
    T.raises("", cnas.tensor, { { 1, 2 }, { 3 } })
    T.raises("", cnas.tensor, { { 1, 2 }, 3 })
    T.raises("", cnas.tensor, { 1, { 2 } })
    T.raises("", cnas.tensor, { { { { { { { 1 } } } } } } })
    T.raises("f16", cnas.tensor, { 1 }, { dtype = "f16" })
    T.raises("dtpye", cnas.tensor, { 1 }, { dtpye = "f32" })
    T.raises("", cnas.tensor, { 1 }, { device = "tpu" })
    T.raises("", cnas.zeros, -1)
    T.raises("", cnas.zeros, 1.5)
    T.raises("", cnas.zeros, "2x")
    T.raises("", cnas.zeros, { 2, "x" })
    T.raises("", cnas.zeros, 1, 1, 1, 1, 1, 1, 1)
    T.raises("memory", cnas.zeros, 2^40 | 0, 2^40 | 0)
    T.raises("memory", cnas.zeros, math.maxinteger)
    T.raises("", cnas.full, { 2 })
    T.raises("", cnas.full, { 2 }, "x")
    T.raises("", cnas.arange, -1)
    T.raises("", cnas.rand, { 2 }, { rng = 5 })
    local loop = {}
    loop[1] = loop
    T.raises("", cnas.tensor, loop)
  end)
end)

T.describe("reading", function()
  T.it("gives one element by item", function()
    T.equal(cnas.tensor({ { 4 } }):item(), 4)
    T.raises("", function() return cnas.zeros(2):item() end)
    T.raises("", function() return cnas.zeros(0):item() end)
    T.equal(math.type(cnas.tensor(4, { dtype = "i64" }):item()), "integer")
  end)

  T.it("gives nested tables in the shape of the tensor, views too", function()
    local t = cnas.arange(12):reshape(3, 4)
    T.equal(values(t:transpose(1, 2)), { { 0, 4, 8 }, { 1, 5, 9 }, { 2, 6, 10 }, { 3, 7, 11 } })
    T.equal(values(t:narrow(2, 2, 2)), { { 1, 2 }, { 5, 6 }, { 9, 10 } })
    T.equal(values(t:select(1, 3)), { 8, 9, 10, 11 })
    T.equal(values(cnas.zeros(0, 3)), {})
    T.equal(values(cnas.zeros(2, 0)), { {}, {} })
  end)

  T.it("counts dimensions from 1, from the end with a minus", function()
    local t = cnas.zeros(2, 3, 4)
    T.equal(t:sum(-1):shape(), { 2, 3 })
    T.equal(t:sum(1):shape(), { 3, 4 })
    T.equal(t:sum({ 1, -1 }):shape(), { 3 })
    T.equal(t:sum(2, true):shape(), { 2, 1, 4 })
    T.equal(t:sum({ dims = 2, keepdim = true }):shape(), { 2, 1, 4 })
    T.raises("", function() return t:sum(0) end)
    T.raises("", function() return t:sum(4) end)
    T.raises("", function() return t:sum(-4) end)
    T.raises("", function() return t:size(0) end)
    T.raises("", function() return t:size(4) end)
    T.raises("", function() return t:size(-4) end)
    T.raises("", function() return t:size(1.5) end)
  end)

  T.it("knows no other fields", function()
    local t = cnas.zeros(2)
    T.raises("", function() t.requires_grda = true end)
    T.raises("", function() t.dtype = "f64" end)
  end)
end)

T.describe("a view", function()
  T.it("shares its elements", function()
    local t = cnas.zeros(2, 3)
    t:select(1, 2):fill_(5)
    T.equal(values(t), { { 0, 0, 0 }, { 5, 5, 5 } })
    t:transpose():select(1, 1):fill_(1)
    T.equal(values(t), { { 1, 0, 0 }, { 1, 5, 5 } })
    t:reshape(6):narrow(1, 3, 1):fill_(9)
    T.equal(values(t), { { 1, 0, 9 }, { 1, 5, 5 } })
    t:clone():fill_(0)
    T.equal(values(t), { { 1, 0, 9 }, { 1, 5, 5 } })
  end)

  T.it("is made by every kind", function()
    local t = cnas.arange(24):reshape { 2, 3, 4 }
    T.equal(t:permute(3, 1, 2):shape(), { 4, 2, 3 })
    T.equal(t:permute({ 3, 1, 2 }):select(1, 2):totable(), { { 1, 5, 9 }, { 13, 17, 21 } })
    T.equal(t:unsqueeze(1):shape(), { 1, 2, 3, 4 })
    T.equal(t:unsqueeze(-1):shape(), { 2, 3, 4, 1 })
    T.equal(t:unsqueeze(2):squeeze(2):shape(), { 2, 3, 4 })
    T.equal(t:reshape(-1):shape(), { 24 })
    T.equal(t:reshape(4, -1):shape(), { 4, 6 })
    T.equal(cnas.ones(1, 1):reshape({}):shape(), {}, "an empty shape is that of a scalar")
    T.equal(cnas.tensor({ { 1 }, { 2 } }):expand(2, 3):totable(), { { 1, 1, 1 }, { 2, 2, 2 } })
    T.equal(cnas.tensor(3):expand(2, 2):totable(), { { 3, 3 }, { 3, 3 } })
    T.equal(t:transpose(1, 3):reshape(24):totable()[2], 12, "a reshape of a view copies in row-major order")
  end)

  T.it("refuses what does not fit", function()
    local t = cnas.zeros(2, 3)
    T.raises("reshape", function() return t:reshape(4) end)
    T.raises("reshape", function() return t:reshape(-1, -1) end)
    T.raises("reshape", function() return t:reshape(-1, 4) end)
    T.raises("reshape", function() return t:reshape(2, -3) end)
    T.raises("reshape", function() return t:reshape(2^62 | 0, 2^62 | 0) end)
    T.raises("narrow", function() return t:narrow(2, 3, 2) end)
    T.raises("narrow", function() return t:narrow(2, 0, 1) end)
    T.raises("narrow", function() return t:narrow(2, 1, -1) end)
    T.raises("narrow", function() return t:narrow(2, math.maxinteger, math.maxinteger) end)
    T.raises("select", function() return t:select(1, 3) end)
    T.raises("select", function() return t:select(1, 0) end)
    T.raises("squeeze", function() return t:squeeze(1) end)
    T.raises("expand", function() return t:expand(2, 4) end)
    T.raises("expand", function() return t:expand(3) end)
    T.raises("permute", function() return t:permute(1, 1) end)
    T.raises("permute", function() return t:permute(1) end)
    T.raises("permute", function() return t:permute(1, 3) end)
    T.raises("transpose", function() return t:transpose(1, 3) end)
    T.raises("narrow", function() return t:narrow(2) end)
    T.raises("", function() return cnas.zeros(1, 1, 1, 1, 1, 1):unsqueeze(1) end)
  end)
end)

T.describe("arithmetic", function()
  local a, b = { { 1, 2 }, { 3, 4 } }, { 10, 20 }

  T.it("broadcasts, with tensors and numbers on either side", function()
    local x, y = cnas.tensor(a), cnas.tensor(b)
    T.equal(values(x + y), { { 11, 22 }, { 13, 24 } })
    T.equal(values(y - x), { { 9, 18 }, { 7, 16 } })
    T.equal(values(x * y), { { 10, 40 }, { 30, 80 } })
    T.near(y / x, { { 10, 10 }, { 10 / 3, 5 } })
    T.equal(values(-x), { { -1, -2 }, { -3, -4 } })
    T.equal(values(x + 1), { { 2, 3 }, { 4, 5 } })
    T.equal(values(1 - x), { { 0, -1 }, { -2, -3 } })
    T.equal(values(2 * x), { { 2, 4 }, { 6, 8 } })
    T.equal(values(12 / x), { { 12, 6 }, { 4, 3 } })
    T.equal(values(x ^ 2), { { 1, 4 }, { 9, 16 } })
    T.equal((cnas.zeros(3, 1) + cnas.zeros(2, 1, 4)):shape(), { 2, 3, 4 })
    T.equal((cnas.zeros(0, 3) + cnas.zeros(1, 3)):shape(), { 0, 3 })
  end)

  T.it("keeps types apart", function()
    local whole = cnas.tensor({ 5, 7 }, { dtype = "i64" })
    T.equal(values(whole + whole), { 10, 14 })
    T.equal((whole * 3).dtype, "i64")
    T.equal(whole:sum():item(), 12)
    T.raises("f32.*i64", function() return cnas.tensor { 1.0, 2.0 } + whole end)
    T.raises("", function() return whole / whole end)
    T.raises("", function() return whole:exp() end)
    T.raises("f64", function() return cnas.tensor { 1.0 } + cnas.tensor({ 1.0 }, { dtype = "f64" }) end)
  end)

  T.it("compares into u8", function()
    local x = cnas.tensor { 1, 2, 3 }
    T.equal(values(x:lt(2)), { 1, 0, 0 })
    T.equal(values(x:ge(cnas.tensor { 3, 2, 1 })), { 0, 1, 1 })
    T.equal(x:eq(x).dtype, "u8")
    T.equal(cnas.where(x:gt(1), x, 0):totable(), { 0, 2, 3 })
    local nan = cnas.tensor { 0 / 0 }
    T.equal({ nan:eq(nan):item(), nan:ne(nan):item(), nan:lt(nan):item() }, { 0, 1, 0 })
  end)

  T.it("means identity by ==", function()
    local x = cnas.tensor { 1 }
    T.truthy(x == x)
    T.truthy(x ~= cnas.tensor { 1 })
    local set = { [x] = true }
    T.truthy(set[x])
  end)

  T.it("refuses what does not combine", function()
    local x = cnas.zeros(2, 3)
    T.raises("broadcast", function() return x + cnas.zeros(2) end)
    T.raises("", function() return x + "one" end)
    T.raises("", function() return x + nil end)
    T.raises("", function() return {} + x end)
    T.raises("", function() return x ^ x end)
    T.raises("matmul", function() return x:matmul(x) end)
    T.raises("", cnas.add, x)
    T.raises("", cnas.add)
    T.raises("too many", cnas.add, x, x, 1)
    T.raises("", cnas.conv2d, x, x)
    T.raises("strde", cnas.conv2d, cnas.zeros(1, 4, 4, 1), cnas.zeros(3, 3, 1, 1), { strde = 2 })
    T.raises("", cnas.conv2d, cnas.zeros(1, 4, 4, 1), cnas.zeros(3, 3, 1, 1), { stride = 0 })
    T.raises("", cnas.conv2d, cnas.zeros(1, 4, 4, 1), cnas.zeros(3, 3, 1, 1), { stride = "two" })
    T.raises("", cnas.conv2d, cnas.zeros(1, 4, 4, 1), cnas.zeros(3, 3, 1, 1), { padding = math.maxinteger })
    T.raises("", cnas.conv2d, cnas.zeros(1, 4, 4, 1), cnas.zeros(3, 3, 1, 1), { dilation = math.maxinteger })
    T.raises("", cnas.conv2d, cnas.zeros(1, 2, 2, 1), cnas.zeros(3, 3, 1, 1))
    T.raises("", cnas.conv2d, cnas.zeros(1, 4, 4, 3), cnas.zeros(3, 3, 1, 4), { groups = 2 })
    T.raises("", cnas.max_pool2d, cnas.zeros(1, 4, 4, 1))
    T.raises("", cnas.max_pool2d, cnas.zeros(1, 4, 4, 1), 0)
    T.raises("", cnas.dropout, x, 1.5, cnas.rng(1, "x"))
    T.raises("", cnas.dropout, x, 0.5)
  end)
end)

T.describe("an index", function()
  T.it("out of range is an error, not a wild read", function()
    local x = cnas.zeros(3, 2)
    for _, i in ipairs { -1, 3, math.maxinteger, math.mininteger } do
      local index = cnas.tensor({ i }, { dtype = "i64" })
      T.raises("index_select", function() return x:index_select(index) end)
      T.raises("embedding", cnas.embedding, x, index)
      T.raises("gather", function() return x:gather(cnas.tensor({ { i }, { 0 }, { 0 } }, { dtype = "i64" })) end)
      T.raises("cross_entropy", cnas.cross_entropy, cnas.zeros(1, 3), index)
      T.raises("accuracy", cnas.accuracy, cnas.zeros(1, 3), index)
    end
    T.raises("i64", cnas.embedding, x, cnas.tensor { 1 })
    T.raises("topk", function() return x:topk(3) end)
    T.raises("topk", function() return x:topk(0) end)
  end)
end)

T.describe("a conversion", function()
  T.it("copies to another type, or gives the tensor itself", function()
    local x = cnas.tensor { 1.75, -1.75, 300, 0 / 0 }
    T.equal(values(x:to "i64"), { 1, -1, 300, 0 })
    T.equal(values(x:to "u8"), { 1, 0, 255, 0 })
    T.equal(x:to("f64").dtype, "f64")
    T.equal(x:to("cpu").device, "cpu")
    T.raises("", function() return x:to "f16" end)
    T.raises("", function() return x:to() end)
    T.raises("", function() return x:to(64) end)
  end)

  T.it("copies values in by copy_", function()
    local x = cnas.zeros(2, 2)
    x:transpose():copy_(cnas.tensor { { 1, 2 }, { 3, 4 } })
    T.equal(values(x), { { 1, 3 }, { 2, 4 } })
    T.raises("", function() x:copy_(cnas.zeros(3)) end)
    T.raises("", function() x:copy_(5) end)
  end)

  T.it("fills in place", function()
    local x = cnas.zeros(1000)
    T.truthy(x:fill_(2) == x)
    T.equal(x:sum():item(), 2000)
    x:fill_uniform_ { low = -1, high = 3, rng = cnas.rng(1, "x") }
    T.truthy(x:min():item() >= -1 and x:max():item() < 3 and math.abs(x:mean():item() - 1) < 0.2)
    x:fill_normal_ { mean = 5, deviation = 0.1, rng = cnas.rng(1, "x") }
    T.truthy(math.abs(x:mean():item() - 5) < 0.02)
    x:fill_(1):accumulate_(cnas.ones(1000), 0.5)
    T.equal(x:max():item(), 1.5)
    T.raises("", function() x:fill_() end)
    T.raises("rng", function() x:fill_uniform_ { low = 0 } end)
  end)
end)

T.describe("noise", function()
  T.it("is a function of its stream, scaled to keep the mean", function()
    local x = cnas.ones(100, 20)
    local y = x:dropout(0.25, cnas.rng(1, "noise"))
    T.equal(cnas.ne(y, x:dropout(0.25, cnas.rng(1, "noise"))):sum():item(), 0)
    T.near(y:reshape(-1):max():item(), 4 / 3)
    T.near(y:eq(0):sum():item() / 2000, 0.25, 0.2)
    local stream = cnas.rng(1, "noise")
    local first = x:dropout(0.25, stream)
    T.truthy(cnas.ne(first, x:dropout(0.25, stream)):sum():item() > 0, "the stream moves on")
    local z = x:drop_path(0.5, cnas.rng(1, "noise"))
    for _, row in ipairs(values(z)) do
      for _, v in ipairs(row) do T.equal(v, row[1]) end
      T.truthy(row[1] == 0 or row[1] == 2)
    end
  end)

  T.it("has the same zeros in its gradient", function()
    local x = parameter { 1, 1, 1, 1, 1, 1, 1, 1 }
    local y = x:dropout(0.5, cnas.rng(1, "noise"))
    y:sum():backward()
    T.equal(values(x.grad), values(y))
  end)
end)

T.describe("a gradient", function()
  T.it("is wanted by requires_grad, of floats only", function()
    local x = parameter { 1, 2 }
    T.equal(x.requires_grad, true)
    T.equal((x * 2).requires_grad, true)
    T.equal(x:detach().requires_grad, false)
    T.equal(x.grad, nil)
    T.raises("", function() cnas.tensor({ 1 }, { dtype = "i64" }):requires_grad_(true) end)
    T.raises("", function() (x * 2):requires_grad_(false) end)
  end)

  T.it("adds up over uses and over calls", function()
    local x = parameter { 3 };
    (x * x + x):sum():backward()
    T.equal(x.grad:item(), 7)
    x:sum():backward()
    T.equal(x.grad:item(), 8)
    x:set_grad(nil)
    T.equal(x.grad, nil)
    x:set_grad(cnas.tensor { 5 })
    T.equal(x.grad:item(), 5)
    T.raises("", function() x:set_grad(cnas.tensor { 1, 2 }) end)
    T.raises("", function() x:set_grad(cnas.tensor({ 1 }, { dtype = "f64" })) end)
    T.raises("", function() x:set_grad(1) end)
  end)

  T.it("flows through views and broadcasts", function()
    local x = parameter { { 1, 2, 3 }, { 4, 5, 6 } }
    local y = x:transpose():narrow(1, 2, 2):reshape(4)
    y:backward(cnas.tensor { 1, 2, 3, 4 })
    T.equal(values(x.grad), { { 0, 1, 3 }, { 0, 2, 4 } })
    local b = parameter { 1, 1 };
    (b + cnas.zeros(5, 2)):sum():backward()
    T.equal(values(b.grad), { 5, 5 })
    local s = parameter(2);
    (s * cnas.ones(3)):sum():backward()
    T.equal(s.grad:item(), 3)
  end)

  T.it("starts from one element, or from a gradient of the loss's shape", function()
    local x = parameter { 1, 2 }
    T.raises("backward", function() (x * 2):backward() end)
    T.raises("backward", function() (x * 2):backward(cnas.ones(3)) end)
    T.raises("backward", function() (x * 2):backward(cnas.ones(2, { dtype = "f64" })) end)
    T.raises("", function() (x * 2):backward "x" end)
    T.raises("backward", function() cnas.ones(1):backward() end)
    T.equal(x.grad, nil)
  end)

  T.it("is computed once for a graph", function()
    local x = parameter { 2 }
    local y = (x * x):sum()
    y:backward()
    T.raises("backward", function() y:backward() end)
    T.equal(x.grad:item(), 4)
  end)

  T.it("is refused when a value it needs was written in place", function()
    local x = parameter { 1, 2 }
    local h = x * 1
    local y = (h * h):sum()
    cnas.no_grad(function() h:fill_(7) end)
    T.raises("in place", function() y:backward() end)
    local v = x:exp()
    cnas.no_grad(function() v:select(1, 1):fill_(0) end)
    T.raises("in place", function() v:sum():backward() end)
  end)

  T.it("forbids writing in place to what it follows, outside no_grad", function()
    local x = parameter { 1, 2 }
    T.raises("in place", function() x:fill_(0) end)
    T.raises("in place", function() (x * 2):fill_(0) end)
    T.raises("", function() x:copy_(cnas.zeros(2)) end)
    T.equal(values(x), { 1, 2 })
    cnas.no_grad(function() x:fill_(3) end)
    T.equal(values(x), { 3, 3 })
  end)

  T.it("is not recorded within no_grad, whose state survives errors", function()
    local x = parameter { 1 }
    local y, n = cnas.no_grad(function(a, b) return a * 2, b end, x, 5)
    T.equal(y.requires_grad, false)
    T.equal(n, 5)
    T.raises("stop", cnas.no_grad, function() error "stop" end)
    T.equal((x * 2).requires_grad, true)
    cnas.no_grad(function()
      cnas.no_grad(function() end)
      T.equal((x * 2).requires_grad, false)
    end)
    T.raises("", cnas.no_grad)
    T.raises("", cnas.no_grad, 5)
  end)

  T.it("stops at detach", function()
    local x = parameter { 3 };
    (x * x:detach()):sum():backward()
    T.equal(x.grad:item(), 3)
    T.truthy(x:detach() ~= x)
  end)

  T.it("goes through a chain of ten thousand operations", function()
    local x = parameter { 1 }
    local y = x
    for _ = 1, 10000 do y = y + 1 end
    y:sum():backward()
    T.equal(x.grad:item(), 1)
  end)

  T.it("reaches leaves of either float type through a conversion", function()
    local x = parameter({ 1.5 }, { dtype = "f32" });
    (x:to "f64" * 2):sum():backward()
    T.equal(x.grad.dtype, "f32")
    T.equal(x.grad:item(), 2)
  end)
end)

T.describe("an operation written in Lua", function()
  local function square_op(log)
    return cnas.op { name = "square",
      forward = function(ctx, x)
        ctx.x = x
        return x * x
      end,
      backward = function(ctx, gy)
        if log then log[#log + 1] = gy:totable() end
        return gy * ctx.x * 2
      end }
  end

  T.it("takes part in the graph", function()
    local log = {}
    local square = square_op(log)
    local x = parameter { 1, 2, 3 }
    local y = square(x)
    T.equal(values(y), { 1, 4, 9 })
    T.equal(y.requires_grad, true);
    (y * 10):sum():backward()
    T.equal(values(x.grad), { 20, 40, 60 })
    T.equal(log, { { 10, 10, 10 } })
  end)

  T.it("may have several inputs and outputs, and leave a gradient out", function()
    local pair = cnas.op { name = "pair",
      forward = function(_, x, y) return x + y, x - y end,
      backward = function(_, ga, gb) return ga + gb, nil end }
    local x, y = parameter { 1 }, parameter { 5 }
    local a, b = pair(x, y)
    T.equal({ a:item(), b:item() }, { 6, -4 })
    a:sum():backward()
    T.equal(x.grad:item(), 1)
    T.equal(y.grad, nil)
  end)

  T.it("is not recorded without need", function()
    local square = square_op()
    T.equal(square(cnas.tensor { 2 }).requires_grad, false)
    T.equal(cnas.no_grad(square, parameter { 2 }).requires_grad, false)
  end)

  T.it("fails with the error of its functions", function()
    local function with(forward, backward) return cnas.op { name = "bad", forward = forward, backward = backward } end
    local x = parameter { 1, 2 }
    T.raises("oops", with(function() error "oops" end, print), x)
    T.raises("", with(function() return 5 end, print), x)
    T.raises("", with(function() end, print), x)
    local function same(_, v) return v * 1 end
    T.raises("oops", function() with(same, function() error "oops" end)(x):sum():backward() end)
    T.raises("", function() with(same, function() return 5 end)(x):sum():backward() end)
    T.raises("shape", function() with(same, function() return cnas.ones(3) end)(x):sum():backward() end)
    T.raises("", cnas.op, {})
    T.raises("", cnas.op, { name = "x", forward = 5, backward = print })
    T.raises("", cnas.op)
    x:sum():backward()
    T.truthy(x.grad, "and everything works after it")
  end)

  T.it("keeps nothing alive once its graph is gone", function()
    collectgarbage()
    collectgarbage()
    local before = cnas.live()
    do
      local square = square_op()
      local x = parameter { 1 }
      square(square(x)):sum():backward()
      square(x)
    end
    collectgarbage()
    collectgarbage()
    T.equal(cnas.live(), before)
  end)
end)

T.describe("a closed tensor", function()
  T.it("is refused everywhere, and may be closed again", function()
    local kept
    do
      local t <close> = cnas.ones(2)
      kept = t
      T.equal(t:sum():item(), 2)
    end
    T.raises("closed", function() return kept:sum() end)
    T.raises("closed", function() return kept + 1 end)
    T.raises("closed", function() return 1 + kept end)
    T.raises("closed", function() return kept:shape() end)
    T.raises("closed", function() return #kept end)
    T.raises("closed", function() return kept.grad end)
    T.raises("closed", cnas.add, cnas.ones(2), kept)
    T.raises("closed", cnas.concat, { cnas.ones(2), kept })
    T.contains(tostring(kept), "closed")
    getmetatable(kept).__close(kept)
    getmetatable(kept).__gc(kept)
  end)

  T.it("lives on in the graph that needs it", function()
    local x = parameter { 3 }
    local y
    do
      local h <close> = x * 2
      y = (h * h):sum()
    end
    y:backward()
    T.equal(x.grad:item(), 24)
  end)
end)

T.describe("printing", function()
  T.it("shows shape, type and values", function()
    local text = tostring(cnas.tensor { { 1.5, -2 }, { 3, 4 } })
    T.contains(text, "f32")
    T.contains(text, "1.5")
    T.contains(text, "-2")
    T.contains(tostring(cnas.tensor({ 7 }, { dtype = "i64" })), "7")
    T.contains(tostring(cnas.tensor(2.5)), "2.5")
    T.truthy(#tostring(cnas.zeros(0, 3)) > 0)
  end)

  T.it("is elided to a screen, whatever the size", function()
    local text = tostring(cnas.zeros(1000, 1000))
    T.truthy(#text < 10000, "a million values print in " .. #text .. " bytes")
    T.truthy(#tostring(cnas.zeros(50, 50, 50, 50)) < 40000)
    for line in text:gmatch "[^\n]+" do T.truthy(utf8.len(line) <= 120, line) end
  end)

  T.it("says what is not finite", function()
    local text = tostring(cnas.tensor { 1, 0 / 0, 1 / 0, -1 / 0 }):lower()
    T.contains(text, "nan")
    T.contains(text, "inf")
  end)
end)

T.describe("a number beside a tensor of whole numbers", function()
  local x = cnas.tensor({ 0, 1, 2 }, { dtype = "i64" })
  T.it("counts when it is whole", function()
    T.equal(x:lt(2):totable(), { 1, 1, 0 })
    T.equal((x + 1):totable(), { 1, 2, 3 })
  end)
  T.it("is refused when it does not fit", function()
    T.raises("lt: 0.5 does not fit i64", function() x:lt(0.5) end)
    T.raises("add: 300 does not fit u8", function() return x:to "u8" + 300 end)
  end)
end)

T.describe("the kernels' instruction set", function()
  T.it("can be chosen, and each gives the same result within rounding", function()
    local widest, rng = cnas.isa(), cnas.rng(1, "isa")
    local x, w = cnas.randn({ 2, 9, 9, 8 }, { rng = rng }), cnas.randn({ 3, 3, 8, 12 }, { rng = rng })
    local reference = cnas.conv2d(x, w, { padding = 1 })
    for _, name in ipairs { "portable", "avx2" } do
      if pcall(cnas.isa, name) then
        local y = cnas.conv2d(x, w, { padding = 1 })
        cnas.isa(widest)
        local off = ((y - reference):squared_norm():item() / reference:squared_norm():item()) ^ 0.5
        T.truthy(off < 1e-6, name .. " is off by " .. off)
      end
    end
    T.equal(cnas.isa(), widest)
    T.raises("unknown instruction set 'sse9'", cnas.isa, "sse9")
  end)
end)

T.describe("a gradient that is set by hand", function()
  T.it("may be the tensor itself, and goes with it", function()
    collectgarbage()
    collectgarbage()
    local before = cnas.live()
    do
      local t, other = cnas.ones(3), cnas.ones(3)
      t.grad, other.grad = other, t
      t.grad = t
      T.equal(t.grad:totable(), { 1, 1, 1 })
    end
    collectgarbage()
    collectgarbage()
    T.equal(cnas.live(), before)
  end)
end)

T.describe("the list of operations", function()
  T.it("names a function and a method for every row", function()
    local t, n = cnas.zeros(1), 0
    for _, row in ipairs(cnas.ops()) do
      local name = row.kind == "inplace" and row.name .. "_" or row.name
      T.equal(type(cnas[name]), "function", name)
      T.equal(type(t[name]), "function", name)
      T.truthy(#row.doc > 0, row.name .. " has no description")
      n = n + 1
    end
    T.truthy(n > 60)
  end)

  T.it("refuses nil, wrong types and wrong counts in every row", function()
    for _, row in ipairs(cnas.ops()) do
      local f = cnas[row.kind == "inplace" and row.name .. "_" or row.name]
      T.raises("", f)
      T.raises("", f, nil)
      T.raises("", f, true, 1)
      T.raises("", f, "text")
      T.raises("", f, {})
      T.raises("", f, print, print, print, print, print, print, print)
      T.raises("", f, { {} }, { {} })
    end
  end)

  T.it("survives huge, negative and fractional attributes in every row", function()
    local x = cnas.ones(2, 3, 4, 2)
    local index = cnas.zeros(2, { dtype = "i64" })
    local odd = { math.maxinteger, math.mininteger, -1, 0, 1e300, -1e300, 0.5, 0 / 0, 1 / 0, "x", {}, { {} }, true }
    for _, row in ipairs(cnas.ops()) do
      local inplace = row.kind == "inplace"
      local f = cnas[inplace and row.name .. "_" or row.name]
      for _, v in ipairs(odd) do
        for _, first in ipairs { x:clone(), cnas.zeros(0, 3), cnas.zeros(0, 0, 0, 0), cnas.tensor(1), index } do
          pcall(f, first, v)
          pcall(f, first, v, v)
          pcall(f, first, v, v, v)
          pcall(f, first, index, v)
          pcall(f, first, first, v, v)
        end
      end
    end
  end)
end)
