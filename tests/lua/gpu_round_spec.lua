-- tests/gpu/run, the round on a machine with a GPU, rehearsed: the CPU plays the GPU, scripts play NVIDIA's tools and
-- PyTorch. What the round says is checked here, how fast anything is there.

local cnas = require "cnas"
local T = require "spec"

local here = arg[0]:match "^(.*)/lua/[^/]*$" or "tests"
package.path = ("%s/gpu/?.lua;%s/bench/?.lua;"):format(here, here) .. package.path

local module = T.program:match "^(.*)/" .. "/tests/libcnas_simt.so"
local playable = cnas.file.exists(module) == "file"

-- The round with these words behind it and this environment: exit status, its report, what it printed.
local function round(words, environment)
  local folder, set = T.folder(), { PROGRAM = T.program, PEER = "", CNAS_CUDA_MODULE = module }
  for key, value in pairs(environment or {}) do set[key] = value end
  local front = {}
  for key, value in pairs(set) do front[#front + 1] = key .. "=" .. T.quote(value) end
  local status, out, err = T.shell(("%s timeout -k 5 300 %s/gpu/run --rehearse --out %s %s"):format(
                                   table.concat(front, " "), here, folder, words))
  local written = cnas.file.exists(folder .. "/round.json")
  return status, written and cnas.json.decode(T.read(folder .. "/round.json")), out, err
end

local function part(report, name)
  for _, one in ipairs(report.parts) do if one.name == name then return one end end
end

-- A Python with a PyTorch that needs a second for every step.
local function python(parameters)
  local path = T.write(T.folder() .. "/python", ([==[#!/bin/sh
case $3 in
  paths) echo '{"torch": "0", "paths": [{"normal": [["max_pool_3x3", 0, 2], ["none", 1, 2], ["none", 0, 3],
    ["none", 1, 3], ["none", 0, 4], ["none", 1, 4], ["none", 0, 5], ["none", 1, 5]], "reduction": [["none", 0, 2],
    ["none", 1, 2], ["none", 0, 3], ["none", 1, 3], ["none", 0, 4], ["none", 1, 4], ["none", 0, 5],
    ["skip_connect", 1, 5]]}]}' ;;
  *) case "$*" in *nchw*) echo "no such layout" >&2; exit 3 ;; esac
     echo '{"torch": "0", "parameters": %d, "train_ms": {"median": 1e6}, "forward_ms": {"median": 5e5}}' ;;
esac
]==]):format(parameters))
  os.execute("chmod +x " .. T.quote(path))
  return path
end

