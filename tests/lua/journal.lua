-- journal.lua - a list of numbers that a recipe keeps in its checkpoints: what it did, for specs of resuming.
local cnas = require "cnas"

--- A new journal: `list`, `add(number)`, and state and load as run:keep wants them.
return function()
  return {
    list = {},
    add = function(self, number) self.list[#self.list + 1] = number end,
    state = function(self)
      return { { name = "list", tensor = #self.list > 0 and cnas.tensor(self.list, { dtype = "f64" }) or
                 cnas.zeros({ 0 }, { dtype = "f64" }) } }
    end,
    load = function(self, state) self.list = state.list:totable() end,
  }
end
