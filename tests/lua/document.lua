-- document.lua - documents as programs: the fenced blocks of a Markdown file, run and compared with what they show.
--
--   ```sh        every line is a command
--   ```console   lines behind "$ " are commands; what follows one is what it prints
--   ```lua       a program; `cnas` is the module
--
-- A comment directly above a block says more:
--
--   <!-- file: NAME -->       the block is a file of this name, for the commands that follow
--   <!-- output -->           the block is what the commands of the block before print
--   <!-- session -->          lines behind "> " and "... " are typed at `cnas -i`, which prints the others
--   <!-- run with: WORDS -->  the commands are run with these words behind them, so that they take seconds
--   <!-- not run: WHY -->     of its commands only the names of the options are checked, by --help
--   <!-- shown: WHY -->       neither run nor compared
--
-- A block of another language without such a comment is an error: nothing stands in a document unseen. Commands that
-- need a network, data sets or other machines are recognised (see `elsewhere`) and treated as if marked "not run".
--
-- What is printed is compared line by line. "..." or "…" alone in a line stands for any lines, "…" in one for any
-- text. Times, speeds and sizes of memory need not agree. Numbers that are not whole must where the program is the one
-- that the document was made with, as a comment says that stands alone:
--
--   <!-- made with: avx512 kernels, GNU 12.2.0, C library 2.36 -->

local T = require "spec"
local cnas = require "cnas"

local document = {}

-- ---- reading ----

--- The blocks of a text: { line, language, directive, value, lines }.
function document.blocks(text, name)
  local blocks, block, directive, value, number = {}, nil, nil, nil, 0
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    local fence = line:match "^```(.*)$"
    if block and fence then
      blocks[#blocks + 1], block, directive, value = block, nil, nil, nil
    elseif block then
      block.lines[#block.lines + 1] = line
    elseif fence then
      block = { line = number, where = ("%s:%d"):format(name, number), language = fence, lines = {},
                directive = directive, value = value }
    elseif line:find "^<!%-%-" then
      directive, value = line:match "^<!%-%- (%l[%l ]*):? ?(.-) %-%->$"
      if not directive then error(("%s:%d: a comment that says nothing: %s"):format(name, number, line), 0) end
      if directive == "made with" then blocks.made, directive, value = value, nil, nil end
    elseif line:find "%S" then
      directive, value = nil, nil
    end
  end
  if block then error(block.where .. ": the block has no end", 0) end
  return blocks
end

local directives = { file = true, output = true, session = true, ["run with"] = true, ["not run"] = true, shown = true }
local languages = { sh = true, console = true, lua = true }

-- The commands of a block: { text, expected: the lines that it shows, or nil }.
local function commands_of(block)
  local list = {}
  for _, line in ipairs(block.lines) do
    local typed = block.language == "console" and line:match "^%$ (.*)$"
    if typed or block.language == "sh" and line:find "^[^#%s]" then
      list[#list + 1] = { text = (typed or line):gsub("%s+#%s.*$", ""), expected = {} }
    elseif block.language == "console" then
      local last = list[#list] or error(block.where .. ": the first line must be a command: $ …", 0)
      last.expected[#last.expected + 1] = line
    end
  end
  return list
end

-- Why a command cannot be run by a test, or nil.
local function elsewhere(text)
  for _, pair in ipairs { { "git clone", "network" }, { "--download", "network" }, { "cnas_imagenet", "network" },
                          { "--root", "data sets" }, { "--table", "data sets" }, { "CNAS_DATA", "data sets" },
                          { "--data cifar", "data sets" },
                          { "~/", "the user's own files" }, { "PEER", "PyTorch" }, { "mpirun", "processes" },
                          { "srun", "a cluster" }, { "ninja", "a build folder" }, { "cmake", "a build folder" },
                          { "tests/run", "the suite itself" }, { "…", "left open" } } do
    if text:find(pair[1], 1, true) then return pair[2] end
  end
end

-- ---- comparing ----

local times = { { "%d+h%d+m", "<time>" }, { "%d+m%d+s", "<time>" }, { "%f[%w]%d+s%f[%W]", "<time>" },
                { "[%d.]+ images/s", "<speed>" }, { "waited [%d.]+%%", "waited <share>" }, { "[%d.,]+ MB", "<size>" },
                { "[%d.]+ MiB", "<size>" }, { "[%d.]+ KiB", "<size>" }, { "[%d.]+ [mu]?s%f[%W]", "<time>" },
                { "%(<time> to <time>%)", "" }, { "%([%d.]+ to [%d.]+%)", "" } }

local function plain(line, exact)
  for _, pair in ipairs(times) do line = line:gsub(pair[1], pair[2]) end
  if not exact then line = line:gsub("%-?%d+%.%d+e?[%d+-]*", "<number>"):gsub("%d+M ", "<number>M ") end
  return (line:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

local function fits(shown, printed, exact)
  shown, printed = plain(shown, exact), plain(printed, exact)
  local pattern = shown:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0"):gsub("…", ".-")
  return printed:find("^" .. pattern .. "$") ~= nil
end

local function is_gap(line) return line:match "^%s*%.%.%.%s*$" ~= nil or line:match "^%s*…%s*$" ~= nil end

local function lines_of(text)
  local list = {}
  for line in text:gmatch "([^\n]*)\n?" do list[#list + 1] = line end
  while list[#list] and not list[#list]:find "%S" do list[#list] = nil end
  return list
end

--- nil when the printed text is what the lines show; else what does not fit.
function document.difference(shown, text, exact)
  local printed, at, gap = lines_of(text), 1, false
  for _, line in ipairs(shown) do
    if is_gap(line) then
      gap = true
    else
      local found
      for i = at, gap and #printed or math.min(at, #printed) do
        if fits(line, printed[i], exact) then
          found = i
          break
        end
      end
      if not found then
        return ("shown: %s\nprinted: %s"):format(line, gap and "no such line" or printed[at] or "the end")
      end
      at, gap = found + 1, false
    end
  end
  if not gap and printed[at] then return "printed beyond what is shown: " .. printed[at] end
end

-- ---- running ----

--- Whether this program is the one that a document was made with: only then numbers agree to the last digit.
function document.is_ours(made)
  local kernels, compiler, c_library = (made or ""):match "^(%w+) kernels, (.*), C library (.*)$"
  return kernels ~= nil and cnas.isa():find("^" .. kernels) ~= nil and cnas.built().compiler == compiler
    and cnas.libraries()[1].version == c_library
end

--- A folder in which commands of a document run: with `cnas` on the path and as ./cnas, and what a source tree has.
function document.folder()
  local folder = T.folder()
  local program = ("#!/bin/sh\nexec %s \"$@\"\n"):format(T.quote(T.program))
  for _, name in ipairs { "recipes", "examples", "tests", "lua" } do
    T.shell(("ln -s %s %s/%s"):format(T.quote(cnas.home .. "/" .. name), folder, name))
  end
  cnas.file.mkdir(folder .. "/.bin")
  T.write(folder .. "/.bin/cnas", program)
  T.shell(("chmod +x %s/.bin/cnas && ln -s .bin/cnas %s/cnas"):format(folder, folder))
  return folder
end

-- Runs a command in the document's folder (which `cd` changes for those that follow); its status and all it prints.
local function run(state, text, seconds)
  local script = T.write(state.folder .. "/.bin/command", ("cd %s || exit 99\n%s\nstatus=$?\npwd >%s\nexit $status\n")
    :format(T.quote(state.at), text, T.quote(state.folder .. "/.bin/at")))
  local status, out = T.shell(("PATH=%s/.bin:$PATH timeout -k 5 %d sh %s 2>&1 </dev/null"):format(T.quote(state.folder),
    seconds, T.quote(script)))
  if status ~= 124 then state.at = T.read(state.folder .. "/.bin/at"):match "^[^\n]*" end
  return status, out
end

local known_options = {} -- by what is run

-- The options in the --help of what a command runs, and the words behind it; nil when it does not run cnas.
local function options_of(state, text)
  local subject, words = text:match "cnas%s+([%w_./-]+)(.*)$"
  if not subject or subject:find "^%-" then return nil end
  if not known_options[subject] then
    local status, out = run(state, "cnas " .. subject .. " --help", 60)
    if status ~= 0 then error(("`%s`: there is no %s: %s"):format(text, subject, out), 0) end
    known_options[subject] = {}
    for option in out:gmatch "%-%-(%a[%w-]*)" do
      known_options[subject][option], known_options[subject][option:gsub("^no%-", "")] = true, true
    end
  end
  return known_options[subject], words
end

--- Raises unless every option in the command is one that --help knows.
function document.check_options(state, text)
  local known, words = options_of(state, text)
  for option in (words or ""):gmatch "%f[%S]%-%-(%a[%w-]*)" do
    if not known[option] and not known[option:gsub("^no%-", "")] then
      error(("`%s`: there is no option --%s"):format(text, option), 0)
    end
  end
end

local function run_command(state, command, block)
  local why = block.directive == "not run" and block.value or elsewhere(command.text)
  if why then
    document.check_options(state, command.text)
    state.unrun[#state.unrun + 1] = ("%s: %s: %s"):format(block.where, why, command.text)
    return
  end
  local text = command.text
  if block.directive == "run with" and text:find "cnas%s" then text = text .. " " .. block.value end
  local status, out = run(state, text, state.seconds)
  state.printed = state.printed .. out
  if status ~= 0 and not (status == 124 and text:find "^timeout ") then
    error(("%s: `%s` ends with %d:\n%s"):format(block.where, text, status, out), 0)
  end
  if #command.expected > 0 then
    local difference = document.difference(command.expected, out, state.exact)
    if difference then error(("%s: `%s`: %s"):format(block.where, text, difference), 0) end
  end
end

-- What is typed in a session, and what it shows. Ctrl-C and what it interrupts, and the greeting, are for terminals.
local function session_of(block)
  local typed, shown = {}, {}
  for _, line in ipairs(block.lines) do
    local input = line:match "^> (.*)$" or line:match "^%.%.%. (.*)$"
    if line:find "^%^C" then
      typed[#typed] = nil
    elseif input then
      typed[#typed + 1] = input
    elseif not line:find "^%$ " and not line:find "^cnas %d" then
      shown[#shown + 1] = line
    end
  end
  return table.concat(typed, "\n") .. "\n", shown
end

local function run_session(state, block)
  local input, shown = session_of(block)
  T.write(state.folder .. "/.bin/input", input)
  local _, out = run(state, ("cnas -i --color never <%s/.bin/input"):format(T.quote(state.folder)), state.seconds)
  local difference = document.difference(shown, out, state.exact)
  if difference then error(("%s: %s"):format(block.where, difference), 0) end
end

--- Does what a block says in the state { folder, at, seconds, printed, unrun, exact }.
function document.run(state, block)
  local directive = block.directive
  if directive and not directives[directive] then
    error(("%s: '%s' is no directive"):format(block.where, directive), 0)
  elseif not directive and not languages[block.language] then
    error(("%s: a block that is neither sh, console nor lua must say what it is"):format(block.where), 0)
  end
  local text = table.concat(block.lines, "\n") .. "\n"
  if directive == "shown" then return end
  if directive == "file" then
    local path = state.at .. "/" .. block.value
    if path:find "/" then cnas.file.mkdir(path:match "^(.*)/") end
    T.write(path, text)
  elseif directive == "output" then
    local difference = document.difference(block.lines, state.printed, state.exact)
    if difference then error(("%s: %s"):format(block.where, difference), 0) end
  elseif directive == "session" then
    run_session(state, block)
  elseif block.language == "lua" then
    T.write(state.folder .. "/.bin/block.lua", "cnas = require 'cnas'\n" .. text)
    local status, out = run(state, "cnas " .. T.quote(state.folder .. "/.bin/block.lua"), state.seconds)
    if status ~= 0 then error(("%s: ends with %d:\n%s"):format(block.where, status, out), 0) end
  else
    state.printed = ""
    for _, command in ipairs(commands_of(block)) do run_command(state, command, block) end
  end
end

--- A state for a document's blocks, which are run in order. `seconds`: for each command.
function document.state(blocks, seconds)
  local folder = document.folder()
  return { folder = folder, at = folder, seconds = seconds or 600, printed = "", unrun = {},
           exact = document.is_ours(blocks.made) }
end

return document
