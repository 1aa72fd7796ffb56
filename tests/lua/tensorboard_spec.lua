-- The real TensorBoard shows a run's scalars and cells: its library reads the event files, its server serves them.
-- TENSORBOARD_PYTHON names a Python that has it: python3 -m venv DIR && DIR/bin/pip install tensorboard
local T = require "spec"
local cnas = require "cnas"
local run_files = require "run_files"

local here = arg[0]:match("^(.*)/tests/lua/[^/]*$") or "."
local python = os.getenv "TENSORBOARD_PYTHON"

local function shown(folder)
  if not python then T.skip "TENSORBOARD_PYTHON names no Python that has TensorBoard" end
  local status, out, err = T.shell(("timeout 300 %s %s/tests/fixtures/tensorboard_reads.py %s"):format(T.quote(python),
                                   T.quote(here), T.quote(folder)))
  T.equal(status, 0, err)
  return cnas.json.decode(out)
end

-- Steps and values of every tag are those of metrics.jsonl, once each.
local function expected_scalars(folder)
  local tags = {}
  for _, line in ipairs(run_files.metrics(folder)) do
    for name, value in pairs(line) do
      if type(value) == "number" and name ~= "step" and name ~= "stage" and name ~= "epoch" then
        local tag = line.phase .. "/" .. name
        tags[tag] = tags[tag] or {}
        table.insert(tags[tag], { line.step, value })
      end
    end
  end
  return tags
end

local function bytes(digits) return (digits:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)) end

local words = {}
for word in ([[--grow node --data shapes --split 0.5 --train-images 96 --channels 2 --layers 3 --nodes 2 --batch 24
  --warmup 1 --epochs 1 --derive-images 24 --derive-samples 2 --derive-rounds 1 --hidden 8 --cost-channels 2
  --cost-layers 3 --threads 1]]):gmatch "%S+" do words[#words + 1] = word end

T.describe("TensorBoard", function()
  T.it("shows the scalars and the cells of a search", function()
    if not python then shown() end
    local folder = T.folder() .. "/run"
    local status, _, err = T.run { here .. "/recipes/curriculum_search.lua", "-o", folder, table.unpack(words) }
    T.equal(status, 0, err)
    local found, expected = shown(folder), expected_scalars(folder)
    T.equal(found.page, 200)
    for _, by in ipairs { found.read, found.served } do
      T.equal(cnas.args.keys(by.scalars), cnas.args.keys(expected))
      for tag, list in pairs(expected) do
        T.equal(#by.scalars[tag], #list, tag)
        for i, pair in ipairs(list) do
          T.equal(by.scalars[tag][i][1], pair[1], tag)
          T.near(by.scalars[tag][i][2], pair[2], 1e-6, tag)
        end
      end
      T.equal(cnas.args.keys(by.images), { "cells/normal", "cells/reduction" })
      for _, cell in ipairs { "normal", "reduction" } do
        local list = by.images["cells/" .. cell]
        T.equal(#list, 2)
        for stage, one in ipairs(list) do
          T.truthy(bytes(one[#one]) == T.read(("%s/drawings/stage-%d-%s.png"):format(folder, stage, cell)), cell)
        end
      end
    end
  end)
end)
