-- Every kernel of the GPU against the CPU's: outputs, gradients and what is written in place, for every row of ops.def,
-- every type that both have, and shapes that try the cutting into blocks (cases.lua, cases_wide.lua).
--
-- Sums are taken in another order on a GPU and functions such as exp are other code, so results in f32 may differ by
-- 1e-5 of their norm, in f64 by 1e-12; whole numbers not at all; bf16 results, rounded from numbers that differ in the
-- last bits, by 3 %. Each application is made twice and must give the same bits.
--
-- Without a GPU, run.lua gives this spec the module of tests/simt, in which the CPU plays the GPU; then the whole is
-- done again with lanes, warps and blocks in reversed order, and with work put off until it is waited for: same bits.

local cases = require "cases"
local cnas = require "cnas"
local wide = require "cases_wide"
local T = require "spec"

local usable, why = pcall(cnas.zeros, 1, { device = "cuda" })
if not usable then
  T.it("the kernels of the GPU", function() T.skip(tostring(why)) end)
  return
end

local LIMITS = { f32 = 1e-5, f64 = 1e-12, bf16 = 3e-2, i64 = 0, u8 = 0 }
local TYPES = { floats = { "f32", "f64" }, ["floats and bf16"] = { "f32", "f64", "bf16" },
                any = { "f32", "f64", "bf16", "i64", "u8" } }

-- ---------------------------------------------------------------- one application

