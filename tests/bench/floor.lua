-- floor.lua - the least time in which a processor can do the work of a path: a roofline for each operation, added up.
--
-- Work is a list of items { name, macs, near, far }. An item takes as long as the slowest of three things that may go
-- on at once:
--   compute  2 macs at the peak of multiply-adds
--   near     the bytes that it reads and writes, at the bandwidth of memory of that size: its tensors lie in the
--            smallest cache that can hold them
--   far      of these the bytes that a training step must keep from the forward for the backward pass, written there
--            and read here, at the bandwidth of memory that holds all of what is kept
--
-- What moves, with everything fused that can be :
--   block        ReLU, (depthwise and) 1x1 convolution, statistics. Forward reads its inputs, writes its raw output z.
--                Backward reads the gradient of z, z (batch norm) and the inputs, writes the inputs' gradients: reads
--                them first when an earlier reader left its part there. BN and ReLU are applied by who reads z.
--   pool         the same; no inputs in the backward pass, but for a max pool one byte for each output
--   node         reads its two edges, writes the sum. Backward reads the gradient and, for the sums of batch norm, the
--                edges; an edge that others read too gets its gradient added. A node with one edge is that edge;
--                without any it is zeros, which are not stored.
--   preprocess   a block that reads the nodes of a cell, which are never concatenated; at stride 2 half of every one
-- macs of the backward pass are twice those of the forward (gradients of inputs and weights) and the depthwise part
-- once more, which is recomputed rather than kept. Where no input wants a gradient they are the weights' alone. Left
-- out, so that it stays a lower bound: additions that are no multiply-adds (sums of nodes, batch norm, pools), the
-- auxiliary head, the loss, latencies, weights but in the optimizer.

local floor = {}

local kernels = { sep_conv_3x3 = 3, sep_conv_5x5 = 5, dil_conv_3x3 = 3, dil_conv_5x5 = 5, sep_conv_7x7 = 7 }

local Work = {}
Work.__index = Work

--- The work of one image size and batch: items of `forward` and `backward`, and bytes `kept` in between. `supernet`:
--- pools are followed by batch norm. element: bytes of a number in an image, 4.
local function new(batch, supernet, element)
  return setmetatable({ batch = batch, supernet = supernet, element = element or 4, kept = 0,
                        steps = {}, forward = {}, backward = {} }, Work)
end

function Work:tensor(size, channels, wants_gradient)
  return { size = size, channels = channels, bytes = self.element * self.batch * size * size * channels,
           wants_gradient = wants_gradient }
end

local function total(list, field)
  local sum = 0
  for _, entry in ipairs(list) do sum = sum + (entry[field] or 0) end
  return sum
end

-- One step of the forward pass: `from` tensors are read (the part of their bytes that is needed), a new one is written.
-- o: name, macs (of all images), recomputed (of them, again in the backward pass), norm (batch norm follows), needs
-- (the inputs are read again in the backward pass), mask (bytes kept beside), part = 1
function Work:step(from, size, channels, o)
  local wants = o.macs > 0
  for _, x in ipairs(from) do
    wants = wants or x.wants_gradient
    x.readers = (x.readers or 0) + 1
  end
  local z = self:tensor(size, channels, wants)
  local read = total(from, "bytes") * (o.part or 1)
  local mask = o.mask or 0
  z.keep = o.keep or o.norm or false
  z.norm = o.norm
  if o.needs then for _, x in ipairs(from) do x.keep = true end end
  table.insert(self.steps, { from = from, to = z, o = o, read = read, mask = mask })
  table.insert(self.forward, { name = o.name, macs = o.macs, near = read + z.bytes + mask, far = mask, to = z })
  self.kept = self.kept + mask
  return z
end

-- The bytes of a kept tensor when the backward pass sees it for the first time; then it is near.
local function fetch(x)
  if x.fetched or not x.keep then return 0 end
  x.fetched = true
  return x.bytes
