-- info.lua - `cnas info`: machine, devices, libraries, versions and settings, to be pasted into a report of a fault.

local cnas = require "cnas"

local opt = cnas.options {
  about = "Prints what this program is, was built of and runs on, for a report of a fault. It names neither you nor\n"
    .. "your host; home folders are written as ~, your name as USER.",
  folder = false, computes = false,
  { "json", default = false, help = "print it as JSON" },
}

local machine = cnas.machine()
if opt.json then
  print(cnas.json.encode(machine, { indent = true }))
  return
end

local function line(what, format, ...) print(("%-14s "):format(what) .. format:format(...)) end
local function gigabytes(bytes) return bytes and ("%.1f GB"):format(bytes / 1e9) or "unknown" end

line("cnas", "%s, revision %s%s", machine.cnas, machine.revision or "unknown",
     machine.installed and " (installed)" or " (of the source tree)")
line("language", "%s", machine.build.lua)
line("system", "%s %s, %s", machine.system.kernel, machine.system.architecture or "",
     machine.system.distribution or "distribution unknown")
local cpu = machine.processor
line("processor", "%s, %s of them; this program may use %s", cpu.name or "unknown", cpu.count or "?",
     cpu.allowed or "all")
line("instructions", "%s", table.concat(cpu.instructions, " "))
line("kernels", "%s, on %d thread%s", machine.kernels, machine.threads, machine.threads == 1 and "" or "s")
line("memory", "%s, %s available%s", gigabytes(machine.memory.total), gigabytes(machine.memory.available),
     machine.memory.limit and (", at most %s allowed"):format(gigabytes(machine.memory.limit)) or "")
for _, device in ipairs(machine.devices) do
  if device.name ~= "cpu" then
    line(device.name, "%s", device.missing and "none: " .. device.missing:gsub('^no device "%w+": ', "")
                            or ("%d, %s"):format(device.count, device.detail))
  end
end
line("compiler", "%s, %s%s: %s", machine.build.compiler, machine.build.type,
     machine.build.sanitizers and ", with sanitizers " .. machine.build.sanitizers or "", machine.build.flags)

print "\nlibraries"
for _, library in ipairs(machine.libraries) do
  print(("  %-16s %-32s %s"):format(library.name, library.version or library.outside and "not found"
                                    or "not in this build", library.serves))
end

print "\nplaces"
for _, place in ipairs(machine.places) do
  print(("  %-20s %s%s"):format(place.what, place.path or "nowhere", place.there and "" or " (not there)"))
end

print "\nsettings"
local names = cnas.args.keys(machine.environment)
for _, name in ipairs(names) do print(("  %s=%s"):format(name, machine.environment[name])) end
if #names == 0 then print "  none" end
