-- machine.lua - what this program is, was built of and runs on, for a report of a fault: cnas.machine() -> table.
--
-- It names neither the user nor the host: in paths and settings the home folder is "~" and the user's name "USER".

local cnas = require "cnas"

-- Instruction sets by which kernels are chosen, or that a reader of a report asks for; as /proc/cpuinfo spells them.
local instructions = { "sse4_2", "avx", "avx2", "fma", "f16c", "bmi2", "avx512f", "avx512bw", "avx512dq", "avx512vl",
                       "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "asimd", "sve" }

-- Settings that change what is computed, how fast, or where things are looked for.
local settings = { "CNAS_THREADS", "CNAS_ISA", "CNAS_HOME", "CNAS_BUILD", "CNAS_CACHE", "CNAS_HISTORY",
                   "CNAS_PATIENCE", "OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "OMP_WAIT_POLICY",
                   "OMP_DYNAMIC", "GOMP_SPINCOUNT", "GOMP_CPU_AFFINITY", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES",
                   "LD_PRELOAD", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "CUDA_PATH",
                   "CNAS_NVRTC", "NCCL_DEBUG", "LUA_PATH_5_4", "LUA_CPATH_5_4", "LUA_INIT_5_4", "LANG",
                   "LC_ALL", "TERM", "NO_COLOR", "XDG_CACHE_HOME", "XDG_STATE_HOME", "TMPDIR" }

local function of(name)
  local value = os.getenv(name)
  return value and value ~= "" and value or nil
end

-- The text without what tells who and where: plain search, so that a name with dots is taken as it stands.
local function replaced(text, what, by)
  local from = 1
  while true do
    local first, last = text:find(what, from, true)
    if not first then return text end
    local before, after = text:sub(first - 1, first - 1), text:sub(last + 1, last + 1)
    if (first == 1 or before:find "[^%w_]") and (after == "" or after:find "[^%w_]") then
      text = text:sub(1, first - 1) .. by .. text:sub(last + 1)
      from = first + #by
    else
      from = last + 1
    end
  end
end

local function private(text)
  local home, user = of "HOME", of "USER" or of "LOGNAME"
  if home and home ~= "/" then text = replaced(text, home:gsub("/+$", ""), "~") end
  if user and #user > 2 and user ~= "root" then text = replaced(text, user, "USER") end
  return text
end

local function content(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

local function said_by(command)
  local pipe <close> = io.popen(command .. " 2>/dev/null")
  return pipe and pipe:read "l"
end

-- The revision of the source tree that the library is, or was installed from; nil when nobody knows.
local function revision()
  local installed = content(cnas.home .. "/REVISION"):match "%S+"
  if installed then return installed end
  if not cnas.file.exists(cnas.home .. "/.git") then return nil end
  return said_by("git -C '" .. cnas.home:gsub("'", "'\\''") .. "' describe --always --dirty")
end

local function processor()
  local text, count, known = content "/proc/cpuinfo", 0, {}
  for _ in ("\n" .. text):gmatch "\nprocessor%s*:" do count = count + 1 end
  for flag in (text:match "\nflags%s*:([^\n]*)" or text:match "\nFeatures%s*:([^\n]*)" or ""):gmatch "%S+" do
    known[flag] = true
  end
  local has = {}
  for _, name in ipairs(instructions) do if known[name] then has[#has + 1] = name end end
  return { name = text:match "model name%s*:%s*([^\n]+)", count = count > 0 and count or nil, instructions = has,
           allowed = content "/proc/self/status":match "Cpus_allowed_list:%s*([^\n]+)" }
end

-- Bytes: of the machine, of them free for a program, and what the process's group may use, where that is less.
local function memory()
  local text = content "/proc/meminfo"
  local function kilobytes(name)
    local value = text:match("\n" .. name .. ":%s*(%d+) kB") or text:match("^" .. name .. ":%s*(%d+) kB")
    return value and math.tointeger(tonumber(value)) * 1024
  end
  return { total = kilobytes "MemTotal", available = kilobytes "MemAvailable",
           limit = math.tointeger(tonumber(content "/sys/fs/cgroup/memory.max":match "^%d+")) }
end

local function system()
  return { kernel = table.concat({ content "/proc/sys/kernel/ostype":match "%S+" or "unknown",
                                   content "/proc/sys/kernel/osrelease":match "%S+" }, " "),
           distribution = content "/etc/os-release":match 'PRETTY_NAME="?([^"\n]+)',
           architecture = said_by "uname -m" }
end

local function environment()
  local set = {}
  for _, name in ipairs(settings) do
    local value = os.getenv(name)
    if value then set[name] = private(value) end
  end
  return set
end

-- Where things are, and whether they are there.
local function places()
  local _, models = pcall(require "cnas.pretrained".folder)
  local list = {
    { what = "library", path = cnas.home },
    { what = "published models", path = type(models) == "string" and models or nil },
    { what = "data sets (--root)", path = "data" },
  }
  for _, place in ipairs(list) do
    place.there = place.path ~= nil and cnas.file.exists(place.path) ~= false
    place.path = place.path and private(place.path)
  end
  return list
end

--- Everything, as a plain table that JSON can hold.
return function()
  local devices = cnas.devices()
  for _, device in ipairs(devices) do device.missing = device.missing and private(device.missing) end
  return {
    cnas = cnas.version, revision = revision(), installed = cnas.file.exists(cnas.home .. "/REVISION") ~= false,
    system = system(), processor = processor(), memory = memory(),
    threads = cnas.threads(), kernels = cnas.isa(), devices = devices, build = cnas.built(),
    libraries = cnas.libraries(), processes = { mpi = cnas.dist.mpi, size = cnas.dist.world().size },
    environment = environment(), places = places(),
  }
end