end

--- Ends the forward pass: what is kept is known now, and the backward pass goes through the steps from the last.
function Work:finish()
  for _, item in ipairs(self.forward) do
    if item.to.keep then
      item.far = item.far + item.to.bytes
      self.kept = self.kept + item.to.bytes
    end
  end
  for i = #self.steps, 1, -1 do
    local s = self.steps[i]
    local z, o, wanted = s.to, s.o, false
    if z.gradient then
      local near, far = z.bytes + s.mask, s.mask
      local norms = o.sum and s.from or { z } -- raw outputs that batch norm needs
      for _, x in ipairs(norms) do
        if x.norm then near, far = near + x.bytes, far + fetch(x) end
      end
      for _, x in ipairs(s.from) do
        if o.needs then near, far = near + x.bytes * (o.part or 1), far + fetch(x) end
        if x.wants_gradient then
          wanted = true
          if not o.sum or x.readers > 1 then -- else it is the sum's own gradient, by reference
            near = near + x.bytes * (x.gradient and 2 * (o.part or 1) or 1)
          end
          x.gradient = true
        end
      end
      local macs = o.macs > 0 and o.macs * (wanted and 2 or 1) + (o.recomputed or 0) or 0
      table.insert(self.backward, { name = o.name, macs = macs, near = near, far = far })
    end
  end
  return self
end

function Work:convolution(name, from, channels, stride, kernel, depthwise)
  local inputs, size = total(from, "channels"), (from[1].size + stride - 1) // stride
  local pixels = self.batch * size * size
  local spatial = depthwise and pixels * inputs * kernel * kernel or 0
  local dense = pixels * inputs * channels * (depthwise and 1 or kernel * kernel)
  return self:step(from, size, channels, { name = name, macs = spatial + dense, recomputed = spatial, norm = true,
                                           needs = true, part = kernel == 1 and stride == 2 and 0.5 or 1 })
end

--- An operation of the DARTS space on x; nil for none.
function Work:operation(name, x, stride)
  local kernel = kernels[name]
  if name == "none" then return nil end
  if name == "skip_connect" then
    return stride == 1 and x or self:convolution(name, { x }, x.channels, 2, 1)
  elseif name:find "pool" then
    local size = (x.size + stride - 1) // stride
    local mask = name:find "^max" and self.batch * size * size * x.channels or 0
    return self:step({ x }, size, x.channels, { name = name, macs = 0, norm = self.supernet, mask = mask })
  elseif not kernel then
    error("floor: the traffic of the operation '" .. name .. "' is not known", 0)
  end
  local z = self:convolution(name, { x }, x.channels, stride, kernel, true)
  return name:find "^sep" and self:convolution(name, { z }, x.channels, 1, kernel, true) or z
end

