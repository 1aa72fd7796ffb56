-- model.lua - trained networks in files: saved, read, and opened as a network ready to run.
--
-- A model file has PyTorch's names and layouts: a convolution's weight is (O,I,KH,KW) there and (KH,KW,I,O) here, a
-- linear layer's (O,I) there and (I,O) here; nothing else differs. Ours are safetensors whose metadata has, under
-- "cnas.network", what the network is as JSON ("about"). Files from elsewhere hold tensors alone: what their names and
-- shapes tell is inferred, and the cell must be given.

local cnas = require "cnas"
local args = require "cnas.args"

local model = {}

local KEY = "cnas.network"
local COUNTER = "num_batches_tracked" -- PyTorch's BN counts its batches; nothing is computed from that

-- Layouts -------------------------------------------------------------------------------------------------------------

-- A tensor of the engine as a view in PyTorch's layout, and back.
local function to_torch(t)
  if t:dim() == 4 then return t:permute { 4, 3, 1, 2 } end
  return t:dim() == 2 and t:transpose(1, 2) or t
end

local function from_torch(t)
  if t:dim() == 4 then return t:permute { 3, 4, 2, 1 } end
  return t:dim() == 2 and t:transpose(1, 2) or t
end

local function shape_text(shape) return "(" .. table.concat(shape, ",") .. ")" end

-- Saving --------------------------------------------------------------------------------------------------------------

