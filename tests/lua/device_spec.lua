-- device_spec.lua - devices by name, with and without a GPU.

local T = require "spec"
local cnas = require "cnas"

local with_gpu = pcall(cnas.zeros, 1, { device = "cuda" })

T.describe("a device", function()
  T.it("is the CPU unless said otherwise", function()
    T.equal(cnas.zeros(2).device, "cpu")
    T.equal(cnas.zeros(2, { device = "cpu" }).device, "cpu")
  end)

  T.it("'auto' is the first GPU, else the CPU", function()
    T.equal(cnas.zeros(2, { device = "auto" }).device, with_gpu and "cuda:0" or "cpu")
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
