-- coverage.lua BUILD FOLDER LEAST - what gcov counted under BUILD for the files of FOLDER: lines of code, how many of
-- them ran, and which did not. A line of a template counts once, and has run when it did in any instance.

local cnas = require "cnas"

local build, folder, least = arg[1], arg[2], tonumber(arg[3])
local function quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

local files = {} -- name -> line -> count
local pipe <close> = assert(io.popen(("cd %s && find . -name '*.gcda' | xargs gcov --json-format --stdout"):format(
                                     quote(build))))
for object in pipe:lines() do -- one JSON object a line, for each object file
  for _, file in ipairs(cnas.json.decode(object).files) do
    local name = file.file:match "kernels/cuda/([%w_%.]+)$"
    if name then
      files[name] = files[name] or {}
      local lines = files[name]
      for _, line in ipairs(file.lines) do
        lines[line.line_number] = math.max(lines[line.line_number] or 0, line.count)
      end
    end
  end
end

-- "3-5 9": the lines of a list.
local function spans(list)
  local words, i = {}, 1
  while i <= #list do
    local k = i
    while list[k + 1] == list[k] + 1 do k = k + 1 end
    words[#words + 1] = i == k and tostring(list[i]) or ("%d-%d"):format(list[i], list[k])
    i = k + 1
  end
  return table.concat(words, " ")
end

local all, ran = 0, 0
print(("%-28s %7s %7s %7s   %s"):format("file", "lines", "run", "%", "not run"))
for _, name in ipairs(cnas.args.keys(files)) do
  local count, hit, missed = 0, 0, {}
  for number, times in pairs(files[name]) do
    count = count + 1
    if times > 0 then hit = hit + 1 else missed[#missed + 1] = number end
  end
  table.sort(missed)
  all, ran = all + count, ran + hit
  print(("%-28s %7d %7d %7.1f   %s"):format(name, count, hit, 100 * hit / count, spans(missed)))
end
if all == 0 then
  io.stderr:write("coverage: no file of ", folder, " was run\n")
  os.exit(1)
end
local percent = 100 * ran / all
print(("%-28s %7d %7d %7.1f"):format("all", all, ran, percent))
if percent < least then
  io.stderr:write(("coverage: %.1f %% of the lines are run, at least %g %% are wanted\n"):format(percent, least))
  os.exit(1)
end
