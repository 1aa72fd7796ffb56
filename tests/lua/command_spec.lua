-- command_spec.lua - the words that the program knows besides recipes, and `cnas info` and `cnas new`.

local T = require "spec"
local cnas = require "cnas"

local function commands()
  local list = cnas.file.list(cnas.home .. "/lua/cnas/command")
  for i, file in ipairs(list) do list[i] = file:match "^(.*)%.lua$" end
  return list
end

T.describe("commands", function()
  T.it("are listed by --help, each with what it does, and nothing else is", function()
    local _, out = T.run { "--help" }
    local listed, section = {}, out:match "Commands [^\n]*\n(.-)\n\n"
    for name, text in section:gmatch "  (%l+) +([^\n]+)" do
      listed[#listed + 1] = name
      T.truthy(#text > 10)
    end
    table.sort(listed)
    T.equal(listed, commands())
  end)

  for _, name in ipairs(commands()) do
    T.it(name .. " has help, and refuses what it does not know", function()
      local status, out, err = T.run { name, "--help" }
      T.equal({ status, err }, { 0, "" })
      T.contains(out, "usage: cnas " .. name)
      T.equal(out:find("--resume", 1, true), nil)
      status, _, err = T.run { name, "--zzzzzzzz" }
      T.equal(status, 2)
      T.contains(err, "unknown option '--zzzzzzzz'")
    end)
  end

  T.it("mean themselves whatever lies here; a file of that name is run by its path", function()
    local folder = T.folder()
    T.write(folder .. "/info", "print 'mine'")
    local status, out = T.run { "info", "--json", cwd = folder }
    T.equal({ status, cnas.json.decode(out).cnas }, { 0, cnas.version })
    T.equal({ T.run { "./info", cwd = folder } }, { 0, "mine\n", "" })
  end)

  T.it("are suggested to who misspells one, and so are recipes", function()
    local function complaint(word)
      local status, _, err = T.run { word, cwd = "/" }
      T.equal(status, 2)
      T.contains(err, ("cannot read the recipe '%s'"):format(word))
      return err:match "did you mean '([^']*)'"
    end
    T.equal(complaint "inof", "info")
    T.equal(complaint "evolution", "recipes/evolution.lua")
    T.equal(complaint "curriculum_serch.lua", "recipes/curriculum_search.lua")
    T.equal(complaint "some/where/evalute.lua", "recipes/evaluate.lua")
    T.equal(complaint "zebra", nil)
  end)
end)

T.describe("cnas info", function()
  T.it("tells program, machine, devices, libraries and settings", function()
    local status, out, err = T.run { "info", env = { CNAS_THREADS = 1, CNAS_ISA = "portable" } }
    T.equal({ status, err }, { 0, "" })
    for _, text in ipairs { "cnas           " .. cnas.version, "Lua 5.4", "portable, on 1 thread", "libpng", "graphviz",
                            "MPI", "libedit", "NVIDIA driver", "cuDNN", "NCCL", "NVRTC",
                            "CNAS_THREADS=1", "CNAS_ISA=portable", "compiler", "\ncuda " } do
      T.contains(out, text)
    end
    for line in out:gmatch "[^\n]*" do T.equal(line:find "nil", nil) end
  end)

  T.it("is the same as JSON", function()
    local status, out = T.run { "info", "--json", env = { CNAS_THREADS = 3 } }
    T.equal(status, 0)
    local machine = cnas.json.decode(out)
    T.equal({ machine.cnas, machine.threads, machine.kernels }, { cnas.version, 3, cnas.isa() })
    T.equal(machine.libraries, cnas.libraries())
    T.equal(machine.build, cnas.built())
    T.equal(machine.devices[1].name, "cpu")
    T.truthy(machine.devices[2].missing or machine.devices[2].count > 0)
    T.truthy(machine.memory.total > machine.memory.available)
    T.truthy(machine.processor.count >= 1)
  end)

  T.it("names neither the user nor their home", function()
    local home = T.folder() .. "/ada.lovelace"
    cnas.file.mkdir(home)
    local status, out = T.run { "info", env = { HOME = home, USER = "lovelace", CNAS_CACHE = home .. "/models",
                                                XDG_CACHE_HOME = "/big/lovelace/cache", TMPDIR = "/tmp/lovelaces" } }
    T.equal(status, 0)
    T.contains(out, "~/models")
    T.contains(out, "/big/USER/cache")
    T.contains(out, "/tmp/lovelaces") -- another word
    T.equal(out:find(home, 1, true), nil)
    local host = T.read "/proc/sys/kernel/hostname":match "%S+"
    if #host > 3 then T.equal(out:find(host, 1, true), nil) end
  end)

  T.it("agrees with the source tree about its revision", function()
    local status, revision = T.shell("git -C " .. T.quote(cnas.home) .. " describe --always --dirty 2>/dev/null")
    if status ~= 0 then T.skip("not a git tree, or no git") end
    T.equal(cnas.machine().revision, revision:match "%S+")
  end)
end)

T.describe("cnas new", function()
  local function new(folder, name)
    return T.run { "new", name, cwd = folder }
  end

  T.it("makes a project whose checks pass and whose search runs, stops and goes on", function()
    local folder = T.folder()
    local status, out, err = new(folder, "mine")
    T.equal({ status, err }, { 0, "" })
    T.contains(out, "cd mine")
    T.contains(out, "search.lua")
    T.equal(cnas.file.list(folder .. "/mine"), { ".gitignore", ".luarc.json", "README.md", "parts.lua", "search.lua",
                                                 "test.lua" })
    local project = folder .. "/mine"
    status, out, err = T.run { "test.lua", cwd = project }
    T.equal({ status, err }, { 0, "" })
    T.truthy(out:find "^%d+ checks passed\n$")
    local words = { "search.lua", "--epochs", "1", "--train-images", "160", "--channels", "4", cwd = project,
                    seconds = 300 }
    status, out, err = T.run(words)
    T.equal({ status, err }, { 0, "" })
    T.contains(out, "stage 3 of 3")
    T.contains(out, "everything is in runs/search")
    T.contains(T.read(project .. "/runs/search/genotypes/stage-3.json"), "validation_accuracy")
    T.equal(cnas.file.list(project .. "/runs/search/modules"), { "parts.lua" }) -- what the run was made of
    T.equal(T.read(project .. "/runs/search/modules/parts.lua"), T.read(project .. "/parts.lua"))
    status, out = T.run { "search.lua", "--resume", cwd = project }
    T.equal(status, 0)
    T.contains(out, "is complete")
  end)

  T.it("writes its name, and settings that show an editor the library", function()
    local folder = T.folder()
    T.equal((new(folder, "deep/down/my-search_2")), 0)
    T.contains(T.read(folder .. "/deep/down/my-search_2/README.md"), "# my-search_2\n")
    local settings = cnas.json.decode(T.read(folder .. "/deep/down/my-search_2/.luarc.json"))
    T.truthy(cnas.file.exists(settings["workspace.library"][1] .. "/cnas.lua") == "file")
    T.contains(T.read(folder .. "/deep/down/my-search_2/.gitignore"), "runs/\n")
  end)

  T.it("takes an empty folder, and refuses one with anything in it", function()
    local folder = T.folder()
    cnas.file.mkdir(folder .. "/empty")
    T.equal((new(folder, "empty/")), 0)
    T.write(folder .. "/file", "")
    cnas.file.mkdir(folder .. "/full")
    T.write(folder .. "/full/parts.lua", "mine")
    local status, out, err = new(folder, "full")
    T.equal({ status, out }, { 2, "" })
    T.contains(err, "full is not empty")
    T.equal(T.read(folder .. "/full/parts.lua"), "mine")
    status, out, err = new(folder, "file")
    T.equal(out, "")
    T.equal(status, 2)
    T.contains(err, "file is there already, and is no folder")
  end)

  T.it("refuses what is no name", function()
    local folder = T.folder()
    for _, name in ipairs { "2nd", "a b", "..", ".", "/", "", "a/.hidden", "x;y", "-x", "é" } do
      local status = new(folder, name)
      T.equal(status, 2, name)
    end
    T.equal(cnas.file.list(folder), {})
    local status, _, err = T.run { "new" }
    T.equal(status, 2)
    T.contains(err, "NAME is missing")
    status, _, err = T.run { "new", "a", "b", cwd = folder }
    T.equal(status, 2)
    T.contains(err, "unexpected argument 'b' behind 'a'")
  end)

  T.it("says what went wrong where it may not write", function()
    local status, _, err = new("/proc", "mine")
    T.equal(status, 3)
    T.contains(err, "mine")
  end)
end)
