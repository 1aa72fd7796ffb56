-- init.lua - the module "cnas": everything of the engine, and the Lua library on top of it, loaded when first used.
--
-- `cnas.curriculum` is lua/cnas/curriculum.lua, and so on for every file of this folder. A name that does not exist is
-- an error that suggests the nearest one.

local cnas = require "cnas.engine"
local args = require "cnas.args"

local library = {
  "arch", "args", "compare", "controller", "costs", "curriculum", "data", "declared", "device", "finalists", "folder",
  "foresee", "latency", "machine", "manual", "metric", "model", "nasbench201", "oneshot", "onnx", "options", "packed",
  "pareto", "places", "population", "pretrained", "profile", "repl", "run", "sampler", "schedule", "score", "seeds",
  "subject",
}

package.loaded["cnas"] = cnas -- the library's own files may say require "cnas"

return setmetatable(cnas, {
  library = library,
  __index = function(self, name)
    if type(name) ~= "string" then return nil end
    for _, part in ipairs(library) do
      if part == name then
        local module = require("cnas." .. name)
        rawset(self, name, module)
        return module
      end
    end
    local known = { table.unpack(library) }
    for key in next, self do known[#known + 1] = key end
    error(("cnas: there is no '%s'%s"):format(name, args.suggestion(name, known)), 2)
  end,
})
