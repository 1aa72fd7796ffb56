-- custom_kernel.lua - kernels of your own in CUDA C, as an operation with its gradient.
--
--   cnas examples/custom_kernel.lua
--
-- cnas.kernel compiles a text for the GPU that is there (NVRTC of the CUDA toolkit does it, when the kernel is made)
-- and gives something to call with tensors. Here: swish, x * sigmoid(x), whose forward and backward pass over memory
-- once each, where the same in tensor operations does so for every one of them. Which elements a kernel reads and
-- writes nobody checks: that is yours to get right.

local cnas = require "cnas"

if not pcall(cnas.zeros, 1, { device = "cuda" }) then
  print "no GPU here: nothing to show"
  return
end

local source = [[
__device__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }

extern "C" __global__ void swish(float *y, const float *x, int64_t n) {
  int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i] * sigmoid(x[i]);
}

extern "C" __global__ void swish_gradient(float *gx, const float *gy, const float *x, int64_t n) {
  int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float s = sigmoid(x[i]);
  gx[i] = gy[i] * s * (1 + x[i] * (1 - s));
}
]]

local made, forward = pcall(cnas.kernel, { source = source, file = "swish.cu", name = "swish" })
if not made then
  print(forward) -- there is a GPU, but no NVRTC
  return
end
local backward = cnas.kernel { source = source, file = "swish.cu", name = "swish_gradient" }
print(forward)
print(backward)

local swish = cnas.op {
  name = "swish",
  forward = function(ctx, x)
    ctx.x = x:contiguous()
    local y = cnas.empty(x:shape(), { device = x.device })
    forward { y, ctx.x, x:count(), threads = x:count() }
    return y
  end,
  backward = function(ctx, gy)
    local gx, n = cnas.empty(gy:shape(), { device = gy.device }), gy:count()
    backward { gx, gy:contiguous(), ctx.x, n, threads = n }
    return gx
  end,
}

-- The same in tensor operations, and how far the two are from each other.
local function plain(x) return x * x:sigmoid() end

local function run(f)
  local x = cnas.randn(64, 28, 28, 3, { rng = cnas.rng(1, "x") }):to("cuda"):requires_grad_(true)
  local y = f(x)
  ;(y * y):sum():backward()
  return y:detach():to "cpu", x.grad:to "cpu"
end
local ours, our_gradient = run(swish)
local theirs, their_gradient = run(plain)
local function distance(a, b) return (a - b):squared_norm():item() ^ 0.5 / b:squared_norm():item() ^ 0.5 end
print(("forward: off by %.1e of its norm, gradient: %.1e"):format(distance(ours, theirs),
                                                                  distance(our_gradient, their_gradient)))
assert(distance(ours, theirs) < 1e-6 and distance(our_gradient, their_gradient) < 1e-6)

-- What ran, and for how long.
for _, kernel in ipairs(cnas.kernel.list(function() run(swish) end)) do
  if kernel.seconds and kernel.file then
    print(("%-14s %s registers, occupancy %s, %.1f us"):format(kernel.name, kernel.registers or "unknown",
      kernel.occupancy or "unknown", 1e6 * kernel.seconds / kernel.timed))
  end
end
