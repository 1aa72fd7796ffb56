-- options.lua - a recipe's command line, declared as a table.
--
--   local opt = cnas.options { about = "What the recipe does.",
--     presets = { quick = { epochs = 1 }, paper = {} },
--     { "epochs", default = 40, min = 1, help = "epochs per stage" },
--     { "grow", default = "op", choices = { "op", "node", "fix" }, help = "what a stage opens" } }
--
-- A list of declarations may stand among them: those that several recipes share are in cnas.declared.
--
-- What the program is about stands without a name: { "run", argument = true, help = "…" } takes the next word that is
-- no option, argument = "many" all that are left, in a list. They are required unless `optional`, or a run is resumed,
-- which knows its own; behind "--" every word is one.
--
-- The type of an option is that of its default, or `type`: "integer", "number", "boolean" or "string". On the command
-- line an underscore may be written as a dash; a boolean is --name or --no-name. A value comes from the command line,
-- else from the preset, else it is the default. The options of the run folder are there in every recipe, but in one
-- that says folder = false, because it makes none: it has --seed and --threads of them, unless it also says
-- computes = false. In the result, a field that was not declared is an error.

local args = require "cnas.args"

local options = {}

-- Options of every recipe. Those that do not change what is computed are `free`: a run may be resumed with another
-- value. Those of one start alone (`once`) are not taken from the run that is resumed. Those that mean something
-- without a run folder are there `anywhere`.
local common = {
  { "out", short = "-o", type = "string", metavar = "DIR", once = true, help = "run folder (default: runs/RECIPE)" },
  { "resume", default = false, once = true, help = "go on with the run in this folder, with its options" },
  { "replay", type = "boolean", once = true,
    help = "resuming, make the changes by hand again (code in its checkpoint); --no-replay: do not ask" },
  { "overwrite", default = false, once = true, help = "delete the run in this folder and start again" },
  { "seed", default = 1, min = 0, anywhere = true, help = "of everything that is random" },
  { "seeds", type = "integer", min = 1, once = true,
    help = "run with the seeds SEED, SEED + 1, … one after the other, each in DIR/seed-S: mean and deviation" },
  { "threads", type = "integer", min = 1, free = true, anywhere = true,
    help = "threads that compute (default: all processors)" },
  { "save_every", default = 600.0, min = 0, free = true, help = "seconds between checkpoints within an epoch" },
  { "keep", default = 3, min = 1, free = true, help = "how many checkpoints are kept" },
  { "color", default = "auto", choices = { "auto", "always", "never" }, free = true, help = "colours on the terminal" },
}

local function dashed(name) return (name:gsub("_", "-")) end
local function underscored(name) return (name:gsub("-", "_")) end

local function kind_of(value)
  return math.type(value) == "integer" and "integer" or math.type(value) == "float" and "number" or type(value)
end

local kinds = { integer = true, number = true, boolean = true, string = true }

