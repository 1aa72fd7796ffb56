-- device_spec.lua - devices by name, with and without a GPU.

local T = require "spec"
local cnas = require "cnas"

local with_gpu = pcall(cnas.zeros, 1, { device = "cuda" })
local complete = with_gpu and #cnas.devices()[2].lacks == 0

T.describe("a device", function()
  T.it("is the CPU unless said otherwise", function()
    T.equal(cnas.zeros(2).device, "cpu")
    T.equal(cnas.zeros(2, { device = "cpu" }).device, "cpu")
  end)

  T.it("'auto' is the first GPU that has all kernels, else the CPU", function()
    T.equal(cnas.zeros(2, { device = "auto" }).device, complete and "cuda:0" or "cpu")
    local device, why = cnas.device "auto"
    T.equal(device, complete and "cuda:0" or "cpu")
    if with_gpu and not complete then T.contains(why, "no kernels for") else T.equal(why, nil) end
    T.equal(cnas.device "cpu", "cpu")
  end)

  T.it("of several processes is a GPU for each", function()
    if not with_gpu then
      T.raises('no device "cuda"', cnas.device, "cuda", 1)
      T.raises('no device "cuda"', cnas.device, "cuda:1")
      return
    end
    local count = cnas.devices()[2].count
    for rank = 0, 3 do T.equal(cnas.device("cuda", rank), "cuda:" .. rank % count) end
    T.equal(cnas.device "cuda:0", "cuda:0")
    T.raises("no device cuda:" .. count, cnas.device, "cuda:" .. count)
  end)

  T.it("without a GPU gives one clear line", function()
    if with_gpu then T.skip("this machine has a GPU") end
    local e = T.raises('no device "cuda": ', cnas.zeros, 2, { device = "cuda" })
    T.truthy(not tostring(e):find("\n", 1, true), "one line")
  end)

  T.it("of an unknown name is refused", function()
    T.raises("unknown device 'gpu'", cnas.zeros, 2, { device = "gpu" })
    T.raises("cuda:99", cnas.zeros, 2, { device = "cuda:99x" })
  end)

  T.it("with a GPU holds tensors, and names the kernel it lacks", function()
    if not with_gpu then T.skip("this machine has no GPU") end
    local x = cnas.arange(6)
    local there = x:to("cuda")
    T.equal(there.device, "cuda:0")
    T.equal(there:to("cpu"):totable(), x:totable())
    T.equal(there:clone():totable(), x:totable())
  end)
end)
