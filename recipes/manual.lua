-- manual.lua - the manual of the Lua library as HTML, and stubs for editors, of lua/cnas/manual.
--
--   cnas recipes/manual.lua -o manual     HTML pages in the folder manual; manual/index.html is the first
--   cnas recipes/manual.lua --stubs       lua/stubs/cnas.lua beside the library, anew

local cnas = require "cnas"

local opt = cnas.options {
  about = "The manual of the Lua library as HTML pages, and stubs (---@meta) for editors with LuaLS.",
  folder = false,
  { "out", short = "-o", type = "string", metavar = "DIR", help = "folder for the pages" },
  { "stubs", default = false, help = "write lua/stubs/cnas.lua of this library anew" },
}
if not opt.out and not opt.stubs then cnas.args.fail("usage", "manual: say -o DIR, or --stubs") end

if opt.out then
  local files = require "cnas.manual_html" ()
  cnas.file.mkdir(opt.out)
  for _, file in ipairs(files) do cnas.file.write(opt.out .. "/" .. file[1], file[2]) end
  print(("%d pages: %s/index.html"):format(#files, opt.out))
end
if opt.stubs then
  local path = cnas.home .. "/lua/stubs/cnas.lua"
  cnas.file.mkdir(cnas.home .. "/lua/stubs")
  cnas.file.write(path, require "cnas.manual_stubs" ())
  print(path)
end
