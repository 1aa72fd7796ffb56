-- score.lua - the accuracy of architectures with the shared weights of a supernet.
--
--   local score = cnas.score { net = net, dataset = valid, batch = 96, images = 10000 }
--   score(arch)                 -- 0 … 1
--
-- Measured on the first images of the dataset, without augmentation; batch norm uses the statistics of the batch, as in
-- the search. Each architecture is measured once, as long as the weights stay what they are.

local cnas = require "cnas"
local args = require "cnas.args"

local Score = { __name = "cnas.Score" }
Score.__index = Score

-- The device of a network's weights; that of a function of Lua is its own business: nil.
local function device_of(net)
  local weight = type(net) == "userdata" and net:parameters()[1]
  return weight and weight.device
end

--- The fraction of the first `images` images of the dataset that the path classifies rightly.
local function accuracy_of(net, arch, dataset, batch, images)
  local right, seen, owed, device = 0.0, 0, {}, device_of(net)
  for x, y in cnas.data.loader { dataset = dataset, batch = batch, augment = false, device = device } do
    owed[#owed + 1] = { cnas.accuracy(cnas.no_grad(net, x, arch), y), x:size(1) } -- read when all is asked for
    seen = seen + x:size(1)
    if seen >= images then break end
  end
  for _, batch_of in ipairs(owed) do right = right + batch_of[1]:item() * batch_of[2] end
  if seen == 0 then args.fail("usage", "cnas.score: %s has no images", tostring(dataset)) end
  return right / seen, seen
end

--- Options: net, dataset, batch = 96, images = 10000; run, whose progress line is to count the images.
local function new(given)
  local self = args.check("cnas.score", given,
                          { "net", "dataset", batch = 96, images = 10000, run = args.optional })
  self.known, self.measured = {}, 0
  return setmetatable(self, Score)
end

function Score:__call(arch)
  local text = cnas.genotype.text(arch)
  if not self.known[text] then
    local seen
    self.known[text], seen = accuracy_of(self.net, arch, self.dataset, self.batch, self.images)
    self.measured = self.measured + 1
    if self.run then self.run.images = (self.run.images or 0) + seen end
  end
  return self.known[text]
end

--- Forgets what was measured: the weights have changed.
function Score:forget() self.known = {} end

return setmetatable({ new = new, accuracy_of = accuracy_of }, { __call = function(_, given) return new(given) end })
