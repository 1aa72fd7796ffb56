-- custom_operation.lua - a space with an operation of your own, made of the modules that are there.
--
--   cnas examples/custom_operation.lua
--
-- A candidate is a function from settings { channels, stride, affine, track, supernet, rng } to a module whose output
-- has the same channels and 1/stride of the height and width. It becomes a member of the space like any other: the
-- supernet holds its weights on every edge, the controller can choose it, genotypes name it.

local cnas = require "cnas"
local nn = cnas.nn

-- An inverted bottleneck: widen by a 1x1 convolution, filter each channel, narrow again.
local function bottleneck(o)
  local wide = 2 * o.channels
  return nn.sequential {
    nn.relu(),
    nn.conv2d { inp = o.channels, out = wide, kernel = 1, bias = false, rng = o.rng },
    nn.conv2d { inp = wide, out = wide, kernel = 3, stride = o.stride, padding = 1, groups = wide, bias = false,
                rng = o.rng },
    nn.conv2d { inp = wide, out = o.channels, kernel = 1, bias = false, rng = o.rng },
    nn.batch_norm { channels = o.channels, affine = o.affine, track = o.track },
  }
end

local space = cnas.space { "sep_conv_3x3", "max_pool_3x3", "skip_connect", bottleneck = bottleneck }
print("the space: " .. table.concat(space:names(), ", "))

local net = cnas.supernet {
  space = space, channels = 4, layers = 3, nodes = 2, classes = 10, rng = cnas.rng(1, "weights"),
}
local controller = cnas.controller { space = space, nodes = 2, hidden = 16, seed = 1 }
local weights = cnas.optim.sgd(net:parameters(), { lr = 0.05, momentum = 0.9, nesterov = true })
print(("the supernet: %d parameters"):format(net:count()))

local train = cnas.data.load("shapes", { train_images = 480, split = 0.8, seed = 1 })
local chosen = {}
for x, y in cnas.data.loader { dataset = train, batch = 32, seed = 1, shuffle = true } do
  local arch = controller.uniform()
  local loss = weights:step(cnas.cross_entropy(net(x, arch), y))
  for _, triple in ipairs(arch.normal) do chosen[triple[1]] = (chosen[triple[1]] or 0) + 1 end
  print(("loss %.3f"):format(loss))
end
assert(chosen.bottleneck, "twelve architectures without the new operation: something is wrong")
print(("bottleneck was chosen %d times"):format(chosen.bottleneck))
