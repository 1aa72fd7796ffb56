-- new.lua - `cnas new NAME`: a folder with a recipe of the user's own that runs at once. The files are those of
-- lua/cnas/project, with the name put in; what an editor and git want to know is made here.

local cnas = require "cnas"
local args = cnas.args

local opt = cnas.options {
  about = "Makes the folder NAME with a search of your own: an operation, a reward and a schedule to change, the\n"
    .. "loop, checks, and settings by which an editor with a Lua language server completes the names of the library.",
  folder = false, computes = false,
  { "name", argument = true, help = "the folder; its last part is the project's name" },
}

local folder = opt.name:gsub("(.)/+$", "%1")
local name = folder:match "[^/]*$"
if not name:find "^%a[%w_-]*$" then
  args.fail("usage", "'%s' is no name for a project: expected a letter, then letters, digits, _ and -", name)
end
local kind = cnas.file.exists(folder)
if kind and kind ~= "folder" then args.fail("usage", "%s is there already, and is no folder", folder) end
if kind and #cnas.file.list(folder) > 0 then
  args.fail("usage", "%s is not empty: choose another name, or delete it", folder)
end

-- How this program is called from there.
local function program()
  if os.execute "command -v cnas >/dev/null 2>&1" then return "cnas" end
  local wrapper = cnas.home .. "/cnas"
  return cnas.file.exists(wrapper) == "file" and wrapper or arg[-1]
end

local function quoted(word) return word:find "^[%w_./~-]+$" and word or "'" .. word:gsub("'", "'\\''") .. "'" end

local called, templates = quoted(program()), cnas.home .. "/lua/cnas/project"
cnas.file.mkdir(folder)
for _, file in ipairs(cnas.file.list(templates)) do
  local text = cnas.file.read(templates .. "/" .. file):gsub("NAME", name)
  if file:find "%.md$" then
    text = text:gsub("(\n    )cnas ", function(before) return before .. called .. " " end)
  end
  cnas.file.write(folder .. "/" .. file, text)
end
cnas.file.write(folder .. "/.luarc.json", cnas.json.encode({
  ["runtime.version"] = "Lua 5.4", ["workspace.library"] = { cnas.home .. "/lua/stubs" },
  ["workspace.checkThirdParty"] = false,
}, { indent = true }) .. "\n")
cnas.file.write(folder .. "/.gitignore", "runs/\ndata/\n.luarc.json\n")

print(([[
made %s: parts.lua (the operation, the reward, the schedule), search.lua (the loop), test.lua, README.md

  cd %s
  %s test.lua       # checks of the parts, in a second
  %s search.lua     # searches on drawn shapes, in a minute

Change parts.lua next.]]):format(folder, quoted(folder), called, called))