T.describe("the round on a GPU", function()
  T.before(function()
    if not playable then T.skip "this build has no module in which the CPU plays the GPU" end
  end)

  T.it("measures, compares, projects, and tells", function()
    if os.getenv "ASAN_OPTIONS" then T.skip "minutes under the address sanitizer" end
    local net = cnas.supernet { space = cnas.space.darts(), channels = 4, layers = 3, nodes = 4, classes = 10,
                                rng = cnas.rng(1, "weights") }
    local status, report, out, err = round("--only memcheck,supernet,controller,busy,kernels,schedule",
                                           { PEER = "peer.py", PEER_PYTHON = python(net:count()) })
    T.equal(status, 0, out .. err)
    T.equal({ report.passed, report.rehearsal }, { true, true })
    for _, one in ipairs(report.parts) do T.equal(one.verdict, "passed", one.name) end
    T.equal(part(report, "memcheck").results.clean, 2)
    T.equal(part(report, "busy").results.percent, 50)
    T.equal(part(report, "kernels").results.kernels[1].count, 2)
    local supernet = part(report, "supernet").results
    local ours = supernet.contestants[1]
    T.truthy(ours.train_launches > ours.forward_launches and ours.forward_launches > 10)
    T.equal(#supernet.contestants, 8) -- ours in two precisions, the peer in three and two layouts
    T.equal(#supernet.against, 3)
    T.equal({ supernet.against[1].peer, supernet.against[1].equal }, { "PyTorch f32 nhwc", true })
    T.near(supernet.against[1].train, 1e6 / ours.train_ms)
    T.contains(supernet.contestants[4].failed, "no such layout")
    local projected = part(report, "schedule").results[1]
    T.near(projected.derive_seconds, 25200 * ours.forward_stream_ms * 1e-3, 1e-3)
    T.contains(out, "all passed")
    T.contains(out, "times faster than PyTorch, bf16")
  end)

  T.it("goes on where a part fails, and has then failed", function()
    if os.getenv "ASAN_OPTIONS" then T.skip "minutes under the address sanitizer" end
    local status, report, out = round("--only supernet,controller", { PEER = "peer.py", PEER_PYTHON = python(3) })
    T.equal(status, 1)
    T.equal({ part(report, "supernet").verdict, part(report, "controller").verdict }, { "FAILED", "passed" })
    T.contains(part(report, "supernet").why, "not the same work")
    T.contains(out, "NOT ALL PASSED")
  end)

  T.it("without a GPU says why, and runs nothing", function()
    local none = T.write(T.folder() .. "/none.so", "")
    local status, report = round("--only specs,controller", { CNAS_CUDA_MODULE = none })
    T.equal(status, 1)
    T.equal({ report.parts[1].name, report.parts[1].verdict, #report.parts }, { "device", "FAILED", 3 })
    T.contains(report.parts[1].why, "none.so")
    for i = 2, 3 do T.equal(report.parts[i].verdict, "not run") end
  end)

  T.it("begins nothing that would not end in time", function()
    local status, report = round("--seconds 1 --only controller")
    T.equal(status, 1)
    for _, one in ipairs(report.parts) do T.equal(one.verdict, "not run") end
  end)

  T.it("refuses a part that is not there, and a program that is not", function()
    local status, _, _, err = round "--only everything"
    T.equal(status, 2)
    T.contains(err, "expected some of device, specs")
    status, _, _, err = round("", { PROGRAM = "/nowhere/cnas" })
    T.equal(status, 2)
    T.contains(err, "no program /nowhere/cnas")
  end)

  T.it("reads what ptxas says", function()
    local folder = T.folder()
    local function kernel(name, gpu, stack, spilled, registers)
      return ("ptxas info    : Compiling entry function '%s' for '%s'\nptxas info    : Function properties for %s\n"
        .. "    %d bytes stack frame, %d bytes spill stores, %d bytes spill loads\n"
        .. "ptxas info    : Used %d registers, used 1 barriers, 96 bytes smem\nptxas info    : Compile time = 1 ms\n"
        ):format(name, gpu, name, stack, spilled, spilled, registers)
    end
    T.write(folder .. "/usage", kernel("void a<(anonymous namespace)::Of<float, 4> >(long, float*)", "sm_80", 8, 8, 40)
      .. kernel("void a<double>(long, double*)", "sm_80", 0, 0, 24) .. kernel("void b(int)", "sm_90", 16, 0, 30)
      .. kernel("void b(int)", "sm_90", 16, 0, 30))
    local status, out, err = T.run { here .. "/gpu/registers.lua", folder .. "/usage", folder .. "/out", "2048" }
    T.equal({ status, err }, { 0, "" })
    local report = T.read(folder .. "/out")
    T.equal(out, report)
    for _, text in ipairs { "has 2 KiB", "sm_80          2               40            1            0",
                            "sm_90          1               30            0            1",
                            "a<Of<float, 4>>\n      sm_80 8+8, 40", "b\n      sm_90 16", "24-40         -      96" } do
      T.contains(report, text)
    end
  end)

  T.it("reads what ncu writes", function()
    local list, total = require "ncu".read(table.concat({
      '"ID","Kernel Name","dram__bytes.sum","gpu__time_duration.sum"', '"","","byte","ns"',
      '"0","void <unnamed>::a<float, (int)3>(long, T1 *)","3,000,000","1,500,000"', '"1","b(int)","10","500000"',
      '"2","void <unnamed>::a<float, (int)3>(long, T1 *)","3000000","1500000"' }, "\n"))
    T.equal(list, { { name = "a<float, 3>", count = 2, ms = 3.0, share = 0.857, gb_per_second = 2.0 },
                    { name = "b", count = 1, ms = 0.5, share = 0.143, gb_per_second = 0.0 } })
    T.equal({ total.count, total.ms }, { 3, 3.5 })
  end)
end)
