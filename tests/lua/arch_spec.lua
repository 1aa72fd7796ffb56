-- The cell that a user means by a name, a file or a folder.
local T = require "spec"
local cnas = require "cnas"

-- Writes a file into a new folder; its path.
local function file(text, name)
  local path = T.folder() .. "/" .. (name or "cell.json")
  cnas.file.write(path, text)
  return path
end

-- The folder of a search that finished these stages: { [number] = JSON text }.
local function run(stages)
  local folder = T.folder() .. "/run"
  cnas.file.mkdir(folder)
  cnas.file.mkdir(folder .. "/genotypes")
  for number, text in pairs(stages) do cnas.file.write(("%s/genotypes/stage-%d.json"):format(folder, number), text) end
  return folder
end

local function record(name, accuracy)
  local g = cnas.genotype.named(name)
  return cnas.json.encode {
    normal = g.normal, normal_concat = g.normal_concat, reduction = g.reduction, reduction_concat = g.reduction_concat,
    validation_accuracy = accuracy, rounds = { { genotype = g, validation_accuracy = accuracy } },
  }
end

T.describe("arch", function()
  T.it("knows every published cell, however it is written", function()
    for written, name in pairs {
      CNAS = "CNAS", cnas = "CNAS", ["darts-v1"] = "DARTS_V1", DARTSV2 = "DARTS_V2", darts = "DARTS_V2",
      ["PC-DARTS"] = "PC_DARTS_cifar", pc_darts_image = "PC_DARTS_image", ["pc-darts-imagenet"] = "PC_DARTS_image",
      ["P-DARTS"] = "PDARTS", nasnet = "NASNet", ["amoeba-net"] = "AmoebaNet", Enas = "ENAS",
    } do
      local g, label = cnas.arch(written)
      T.equal(g, cnas.genotype.named(name), written)
      T.equal(label, name)
    end
    for _, name in ipairs(cnas.genotype.published()) do T.equal(cnas.arch(name), cnas.genotype.named(name)) end
  end)

  T.it("reads JSON and Python text, and takes a table", function()
    local g = cnas.genotype.named "PDARTS"
    T.equal(cnas.arch(file(g:json())), g)
    T.equal(cnas.arch(file("# found by me\nMINE = " .. g:text { style = "darts" }, "cell.py")), g)
    T.equal(cnas.arch { normal = g.normal, reduction = g.reduction }, g)
  end)

  T.it("takes the last stage of a search's run", function()
    local folder = run { [2] = record("ENAS", 0.9), [10] = record("CNAS", 0.51), [9] = record("PDARTS", 0.7) }
    local g, label = cnas.arch(folder .. "/")
    T.equal(g, cnas.genotype.named "CNAS")
    T.equal(label, folder .. ", stage 10 (validation 0.510)")
  end)

  T.it("takes the cell of an evaluation's run", function()
    local folder = run {}
    cnas.file.write(folder .. "/genotypes/cell.json", record "ENAS")
    T.equal(cnas.arch(folder), cnas.genotype.named "ENAS")
  end)

  T.it("says what is wrong, where, and what there is", function()
    local e = T.raises("'DARTS_V3' is neither a published cell %(CNAS, .*ENAS%), nor a file", cnas.arch, "DARTS_V3")
    T.equal(e.code, "usage")
    T.contains(e.message, "did you mean 'DARTS_V")
    e = T.raises("expected the folder of a run with genotypes/stage%-N.json", cnas.arch, T.folder())
    T.equal(e.code, "data")
    e = T.raises("expected the folder of a run", cnas.arch, run {})
    T.equal(e.code, "data")
    for _, text in ipairs { "", "{", "[1,2]", "Genotype(", ("x"):rep(2 << 20), record("CNAS"):sub(1, 200), "\0\1\2" } do
      local path = file(text)
      e = T.raises(path, cnas.arch, path)
      T.equal(e.code, "data", text:sub(1, 20))
    end
    local folder = run { [1] = record("CNAS"), [2] = "{}" }
    e = T.raises(folder .. "/genotypes/stage%-2.json", cnas.arch, folder)
    T.equal(e.code, "data")
    T.raises("expected a published name", cnas.arch, 3)
    T.raises("expected a published name", cnas.arch, "")
  end)
end)
