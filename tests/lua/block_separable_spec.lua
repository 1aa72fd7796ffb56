-- Row separable_block against the rows that it joins, each applied on its own, in f64 and f32: outputs, statistics and
-- all gradients, at each instruction set, with one to three threads to the same bits.

local cnas = require "cnas"
local T = require "spec"

-- Relative distance of two tensors in the 2-norm.
local function distance(a, b)
  local norm = b:squared_norm():item()
  return ((a - b):squared_norm():item() / math.max(norm, 1e-30)) ^ 0.5
end

-- Random inputs of one case.
local function inputs_of(case, dtype)
  local rng, kernel = cnas.rng(3, "separable " .. case.name), case.kernel
  local function random(...) return cnas.randn({ ... }, { rng = rng, dtype = dtype }) end
  local inputs = {
    x = random(case.batch or 2, case.height, case.width, case.channels),
    depthwise = random(kernel, case.kernel_width or kernel, 1, case.channels),
    pointwise = random(1, 1, case.channels, case.out or case.channels),
  }
  if case.factors ~= false then
    inputs.scale = random(case.channels)
    inputs.shift = random(case.channels)
  end
  for _, input in pairs(inputs) do input.requires_grad = true end
  return inputs
end

local function attributes(case)
  local pad = case.padding or (case.kernel - 1) // 2 * (case.dilation or 1)
  return { stride = case.stride or 1, padding = pad, dilation = case.dilation or 1, relu = case.relu ~= false }
end

local function block(i, case)
  return cnas.separable_block(i.x, i.depthwise, i.pointwise, i.scale, i.shift, attributes(case))
end

local function plain(i, case)
  local a, x = attributes(case), i.x
  if i.scale then x = x * i.scale + i.shift end
  if a.relu then x = x:relu() end
  local inner = cnas.conv2d(x, i.depthwise, nil, { stride = a.stride, padding = a.padding, dilation = a.dilation,
                                                   groups = case.channels })
  local z = inner:conv2d(i.pointwise)
  local flat = z:reshape(-1, z:size(4))
  local mean = flat:mean(1)
  local off = flat - mean
  return z, mean, (off * off):mean(1)
end

-- Outputs and gradients by name, of a loss that all three outputs enter.
local function results(f, case, dtype)
  local i = inputs_of(case, dtype)
  local z, mean, var = f(i, case)
  local rng = cnas.rng(4, "loss")
  local loss = 0
  for _, y in ipairs { z, mean, var } do
    loss = loss + (y * cnas.randn(y:shape(), { rng = rng, dtype = dtype })):sum() * (1 / z:count() ^ 0.5)
  end
  loss = loss + (z * z):sum() * (0.3 / z:count())
  loss:backward()
  local all = { z = z:detach(), mean = mean:detach(), var = var:detach() }
  for name, input in pairs(i) do all["gradient of " .. name] = input.grad end
  return all
end

local function compare(case, dtype, tolerance)
  local got, expected = results(block, case, dtype), results(plain, case, dtype)
  for name, value in pairs(expected) do
    T.truthy(got[name], name .. " is missing")
    local off = distance(got[name], value)
    T.truthy(off < tolerance, string.format("%s, %s: %s is off by %g", case.name, dtype, name, off))
  end
end