-- The nodes of a cell: `before` and `last` are lists of tensors, those of two cells.
function Work:cell(before, last, channels, reduction, after_reduction, triples)
  local state = {
    [0] = self:convolution("preprocess", before, channels, after_reduction and 2 or 1, 1),
    self:convolution("preprocess", last, channels, 1, 1) }
  local nodes = {}
  for i = 1, #triples, 2 do
    local node, edges = 2 + i // 2, {}
    for k = i, i + 1 do
      local name, from = triples[k][1], triples[k][2]
      local z = self:operation(name, state[from], reduction and from < 2 and 2 or 1)
      if z and z.bytes > 0 then table.insert(edges, z) end
    end
    local size = state[0].size // (reduction and 2 or 1)
    if #edges == 2 then
      state[node] = self:step(edges, size, channels, { name = "node", macs = 0, sum = true, keep = true })
    else
      state[node] = edges[1] or { size = size, channels = channels, bytes = 0, wants_gradient = false }
    end
    nodes[i // 2 + 1] = state[node]
  end
  return nodes
end

--- The work of a network: { batch, size, channels, layers, supernet, element, arch = { normal =, reduction = },
--- parameters }, those that a training step moves.
function floor.network(o)
  local work, channels = new(o.batch, o.supernet, o.element), o.channels
  local images = work:tensor(o.size, 3, false)
  local stem = work:convolution("stem", { images }, 3 * channels, 1, 3)
  local before, last, reduced = { stem }, { stem }, false
  for i = 0, o.layers - 1 do
    local reduction = i == o.layers // 3 or i == 2 * o.layers // 3
    channels = reduction and 2 * channels or channels
    before, last = last, work:cell(before, last, channels, reduction, reduced,
                                   o.arch[reduction and "reduction" or "normal"])
    reduced = reduction
  end
  local pooled = work:step(last, 1, total(last, "channels"), { name = "head", macs = 0 })
  pooled.gradient = true
  work:finish()
  -- Nesterov's momentum: weight, gradient and velocity in, weight and velocity out.
  work.optimizer = { { name = "optimizer", macs = 0, near = 20 * (o.parameters or 0), far = 0 } }
  return work
end

--- One operation alone, its output written and its batch norm applied by who reads it.
function floor.operation(name, o)
  local work = new(o.batch, true)
  local x = work:tensor(o.size, o.channels, true)
  local y = work:operation(name, x, o.stride or 1)
  if y then y.gradient = true end
  return work:finish()
end

--- GB/s over memory of that many bytes, at least: more memory is never faster, so a disturbed measurement is mended by
--- those of larger sizes.
function floor.bandwidth(peak, bytes)
  local best = 0
  for i = #peak.bandwidth, 1, -1 do
    local b = peak.bandwidth[i]
    best = math.max(best, b.read, b.write, b.copy)
    if b.bytes <= bytes then break end
  end
  return best
end

--- Milliseconds of a list of items: in all, and if only one of the three things took time. kept: bytes, none for a
--- forward pass alone.
function floor.milliseconds(peak, items, kept)
  local sum = { total = 0, compute = 0, near = 0, far = 0, macs = 0, bytes = 0 }
  for _, item in ipairs(items) do
    local compute = 2 * item.macs / peak.gflops.all * 1e-6
    local near = item.near / floor.bandwidth(peak, item.near) * 1e-6
    local far = kept and item.far / floor.bandwidth(peak, kept) * 1e-6 or 0
    sum.total = sum.total + math.max(compute, near, far)
    sum.compute, sum.near, sum.far = sum.compute + compute, sum.near + near, sum.far + far
    sum.macs, sum.bytes = sum.macs + item.macs, sum.bytes + item.near
  end
  return sum
end

--- A training step by the items' names, each as from floor.milliseconds.
function floor.by_name(peak, work)
  local items, sums = {}, {}
  for _, list in ipairs { work.forward, work.backward, work.optimizer or {} } do
    for _, item in ipairs(list) do
      items[item.name] = items[item.name] or {}
      table.insert(items[item.name], item)
    end
  end
  for name, list in pairs(items) do sums[name] = floor.milliseconds(peak, list, work.kept) end
  return sums
end

--- { train, forward } of some work, each as from floor.milliseconds.
function floor.of(peak, work)
  local train = floor.milliseconds(peak, work.forward, work.kept)
  for _, list in ipairs { work.backward, work.optimizer or {} } do
    for field, value in pairs(floor.milliseconds(peak, list, work.kept)) do train[field] = train[field] + value end
  end
  return { train = train, forward = floor.milliseconds(peak, work.forward) }
end

--- The better of two measurements of the peak.
function floor.better(a, b)
  if not a or not b then return a or b end
  local function join(x, y)
    if type(x) == "number" then return math.max(x, y) end
    if type(x) ~= "table" then return x end
    local both = {}
    for key, value in pairs(x) do both[key] = join(value, y[key]) end
    return both
  end
  return join(a, b)
end

return floor
