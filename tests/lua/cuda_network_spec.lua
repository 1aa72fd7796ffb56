-- Whole networks on the GPU against the CPU: logits, loss, every gradient and the weights after steps of SGD, of a
-- supernet's paths and of evaluation networks, with layers as blocks and each by itself, in f64, f32 and with images in
-- bf16, which must be as near to f32 as the CPU's are. Two runs give the same bits.

local cnas = require "cnas"
local T = require "spec"

local usable, why = pcall(cnas.zeros, 1, { device = "cuda" })
if not usable then
  T.it("networks on the GPU", function() T.skip(tostring(why)) end)
  return
end

local LIMITS = { f64 = 1e-9, f32 = 2e-4 } -- of the norm of what is compared

local function supernet(precision)
  return cnas.supernet { space = cnas.space.darts(), channels = 6, layers = 3, nodes = 4, classes = 10,
                         precision = precision, rng = cnas.rng(3, "weights") }
end
local function network(precision, auxiliary)
  return cnas.network { space = cnas.space.darts(), genotype = cnas.genotype.named "DARTS_V2", channels = 4, layers = 4,
                        classes = 10, auxiliary = auxiliary, precision = precision, drop_path = 0.3,
                        noise = cnas.rng(5, "noise"), rng = cnas.rng(3, "weights") }
end

-- Two steps of SGD: { name, tensor on the CPU } of all there is to see.
local function train(make, dtype, device, size)
  local net = make(dtype == "bf16" and "bf16" or nil)
  net:to(dtype == "f64" and "f64" or "f32")
  net:to(device)
  local optimizer = cnas.optim.sgd(net:parameters(), { lr = 0.05, momentum = 0.9, weight_decay = 3e-4 })
  local images, seen = cnas.rng(7, "images"), {}
  local function keep(name, t) seen[#seen + 1] = { name = name, value = t:detach():to "f64":to "cpu" } end
  for step = 1, 2 do
    local x = cnas.randn(3, size, size, 3, { rng = images }):to(dtype == "f64" and "f64" or "f32"):to(device)
    local target = cnas.tensor({ 1, 7, step }, { dtype = "i64" }):to(device)
    local logits, aside = net(x, cnas.genotype.named(step == 1 and "CNAS" or "DARTS_V1"))
    local loss = cnas.cross_entropy(logits, target)
    if aside then loss = loss + cnas.cross_entropy(aside, target) * 0.4 end
    loss:backward()
    keep("logits " .. step, logits)
    keep("loss " .. step, loss)
    local list = net:parameters()
    for i, name in ipairs(list.names) do
      if list[i].grad and step == 1 then keep("gradient of " .. name, list[i].grad) end
    end
    optimizer:step()
    for _, p in ipairs(list) do p:set_grad(nil) end
  end
  for _, entry in ipairs(net:state()) do keep("state " .. entry.name, entry.tensor) end
  return seen
end

local function norm(t) return t:squared_norm():item() ^ 0.5 end

-- How far a is from b, by kind ("logits", "gradient" …): all of a kind together, so that a gradient which is nothing
-- but rounding counts as little as it is.
local function distances(a, b)
  local total, list = {}, {}
  T.equal(#a, #b)
  for i, one in ipairs(a) do
    local kind = one.name:match "^%a+"
    T.equal(one.name, b[i].name)
    T.equal(one.value:shape(), b[i].value:shape(), one.name)
    local sums = total[kind] or { off = 0, size = 0 }
    total[kind] = sums
    sums.off, sums.size = sums.off + norm(one.value - b[i].value) ^ 2, sums.size + norm(b[i].value) ^ 2
  end
  for kind, sums in pairs(total) do list[kind] = (sums.off / sums.size) ^ 0.5 end
  return list
end

local function compare(there, here, allowed)
  for kind, off in pairs(distances(there, here)) do
    if not (off <= allowed(kind)) then -- luacheck: ignore 581 (NaN fails too)
      error(("%s: off by %.3g of its norm; at most %.3g is allowed"):format(kind, off, allowed(kind)), 0)
    end
  end
end

local function same_bits(a, b)
  for i, one in ipairs(a) do
    T.equal(norm(one.value - b[i].value), 0, one.name .. ": another time, other bits")
  end
end

local function check(make, dtype, size)
  local there, here = train(make, dtype, "cuda", size), train(make, dtype, "cpu", size)
  if dtype == "bf16" then
    local exact = train(make, "f32", "cpu", size)
    local usual = distances(here, exact)
    compare(there, exact, function(kind) return 2.5 * usual[kind] end)
  else
    compare(there, here, function() return LIMITS[dtype] end)
  end
  if dtype ~= "f64" then same_bits(train(make, dtype, "cuda", size), there) end
end

T.describe("networks on the GPU", function()
  for _, dtype in ipairs { "f64", "f32", "bf16" } do
    T.it("a supernet in " .. dtype, function() check(supernet, dtype, 8) end)
    T.it("an evaluation network in " .. dtype, function() check(network, dtype, 9) end)
  end
  T.it("layer by layer", function()
    local before = cnas.nn.blocks(false)
    local ok, e = pcall(function()
      check(supernet, "f32", 8)
      check(network, "f64", 9)
    end)
    cnas.nn.blocks(before)
    if not ok then error(e, 0) end
  end)
end)
