-- Kernels that users write in CUDA C: compiled, checked against their parameters, launched, part of a gradient; and the
-- list of all kernels.
--
-- Without a GPU, run.lua gives this spec the module of tests/simt, in which the CPU plays the GPU, and its compiler
-- NVRTC; then all is done again with lanes, warps and blocks in reversed order, and with work put off until it is
-- waited for. Messages of the real NVRTC are looked at where there is one, which needs no GPU.

local cnas = require "cnas"
local T = require "spec"

local usable, why = pcall(cnas.zeros, 1, { device = "cuda" })
if not usable then
  T.it("kernels of users", function() T.skip(tostring(why)) end)
  return
end

-- What is said about wrong texts, by this compiler or another.
local function wrong_texts()
  local wrong = "// one\n__global__ void k(float *x) {\n  x[0] = nowhere(1);\n}\n"
  local e = tostring(T.raises("kernel 'k' does not compile", cnas.kernel,
                              { name = "k", source = wrong, file = "my own.cu" }))
  T.truthy(e:find "my own%.cu[(:]3", e)
  T.contains(e, "nowhere")
  e = tostring(T.raises("kernel 'k' does not compile", cnas.kernel, { name = "k", source = wrong }))
  T.truthy(e:find "k%.cu[(:]3", e)
  T.raises("kernel 'other': k.cu has no __global__ function of this name", cnas.kernel,
           { name = "other", file = "k.cu", source = "__global__ void k() {}" })
  T.raises("k.cu has no __global__ function of this name, or several; of a template", cnas.kernel,
           { name = "k", file = "k.cu", source = "template <class T> __global__ void k(T *x) {}" })
  local lines = {}
  for i = 1, 50 do lines[i] = ("  name_that_nobody_declared_%d = 1;"):format(i) end
  local many = "__global__ void k() {\n" .. table.concat(lines, "\n") .. "\n}\n"
  e = tostring(T.raises("does not compile", cnas.kernel, { name = "k", source = many, file = "many.cu" }))
  T.truthy(#e < 1000 and e:find "many%.cu[(:]2" and e:find "…", e)
end

if os.getenv "CNAS_SPEC_NVRTC" then -- this process has the real NVRTC, whose code the CPU cannot run
  T.it("a wrong text", wrong_texts)
  T.it("a right text", function()
    T.raises("kernel 'k': cuda: loading it: no kernel image", cnas.kernel,
             { name = "k", source = "__global__ void k(float *x, int64_t n) {}" })
    T.raises("cuda: loading it: no kernel image", cnas.kernel, -- with headers of the toolkit
             { name = "k", source = "#include <cuda_bf16.h>\n__global__ void k(__nv_bfloat16 *x, float4 *y) {}" })
    T.raises("parameter 2 is of type int%*", cnas.kernel,
             { name = "k<float>", source = "template <class T> __global__ void k(T *x, int *n) {}" })
  end)
  return
end

local simt = (os.getenv "CNAS_CUDA_MODULE" or ""):find("simt", 1, true)
local compiles, reason = pcall(cnas.kernel, { name = "k", source = "__global__ void k() {}" })
if not compiles then
  T.it("kernels of users", function() T.skip(tostring(reason)) end)
  return
end

local again = os.getenv "CNAS_SPEC_ORDER" ~= nil -- this process runs in another order, at the wish of one that has all

-- A group that launches nothing, or nothing that order could change.
local function describe_once(name, body) if not again then T.describe(name, body) end end

local function on_gpu(values, dtype) return cnas.tensor(values, { dtype = dtype, device = "cuda" }) end
local function empty(...) return cnas.empty({ ... }, { device = "cuda" }) end

local axpy = [[
extern "C" __global__ void axpy(float *y, const float *x, float a, long long n) {
  long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] += a * x[i];
}
]]
local function make_axpy() return cnas.kernel { source = axpy, name = "axpy", file = "axpy.cu" } end

