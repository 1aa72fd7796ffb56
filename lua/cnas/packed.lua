-- packed.lua - a plain Lua value as a tensor and back: how objects whose state is no numbers are kept by a run.
--
-- The tensor is u8 (N), the bytes of the value's JSON text: tables, strings, numbers (exactly), booleans.

local cnas = require "cnas"

local packed = {}

--- The tensor of a value.
function packed.tensor(value)
  local text, bytes = cnas.json.encode(value), {}
  for i = 1, #text do bytes[i] = text:byte(i) end
  return cnas.tensor(bytes, { dtype = "u8" })
end

--- The value of a tensor.
function packed.value(tensor)
  local letters = tensor:totable()
  for i, byte in ipairs(letters) do letters[i] = string.char(byte) end
  return cnas.json.decode(table.concat(letters), "packed value")
end

return packed
