-- The command line of a recipe: types, presets, messages.
local T = require "spec"
local options = require "cnas.options"

local spec = {
  about = "A recipe.",
  presets = { quick = { epochs = 1, grow = "fix" }, paper = {} },
  { "epochs", default = 40, min = 1, max = 1000, help = "epochs per stage" },
  { "grow", default = "op", choices = { "op", "node", "fix" }, help = "what a stage opens" },
  { "augment_valid", default = true, help = "augment the validation split" },
  { "no_none", default = false, help = "never the operation none" },
  { "lr", default = 0.01, help = "learning rate" },
  { "root", type = "string", help = "folder of the data" },
}
local function parse(...) return options.parse(spec, { ... }, "recipe.lua") end

T.describe("options", function()
  T.it("have their defaults", function()
    local opt = parse()
    T.equal(opt.epochs, 40)
    T.equal(opt.grow, "op")
    T.equal(opt.augment_valid, true)
    T.equal(opt.root, nil)
    T.equal(opt.seed, 1)
  end)

  T.it("are read as --name value, --name=value, -o", function()
    local opt = parse("--epochs", "7", "--lr=0.5", "-o", "out", "--root", "-x")
    T.equal(opt.epochs, 7)
    T.equal(opt.lr, 0.5)
    T.equal(opt.out, "out")
    T.equal(opt.root, "-x")
  end)

  T.it("take an underscore for a dash, and --no- for a boolean", function()
    T.equal(parse("--no-augment-valid").augment_valid, false)
    T.equal(parse("--augment_valid=false").augment_valid, false)
    T.equal(parse("--no-none").no_none, true)
    T.equal(parse("--no-no-none").no_none, false)
  end)

  T.it("keep their types", function()
    T.equal(math.type(parse("--epochs", "7").epochs), "integer")
    T.equal(math.type(parse("--lr", "1").lr), "float")
  end)

  T.it("follow a preset, but what is given goes before it", function()
    T.equal(parse("--preset", "quick").epochs, 1)
    T.equal(parse("--preset", "quick", "--epochs", "3").epochs, 3)
    T.equal(parse("--epochs", "3", "--preset=quick").grow, "fix")
    T.equal(parse("--preset", "paper").epochs, 40)
  end)

  T.it("refuse unknown names with the nearest one", function()
    local e = T.raises("unknown option '%-%-epoch' %(did you mean '%-%-epochs'%?%)", parse, "--epoch", "1")
    T.equal(e.code, "usage")
    T.raises("did you mean '%-%-augment%-valid'", parse, "--augment-vaild")
    T.raises("did you mean 'quick'", parse, "--preset", "quik")
    T.raises("unexpected argument 'epochs'", parse, "epochs")
    T.equal(T.raises("unknown option '%-%-zzzzzzzz'", parse, "--zzzzzzzz").message:find("did you mean"), nil)
  end)

  T.it("refuse wrong values, saying what was expected", function()
    T.equal(T.raises("%-%-epochs: expected an integer, got '1.5'", parse, "--epochs", "1.5").code, "usage")
    T.raises("%-%-epochs: expected an integer, got 'many'", parse, "--epochs", "many")
    T.raises("%-%-epochs: expected at least 1, got '0'", parse, "--epochs", "0")
    T.raises("%-%-epochs: expected at most 1000", parse, "--epochs", "1001")
    T.raises("%-%-lr: expected a number, got 'nan'", parse, "--lr", "nan")
    T.raises("%-%-lr: expected a number, got '1e999'", parse, "--lr", "1e999")
    T.raises("%-%-grow: expected one of op, node, fix", parse, "--grow", "nodes")
    T.raises("%-%-epochs: a value must follow", parse, "--epochs")
    T.raises("%-%-augment%-valid: expected true or false", parse, "--augment-valid=maybe")
  end)

  T.it("show all of themselves in the help", function()
    local opt, text = parse("--help")
    T.equal(opt, nil)
    for _, part in ipairs { "A recipe.", "usage: cnas recipe.lua", "--epochs N", "epochs per stage [40]", "quick",
                            "--grow op|node|fix", "--no-augment-valid", "-o, --out DIR", "--resume", "--seed" } do
      T.contains(text, part)
    end
  end)

  T.it("are a closed set: a misspelt field is an error", function()
    local opt = parse()
    T.raises("no option 'epoch' %(did you mean 'epochs'%?%)", function() return opt.epoch end)
    T.raises("no option 'epcohs'", function() opt.epcohs = 1 end)
    opt.root = "here"
    T.equal(opt.root, "here")
  end)

  T.it("declared wrongly are the recipe's error", function()
    T.raises("needs a default or a type", options.parse, { { "x" } }, {})
    T.raises("declared twice", options.parse, { { "x", default = 1 }, { "x", default = 2 } }, {})
    T.raises("preset 'p': there is no option 'y'", options.parse,
             { presets = { p = { y = 1 } }, { "x", default = 1 } }, {})
  end)

  T.it("are without those of the run folder where the recipe says that it makes none", function()
    local folderless = { folder = false, { "epochs", default = 1 } }
    T.equal(options.parse(folderless, { "--seed", "7", "--threads", "2" }).seed, 7)
    T.raises("unknown option '%-%-resume'", options.parse, folderless, { "--resume" })
    local _, text = options.parse(folderless, { "--help" })
    T.equal(text:find("--out", 1, true), nil)
  end)

  T.it("may stand without a name: arguments", function()
    local two = { folder = false, computes = false, { "what", argument = true, choices = { "a", "b" } },
                  { "runs", argument = "many", metavar = "RUN", help = "run folders" }, { "json", default = false } }
    local function of(...) return options.parse(two, { ... }, "x.lua") end
    local opt = of("a", "--json", "r1", "r2")
    T.equal({ opt.what, opt.runs, opt.json }, { "a", { "r1", "r2" }, true })
    T.equal(of("b", "--", "--json").runs, { "--json" })
    T.equal(T.raises("RUN is missing: run folders; see cnas x.lua %-%-help", of, "a").code, "usage")
    T.raises("WHAT is missing", of)
    T.raises("WHAT: expected one of a, b.*, got 'c'", of, "c", "r")
    T.raises("unknown option '%-%-runs'", of, "a", "--runs", "r")
    T.raises("unknown option '%-j'", of, "a", "-j", "r")
    T.raises("unknown option '%-%-seed'", of, "a", "r", "--seed", "1")
    local _, text = of("--help")
    T.contains(text, "usage: cnas x.lua WHAT RUN [RUN …] [options]")
    T.equal(text:find("The run:", 1, true), nil)
    local one = { { "file", argument = true, optional = true } }
    T.equal(options.parse(one, {}).file, nil)
    T.raises("unexpected argument 'g' behind 'f'", options.parse, one, { "f", "g" })
    T.contains(select(2, options.parse(one, { "--help" }, "y")), "usage: cnas y [FILE] [options]")
  end)

  T.it("that are arguments belong to a recorded run as others do", function()
    local many = { { "files", argument = "many" } }
    local opt = options.parse(many, { "a", "b" })
    local record = options.record(opt)
    T.equal(record.files, { "a", "b" })
    opt = options.parse(many, { "--resume" })
    options.restore(opt, record, "DIR")
    T.equal(opt.files, { "a", "b" })
    options.restore(options.parse(many, { "a", "b", "--resume" }), record, "DIR")
    T.raises("FILES a c: the run in DIR was started with a b", options.restore,
             options.parse(many, { "a", "c", "--resume" }), record, "DIR")
  end)

  T.it("of a recorded run come back, and must not be contradicted", function()
    local record, preset, origins = options.record(parse("--preset", "quick", "--lr", "0.5", "--keep", "7"))
    T.equal(preset, "quick")
    T.equal(origins, { epochs = "preset", grow = "preset", lr = "given", keep = "given" })
    local opt = parse("--resume")
    options.restore(opt, record, "DIR")
    T.equal(opt.epochs, 1)
    T.equal(opt.lr, 0.5)
    T.equal(opt.resume, true)
    T.equal(opt.keep, 7)
    opt = parse("--resume", "--lr", "0.5", "--keep", "9")
    options.restore(opt, record, "DIR")
    T.equal(opt.keep, 9)
    local e = T.raises("%-%-lr 0.25: the run in DIR was started with 0.5", options.restore, parse("--lr", "0.25"),
                       record, "DIR")
    T.equal(e.code, "usage")
  end)
end)
