-- registers.lua USAGE OUT BYTES - what ptxas said about the kernels of the GPU's module, for people: USAGE is its text
-- with plain names, BYTES the size of the module.

local cnas = require "cnas"

local usage, out, bytes = arg[1], arg[2], tonumber(arg[3])

-- void f<(anonymous namespace)::Of<float, 4> >(long, …) -> f<Of<float, 4>>
local function short(name)
  name = name:gsub("^void ", ""):gsub("%(anonymous namespace%)::", "")
  local depth = 0
  for i = 1, #name do
    local c = name:sub(i, i)
    if c == "<" then depth = depth + 1 elseif c == ">" then depth = depth - 1 end
    if c == "(" and depth == 0 then name = name:sub(1, i - 1) break end
  end
  return (name:gsub("> >", ">>"):gsub("%(int%)", ""):gsub("%(bool%)1", "true"):gsub("%(bool%)0", "false"))
end

local seen, list, now = {}, {}, nil -- an entry for each kernel and GPU; the same kernel may stand in several files
for line in cnas.file.read(usage):gmatch "[^\n]+" do
  local name, gpu = line:match "Compiling entry function '(.*)' for '(sm_%d+)'"
  local stack, stores, loads = line:match "(%d+) bytes stack frame, (%d+) bytes spill stores, (%d+) bytes spill loads"
  local registers = line:match "Used (%d+) registers"
  if name then
    now = { name = short(name), gpu = gpu }
  elseif stack and now then
    now.stack, now.stores, now.loads = tonumber(stack), tonumber(stores), tonumber(loads)
  elseif registers and now then
    now.registers, now.shared = tonumber(registers), tonumber(line:match "(%d+) bytes smem" or 0)
    local key = now.gpu .. " " .. now.name
    if not seen[key] then
      seen[key] = now
      list[#list + 1] = now
    end
    now = nil
  end
end
if #list == 0 then error("registers: " .. usage .. " has no kernels", 0) end

local gpus, by_gpu, families = {}, {}, {}
for _, k in ipairs(list) do
  local g = by_gpu[k.gpu]
  if not g then
    g = { count = 0, most = 0, spill = 0, stack = 0 }
    by_gpu[k.gpu], gpus[#gpus + 1] = g, k.gpu
  end
  g.count, g.most = g.count + 1, math.max(g.most, k.registers)
  g.spill = g.spill + (k.stores + k.loads > 0 and 1 or 0)
  g.stack = g.stack + (k.stack > 0 and k.stores + k.loads == 0 and 1 or 0)
  local name = k.name:match "^[^<]+"
  local family = families[name] or { count = {}, least = {}, most = {}, shared = 0 }
  families[name] = family
  family.count[k.gpu] = (family.count[k.gpu] or 0) + 1
  family.least[k.gpu] = math.min(family.least[k.gpu] or 999, k.registers)
  family.most[k.gpu] = math.max(family.most[k.gpu] or 0, k.registers)
  family.shared = math.max(family.shared, k.shared)
end
table.sort(gpus)

local lines = {}
local function say(format, ...) lines[#lines + 1] = select("#", ...) > 0 and format:format(...) or format end
say "Registers, shared memory and spills of the GPU's kernels, as ptxas reports them (made by tests/gpu/registers)."
say("libcnas_cuda.so has %d KiB, machine code for %s and PTX of the last.", bytes // 1024, table.concat(gpus, ", "))
say "\n         kernels   most registers   that spill   that keep arrays in local memory"
for _, gpu in ipairs(gpus) do
  local g = by_gpu[gpu]
  say("%-8s %7d   %14d   %10d   %10d", gpu, g.count, g.most, g.spill, g.stack)
end

-- A kernel once, with the GPUs that it does so on; the most bytes first.
local function instances(title, of)
  local by_name, names = {}, {}
  for _, k in ipairs(list) do
    local text, size = of(k)
    if text then
      local one = by_name[k.name]
      if not one then
        one = { most = 0 }
        by_name[k.name], names[#names + 1] = one, k.name
      end
      one[#one + 1] = ("%s %s"):format(k.gpu, text)
      one.most = math.max(one.most, size)
    end
  end
  table.sort(names, function(a, b)
    if by_name[a].most ~= by_name[b].most then return by_name[a].most > by_name[b].most end
    return a < b
  end)
  say("\n%s%s", title, #names == 0 and ": none" or "")
  for _, name in ipairs(names) do
    table.sort(by_name[name])
    say("  %s\n      %s", name, table.concat(by_name[name], "; "))
  end
end
instances("Kernels that spill: bytes stored + loaded, registers", function(k)
  if k.stores + k.loads > 0 then return ("%d+%d, %d"):format(k.stores, k.loads, k.registers), k.stores + k.loads end
end)
instances("Kernels with arrays in local memory, without spills: bytes for a thread", function(k)
  if k.stack > 0 and k.stores + k.loads == 0 then return tostring(k.stack), k.stack end
end)

say("\nKernels by template: instances, then registers from the fewest to the most, and static shared memory in bytes")
local head = { ("%-36s %5s"):format("", "") }
for _, gpu in ipairs(gpus) do head[#head + 1] = ("%9s"):format(gpu) end
say("%s %7s", table.concat(head, " "), "shared")
for _, name in ipairs(cnas.args.keys(families)) do
  local family = families[name]
  local words = { ("%-36s %5d"):format(name, family.count[gpus[#gpus]] or 0) }
  for _, gpu in ipairs(gpus) do
    local least, most = family.least[gpu], family.most[gpu]
    words[#words + 1] = ("%9s"):format(least == most and tostring(least or "-") or ("%d-%d"):format(least, most))
  end
  say("%s %7d", table.concat(words, " "), family.shared)
end
cnas.file.write(out, table.concat(lines, "\n") .. "\n")
print(table.concat(lines, "\n", 1, math.min(#lines, 40)))