local cases = {
  { name = "3x3", height = 9, width = 10, channels = 16, kernel = 3 },
  { name = "3x3, wide", height = 32, width = 32, channels = 16, kernel = 3 },
  { name = "5x5", height = 16, width = 16, channels = 32, kernel = 5 },
  { name = "5x5, dilated", height = 9, width = 8, channels = 64, kernel = 5, dilation = 2 },
  { name = "3x3, dilated, few channels", height = 11, width = 7, channels = 3, kernel = 3, dilation = 2, out = 5 },
  { name = "3x3, 17 channels", height = 6, width = 13, channels = 17, kernel = 3 },
  { name = "3x3, 36 channels", height = 12, width = 12, channels = 36, kernel = 3 },
  { name = "5x5, 36 channels, stride 2", height = 12, width = 11, channels = 36, kernel = 5, stride = 2 },
  { name = "3x3, stride 2", height = 11, width = 16, channels = 16, kernel = 3, stride = 2, out = 32 },
  { name = "3x3, stride 2, dilated", height = 13, width = 12, channels = 32, kernel = 3, stride = 2, dilation = 2 },
  { name = "5x5, stride 2, dilated", height = 16, width = 17, channels = 16, kernel = 5, stride = 2, dilation = 2 },
  { name = "7x7, stride 3", height = 15, width = 14, channels = 20, kernel = 7, stride = 3 },
  { name = "7x7", height = 15, width = 14, channels = 20, kernel = 7, out = 24 },
  { name = "5x3 without padding", height = 9, width = 12, channels = 16, kernel = 5, kernel_width = 3, padding = 0 },
  { name = "2x2 with much padding", height = 5, width = 6, channels = 18, kernel = 2, padding = 3, dilation = 3 },
  { name = "without factors", height = 8, width = 8, channels = 16, kernel = 3, factors = false },
  { name = "without ReLU", height = 8, width = 8, channels = 16, kernel = 5, relu = false },
  { name = "one pixel", height = 1, width = 1, channels = 16, kernel = 3 },
  { name = "a stride beyond the kernel", height = 10, width = 9, channels = 16, kernel = 1, padding = 0, stride = 3 },
  { name = "one large image", height = 70, width = 40, channels = 16, kernel = 5, batch = 1 },
  { name = "100 images", height = 5, width = 5, channels = 16, kernel = 3, batch = 100 },
  { name = "a long row", height = 3, width = 300, channels = 16, kernel = 3 },
}

T.describe("separable_block", function()
  for _, case in ipairs(cases) do
    T.it("is what its parts are: " .. case.name, function()
      compare(case, "f64", 1e-12)
      compare(case, "f32", 2e-5)
    end)
  end

  T.it("is the same at every instruction set", function()
    local widest = cnas.isa()
    for _, name in ipairs { "portable", "avx2" } do
      if pcall(cnas.isa, name) then
        local ok, message = pcall(function()
          for _, case in ipairs(cases) do
            compare(case, "f64", 1e-12)
            compare(case, "f32", 2e-5)
          end
        end)
        cnas.isa(widest)
        T.truthy(ok, name .. ": " .. tostring(message))
      end
    end
  end)

  T.it("gives the same bits with any number of threads", function()
    local before = cnas.threads()
    for _, case in ipairs(cases) do
      cnas.threads(1)
      local one = results(block, case, "f32")
      for _, threads in ipairs { 2, 3 } do
        cnas.threads(threads)
        for name, value in pairs(results(block, case, "f32")) do
          T.equal((value - one[name]):squared_norm():item(), 0, case.name .. ": " .. name)
        end
      end
    end
    cnas.threads(before)
  end)

  T.it("adds its gradient where the input has one already", function()
    for _, index in ipairs { 1, 6, 7, 8, 9, 5 } do
      local case = cases[index]
      local once, twice = inputs_of(case, "f64"), inputs_of(case, "f64")
      local z = block(once, case)
      ;(z * z):sum():backward()
      local y, again = block(twice, case), block(twice, case)
      ;((y * y):sum() + (again * again):sum()):backward()
      for name, input in pairs(once) do
        T.truthy(distance(twice[name].grad, input.grad * 2) < 1e-13, case.name .. ": " .. name)
      end
    end
  end)

  T.it("gives each gradient alone to the same bits", function()
    for _, case in ipairs { cases[1], cases[7], cases[8], cases[20] } do
      local all = inputs_of(case, "f32")
      local z = block(all, case)
      ;(z * z):sum():backward()
      for name in pairs(all) do
        local one = inputs_of(case, "f32")
        for other, input in pairs(one) do input.requires_grad = other == name end
        local alone = block(one, case)
        ;(alone * alone):sum():backward()
        T.equal((one[name].grad - all[name].grad):squared_norm():item(), 0, case.name .. ": " .. name)
      end
    end
  end)

  T.it("keeps NaN in sight", function()
    local case = cases[1]
    local i = inputs_of(case, "f32")
    local x = i.x:detach()
    x:reshape(-1):narrow(1, 1, 1):fill_(0 / 0)
    i.x = x
    T.truthy(block(i, case):sum():item() ~= block(i, case):sum():item())
  end)
end)