T.describe("a user's kernel", function()
  T.it("runs on tensors, in the order of what else the GPU was asked for", function()
    local k, n = make_axpy(), 1000
    local x = cnas.arange(n, { dtype = "f32" }):to "cuda"
    local y = cnas.zeros(n, { device = "cuda" })
    y:fill_(1)
    k(4, 256, y, x, 2, n)
    local z = y + y
    k({ 8, 1, 1 }, { 128 }, y, x, -2.0, n)
    k { y, x, 0.5, n, threads = n }
    k { y, x, 0.5, n, grid = 16, block = { 32 }, shared = 64 } -- the first 512
    local doubled, back = z:to "cpu":totable(), y:to "cpu":totable()
    for i = 1, n do
      T.equal(doubled[i], 2 * (1 + 2 * (i - 1)))
      T.equal(back[i], 1 + (i <= 512 and 1 or 0.5) * (i - 1))
    end
  end)

  T.it("takes every type of number, and of tensors", function()
    local k = cnas.kernel { name = "all", source = [[
      __global__ void all(double *out, const float *f, const double *d, const long long *i, const unsigned char *u,
                          const unsigned short *h, void *any, bool yes, char c, short s, int w, unsigned v, int64_t l,
                          uint64_t m, float x, double z, uint8_t b) {
        double a[] = { f[0], d[0], (double)i[0], (double)u[0], (double)h[0], (double)(any != 0), (double)yes, (double)c,
                       (double)s, (double)w, (double)v, (double)l, (double)m, x, z, (double)b };
        for (int k = 0; k < 16; k++) out[k] = a[k];
      } ]] }
    local out = cnas.empty(16, { dtype = "f64", device = "cuda" })
    k(1, 1, out, on_gpu { 1.5 }, on_gpu({ 2.5 }, "f64"), on_gpu({ 1 << 40 }, "i64"), on_gpu({ 200 }, "u8"),
      on_gpu({ 1.0 }, "bf16"), out, true, -100, -30000, -2000000000, 4000000000, -(1 << 50), 1 << 50, 0.25, 0.1, 255)
    T.equal(out:to "cpu":totable(), { 1.5, 2.5, 2.0 ^ 40, 200.0, 0x3f80 + 0.0, 1.0, 1.0, -100.0, -30000.0, -2e9, 4e9,
                                      -2.0 ^ 50, 2.0 ^ 50, 0.25, 0.1, 255.0 })
    local types = k:facts().parameters
    T.equal({ table.unpack(types, 1, 12) }, { "double *out", "const float *f", "const double *d", "const long long *i",
      "const unsigned char *u", "const unsigned short *h", "void *any", "bool yes", "char c", "short s", "int w",
      "unsigned int v" })
    T.equal({ types[13]:match "^long", types[14]:match "^unsigned long", types[15], types[17], #types },
            { "long", "unsigned long", "float x", "unsigned char b", 17 })
  end)

  T.it("can be an instance of a template, share memory and wait at barriers", function()
    local source = [[
      // Each block turns its part round.
      template <class T> __global__ void turn(T *y, const T *x) {
        extern __shared__ T part[];
        __shared__ int block;
        if (threadIdx.x == 0) block = blockIdx.x;
        part[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
        __syncthreads();
        y[block * blockDim.x + threadIdx.x] = part[blockDim.x - 1 - threadIdx.x];
      } ]]
    for _, is in ipairs { { "float", "f32", 4 }, { "double", "f64", 8 } } do
      local k = cnas.kernel { source = source, name = "turn<" .. is[1] .. ">" }
      local x = cnas.arange(96, { dtype = is[2] }):to "cuda"
      local y = cnas.empty(96, { dtype = is[2], device = "cuda" })
      k { y, x, grid = 3, block = 32, shared = 32 * is[3] }
      local got = y:to "cpu":totable()
      for i = 0, 95 do T.equal(got[i + 1], i // 32 * 32 + 31 - i % 32 + 0.0) end
    end
  end)

  T.it("may have more than 48 KiB of shared memory", function()
    local k = cnas.kernel { name = "far", source = [[
      __global__ void far(float *y, int n) {
        extern __shared__ float all[];
        all[n - 1] = 7;
        y[0] = all[n - 1];
      } ]] }
    local y = empty(1)
    k { y, 15360, grid = 1, block = 1, shared = 61440 }
    T.equal(y:item(), 7)
    T.raises("kernel 'far': cuda: launching 1 x 1 x 1 blocks of 1 x 1 x 1 threads with 104857600 bytes",
             k, { y, 1, grid = 1, block = 1, shared = 100 << 20 })
  end)

  T.it("shows its parameters with their names, where it says them plainly", function()
    local function shown(parameters, more)
      return tostring(cnas.kernel { name = "k", source = (more or "") .. "__global__ void k(" .. parameters .. ") {}" })
    end
    T.equal(shown "float *y,\n  const float *__restrict__ x, unsigned int n",
            "cnas.Kernel: k(float *y, const float *x, unsigned int n)")
    T.equal(shown("float *y, int n", "// k(y, n) does nothing, and so does not_k(y, n)\n#define K k (1, 2)\n"),
            "cnas.Kernel: k(float *y, int n)")
    T.equal(shown "float *, unsigned int", "cnas.Kernel: k(float *, unsigned int)")
    T.equal(shown "float *y, unsigned int", "cnas.Kernel: k(float *, unsigned int)")
    T.equal(shown("LIST", "#define LIST float *y, int n\n"), "cnas.Kernel: k(float *, int)")
    T.equal(shown "", "cnas.Kernel: k()")
  end)

  T.it("launches nothing for no blocks", function()
    local k, y = make_axpy(), cnas.ones(3, { device = "cuda" })
    k(0, 256, y, y, 1, 3)
    k { y, y, 1, 3, threads = 0 }
    T.equal(y:to "cpu":totable(), { 1.0, 1.0, 1.0 })
  end)

  T.it("is compiled once", function()
    local before = cnas.clock()
    for _ = 1, 100 do make_axpy() end
    T.truthy(cnas.clock() - before < 1, "a hundred times the same text")
    local k = make_axpy()
    local y = cnas.ones(3, { device = "cuda" })
    k(1, 32, y, y, 1, 3)
    T.truthy(make_axpy():facts().launches >= 1)
    T.equal(tostring(k), "cnas.Kernel: axpy(float *y, const float *x, float a, long long n)")
  end)

  T.it("can come from a file, with headers beside it, and have macros", function()
    local folder = T.folder()
    cnas.file.write(folder .. "/three.h", "__device__ float three() { return 3 * FACTOR; }\n")
    cnas.file.write(folder .. "/fill.cu",
                    '#include "three.h"\n__global__ void fill(float *y) { *y = three(); }\n')
    local y = empty(1)
    for factor = 1, 2 do
      cnas.kernel { file = folder .. "/fill.cu", name = "fill", options = { "-DFACTOR=" .. factor } }(1, 1, y)
      T.equal(y:item(), 3.0 * factor)
    end
    T.raises("nothing.cu", cnas.kernel, { file = folder .. "/nothing.cu", name = "fill" })
  end)

  T.it("counts as a write to its tensors", function()
    local k = make_axpy()
    local x = cnas.ones(3, { device = "cuda" }):requires_grad_(true)
    local y = cnas.ones(3, { device = "cuda" })
    local loss = (x * y):sum()
    k(1, 32, y, y:clone(), 1, 3)
    T.raises("of mul was written in place after it was used", loss.backward, loss)
    T.raises("argument 2 %(const float %*x%) takes part in a gradient", k, 1, 32, y, x, 1, 3)
    cnas.no_grad(k, 1, 32, y, x, 1, 3)
    T.equal(y:to "cpu":totable(), { 3.0, 3.0, 3.0 })
  end)
end)

describe_once("a user's kernel refuses", function()
  local k, y, x = make_axpy(), cnas.ones(4, { device = "cuda" }), cnas.ones(4, { device = "cuda" })
  local function no(message, ...) T.raises("kernel 'axpy'.* " .. message, k, ...) end

  T.it("arguments that are not its parameters'", function()
    no("takes 4 arguments %(float %*y, const float %*x, float a, long long n%), got 3", 1, 32, y, x, 1)
    no("takes 4 arguments .*, got 5", { y, x, 1, 4, 4, threads = 4 })
    no("argument 1 %(float %*y%) must be a tensor, got number", 1, 32, 1, x, 1, 4)
    no("argument 2 %(const float %*x%) must be a tensor, got nil", 1, 32, y, nil, 1, 4)
    no("argument 2 %(const float %*x%) must be f32, got i64", 1, 32, y, x:to "i64", 1, 4)
    no("argument 2 %(const float %*x%) is on the CPU: take it to the GPU", 1, 32, y, x:to "cpu", 1, 4)
    local turned = cnas.ones(4, 4, { device = "cuda" }):transpose(1, 2)
    no("argument 1 %(float %*y%) must be contiguous", 1, 32, turned, x, 1, 4)
    no("argument 3 %(float a%) must be a number, got cnas.Tensor", 1, 32, y, x, y, 4)
    no("argument 3 %(float a%) must be a number, got string", 1, 32, y, x, "1", 4)
    no("argument 4 %(long long n%) must be a whole number, got 0.5", 1, 32, y, x, 1, 0.5)
    if #cnas.devices() > 1 and cnas.devices()[2].count > 1 then
      no("argument 2 %(const float %*x%) is on cuda:1, the tensors in front of it are on cuda:0", 1, 32, y,
         x:to "cuda:1", 1, 4)
    end
  end)

  T.it("numbers that do not fit", function()
    local narrow = cnas.kernel { name = "narrow", source = [[
      __global__ void narrow(int a, unsigned char b, bool c) {} ]] }
    narrow(1, 1, -2147483648, 255, 1)
    T.raises("argument 1 %(int a%) must be from %-2147483648 to 2147483647, got 2147483648", narrow, 1, 1, 1 << 31, 0,
             0)
    T.raises("argument 2 %(unsigned char b%) must be from 0 to 255, got %-1", narrow, 1, 1, 0, -1, true)
    T.raises("argument 3 %(bool c%) must be from 0 to 1, got 2", narrow, 1, 1, 0, 0, 2)
    T.raises("argument 1 %(int a%) must be a whole number, got true", narrow, 1, 1, true, 0, true)
  end)

  T.it("launches that no GPU makes", function()
    no("launch it as k%(grid, block, arguments…%)", 1)
    no("a block has at most 1024 threads", 1, 1025, y, x, 1, 4)
    no("a block has at most 1024 threads", 1, { 32, 8, 8 }, y, x, 1, 4)
    no("block is 0, but must be from 1", 1, 0, y, x, 1, 4)
    no("grid is %-1, but must be from 0 to 2147483647", -1, 32, y, x, 1, 4)
    no("grid is 65536, but must be from 0 to 65535", { 1, 65536 }, 32, y, x, 1, 4)
    no("grid must be a whole number or {x, y, z} of them, got 1.5", 1.5, 32, y, x, 1, 4)
    no("give either 'threads' or 'grid'", { y, x, 1, 4 })
    no("give either 'threads' or 'grid'", { y, x, 1, 4, threads = 4, grid = 1 })
    no("'threads' is for blocks of one dimension", { y, x, 1, 4, threads = 4, block = { 8, 8 } })
    T.raises("kernel: unknown option 'gird' %(did you mean 'grid'%?%)", k, { y, x, 1, 4, gird = 1 })
  end)
end)

describe_once("making a kernel", function()
  T.it("needs a text and a name", function()
    T.raises("kernel: option 'name' is missing", cnas.kernel, { source = "" })
    T.raises("kernel: give the text as 'source', or its 'file'", cnas.kernel, { name = "k" })
    T.raises("a byte 0", cnas.kernel, { name = "k", source = "\0" })
    T.raises("option 'device' must be a GPU", cnas.kernel, { name = "k", source = "", device = "cpu" })
    T.raises("entry 2 of option 'options' must be a string, got number", cnas.kernel,
             { name = "k", source = "", options = { "-w", 2 } })
    T.raises("unknown option 'nmae' %(did you mean 'name'%?%)", cnas.kernel, { nmae = "k", source = "" })
  end)

  T.it("says which parameters no tensor fits", function()
    T.raises("parameter 1 is of type int%*, but no tensor has such elements", cnas.kernel,
             { name = "k", source = "__global__ void k(int *x) {}" })
    T.raises("parameter 2 is of type float%*%*: a kernel can be given numbers, and pointers to the elements",
             cnas.kernel, { name = "k", source = "__global__ void k(float *x, float **y) {}" })
    T.raises("parameter 1 is of type Pair: a kernel can be given", cnas.kernel,
             { name = "k", source = "struct Pair { int a, b; };\n__global__ void k(Pair p) {}" })
  end)

  T.it("says an unknown option of the compiler", function()
    T.raises("unrecognized option %-%-bogus", cnas.kernel,
             { name = "k", source = "__global__ void k() {}", options = { "--bogus" } })
  end)
end)

describe_once("a text that does not compile", function()
  T.it("is an error with the lines of the text", wrong_texts)

  T.it("is one with NVRTC itself, where it is", function()
    if os.getenv "CNAS_NVRTC" then T.skip "CNAS_NVRTC names the compiler" end
    if not simt then T.skip "this is a GPU: NVRTC is what compiled" end
    local found
    for _, name in ipairs { "CUDA_PATH", "CUDA_HOME", "" } do
      for _, version in ipairs { 13, 12 } do
        local folder = name == "" and "/usr/local/cuda" or os.getenv(name)
        local path = folder and ("%s/lib64/libnvrtc.so.%d"):format(folder, version)
        if path and cnas.file.exists(path) and not found then found = path end
      end
    end
    if not found then T.skip "no NVRTC on this machine" end
    local status, out, err = T.run { arg[0], arg[#arg], seconds = 120,
                                     env = { CNAS_NVRTC = found, CNAS_SPEC_NVRTC = "1" } }
    T.equal(status, 0, out .. err)
  end)

  T.it("or a compiler that is not there, is one line", function()
    if not simt then T.skip "this is a GPU with its compiler" end
    local status, _, err = T.run { "-e", 'require "cnas".kernel { name = "k", source = "" }', seconds = 60,
                                   env = { CNAS_NVRTC = "/nowhere/libnvrtc.so" } }
    T.equal(status, 1)
    T.contains(err, "kernel 'k': no compiler: CNAS_NVRTC: /nowhere/libnvrtc.so")
  end)
end)

T.describe("an operation of kernels", function()
  local source = [[
    __device__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }
    __global__ void forward(float *y, const float *x, int64_t n) {
      int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
      if (i < n) y[i] = x[i] * sigmoid(x[i]);
    }
    __global__ void backward(float *gx, const float *gy, const float *x, int64_t n) {
      int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
      if (i >= n) return;
      float s = sigmoid(x[i]);
      gx[i] = gy[i] * s * (1 + x[i] * (1 - s));
    } ]]

  T.it("gives what the same in tensor operations does, with its gradient", function()
    local forward = cnas.kernel { source = source, name = "forward", file = "swish.cu" }
    local backward = cnas.kernel { source = source, name = "backward", file = "swish.cu" }
    local swish = cnas.op {
      name = "swish",
      forward = function(ctx, x)
        ctx.x = x
        local y = empty(table.unpack(x:shape()))
        forward { y, x, x:count(), threads = x:count() }
        return y
      end,
      backward = function(ctx, gy)
        local gx = empty(table.unpack(gy:shape()))
        backward { gx, gy:contiguous(), ctx.x, gy:count(), threads = gy:count() }
        return gx
      end,
    }
    local function run(f)
      local x = cnas.randn(5, 7, 11, { rng = cnas.rng(1, "x") }):to("cuda"):requires_grad_(true)
      local y = f(x * 1.5)
      ;(y * y):sum():backward()
      return y:detach():to "cpu", x.grad:to "cpu"
    end
    local y, gx = run(swish)
    local expected, expected_gradient = run(function(x) return x * x:sigmoid() end)
    T.near(y, expected, 1e-6)
    T.near(gx, expected_gradient, 1e-6)
  end)

  T.it("is the example", function()
    if again then T.skip "it was run" end
    local status, out, err = T.run { cnas.home .. "/examples/custom_kernel.lua", seconds = 300 }
    T.equal(status, 0, err)
    T.contains(out, "cnas.Kernel: swish(float *y, const float *x, long")
    T.truthy(out:find "forward: off by %d%.%de[+-]%d+ of its norm", out)
    T.truthy(out:find "swish_gradient +%w+ registers", out)
  end)
end)

describe_once("README.md", function()
  T.it("shows a kernel that runs", function()
    local code = T.read(cnas.home .. "/README.md"):match "```lua\n(local twice = cnas.kernel.-)```"
    local printed = {}
    local names = { cnas = cnas, print = function(v) printed[#printed + 1] = v end }
    assert(load(code, "=README.md", "t", setmetatable(names, { __index = _G })))()
    T.equal(printed, { tonumber(code:match "%-%- ([%d.]+)\n$") })
  end)
end)

T.describe("the list of kernels", function()
  local function find(list, name)
    for _, entry in ipairs(list) do if entry.name == name then return entry end end
  end

  T.it("has those of the module that ran, and those of users, with times of what a function launches", function()
    local k = make_axpy()
    local x, y = cnas.ones(64, 64, { device = "cuda" }), cnas.ones(64 * 64, { device = "cuda" })
    local before = find(cnas.kernel.list(), "axpy") or { launches = 0 }
    local list = cnas.kernel.list(function()
      x:softmax(-1)
      for _ = 1, 3 do k { y, y, 0.5, 4096, threads = 4096, block = 128 } end
    end)
    local own, softmax = find(list, "axpy"), nil
    for _, entry in ipairs(list) do
      if entry.row == "softmax" and entry.timed then softmax = entry end
      T.truthy(entry.name, "a kernel without a name")
      T.truthy(not entry.name:find "anonymous" and not entry.name:find "^void", entry.name)
    end
    T.equal({ own.timed, own.block, own.file, own.launches - before.launches, own.row }, { 3, 128, "axpy.cu", 3 })
    T.truthy(own.seconds > 0 and own.seconds < 10)
    T.truthy(softmax, "no kernel of softmax was timed")
    T.truthy(softmax.timed >= 1 and softmax.seconds > 0 and softmax.launches >= 1)
    T.equal(find(cnas.kernel.list(function() end), "axpy").timed, nil)
    if simt then
      T.equal({ own.registers, own.occupancy, own.shared_memory }, {})
    else
      T.truthy(own.registers > 0 and own.occupancy > 0 and own.occupancy <= 1 and own.local_memory == 0)
    end
  end)

  T.it("goes on when the function fails", function()
    T.raises("stop here", cnas.kernel.list, function() error "stop here" end)
    T.truthy(#cnas.kernel.list() > 0)
  end)

  T.it("leaves launches as they are: in any order the same", function()
    if not simt then T.skip "this is a GPU" end
    if again then T.skip "this is that other process" end
    for _, order in ipairs { "reversed", "lazy" } do
      local status, out, err = T.run { arg[0], arg[#arg], seconds = 600,
                                       env = { CNAS_SIMT = order, CNAS_SPEC_ORDER = "1" } }
      T.equal(status, 0, (out .. err):sub(1, 3000))
    end
  end)
end)
