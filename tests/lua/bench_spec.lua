-- The benchmarks run and say what they promise; how fast anything is, is not tested. The floor's multiply-adds are
-- those that the network counts itself.

local cnas = require "cnas"
local T = require "spec"

local here = arg[0]:match "^(.*)/lua/[^/]*$" or "tests"
package.path = here .. "/bench/?.lua;" .. package.path
local bench = require "bench"
local floor = require "floor"

local tiny = { batch = 2, size = 32, channels = 4, layers = 3 }

-- A processor of round numbers: 1 GFLOP/s, 100 GB/s within 1 MiB, 10 beyond.
local peak = { gflops = { one = 1, all = 1 },
               bandwidth = { { bytes = 2^20, read = 100, write = 50, copy = 80 },
                             { bytes = 2^24, read = 10, write = 5, copy = 8 } } }

T.describe("benchmark", function()
  T.it("of the supernet reports milliseconds", function()
    local status, out = T.run { here .. "/bench/supernet.lua", "--json", "--threads", "1", "--batch", "2", "--steps",
                                "2", "--channels", "4", "--layers", "3" }
    local r = cnas.json.decode(out)
    T.equal({ status, r.steps, r.threads, r.batch }, { 0, 2, 1, 2 })
    for _, name in ipairs { "train", "forward" } do
      local range = r[name .. "_range"]
      T.truthy(r[name .. "_ms"] > 0 and range[1] <= r[name .. "_ms"] and r[name .. "_ms"] <= range[2])
    end
    T.truthy(r.bytes_peak > 0 and r.resident_peak > r.bytes_peak)
  end)

  T.it("of training, without a peer, reports its curves", function()
    local root = os.getenv "CNAS_DATA"
    if not root then T.skip "CNAS_DATA names no folder that holds cifar-10-batches-bin" end
    local folder = T.folder() .. "/curves"
    local words = { here .. "/bench/training.lua", "--peer=", "--root", root, "--keep", folder, "--seeds", "2",
                    "--epochs", "2", "--images", "20", "--test-images", "10", "--batch", "10", "--channels", "4",
                    "--layers", "3", "--threads", "1", "--json" }
    local status, out, err = T.run(words)
    T.equal(status, 0, err)
    local r = cnas.json.decode(out)
    T.equal({ #r.cnas, #r.cnas[1], #r.cnas[2], #r.peer, r.agree }, { 2, 2, 2, 0, nil })
    for _, epoch in ipairs(r.cnas[2]) do T.truthy(epoch.loss > 0 and epoch.accuracy <= 1 and epoch.test <= 1) end
    T.truthy(r.cnas[1][1].loss ~= r.cnas[2][1].loss)
    words[#words] = nil -- again, as a table: nothing is trained twice
    status, out, err = T.run(words)
    T.equal(status, 0, err)
    T.contains(out, "| epoch | loss: cnas |")
    T.equal(err:find "multiply-adds", nil)
  end)

  T.it("of everything, without a peer, reports every section", function()
    if os.getenv "ASAN_OPTIONS" then T.skip("minutes under the address sanitizer") end
    local status, out, err = T.run { here .. "/bench/run.lua", "--json", "--threads", "1", "--batch", "2", "--steps",
      "1", "--channels", "4", "--layers", "3", "--network_channels", "4", "--network_layers", "3", "--network_steps",
      "1", "--peak_seconds", "0.01", "--peer=", seconds = 300 }
    if err:find "could not be built" then T.skip("there is no build folder to build the target 'peak' in") end
    T.equal(status, 0, err)
    local r = cnas.json.decode(out)
    T.equal(r.supernet.contestants[1].name, "cnas")
    T.equal(r.supernet.contestants[1].train_ratio, 1)
    T.truthy(r.supernet.floor.train_ms > r.supernet.floor.forward_ms and r.supernet.floor.forward_ms > 0)
    T.truthy(r.parts.train_ms > 0 and r.parts.parts["inputs of cells"].backward_ms > 0)
    T.truthy(r.parts.parts["sums of nodes"].floor.far > 0)
    T.truthy(r.network.contestants[1].train_ms > 0)
    T.equal({ #r.by_batch, #r.scaling, #r.operations }, { 5, 1, 3 })
    T.truthy(r.operations[1].roofline.sep_conv_3x3.backward_ms > 0)
    T.truthy(r.operations[1].measured.sep_conv_3x3[1].backward_ms > 0)
    T.truthy(r.controller.both_ms > 0)
    T.truthy(r.loader.images_per_second.one > 0 and r.loader.wait_ms >= 0)
    T.truthy(r.peak.gflops.one > 0)
  end)

  T.it("of threads shows beside them what programs that share nothing reach", function()
    local status, out, err = T.run { here .. "/bench/run.lua", "--only", "scaling", "--json", "--threads", "2",
      "--batch", "4", "--steps", "1", "--channels", "4", "--layers", "3", "--peer=", seconds = 300 }
    T.equal(status, 0, err)
    local r = cnas.json.decode(out)
    T.equal({ #r.scaling, #r.apart, r.apart[2].programs, r.apart[2].batch }, { 2, 2, 2, 2 })
    T.truthy(r.apart[1].train_ms > 0 and r.apart[2].forward_ms > 0)
  end)

  T.it("of processes reports one and two of them", function()
    if T.shell("command -v mpirun") ~= 0 then T.skip("no mpirun") end
    if not cnas.dist.mpi then T.skip("this build has no MPI") end
    local status, out, err = T.run { here .. "/bench/processes.lua", "--json", "--batch", "2", "--steps", "2",
      "--channels", "4", "--layers", "3", "--network-channels", "4", "--network-layers", "3", "--network-steps", "1",
      env = { OMPI_ALLOW_RUN_AS_ROOT = 1, OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1, OMPI_MCA_rmaps_base_oversubscribe = 1,
              OMPI_MCA_hwloc_base_binding_policy = "none", ASAN_OPTIONS = "detect_leaks=0" } }
    T.equal(status, 0, err)
    local rows = cnas.json.decode(out).rows
    T.equal({ rows[1].processes, rows[2].processes, rows[3].processes }, { 1, 2, 1 })
    T.equal({ rows[1].threads, rows[2].threads, rows[3].threads }, { 1, 1, 2 })
    T.truthy(rows[2].supernet.images_per_second > 0 and rows[2].network.step_ms > 0)
  end)

  T.it("refuses a section that is not there", function()
    local status, _, err = T.run { here .. "/bench/run.lua", "--only", "everything" }
    T.equal(status, 2)
    T.contains(err, "expected some of supernet")
  end)
end)

T.describe("floor", function()
  local space = cnas.space.darts()

  T.it("counts the multiply-adds of a path as the supernet does", function()
    local net = cnas.supernet { space = space, channels = 4, layers = 5, nodes = 4, classes = 10,
                                rng = cnas.rng(1, "weights") }
    local rng = cnas.rng(1, "paths")
    for _ = 1, 20 do
      local path = bench.random_path(space, 4, rng)
      local work = floor.network { batch = 2, size = 32, channels = 4, layers = 5, arch = path, supernet = true }
      T.equal(floor.of(peak, work).forward.macs, 2 * net:cost(path).conv_macs)
    end
  end)

  T.it("counts those of an evaluation network", function()
    local work = floor.network { batch = 1, size = 32, channels = 36, layers = 20, arch = cnas.genotype.named "CNAS" }
    T.equal(floor.of(peak, work).forward.macs, cnas.cost.network { genotype = "CNAS" }.conv_macs)
  end)

  T.it("takes the slowest of compute and memory", function()
    local items = { { macs = 1e6, near = 100, far = 50 }, { macs = 0, near = 2^20, far = 0 },
                    { macs = 1, near = 2^24, far = 2^20 } }
    local sum = floor.milliseconds(peak, items)
    T.near(sum.total, 2.0 + 2^20 / 100e6 + 2^24 / 10e6, 1e-12)
    T.near(floor.milliseconds(peak, items, 2^30).far, (50 + 2^20) / 10e6, 1e-12)
  end)

  T.it("moves a block's tensors once", function()
    local work = floor.operation("dil_conv_3x3", tiny)
    local bytes = 4 * 2 * 32 * 32 * 4
    T.equal(work.forward[1].near, 2 * bytes)   -- x in, z out
    T.equal(work.backward[1].near, 4 * bytes)  -- gradient, z and x in, gradient out
    T.equal(work.kept, bytes)                  -- z; x was kept by who made it
  end)
end)
