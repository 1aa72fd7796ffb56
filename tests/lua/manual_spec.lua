-- manual_spec.lua - the manual says what is there: every public name has an entry, every entry its name, the options of
-- an entry are those of the function, and every example gives what it says.

local T = require "spec"
local cnas = require "cnas"
local manual = require "cnas.manual"
local show = require "cnas.show"

local function each(f)
  for _, page in ipairs(manual.pages()) do
    for _, entry in ipairs(page.entries) do f(entry, ("lua/cnas/manual/%s.md: %s"):format(page.name, entry.name)) end
  end
end

local function list(problems, what)
  if #problems > 0 then error(what .. ":\n  " .. table.concat(problems, "\n  "), 2) end
end

T.describe("the manual", function()
  T.it("has an entry for every public name", function()
    local missing = {}
    for _, name in ipairs(manual.public()) do
      if not manual.entry(name) then missing[#missing + 1] = name end
    end
    list(missing, "public names without an entry in lua/cnas/manual/*.md")
  end)

  T.it("has no entry for what is not there", function()
    local gone, types = {}, manual.types()
    each(function(entry, where)
      local field = entry.kind == "field" and not manual.resolve(entry.name:match "^(.*)%.", types)
      if entry.kind ~= "field" and not entry.name:match ":__call$" and manual.resolve(entry.name, types) == nil
        or field then gone[#gone + 1] = where end
    end)
    list(gone, "entries without their name")
  end)

  T.it("says something about each, and what each parameter and result is", function()
    local bad = {}
    each(function(entry, where)
      if not entry.text[1] or #entry.text[1] < 2 then bad[#bad + 1] = where .. ": no text" end
      for _, p in ipairs(entry.params or {}) do
        if p.type == "any" and not entry.row and not entry.signature:find(p.name .. "%??: any") then
          bad[#bad + 1] = where .. ": no type for " .. p.name
        end
      end
      for _, o in ipairs(entry.options) do
        if o.text == "" and not entry.row then bad[#bad + 1] = where .. ": nothing about option " .. o.name end
      end
    end)
    list(bad, "entries that say too little")
  end)

  T.it("names only types that it has", function()
    local bad = {}
    each(function(entry, where)
      local function check(text)
        for name in tostring(text):gmatch "cnas%.%u[%w.]*" do
          if not manual.entry(name) then bad[#bad + 1] = where .. ": " .. name end
        end
      end
      for _, p in ipairs(entry.params or {}) do check(p.type) end
      for _, r in ipairs(entry.returns or {}) do check(r.type) end
      for _, o in ipairs(entry.options) do check(o.type) end
    end)
    list(bad, "types without an entry")
  end)
end)

-- How to hand options to a function that does not take them alone; `o` is the table.
local w, g = cnas.zeros(1):requires_grad_(), cnas.genotype.named "CNAS"
local bench = setmetatable({ columns = {} }, { __index = manual.types()["cnas.NasBench201"] })
local probes = {
  ["cnas.tensor"] = function(o) cnas.tensor(1, o) end,
  ["cnas.zeros"] = function(o) cnas.zeros(2, o) end,
  ["cnas.ones"] = function(o) cnas.ones(2, o) end,
  ["cnas.empty"] = function(o) cnas.empty(2, o) end,
  ["cnas.rand"] = function(o) cnas.rand(2, o) end,
  ["cnas.randn"] = function(o) cnas.randn(2, o) end,
  ["cnas.full"] = function(o) cnas.full({ 2 }, 1, o) end,
  ["cnas.arange"] = function(o) cnas.arange(2, o) end,
  ["cnas.Tensor:backward"] = function(o) w:backward(o) end,
  ["cnas.Module:load"] = function(o) cnas.nn.relu():load({}, o) end,
  ["cnas.space.build"] = function(o) cnas.space.darts():build("none", o) end,
  ["cnas.Space:build"] = function(o) cnas.space.darts():build("none", o) end,
  ["cnas.genotype.text"] = function(o) cnas.genotype.text(g, o) end,
  ["cnas.Genotype:text"] = function(o) g:text(o) end,
  ["cnas.optim.sgd"] = function(o) cnas.optim.sgd({ w }, o) end,
  ["cnas.optim.adam"] = function(o) cnas.optim.adam({ w }, o) end,
  ["cnas.Optimizer:step"] = function(o) cnas.optim.sgd({ w }, { lr = 1 }):step(nil, o) end,
  ["cnas.data.load"] = function(o) cnas.data.load("shapes", o) end,
  ["cnas.datasets.cifar"] = function(o) cnas.datasets.cifar(10, "nowhere", o) end,
  ["cnas.model.open"] = function(o) cnas.model.open("nowhere", o) end,
  ["cnas.model.read"] = function(o) cnas.model.read("nowhere", o) end,
  ["cnas.pretrained.fetch"] = function(o) cnas.pretrained.fetch("cnas_imagenet", o) end,
  ["cnas.Costs:reward"] = function(o) cnas.costs({ space = cnas.space.darts() }):reward(o) end,
  ["cnas.NasBench201:task"] = function(o) bench:task(o) end,
  ["cnas.image.transform"] = function(o) cnas.image.transform("", o) end,
  ["cnas.Run:init"] = function(o) require "cnas.trainee".init({}, nil, "nowhere", o) end,
  ["cnas.json.encode"] = function(o) cnas.json.encode(1, o) end,
  ["cnas.draw.cell"] = function(o) cnas.draw.cell(g, "normal", o) end,
  ["cnas.draw.svg"] = function(o) cnas.draw.svg(g, "normal", o) end,
  ["cnas.draw.dot"] = function(o) cnas.draw.dot(g, "normal", o) end,
  ["cnas.events.open"] = function(o) cnas.events.open("/nowhere", o) end,
  ["cnas.latency"] = function(o) cnas.latency(cnas.nn.relu(), o) end,
  ["cnas.latency.time"] = function(o) cnas.latency.time(print, o) end,
  ["cnas.profile"] = function(o) cnas.profile(cnas.nn.relu(), o) end,
  ["cnas.Module:costs"] = function(o)
    cnas.network({ genotype = g, channels = 2, layers = 1, rng = false }):costs(o)
  end,
  ["cnas.onnx.model"] = function(o) cnas.onnx.model(cnas.nn.relu(), o) end,
  ["cnas.onnx.compare"] = function(o) cnas.onnx.compare("nowhere", cnas.nn.relu(), o) end,
}

-- Those that hand their options on, or look at them in the middle of much else.
local not_probed = { ["cnas.options"] = true, ["cnas.options.script"] = true, ["cnas.options.record"] = true,
                     ["cnas.options.restore"] = true, ["cnas.run.open"] = true, ["cnas.Run:batches"] = true,
                     ["cnas.Run:announce"] = true, ["cnas.foresee"] = true, ["cnas.Run:derive"] = true,
                     ["cnas.curriculum.op"] = true, ["cnas.curriculum.node"] = true,
                     ["cnas.curriculum.fix"] = true, ["cnas.curriculum.stages"] = true,
                     ["cnas.model.open_file"] = true, ["cnas.pretrained"] = true, ["cnas.pretrained.open"] = true,
                     ["cnas.onnx.export"] = true }

T.describe("the options of an entry", function()
  T.it("are those that the function takes", function()
    local bad, types = {}, manual.types()
    each(function(entry, where)
      local position
      for i, p in ipairs(entry.params or {}) do if p.name == "options" then position = i end end
      if not position or not_probed[entry.name] or entry.row then return end
      local f = probes[entry.name] or position == 1 and manual.resolve(entry.name, types)
      if not f then
        bad[#bad + 1] = where .. ": tests/lua/manual_spec.lua does not know how to call it"
        return
      end
      local called, message = pcall(f, { zzzzzzzz = true })
      local known = not called and tostring(message):match "unknown option 'zzzzzzzz': expected one of: ([^\n]*)"
      if not known then
        bad[#bad + 1] = where .. ": does not say its options: " .. tostring(message)
        return
      end
      local said, is = {}, {}
      for _, o in ipairs(entry.options) do said[o.name] = true end
      for name in known:gmatch "%S+" do is[name] = true end
      for name in pairs(is) do if not said[name] then bad[#bad + 1] = where .. ": not in the manual: " .. name end end
      for name in pairs(said) do if not is[name] then bad[#bad + 1] = where .. ": no such option: " .. name end end
    end)
    list(bad, "options that differ")
  end)
end)

-- Runs an example: lines `code --> text` are expressions whose values, as the prompt shows them, are the text.
local function run_example(code, name)
  local environment, chunk = setmetatable({ cnas = cnas }, { __index = _G }), {}
  environment.__expect = function(line, wanted, ...)
    local shown = {}
    for i = 1, select("#", ...) do shown[i] = show((select(i, ...))) end
    local got = table.concat(shown, ", "):sub(1, math.max(#wanted, #table.concat(shown, ", ")))
    local many = select(2, wanted:gsub(", ", "")) > 0 or #shown == 1
    if not many then got = shown[1] end
    if got ~= wanted and shown[1] ~= wanted then
      error(("%s: %s gives %s, not %s"):format(name, line, got, wanted), 0)
    end
  end
  for line in (code .. "\n"):gmatch "([^\n]*)\n" do
    local expression, wanted = line:match "^(.-)%s*%-%->%s*(.*)$"
    chunk[#chunk + 1] = expression and ("__expect(%q, %q, %s)"):format(expression, wanted, expression) or line
  end
  assert(load(table.concat(chunk, "\n"), "=" .. name, "t", environment))()
end

T.describe("an example of the manual", function()
  for _, page in ipairs(manual.pages()) do
    for i, code in ipairs(page.examples) do
      T.it(("on page %s, %d, gives what it says"):format(page.name, i), function() run_example(code, page.name) end)
    end
  end
  each(function(entry)
    for _, code in ipairs(entry.examples) do
      T.it("of " .. entry.name .. " gives what it says", function() run_example(code, entry.name) end)
    end
  end)
end)

T.describe("the source of the manual", function()
  T.it("says where it is wrong", function()
    T.raises("does not begin with '# Title'", manual.parse, "text", "x.md")
    T.raises("no signature: what is this", manual.parse, "# T\n\n## what is this\n", "x.md")
  end)

  T.it("knows parameters, results, options and examples", function()
    local page = manual.parse([[
# Things

All of them.

## cnas.f(a: integer, g?: fun(x: number, y: number): number, options?: table) -> count: integer, table

Does
it.

- `size: integer = 3` of it,
  going on
- `name: string` its name

```lua
cnas.f(1) --> 2
```

## cnas.T.x: integer

A field.
]], "x.md")
    local f = page.entries[1]
    T.equal({ page.title, page.text[1], f.name, f.text[1] }, { "Things", "All of them.", "cnas.f", "Does it." })
    T.equal(f.params[2], { name = "g", type = "fun(x: number, y: number): number", optional = true })
    T.equal(f.returns, { { name = "count", type = "integer" }, { type = "table" } })
    T.equal(f.options[1], { name = "size", type = "integer", default = "3", optional = true, text = "of it, going on" })
    T.equal(f.options[2].optional, false)
    T.equal(f.examples, { "cnas.f(1) --> 2" })
    T.equal(page.entries[2].type, "integer")
  end)

  T.it("finds the entry of a value, by name and by search", function()
    T.equal(manual.of(cnas.zeros).name, "cnas.zeros")
    T.equal(manual.of(cnas.zeros(1)).name, "cnas.Tensor")
    T.equal(manual.of(cnas.nn).name, "cnas.nn")
    T.equal(manual.of(cnas.zeros(1).sum).name, "cnas.sum")
    T.equal(manual.of(print), nil)
    T.equal(manual.of("zeros"), nil)
    T.equal(manual.entry("relu").name, "cnas.relu")
    T.equal(manual.entry("cnas.Tensor:relu").name, "cnas.relu")
    T.equal(manual.search("kendall")[1].name, "cnas.metric.kendall")
  end)
end)

T.describe("the stubs for editors", function()
  T.it("are those of the manual", function()
    local path = cnas.home .. "/lua/stubs/cnas.lua"
    if not cnas.file.exists(path) then T.skip("no stubs beside the library") end
    if T.read(path) ~= require "cnas.manual_stubs" () then
      error("lua/stubs/cnas.lua is not what the manual says: run cnas recipes/manual.lua --stubs", 0)
    end
  end)

  T.it("are Lua that defines what the library has", function()
    local text = require "cnas.manual_stubs" ()
    local stubs = assert(load(text, "=stubs"))()
    T.equal(type(stubs.zeros), "function")
    T.equal(type(stubs.nn.conv2d), "function")
    T.contains(text, "---@class cnas.Controller: cnas.Sampler")
    T.contains(text, "---@field channels? integer of the first cells; each reduction doubles them (default 16)")
    T.contains(text, "---@param options cnas.supernet.options")
    T.contains(text, "function Tensor:relu() end")
  end)
end)

T.describe("the manual as HTML", function()
  local files, anchors = require "cnas.manual_html" (), {}
  for _, file in ipairs(files) do
    anchors[file[1]] = {}
    for id in file[2]:gmatch 'id="([^"]*)"' do anchors[file[1]][id] = true end
  end

  T.it("has no dead links, and needs nothing from elsewhere", function()
    local dead = {}
    for _, file in ipairs(files) do
      for target in file[2]:gmatch 'href="([^"]*)"' do
        local page, id = target:match "^([^#]*)#?(.*)$"
        page = page == "" and file[1] or page
        if not anchors[page] or id ~= "" and not anchors[page][id] then dead[#dead + 1] = file[1] .. ": " .. target end
      end
      T.equal(file[2]:match "https?:" or file[2]:match "<script", nil)
    end
    list(dead, "dead links")
  end)

  T.it("has the tutorial, with its programs, and without what is for tests alone", function()
    local tutorial
    for _, file in ipairs(files) do if file[1] == "tutorial.html" then tutorial = file[2] end end
    if not tutorial then T.skip("no docs/tutorial.md beside the library") end
    T.contains(tutorial, '<a href="runs.html#cnas.run">cnas.run</a>')
    T.contains(tutorial, "name = &quot;swish&quot;,\n  forward = function(ctx, x)")
    T.equal(tutorial:find("<!--", 1, true), nil)
    T.equal(tutorial:find("```", 1, true), nil)
    T.contains(files[1][2], 'href="tutorial.html"')
  end)

  T.it("closes what it opens", function()
    for _, file in ipairs(files) do
      local open = {}
      for slash, name in file[2]:gmatch "<(/?)(%a%w*)" do
        if name ~= "meta" then
          if slash == "" then open[#open + 1] = name
          else T.equal({ file[1], table.remove(open) }, { file[1], name }) end
        end
      end
      T.equal(#open, 0, file[1])
    end
  end)

  T.it("is written by the recipe", function()
    local folder = T.folder()
    local status, out = T.run { "recipes/manual.lua", "-o", folder .. "/manual" }
    T.equal({ status, out }, { 0, ("%d pages: %s/manual/index.html\n"):format(#files, folder) })
    T.equal(T.read(folder .. "/manual/index.html"), files[1][2])
    T.equal((T.run { "recipes/manual.lua" }), 2)
  end)
end)
