-- trainee.lua - what a run knows of the network that it trains: its cell, its size, its weights in files.

local cnas = require "cnas"
local args = require "cnas.args"

local trainee = {}

-- run:arch(what): the cell that `what` stands for (see arch.lua), and its label. The run keeps it as
-- genotypes/cell.json, drawn, and takes that one when it is resumed, whatever has become of where it came from.
function trainee.arch(run, what)
  local path = run.folder .. "/genotypes/cell.json"
  local kept = run:told(function()
    return { cnas.file.exists(path) and cnas.file.read(path) or "" }
  end)[1]
  if kept ~= "" then return cnas.genotype.parse(kept), cnas.json.decode(kept, path).label or path end
  local arch, label = cnas.arch(what)
  run.record:draw("cell", arch, run.step)
  run.record:json("genotypes/cell.json", {
    normal = arch.normal, normal_concat = arch.normal_concat, reduction = arch.reduction,
    reduction_concat = arch.reduction_concat, label = label,
  })
  return arch, label
end

-- 1234567 as "1,234,567".
local function grouped(number)
  local text = tostring(number)
  local first = (#text - 1) % 3 + 1
  return text:sub(1, first) .. text:sub(first + 1):gsub("(%d%d%d)", ",%1")
end

local function bytes_text(bytes)
  return bytes < 1e9 and ("%.0f MB"):format(bytes / 1e6) or ("%.1f GB"):format(bytes / 1e9)
end

-- run:announce(label, make, { batch =, height =, width =, accumulate = 1 }): says how large the networks are that
-- make(stream) builds, without their auxiliary heads, and how much memory it will take to train one; returns
-- { parameters =, conv_macs =, linear_macs =, memory = }.
function trainee.announce(run, label, make, given)
  local o = args.check("run:announce", given, { "batch", "height", "width", accumulate = 1 })
  local about = make(false):cost { height = o.height, width = o.width }
  run:say(("%s: %s parameters, %s multiply-adds (+%s in the classifier) an image of %dx%d"):format(label,
    grouped(about.parameters), grouped(about.conv_macs), grouped(about.linear_macs), o.height, o.width))
  about.memory = cnas.foresee { make = function() return make(false) end, batch = o.batch, height = o.height,
                                width = o.width }
  local processes = cnas.dist.world().size
  -- Garbage is collected when the tensors handed to Lua since the last time hold an eighth of all, and 64 MiB.
  run:say(("steps of %d images, %d at a time: about %s of memory%s, at most %s with what is not yet collected"):format(
    o.batch * o.accumulate * processes, o.batch, bytes_text(about.memory), processes > 1 and " in each process" or "",
    bytes_text(about.memory * 1.125 + (64 << 20))))
  return about
end

local function shape_text(tensor) return "(" .. table.concat(tensor:shape(), ",") .. ")" end

-- run:init(net, what, { arch =, new_classifier = false }): gives the network the weights of another (see model.open) of
-- the cell `arch`, for a run that begins. An auxiliary head that is not there is left as it is; classifiers too where
-- new_classifier says so.
function trainee.init(run, net, what, given)
  local o = args.check("run:init", given, { arch = args.optional, new_classifier = false })
  if run.loaded then return end
  local from, state, drawn = {}, {}, {}
  for _, entry in ipairs(cnas.model.open(what, { arch = o.arch }):state()) do from[entry.name] = entry.tensor end
  local auxiliary = from["auxiliary_head.classifier.weight"] ~= nil
  for _, entry in ipairs(net:state()) do
    local name, tensor = entry.name, from[entry.name]
    local head = not auxiliary and "auxiliary_head" or o.new_classifier and "classifier"
    local part = head and name:match("^(.*" .. head .. ")%.")
    if part then
      if drawn[#drawn] ~= part then drawn[#drawn + 1] = part end
    elseif not tensor or not tensor.shape then
      args.fail("data", "%s has no %s, which the network has", what, name)
    elseif shape_text(tensor) ~= shape_text(entry.tensor) then
      local of_classes = name:find "classifier%." and "; for other classes let --new-classifier draw it anew" or ""
      args.fail("data", "%s: %s is %s, the network's is %s%s", what, name, shape_text(tensor), shape_text(entry.tensor),
                of_classes)
    else
      state[name] = tensor
    end
  end
  net:load(state, { strict = false })
  run:say(("begins with the weights of %s%s"):format(what,
    #drawn > 0 and "; drawn anew: " .. table.concat(drawn, ", ") or ""))
end

-- run:save_model(name, net, about): writes weights/NAME.safetensors with what is known about the network (see
-- model.lua). Of several processes rank 0 does.
function trainee.save_model(run, name, net, about)
  if not run.writes then return end
  cnas.model.save(("%s/weights/%s.safetensors"):format(run.folder, name), net, about)
end

return trainee
