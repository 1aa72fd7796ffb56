-- documentation_spec.lua - README and tutorial do what they say: their blocks are run, see document.lua.

local T = require "spec"
local cnas = require "cnas"
local document = require "document"

-- A trained network in `folder`, under the names that the README's examples have for one.
local function put_network(folder)
  local about = { genotype = cnas.genotype.named "CNAS", channels = 4, layers = 2, classes = 10, in_channels = 3,
                  imagenet = false, auxiliary = false }
  local net = cnas.network { genotype = about.genotype, channels = 4, layers = 2 }
  cnas.model.save(folder .. "/checkpoint.pth", net, about) -- what is in a file counts, not its name
end

-- Runs a document's blocks in order, each a test; what could not be run is listed at the end.
local function check(name, path, prepare)
  T.describe(name, function()
    local blocks, state = document.blocks(T.read(path), path:match "[^/]*$"), nil
    T.it("runs from its first block to its last", function()
      if os.getenv "ASAN_OPTIONS" then T.skip("with sanitizers its searches would take an hour") end
      if not cnas.onnx_model.available() then T.skip "a part of it is about ONNX, which this build has not" end
      state = document.state(blocks)
      if prepare then prepare(state.folder) end
      for _, block in ipairs(blocks) do document.run(state, block) end
      for _, line in ipairs(state.unrun) do print("options alone were checked: " .. line) end
    end)
  end)
end

check("the README", cnas.home .. "/README.md", put_network)
check("the tutorial", cnas.home .. "/docs/tutorial.md")

T.describe("every example and recipe", function()
  -- recipe_spec.lua runs whatever lies in examples/; recipes have specs of their own.
  T.it("is run by a spec, and listed where users look", function()
    local specs, readme = {}, T.read(cnas.home .. "/README.md") .. T.read(cnas.home .. "/docs/tutorial.md")
    for _, file in ipairs(cnas.file.list(cnas.home .. "/tests/lua")) do
      if file:find "_spec%.lua$" then specs[#specs + 1] = T.read(cnas.home .. "/tests/lua/" .. file) end
    end
    specs = table.concat(specs)
    local examples = cnas.file.list(cnas.home .. "/examples")
    T.truthy(#examples >= 5)
    T.contains(specs, 'cnas.file.list(here .. "/examples")')
    for _, file in ipairs(examples) do T.truthy(file:find "^[%l_]+%.lua$", "no example: " .. file) end
    for _, file in ipairs(cnas.file.list(cnas.home .. "/recipes")) do
      local name = file:match "^(.*)%.lua$"
      T.truthy(specs:find(file, 1, true) or specs:find('"' .. name .. '"', 1, true), "no spec runs recipes/" .. file)
      T.truthy(readme:find("recipes/" .. file, 1, true), "README and tutorial do not name recipes/" .. file)
    end
  end)
end)

-- ---- the checker itself ----

T.describe("a document", function()
  local function run(text)
    local blocks = document.blocks(text, "x.md")
    local state = document.state(blocks, 30)
    for _, block in ipairs(blocks) do document.run(state, block) end
    return state
  end

  T.it("is its files, commands and what they print", function()
    local state = run [[
<!-- file: deep/a.lua -->
```lua
print("one 1.25", ...)
print("two")
print("three 12 images/s, 3s")
```

```console
$ cd deep
$ cnas a.lua x
one 1.25        x
…
three 99 images/s, 1m02s
$ cnas info --json | head -1
{
```
]]
    T.truthy(state.at:find "/deep$")
  end)

  T.it("fails where what is shown is not what is printed", function()
    local function of(shown) return "```console\n$ cnas -e 'print(\"a 1.5\") print \"b\"'\n" .. shown .. "```\n" end
    run(of "a 1.5\nb\n")
    run(of "a …\n...\n")
    T.raises("x.md:1: .*shown: c\nprinted: b", run, of "a 1.5\nc\n")
    T.raises("printed beyond what is shown: b", run, of "a 1.5\n")
    T.raises("shown: z\nprinted: no such line", run, of "...\nz\n")
    T.raises("printed: the end", run, of "a 1.5\nb\nc\n")
    run(of "a 1.6\nb\n") -- made who knows where
    local here = ("<!-- made with: %s kernels, %s, C library %s -->\n\n"):format(cnas.isa():match "^%w+",
      cnas.built().compiler, cnas.libraries()[1].version)
    T.raises("shown: a 1.6", run, here .. of "a 1.6\nb\n")
    T.equal(document.difference({ "a 1.6", "b" }, "a 1.5\nb\n", false), nil)
    T.truthy(document.difference({ "a 1.6", "b" }, "c 1.5\nb\n", false))
  end)

  T.it("fails where a command or a program does", function()
    T.raises("x.md:1: `false` ends with 1", run, "```sh\nfalse\n```\n")
    T.raises("x.md:3: ends with 1", run, "a\n\n```lua\nerror 'mine'\n```\n")
    run "```lua\nprint(cnas.version)\n```\n"
    T.raises("the first line must be a command", run, "```console\noutput\n```\n")
  end)

  T.it("has its options checked where it cannot be run", function()
    local state = run "<!-- not run: hours -->\n```sh\ncnas recipes/enas.lua --epochs 3 --no-none # text\n```\n"
    T.equal(#state.unrun, 1)
    T.contains(state.unrun[1], "x.md:2: hours: cnas recipes/enas.lua --epochs 3")
    T.raises("there is no option %-%-epoch$", run, "```sh\n./cnas recipes/enas.lua --download --epoch 3\n```\n")
    T.raises("there is no recipes/ensa.lua", run, "```sh\nmpirun -np 2 cnas recipes/ensa.lua\n```\n")
    T.equal(#run("```sh\nmpirun -np 2 cnas recipes/enas.lua --seeds 2\n```\n").unrun, 1)
  end)

  T.it("says what each block is", function()
    T.raises("x.md:1: a block that is neither", run, "```\ntext\n```\n")
    T.raises("'rnu' is no directive", run, "<!-- rnu: x -->\n```sh\ntrue\n```\n")
    T.raises("the block has no end", run, "```sh\ntrue\n")
    T.raises("says nothing", run, "<!-- What -->\n")
    run "<!-- shown: why -->\n```\ntext\n```\n"
  end)

  T.it("may have a session, and output apart from its commands", function()
    run "```sh\necho a; echo b\n```\n\ntext\n\n<!-- output -->\n```\na\nb\n```\n"
    T.raises("x.md:6: shown: c\nprinted: a", run, "```sh\necho a\n```\n\n<!-- output -->\n```\nc\n```\n")
    run "<!-- session -->\n```\n$ cnas -i\n> 1 + 1\n2\n> f = function()\n... return 3 end\n> f()\n3\n```\n"
    T.raises("shown: 5\nprinted: 2", run, "<!-- session -->\n```\n> 1 + 1\n5\n```\n")
  end)

  T.it("is not left waiting for ever", function()
    local blocks = document.blocks("```sh\nsleep 20\n```\n", "x.md")
    T.raises("ends with 124", document.run, document.state(blocks, 1), blocks[1])
  end)
end)
