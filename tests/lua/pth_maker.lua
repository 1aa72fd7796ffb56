-- pth_maker.lua - PyTorch's file format from before 1.6, written: five pickles, then the numbers.
--
-- Only what a state_dict needs. Values are taken as they lie in a safetensors file, whose layout is PyTorch's.

local cnas = require "cnas"

local maker = {}

local function text(s) return "X" .. string.pack("<s4", s) end
local function whole(n) return "J" .. string.pack("<i4", n) end

local function tuple(list)
  local items = {}
  for i, n in ipairs(list) do items[i] = whole(n) end
  return "(" .. table.concat(items) .. "t"
end

local function contiguous(shape)
  local strides, step = {}, 1
  for i = #shape, 1, -1 do
    strides[i] = step
    step = step * shape[i]
  end
  return strides, step
end

local STORAGES = { F32 = "FloatStorage", I64 = "LongStorage" }

-- One entry of the state_dict: name, and the call that makes the tensor of its storage.
local function entry(name, key, dtype, shape)
  local strides, count = contiguous(shape)
  return text(name) .. "ctorch._utils\n_rebuild_tensor_v2\n((" .. text "storage" .. "ctorch\n" .. STORAGES[dtype] ..
    "\n" .. text(key) .. text "cpu" .. whole(count) .. "NtQK\0" .. tuple(shape) .. tuple(strides) ..
    "\x89ccollections\nOrderedDict\n)RtR", count
end

--- The tensors of a safetensors file as torch.save of PyTorch 1.5 would write them, at `path`. rename(name) gives
--- another name, or nil to leave the tensor out. Returns how many there are.
function maker.legacy(path, safetensors, rename)
  local bytes = cnas.file.read(safetensors)
  local length = string.unpack("<I8", bytes)
  local header = cnas.json.decode(bytes:sub(9, 8 + length))
  header.__metadata__ = nil
  local items, keys, numbers = {}, {}, {}
  for i, name in ipairs(cnas.args.keys(header)) do
    local t, written = header[name], rename and rename(name) or not rename and name
    if written then
      local key = ("%08d"):format(i)
      local item, count = entry(written, key, t.dtype, t.shape)
      items[#items + 1], keys[#keys + 1] = item, text(key)
      numbers[#numbers + 1] = string.pack("<i8", count) ..
        bytes:sub(9 + length + t.data_offsets[1], 8 + length + t.data_offsets[2])
    end
  end
  local file <close> = assert(io.open(path, "wb"))
  file:write("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e", "\x80\x02M\xe9\x03.",
    "\x80\x02}X\x0d\0\0\0little_endian\x88s.", "\x80\x02ccollections\nOrderedDict\n)R(", table.concat(items), "u.",
    "\x80\x02](", table.concat(keys), "e.")
  for _, run in ipairs(numbers) do file:write(run) end
  return #items
end

return maker