--- Writes the network's parameters and buffers to `path`, with what is known about it: { genotype =, channels =,
--- layers =, classes =, imagenet =, auxiliary =, … }, of which `open` makes the network again.
function model.save(path, net, about)
  local entries, saved = {}, {}
  for _, entry in ipairs(net:state()) do
    local tensor = entry.tensor:detach()
    entries[#entries + 1] = { name = entry.name, tensor = to_torch(tensor) }
    local norm = entry.name:match "^(.*%.)running_var$"
    if norm then
      entries[#entries + 1] = { name = norm .. COUNTER, tensor = cnas.tensor(0, { dtype = "i64" }) }
    end
  end
  for key, value in pairs(about or {}) do saved[key] = value end
  if type(saved.genotype) == "string" then saved.genotype = cnas.genotype.named(saved.genotype) end
  cnas.safetensors.save(path, entries, { [KEY] = cnas.json.encode(saved), format = "pt" })
end

-- Reading -------------------------------------------------------------------------------------------------------------

local LEGACY = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e" -- what a .pth before 1.6 begins with

-- "safetensors" or "pth", by the first bytes.
local function format_of(path)
  local file, reason = io.open(path, "rb")
  if not file then args.fail("data", "cannot read %s", reason) end
  local start = file:read(#LEGACY) or ""
  file:close()
  if start:sub(1, 4) == "PK\3\4" or start == LEGACY then return "pth" end
  if start:sub(9, 9) == "{" then return "safetensors" end
  args.fail("data", "%s: not a model: neither a safetensors file nor PyTorch's .pth, by its first bytes", path)
end

-- Under which of its names a checkpoint keeps the network's tensors.
local USUAL = { "state_dict", "model_state_dict", "model", "network", "net" }

local function is_tensor(value) return type(value) == "userdata" end

local function has_tensors(value)
  if type(value) ~= "table" then return false end
  for _, entry in pairs(value) do if is_tensor(entry) then return true end end
  return false
end

-- The table of tensors in what PyTorch saved: itself, or what lies under the prefix or one of the usual names.
local function find_state(saved, prefix, path)
  if prefix then
    local state = saved
    for name in prefix:gmatch "[^.]+" do state = type(state) == "table" and state[name] or nil end
    if has_tensors(state) then return state end
    args.fail("data", "%s: there are no tensors under '%s'", path, prefix)
  end
  if has_tensors(saved) then return saved end
  for _, name in ipairs(type(saved) == "table" and USUAL or {}) do
    if has_tensors(saved[name]) then return saved[name] end
  end
  local names = type(saved) == "table" and table.concat(args.keys(saved), ", ") or type(saved)
  args.fail("data", "%s: it holds no table of tensors, and none under %s; it has: %s", path,
            table.concat(USUAL, ", "), names)
end

-- The tensors of a .pth by name, and what else it says.
local function read_pth(path, prefix)
  local saved = cnas.pth.load(path)
  local state = find_state(saved, prefix, path)
  local tensors, metadata = {}, {}
  for name, value in pairs(state) do
    if is_tensor(value) and type(name) == "string" then tensors[name] = value end
  end
  for name, value in pairs(saved) do
    if type(name) == "string" and value ~= state and not is_tensor(value) then metadata[name] = value end
  end
  return tensors, metadata
end

-- Networks that were trained on several devices by PyTorch have "module." in front of all names.
local function strip_module(tensors, metadata)
  local stripped = {}
  for name, tensor in pairs(tensors) do
    local rest = name:match "^module%.(.+)$"
    if not rest then return tensors end
    stripped[rest] = tensor
  end
  metadata.note = next(stripped) and "'module.' was taken off all names" or nil
  return stripped
end

--- The tensors of a file by name, in PyTorch's layout, and its metadata: the strings of a safetensors file; of a .pth
--- what lies beside the tensors. Options: prefix, where in a .pth the tensors are ("ema.state_dict"); without it they
--- are looked for under the usual names. "module." in front of all names is taken off; metadata.note tells.
function model.read(path, options)
  local o = args.check("model.read", options or {}, { prefix = args.optional })
  local tensors, metadata
  if format_of(path) == "pth" then tensors, metadata = read_pth(path, o.prefix)
  else tensors, metadata = cnas.safetensors.load(path) end
  return strip_module(tensors, metadata), metadata
end

-- Fitting tensors into a network --------------------------------------------------------------------------------------

local SHOWN = 8 -- lines of each list in a message

-- How the named tensors differ from what the network has: lists missing, unexpected, misshapen.
local function compare(net, tensors)
  local wrong, known = { missing = {}, unexpected = {}, misshapen = {} }, {}
  for _, entry in ipairs(net:state()) do
    local given, expected = tensors[entry.name], shape_text(to_torch(entry.tensor):shape())
    known[entry.name] = true
    local norm = entry.name:match "^(.*%.)running_var$"
    if norm then known[norm .. COUNTER] = true end
    if not given then
      table.insert(wrong.missing, entry.name)
    elseif shape_text(given:shape()) ~= expected then
      table.insert(wrong.misshapen, ("%s is %s, must be %s"):format(entry.name, shape_text(given:shape()), expected))
    end
  end
  for _, name in ipairs(args.keys(tensors)) do
    if not known[name] then table.insert(wrong.unexpected, name) end
  end
  return wrong
end

local function add_list(lines, title, list)
  if #list == 0 then return end
  lines[#lines + 1] = ("  %d %s:"):format(#list, title)
  for i = 1, math.min(#list, SHOWN) do lines[#lines + 1] = "    " .. list[i] end
  if #list > SHOWN then lines[#lines + 1] = ("    … and %d more"):format(#list - SHOWN) end
end

--- Puts tensors in PyTorch's names and layouts into a network. All must fit, or nothing is put anywhere and the error
--- (code "data") tells what does not, with the full lists in its fields missing, unexpected and misshapen.
function model.fill(net, tensors, where)
  local wrong = compare(net, tensors)
  if #wrong.missing + #wrong.unexpected + #wrong.misshapen > 0 then
    local lines = { ("%s does not fit this network (%d missing, %d unexpected, %d misshapen entries)"):format(
      where, #wrong.missing, #wrong.unexpected, #wrong.misshapen) }
    add_list(lines, "missing, which the network has", wrong.missing)
    add_list(lines, "unexpected, which the network has not", wrong.unexpected)
    add_list(lines, "of another shape", wrong.misshapen)
    args.fail_with("data", wrong, table.concat(lines, "\n"))
  end
  local state = {}
  for _, entry in ipairs(net:state()) do state[entry.name] = from_torch(tensors[entry.name]) end
  net:load(state)
  return net
end

-- Opening -------------------------------------------------------------------------------------------------------------

local function count_layers(tensors)
  local last = -1
  for name in pairs(tensors) do
    local cell = math.tointeger(tonumber(name:match "^cells%.(%d+)%." or nil))
    if cell and cell > last then last = cell end
  end
  return last + 1
end

-- What names and shapes tell about a network; nil when they are not those of one.
local function infer(tensors)
  local imagenet = tensors["stem0.0.weight"] ~= nil
  local stem, classifier = tensors[imagenet and "stem0.0.weight" or "stem.0.weight"], tensors["classifier.weight"]
  if not stem or not classifier or stem:dim() ~= 4 or classifier:dim() ~= 2 then return nil end
  local about = { imagenet = imagenet, layers = count_layers(tensors), classes = classifier:size(1),
                  in_channels = stem:size(2), auxiliary = tensors["auxiliary_head.classifier.weight"] ~= nil }
  about.channels = imagenet and 2 * stem:size(1) or stem:size(1) // 3
  return about
end

local SIZES = { "channels", "layers", "classes", "in_channels", "imagenet", "auxiliary" }

-- The options that the user gave must be what the file says.
local function check_given(where, about, options)
  for _, name in ipairs(SIZES) do
    local given = options[name]
    if given ~= nil and given ~= about[name] then
      args.fail("usage", "%s: it has %s = %s, and %s was given", where, name, tostring(about[name]), tostring(given))
    end
  end
end

-- What the network in the file is: as it says itself, else inferred.
local function describe(where, tensors, metadata, options)
  local inferred = infer(tensors)
  if not inferred then
    args.fail("data", "%s: not one of our networks: expected entries stem.0.weight (or stem0.0.weight) and "
              .. "classifier.weight", where)
  end
  local about = inferred
  local text = metadata[KEY]
  if text then
    local read, said = pcall(cnas.json.decode, text, where .. ", metadata " .. KEY)
    if not read then error(said, 0) end
    if type(said) ~= "table" then args.fail("data", "%s: metadata %s must be an object", where, KEY) end
    for _, name in ipairs(SIZES) do
      if said[name] ~= nil and said[name] ~= inferred[name] then
        args.fail("data", "%s: its metadata says %s = %s, its tensors %s", where, name, tostring(said[name]),
                  tostring(inferred[name]))
      end
      said[name] = inferred[name]
    end
    about = said
  end
  if options.arch then
    about.genotype, about.arch = cnas.arch(options.arch)
  elseif about.genotype then
    about.genotype = cnas.genotype.new(about.genotype)
  else
    args.fail("usage", "%s does not say which cell it is made of: give it (--arch CNAS, or a genotype's file)", where)
  end
  check_given(where, about, options)
  return about
end

-- The file meant by `what`: itself, or the weights of an evaluation's run folder.
local function find_file(what)
  local kind = cnas.file.exists(what)
  if kind == "file" then return what end
  if kind == "folder" then
    for _, name in ipairs { "best", "last" } do
      local path = ("%s/weights/%s.safetensors"):format(what, name)
      if cnas.file.exists(path) then return path end
    end
    args.fail("data", "%s holds no weights/best.safetensors or weights/last.safetensors: expected the folder of an "
              .. "evaluation (recipes/evaluate.lua) with at least one epoch done", what)
  end
end

-- The options of `open`, checked for `who`.
local function check_options(who, options)
  return args.check(who, options or {}, {
    arch = args.optional, prefix = args.optional, precision = args.optional, channels = args.optional,
    layers = args.optional, classes = args.optional, in_channels = args.optional, imagenet = args.optional,
    auxiliary = args.optional,
  })
end

--- A network with its weights, for evaluation, and what is known about it. `what`: the folder of an evaluation, a
--- safetensors file, a PyTorch .pth, or the name of a published model. Options: arch, the cell of a file that does not
--- say it (as for cnas.arch); prefix, as for model.read; precision; and channels, layers, classes, in_channels,
--- imagenet, auxiliary, which are compared with the file when given.
function model.open(what, options)
  local o = check_options("model.open", options)
  if type(what) ~= "string" then error("model.open: expected a path or a name, got " .. type(what), 2) end
  local path = find_file(what)
  if not path then
    if not cnas.pretrained.models[what] then
      local known = args.keys(cnas.pretrained.models)
      args.fail("data", "%s: there is no such file or folder, and no published model of that name (%s)%s", what,
                table.concat(known, ", "), args.suggestion(what, known))
    end
    return cnas.pretrained(what, o)
  end
  return model.open_file(path, o)
end

--- The same for a file alone, of any format. `about`, when given, says what the network is: the file is not asked.
function model.open_file(path, options, about)
  local o = check_options("model.open_file", options)
  local tensors, metadata = model.read(path, { prefix = o.prefix })
  about = about or describe(path, tensors, metadata, o)
  local net = cnas.network {
    genotype = about.genotype, channels = about.channels, layers = about.layers, classes = about.classes,
    in_channels = about.in_channels, imagenet = about.imagenet, auxiliary = about.auxiliary,
    precision = o.precision, rng = false,
  }
  model.fill(net, tensors, path)
  about.path, about.note = path, metadata.note
  return net:train(false), about
end

return model
