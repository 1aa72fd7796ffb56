-- device.lua - which device a recipe computes on.
--
--   local device, why = cnas.device(opt.device)      -- "auto", "cpu", "cuda", "cuda:1" …
--   net:to(device)
--
-- "auto" is a GPU where there is one whose module has a kernel for every operation, else the CPU; `why` then says why a
-- GPU that is there was not taken. A device that was asked for by name and cannot be had is an error.

local cnas = require "cnas"
local args = require "cnas.args"

local function gpus()
  for _, kind in ipairs(cnas.devices()) do
    if kind.name == "cuda" then return kind end
  end
end

-- The full name of a device that is there; one line of error where it is not, which is no fault of the program's.
local function there(name)
  local ok, found = pcall(cnas.empty, 0, { device = name })
  if ok then return found.device end
  args.fail("usage", "%s%s", tostring(found),
            tostring(found):find "^no device" and '; device "auto" goes on with the CPU' or "")
end

--- The device of one of several processes: "cuda" and "auto" give each its own GPU, as far as there are any.
return function(wish, rank)
  wish = wish or "auto"
  local gpu = gpus()
  if wish == "cpu" or wish == "auto" and gpu.count == 0 then return "cpu" end
  if wish ~= "auto" and wish ~= "cuda" then return there(wish) end
  if wish == "auto" and #gpu.lacks > 0 then
    return "cpu", ("on the CPU: the GPU (%s) has no kernels for %s"):format(gpu.detail, table.concat(gpu.lacks, ", "))
  end
  return there(gpu.count > 0 and ("cuda:%d"):format((rank or 0) % gpu.count) or "cuda")
end