-- What a row does to a case on a device: a list of { name, tensor on the CPU }.
local function results(row, this, dtype, device)
  local list = {}
  local function keep(name, t) list[#list + 1] = { name = name, value = t:detach():to("cpu") } end
  local leaves = cases.leaves(this, dtype, device, row)
  local differentiable = row.kind ~= "forward" and row.kind ~= "inplace"
    and (dtype == "f32" or dtype == "f64" or dtype == "bf16")
  if differentiable then cases.track(this, leaves) end
  local outputs, args = cases.apply(row.name .. (row.kind == "inplace" and "_" or ""), this, leaves, device)
  if row.kind == "inplace" then
    for i = 1, #this.inputs do if leaves[i] then keep("input " .. i, args[i]) end end
    return list
  end
  local floats = outputs.n > 0
  for k = 1, outputs.n do
    keep("output " .. k, outputs[k])
    local of = outputs[k].dtype
    floats = floats and (of == "f32" or of == "f64" or of == "bf16")
  end
  if not differentiable or not floats then return list end
  cases.loss(outputs):backward()
  for i, described in ipairs(this.inputs) do
    if leaves[i] and not described.still and leaves[i].grad then keep("gradient of input " .. i, leaves[i].grad) end
  end
  return list
end

local function flat(t) return t:to("f64"):reshape(-1):totable() end

-- |a - b| <= limit * |b|, elements that are not numbers in the same places.
local function compare(about, a, b, limit)
  local x, y, off, size = flat(a), flat(b), 0, 0
  T.equal(a.dtype, b.dtype, about)
  T.equal(a:shape(), b:shape(), about)
  for i = 1, #y do
    if x[i] ~= y[i] and not (x[i] ~= x[i] and y[i] ~= y[i]) then off = off + (x[i] - y[i]) ^ 2 end
    if y[i] == y[i] and math.abs(y[i]) < math.huge then size = size + y[i] ^ 2 end
  end
  if not (off ^ 0.5 <= limit * size ^ 0.5) then -- luacheck: ignore 581 (NaN fails too)
    error(("%s: off by %.3g of %.3g; at most %.3g of it is allowed"):format(about, off ^ 0.5, size ^ 0.5, limit), 0)
  end
end

-- ---------------------------------------------------------------- the same bits

local digests = {} -- "row type case result" -> a number made of all its bits; in order, too

local function digest(t)
  local sum = 0
  for i, v in ipairs(flat(t)) do
    if v ~= v then v = 12345.5 end -- any NaN
    sum = (sum * 1000003 ~ string.unpack("<i8", string.pack("<d", v))) + i
  end
  return sum
end

local function remember(key, t)
  local d = digest(t)
  if digests[key] then
    T.equal(d, digests[key], key .. ": another time, other bits")
  else
    digests[key] = d
    digests[#digests + 1] = key
  end
end

-- ---------------------------------------------------------------- the rows

local function check(row, this, dtype, number)
  local there = results(row, this, dtype, "cuda")
  local here = results(row, this, dtype, "cpu")
  T.equal(#there, #here, "results")
  for i, result in ipairs(there) do
    local about = ("%s %s case %d, %s"):format(row.name, dtype, number, result.name)
    compare(about, result.value, here[i].value, LIMITS[dtype])
    remember(about, result.value)
  end
  for _, result in ipairs(results(row, this, dtype, "cuda")) do
    remember(("%s %s case %d, %s"):format(row.name, dtype, number, result.name), result.value)
  end
end

local function cases_of(name, small, large)
  local list = {}
  for _, some in ipairs { small[name] or {}, large[name] or {} } do table.move(some, 1, #some, #list + 1, list) end
  return list
end

local only_digests = os.getenv "CNAS_SPEC_DIGESTS" -- this process is the one that another compares itself with

T.describe("on the GPU", function()
  local small, large = cases.rows(), wide.rows()
  for _, row in ipairs(cnas.ops()) do
    if row.kind ~= "view" then
      T.it(row.name .. " does what it does on the CPU", function()
        local list = cases_of(row.name, small, large)
        T.truthy(#list > 0, row.name .. " has no case")
        for number, this in ipairs(list) do
          for _, dtype in ipairs(TYPES[row.types]) do check(row, this, dtype, number) end
        end
      end)
    end
  end

  if only_digests then return end

  T.it("a block's result that nobody uses leaves its weight without gradient", function()
    local gradients = {}
    for _, device in ipairs { "cpu", "cuda" } do
      local function leaf(shape)
        return cnas.randn(shape, { rng = cnas.rng(3, "leaf") }):to(device):requires_grad_(true)
      end
      local x, used, unused = leaf { 2, 5, 4, 8 }, leaf { 1, 1, 8, 12 }, leaf { 1, 1, 8, 4 }
      local outputs = table.pack(cnas.pointwise_blocks(unused, used, nil, nil, nil, x))
      ;(outputs[4] * outputs[4]):sum():backward()
      T.equal(unused.grad, nil)
      gradients[device] = { x.grad, used.grad }
    end
    for i = 1, 2 do compare("gradient", gradients.cuda[i]:to "cpu", gradients.cpu[i], LIMITS.f32) end
  end)

  T.it("a tensor that is too large is an error, after which all goes on", function()
    local e = T.raises("cuda:0: no memory for 70368744177664 bytes", cnas.empty, 1 << 44, { device = "cuda" })
    T.contains(e, "use a smaller batch")
    T.equal(cnas.ones(3, { device = "cuda" }):sum():item(), 3)
  end)

  T.it("a wrong index is an error when the result is read", function()
    local table_of = cnas.ones(5, 3, { device = "cuda" })
    local chosen = table_of:embedding(cnas.tensor({ 1, 4, 5, -1 }, { dtype = "i64" }):to("cuda"))
    T.raises("embedding: the index at position 2 is outside 0 … 4", chosen.to, chosen, "cpu")
    T.equal(table_of:to("cpu"):sum():item(), 15)
    local loss = cnas.ones(2, 3, { device = "cuda" }):cross_entropy(
      cnas.tensor({ 0, 3 }, { dtype = "i64" }):to("cuda"))
    T.raises("cross_entropy: the target at position 1 is outside 0 … 2", loss.item, loss)
  end)

  local simt = (os.getenv "CNAS_CUDA_MODULE" or ""):find("simt", 1, true)
  for _, order in ipairs { "reversed", "lazy" } do
    T.it("gives the same bits when the CPU plays it " .. order, function()
      if not simt then T.skip "this is a GPU" end
      local status, out, err = T.run { arg[0], arg[#arg], seconds = 600,
                                       env = { CNAS_SIMT = order, CNAS_SPEC_DIGESTS = "1" } }
      T.equal(status, 0, (out .. err):sub(1, 2000))
      local seen = 0
      for key, value in out:gmatch "DIGEST (%C+) = (%-?%d+)\n" do
        T.equal(tonumber(value), digests[key], key)
        seen = seen + 1
      end
      T.equal(seen, #digests)
    end)
  end
end)

if only_digests then
  for _, key in ipairs(digests) do print(("DIGEST %s = %d"):format(key, digests[key])) end
end
