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
    T.raises('no device "cuda": ', cnas.kernel, { name = "k", source = "__global__ void k() {}" })
    T.raises('no device "cuda": ', cnas.kernel.list)
  end)

  -- What the program says of a module, or of the machine that the CPU plays, where it is asked for a GPU and where not.
  local function check_missing(reason, environment)
    local folder = T.folder()
    local status, out, err = T.run { "-e", 'print((require "cnas".device "auto"))', env = environment }
    T.equal({ status, out, err }, { 0, "cpu\n", "" }, reason)
    status, out = T.run { "info", env = environment }
    T.equal(status, 0)
    T.contains(out, "\ncuda           none: ")
    T.contains(out, reason)
    status, out, err = T.run { cnas.home .. "/recipes/random_search.lua", "--data", "shapes", "--device", "cuda",
                               "-o", folder .. "/run", env = environment }
    T.equal(status, 2, reason)
    T.contains(out .. err, 'no device "cuda": ')
    T.contains(out .. err, reason)
    local _, lines = err:gsub("\n", "\n")
    T.equal(lines, 1, err)
  end

  local simt = os.getenv "CNAS_CUDA_MODULE" or ""
  if not simt:find("simt", 1, true) then simt = T.program:match "^(.*)/" .. "/tests/libcnas_simt.so" end
  local machines = { driverless = "no NVIDIA driver", absent = "no NVIDIA GPU",
                     outdated = "the NVIDIA driver is too old: it supports CUDA 11.4, this module needs 13.0" }
  for word, reason in pairs(machines) do
    T.it("on a machine that is " .. word .. " gives one clear line, or goes on with the CPU", function()
      if not cnas.file.exists(simt) then T.skip "this build has no module in which the CPU plays the GPU" end
      check_missing(reason, { CNAS_CUDA_MODULE = simt, CNAS_SIMT = word })
    end)
  end

  T.it("of a file that is no module does too", function()
    local none = T.write(T.folder() .. "/none.so", "no library")
    check_missing("none.so", { CNAS_CUDA_MODULE = none })
  end)

  T.it("of the real module needs no driver to be looked for", function()
    local module = T.program:match "^(.*)/" .. "/lib/cnas/libcnas_cuda.so"
    if not cnas.file.exists(module) then T.skip "this build has no module for GPUs" end
    if with_gpu then T.skip "this machine has a GPU" end
    check_missing("NVIDIA", { CNAS_CUDA_MODULE = module })
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