-- The declarations by name and in order; wrong ones are the recipe's error.
local function declare(spec)
  local list, byname = {}, {}
  local function add(declared, common_one)
    local name = declared[1]
    if type(name) ~= "string" then error("cnas.options: an option needs a name: { \"name\", default = … }", 4) end
    local option = { name = underscored(name), common = common_one }
    for key, value in pairs(declared) do if key ~= 1 then option[key] = value end end
    option.type = option.type or option.default ~= nil and kind_of(option.default) or option.argument and "string"
    if not kinds[option.type] then
      error(("cnas.options: option '%s' needs a default or a type (integer, number, boolean, string)"):format(name), 4)
    end
    if byname[option.name] then error(("cnas.options: option '%s' is declared twice"):format(name), 4) end
    byname[option.name] = option
    list[#list + 1] = option
  end
  local function add_all(entries)
    for _, declared in ipairs(entries) do
      if type(declared) == "table" and type(declared[1]) == "table" then add_all(declared) else add(declared, false) end
    end
  end
  add_all(spec)
  for _, declared in ipairs(common) do
    local own = byname[declared[1]]
    if own then
      if own.free == nil then own.free = declared.free end
    elseif spec.folder ~= false or declared.anywhere and spec.computes ~= false then
      add(declared, true)
    end
  end
  return list, byname
end

local function names_of(list)
  local names = {}
  for _, option in ipairs(list) do if not option.argument then names[#names + 1] = dashed(option.name) end end
  return names
end

-- How an argument without a name is called in messages and in the help.
local function called(option) return option.metavar or dashed(option.name):upper() end

local function same(a, b)
  if type(a) == "table" and type(b) == "table" then return table.concat(a, "\0") == table.concat(b, "\0") end
  return a == b
end

-- A checked value of the option from what was written: text from the command line, or a Lua value from a preset.
local function convert(option, given)
  local name, value = option.argument and called(option) or "--" .. dashed(option.name), given
  if option.argument == "many" and type(given) == "table" then
    local one, list = args.with(option, { argument = true }), {}
    for i, word in ipairs(given) do list[i] = convert(one, word) end
    return list
  end
  local function wrong(expected)
    args.fail("usage", "%s: expected %s, got '%s'", name, expected, tostring(given))
  end
  if option.type == "integer" then
    value = math.tointeger(tonumber(given)) or wrong("an integer")
  elseif option.type == "number" then
    value = tonumber(given)
    if not value or value ~= value or value == math.huge or value == -math.huge then wrong("a number") end
    value = value + 0.0
  elseif option.type == "boolean" then
    if type(given) ~= "boolean" then value = ({ ["true"] = true, ["false"] = false })[given] end
    if value == nil then wrong("true or false") end
  elseif type(given) ~= "string" then
    wrong("text")
  end
  if option.min and value < option.min then wrong("at least " .. option.min) end
  if option.max and value > option.max then wrong("at most " .. option.max) end
  if option.choices then
    local found = false
    for _, choice in ipairs(option.choices) do found = found or choice == value end
    if not found then
      wrong("one of " .. table.concat(option.choices, ", ") ..
            (type(value) == "string" and args.suggestion(value, option.choices) or ""))
    end
  end
  return value
end

-- Gives the words without a name to the arguments that were declared.
local function place(plain, list, given, script)
  local next_one = 1
  for _, option in ipairs(list) do
    if option.argument == "many" and plain[next_one] then
      given[option.name] = table.move(plain, next_one, #plain, 1, {})
      next_one = #plain + 1
    elseif option.argument then
      given[option.name] = plain[next_one]
      next_one = next_one + 1
    end
    if option.argument and given[option.name] == nil and not option.optional and not given.resume then
      args.fail("usage", "%s is missing: %s; see cnas %s --help", called(option), option.help or "an argument", script)
    end
  end
  if plain[next_one] then
    args.fail("usage", "unexpected argument '%s'%s", plain[next_one],
              next_one == 1 and ": options begin with --" or (" behind '%s'"):format(plain[next_one - 1]))
  end
end

-- The words of the command line as a table of what was written for each option, and the preset's name.
local function scan(words, list, byname, presets, script)
  local given, preset, i = {}, nil, 1
  local plain = {} -- words without a name
  local short = {}
  for _, option in ipairs(list) do if option.short then short[option.short] = option.name end end

  local function follows(word)
    i = i + 1
    if words[i] == nil then args.fail("usage", "%s: a value must follow", word) end
    return words[i]
  end

  while i <= #words do
    local word = words[i]
    local name, value = word:match("^%-%-([^=]+)=(.*)$")
    name = name or word:match("^%-%-(.+)$")
    if word == "-h" or word == "--help" then
      return given, preset, true
    elseif short[word] then
      given[short[word]] = follows(word)
    elseif word == "--" then
      table.move(words, i + 1, #words, #plain + 1, plain)
      break
    elseif not name and word:find "^%-." then
      args.fail("usage", "unknown option '%s': options begin with --", word)
    elseif not name then
      plain[#plain + 1] = word
    elseif name == "preset" then
      preset = value or follows(word)
    else
      local key = underscored(name)
      local option, off = byname[key], false
      if option and option.argument then option = nil end
      if not option and key:match("^no_") and byname[key:sub(4)] and byname[key:sub(4)].type == "boolean" then
        option, off = byname[key:sub(4)], true
      end
      if not option then
        local names = names_of(list)
        names[#names + 1], names[#names + 2] = "preset", "help"
        local near = args.nearest(dashed(key), names)
        args.fail("usage", "unknown option '--%s'%s", name, near and (" (did you mean '--%s'?)"):format(near) or "")
      end
      if option.type == "boolean" then
        if off and value then args.fail("usage", "--%s takes no value", name) end
        given[option.name] = value or not off
      else
        given[option.name] = value or follows(word)
      end
    end
    i = i + 1
  end
  if preset and not presets[preset] then
    args.fail("usage", "--preset: expected one of %s, got '%s'%s", table.concat(args.keys(presets), ", "), preset,
              args.suggestion(preset, args.keys(presets)))
  end
  place(plain, list, given, script)
  return given, preset, false
end

-- A preset as the options it stands for, in lines of at most 90 columns.
local function show_preset(show, name, values)
  local line = ""
  for _, key in ipairs(args.keys(values)) do
    local value = values[key]
    local word = "--" .. dashed(key)
    if value == false then
      word = "--no-" .. dashed(key)
    elseif value ~= true then
      word = word .. " " .. (math.type(value) == "float" and ("%.14g"):format(value) or value)
    end
    if #line + #word > 60 then
      show(name, line)
      name, line = "", ""
    end
    line = line .. (line ~= "" and " " or "") .. word
  end
  show(name, line ~= "" and line or "the defaults")
end

local function help(spec, list, presets, script)
  local words = {}
  for _, option in ipairs(list) do
    local word = option.argument == "many" and ("%s [%s …]"):format(called(option), called(option)) or called(option)
    if option.argument then words[#words + 1] = option.optional and "[" .. word .. "]" or word end
  end
  words[#words + 1] = "[options]"
  local lines = { spec.about or "", "", ("usage: cnas %s %s"):format(script, table.concat(words, " ")), "" }
  local function show(left, text)
    if #left > 26 then
      lines[#lines + 1] = "  " .. left
      left = ""
    end
    lines[#lines + 1] = ("  %-26s  %s"):format(left, text)
  end
  if #words > 1 then
    lines[#lines + 1] = "Arguments:"
    for _, option in ipairs(list) do if option.argument then show(called(option), option.help or "") end end
    lines[#lines + 1] = ""
  end
  local function section(title, of_run)
    local first = #lines + 1
    lines[first] = title
    for _, option in ipairs(list) do
      if option.common == of_run and not option.argument then
        local metavar = option.metavar or ({ integer = "N", number = "X", string = "TEXT" })[option.type]
        local left = "--" .. dashed(option.name)
        if option.type == "boolean" then
          left = option.default and "--no-" .. dashed(option.name) or left
        else
          left = left .. " " .. (option.choices and table.concat(option.choices, "|") or metavar)
        end
        if option.short then left = option.short .. ", " .. left end
        local text = option.help or ""
        if option.type == "boolean" then
          text = (option.default and "do not: " or "") .. text
        elseif option.default ~= nil then
          local default = option.type == "number" and ("%.14g"):format(option.default) or option.default
          text = ("%s [%s]"):format(text, default)
        end
        show(left, text)
      end
    end
    if #lines == first then lines[first] = nil else lines[#lines + 1] = "" end
  end
  section("Options:", false)
  section("The run:", true)
  if next(presets) then
    lines[#lines + 1] = "Presets (--preset NAME):"
    for _, name in ipairs(args.keys(presets)) do show_preset(show, name, presets[name]) end
    lines[#lines + 1] = ""
  end
  show("-h, --help", "this text")
  return table.concat(lines, "\n")
end

-- What is known about a result beyond its values: declarations, the preset, what was given on the command line.
local about = setmetatable({}, { __mode = "k" })

local Options = { __name = "cnas.Options" }
local function declared(self, name)
  local byname = about[self].byname
  if byname[name] then return end
  error(("there is no option '%s'%s"):format(tostring(name), args.suggestion(tostring(name), args.keys(byname))), 3)
end
Options.__index = function(self, name) declared(self, name) end -- one without a value is nil
Options.__newindex = function(self, name, value)
  declared(self, name)
  rawset(self, name, value)
end

--- The options of `spec` from a list of words. Second result: the help text, when it was asked for.
function options.parse(spec, words, script)
  local list, byname = declare(spec)
  local presets = spec.presets or {}
  for preset, values in pairs(presets) do
    for name in pairs(values) do
      if not byname[name] then
        error(("cnas.options: preset '%s': there is no option '%s'%s"):format(preset, name,
              args.suggestion(name, args.keys(byname))), 3)
      end
    end
  end
  local given, preset, asked = scan(words, list, byname, presets, script or "RECIPE")
  if asked then return nil, help(spec, list, presets, script or "RECIPE") end
  local values = {}
  for _, option in ipairs(list) do
    local name, value = option.name, option.default
    if given[name] ~= nil then
      given[name] = convert(option, given[name])
      value = given[name]
    elseif preset and presets[preset][name] ~= nil then
      value = convert(option, presets[preset][name])
    end
    values[name] = value
  end
  about[values] = { byname = byname, list = list, given = given, preset = preset,
                    of_preset = preset and presets[preset] or {}, script = script }
  return setmetatable(values, Options)
end

-- What options.defaults has said for the recipe that reads its options next.
local changed = {}

--- Other defaults, and `about`, for the options that are read next: a recipe that is another one with other settings
--- says them and then runs it.
---   cnas.options.defaults { about = "…", grow = "fix", warmup = 0 }
---   dofile(…)
function options.defaults(values) changed = values end

-- The spec with other defaults. A preset loses what these say, which is why the recipe was called by this name.
local function with_defaults(spec, values)
  local function change(entries)
    local list = {}
    for i, entry in ipairs(entries) do
      if type(entry[1]) == "table" then
        list[i] = change(entry)
      else
        local value = values[underscored(entry[1])]
        list[i] = value == nil and entry or args.with(entry, { default = value })
      end
    end
    return list
  end
  local presets = {}
  for name, preset in pairs(spec.presets or {}) do
    presets[name] = {}
    for key, value in pairs(preset) do
      if values[key] == nil then presets[name][key] = value end
    end
  end
  return args.with(args.with(spec, change(spec)), { presets = presets, about = values.about or spec.about })
end

-- Whether the recipe is being run for each of several seeds.
local seeding = false

--- The options of the running recipe, from the host's table `arg`. Prints the help and ends the program when asked to;
--- --seeds runs the recipe for each seed and ends the program then.
function options.read(spec)
  spec, changed = next(changed) and with_defaults(spec, changed) or spec, {}
  local words = rawget(_G, "arg") or {}
  local opt, text = options.parse(spec, table.move(words, 1, #words, 1, {}), words[0])
  if text then
    if require("cnas").dist.world().rank == 0 then print(text) end
    os.exit(0, true)
  end
  local seeds = about[opt].byname.seeds
  if seeds and seeds.common and opt.seeds and not seeding then
    seeding = true
    require "cnas.seeds".run(opt, table.move(words, 0, #words, 0, {}), options.folder(opt),
                             about[opt].given.seed ~= nil)
    os.exit(0, true)
  end
  return opt
end

--- The path of the recipe that read these options, or nil.
function options.script(opt) return about[opt] and about[opt].script end

--- The run folder that they mean.
function options.folder(opt)
  local script = options.script(opt)
  return opt.out or "runs/" .. (script and script:match("([^/]+)%.lua$") or "run")
end

--- All values as a plain table for config.json, the preset's name, and where values are from that are no defaults:
--- "given" on the command line, or "preset".
function options.record(opt)
  local record, origins, known = {}, {}, about[opt]
  for name, value in next, opt do
    record[name] = value
    if known and known.given[name] ~= nil then origins[name] = "given"
    elseif known and known.of_preset[name] ~= nil then origins[name] = "preset" end
  end
  return record, known and known.preset, origins
end

--- Makes `opt` the options of a recorded run. An option that was given and would change what is computed is refused.
function options.restore(opt, record, where)
  if not about[opt] then return end -- a plain table: whoever made it answers for it
  for _, option in ipairs(about[opt].list) do
    local name = option.name
    local given, recorded = about[opt].given[name], record[name]
    if given ~= nil and not same(given, recorded) and not (option.free or option.once) then
      local function text(value) return type(value) == "table" and table.concat(value, " ") or tostring(value) end
      args.fail("usage", "%s %s: the run in %s was started with %s; resume it with that, or start another run",
                option.argument and called(option) or "--" .. dashed(name), text(given), where, text(recorded))
    end
    if given == nil and recorded ~= nil and not option.once then rawset(opt, name, convert(option, recorded)) end
  end
end

return setmetatable(options, { __call = function(_, spec) return options.read(spec) end })
