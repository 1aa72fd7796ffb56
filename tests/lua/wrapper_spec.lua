-- wrapper_spec.lua - ./cnas in a source tree, and an installed cnas without one.

local T = require "spec"

local build = T.program:match("^(.*)/[^/]*$")
local source = require "cnas.engine".home

local function needs_build_folder()
  if not io.open(build .. "/CMakeCache.txt") then T.skip("the program is not in a build folder") end
end

-- Runs words of a shell command with the wrapper on the build folder that is being tested.
local function shell(words) return T.shell("export CNAS_BUILD=" .. T.quote(build) .. "; " .. words) end

T.describe("the wrapper", function()
  T.it("runs the program with its arguments and its exit status, from any folder, and is silent", function()
    needs_build_folder()
    local wrapper = T.quote(source .. "/cnas")
    shell(wrapper .. " --version") -- whatever was stale is built here
    T.equal({ shell("cd / && " .. wrapper .. " -e 'print(...) os.exit(4)' 'a b' '$c'") }, { 4, "a b\t$c\n", "" })
  end)

  T.it("works through symbolic links, and many at once", function()
    needs_build_folder()
    local link = T.folder() .. "/link"
    T.shell("ln -s " .. T.quote(source .. "/cnas") .. " " .. link)
    local status, out, err = shell(("for i in 1 2 3; do %s -e 'print(7)' & done; wait"):format(link))
    T.equal({ status, out, err }, { 0, "7\n7\n7\n", "" })
  end)

  T.it("takes no time when nothing is to be done", function()
    needs_build_folder()
    local clock = require "cnas.engine".clock
    local start = clock()
    for _ = 1, 3 do shell(T.quote(source .. "/cnas") .. " -e ''") end
    T.truthy((clock() - start) / 3 < 1, "seconds for a start: " .. (clock() - start) / 3)
  end)
end)

T.describe("an installed program", function()
  T.it("has its library, recipes and modules with it", function()
    needs_build_folder()
    local prefix = T.folder()
    T.equal((T.shell(("cmake --install %s --prefix %s"):format(T.quote(build), prefix))), 0)
    local status, out, err = T.shell(("cd / && %s/bin/cnas -e 'print(require \"cnas\".home)'"):format(prefix))
    T.equal({ status, out, err }, { 0, prefix .. "/share/cnas\n", "" })
    status, out = T.shell(("cd / && %s/bin/cnas recipes/curriculum_search.lua --help"):format(prefix))
    T.equal(status, 0)
    T.contains(out, "usage:")

    local program, folder = prefix .. "/bin/cnas", T.folder() -- and its commands with what they need
    T.equal((T.shell(("cd %s && PATH=/usr/bin:/bin %s new mine"):format(folder, program))), 0)
    status, out, err = T.shell(("cd %s/mine && %s test.lua"):format(folder, program))
    T.equal({ status, err }, { 0, "" })
    T.contains(out, "checks passed")
    T.contains(T.read(folder .. "/mine/.luarc.json"), prefix .. "/share/cnas/lua/stubs")
    T.truthy(io.open(prefix .. "/share/cnas/lua/stubs/cnas.lua"), "no stubs were installed")
    T.truthy(io.open(prefix .. "/share/cnas/docs/tutorial.md"), "the tutorial was not installed")
    T.contains(T.read(folder .. "/mine/README.md"), "    " .. program .. " search.lua")
    status, out = T.shell(("cd / && %s info"):format(program))
    T.equal(status, 0)
    T.contains(out, " (installed)")
    T.equal((T.shell(("git -C %s rev-parse HEAD"):format(T.quote(source)))) == 0,
            out:find "revision %x%x%x%x%x%x%x" ~= nil, "the revision of an installed program")
  end)
end)
