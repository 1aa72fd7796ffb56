-- manual_html.lua - the manual and the tutorial as HTML pages that need no network and no script.

local cnas = require "cnas"
local manual = require "cnas.manual"

local style = [[
:root { color-scheme: light dark; --ink: #1c2024; --paper: #ffffff; --soft: #5d6670; --line: #dfe3e8; --code: #f4f6f8;
  --link: #0b62c4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e6ea; --paper: #14171a; --soft: #9aa4af; --line: #2d343b;
  --code: #1d2226; --link: #7fb5ff; } }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--paper); font: 16px/1.55 system-ui, sans-serif; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 0.875em; }
code { background: var(--code); padding: 0.1em 0.25em; border-radius: 3px; overflow-wrap: anywhere; }
pre { background: var(--code); padding: 0.8em 1em; border-radius: 5px; overflow-x: auto; }
pre code { padding: 0; background: none; overflow-wrap: normal; }
nav { padding: 1.2em; border-right: 1px solid var(--line); font-size: 0.92em; }
nav a { display: block; padding: 0.12em 0; } nav b { display: block; margin-bottom: 0.6em; }
nav .here { color: var(--ink); font-weight: 600; }
nav .names a { padding-left: 1em; font-size: 0.9em; overflow-wrap: anywhere; }
main { padding: 1.2em 2em 4em; max-width: 56rem; min-width: 0; }
section { border-top: 1px solid var(--line); margin-top: 1.6em; padding-top: 0.4em; scroll-margin-top: 1em; }
h1 { margin-top: 0; } h2 { font: 600 1em/1.5 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
h2 a { color: var(--ink); } .index h2 { font: 600 1.25em/1.4 system-ui, sans-serif; }
.index p.names { display: flex; flex-wrap: wrap; gap: 0.1em 1.1em; }
h2 .kind { color: var(--soft); font-weight: 400; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: 0.2em 1.2em; }
dt { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 0.875em; } dd { margin: 0; }
.soft { color: var(--soft); }
@media (min-width: 60rem) { body { display: grid; grid-template-columns: 17rem 1fr; }
  nav { height: 100vh; position: sticky; top: 0; overflow-y: auto; } }
@media (max-width: 60rem) { nav { border-right: 0; border-bottom: 1px solid var(--line); } nav .names { display: none; }
  nav a { display: inline-block; margin-right: 1em; } main { padding: 1.2em; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: 0.6em; } }
]]

local marks = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }
local function escape(text) return (text:gsub('[&<>"]', marks)) end

local function anchor(name) return (name:gsub("[^%w_.]", "-")) end

-- Where an entry is, from any page.
local function place(entry) return ("%s.html#%s"):format(entry.page.name, anchor(entry.name)) end

-- Names of the library in escaped text become links, but not to the entry itself.
local function linked(text, self)
  return (text:gsub("cnas[%w_.:]*[%w_]", function(name)
    local entry = manual.entry(name)
    if not entry or entry == self then return nil end
    return ('<a href="%s">%s</a>'):format(place(entry), name)
  end))
end

-- A paragraph of the source: `code`, **bold**.
local function inline(text, self)
  text = escape(text)
  text = text:gsub("`([^`]+)`", function(code) return "<code>" .. linked(code, self) .. "</code>" end)
  return (text:gsub("%*%*([^*]+)%*%*", "<b>%1</b>"))
end

local function paragraphs(list, self)
  local out, within = {}, false
  for _, text in ipairs(list) do
    local item = text:match "^%- (.*)$"
    if (item ~= nil) ~= within then
      out[#out + 1] = item and "<ul>" or "</ul>"
      within = item ~= nil
    end
    out[#out + 1] = item and "<li>" .. inline(item, self) .. "</li>" or "<p>" .. inline(text, self) .. "</p>"
  end
  if within then out[#out + 1] = "</ul>" end
  return table.concat(out, "\n")
end

local function options(entry)
  local out = { "<dl>" }
  for _, o in ipairs(entry.options) do
    local default = o.default and " = " .. escape(o.default) or o.optional and "" or ' <span class="soft">needed</span>'
    out[#out + 1] = ('<dt>%s<span class="soft">: %s%s</span></dt><dd>%s</dd>'):format(escape(o.name),
      linked(escape(o.type), entry), default, inline(o.text, entry))
  end
  out[#out + 1] = "</dl>"
  return table.concat(out, "\n")
end

local function section(entry)
  local out = { ('<section id="%s">'):format(anchor(entry.name)) }
  local kind, rest = entry.signature:match "^(%l+) ([%w_.:%s]+)$"
  if entry.kind ~= "type" and entry.kind ~= "module" then kind = nil end
  out[#out + 1] = ('<h2><a href="#%s">%s</a></h2>'):format(anchor(entry.name),
    kind and ('<span class="kind">%s</span> %s'):format(kind, escape(rest)) or escape(entry.signature))
  out[#out + 1] = paragraphs(entry.text, entry)
  if #entry.options > 0 then out[#out + 1] = options(entry) end
  if entry.row then
    out[#out + 1] = ('<p class="soft">Types: %s. Also a method: <code>x:%s(…)</code>.</p>'):format(entry.row.types,
      entry.name:match "[^.]+$")
  end
  for _, code in ipairs(entry.examples) do out[#out + 1] = "<pre><code>" .. escape(code) .. "</code></pre>" end
  out[#out + 1] = "</section>"
  return table.concat(out, "\n")
end

-- ---- the tutorial ----

-- docs/tutorial.md as HTML: headings, paragraphs, lists and fenced blocks; comments are for the tests. Nil when it is
-- not beside the library.
local function tutorial_text()
  local path = cnas.home .. "/docs/tutorial.md"
  if not cnas.file.exists(path) then return nil end
  local out, lines, code = { '<div class="index">' }, {}, nil
  local function finish()
    local list = {}
    for _, line in ipairs(lines) do
      if line:find "^%- " or #list == 0 then list[#list + 1] = line
      else list[#list] = list[#list] .. line:gsub("^%s*", " ") end
    end
    if #list > 0 then out[#out + 1] = paragraphs(list) end
    lines = {}
  end
  for line in cnas.file.read(path):gmatch "([^\n]*)\n" do
    local level, title = line:match "^(#+) (.*)$"
    if line:find "^```" then
      finish()
      if code then out[#out + 1] = "<pre><code>" .. escape(table.concat(code, "\n")) .. "</code></pre>" end
      code = not code and {} or nil
    elseif code then
      code[#code + 1] = line
    elseif title then
      finish()
      out[#out + 1] = ('<h%d id="%s">%s</h%d>'):format(#level, anchor(title), inline(title), #level)
    elseif line == "" or line:find "^<!%-%-" then
      finish()
    else
      lines[#lines + 1] = line
    end
  end
  finish()
  out[#out + 1] = "</div>"
  return table.concat(out, "\n")
end

-- ---- pages ----

local function navigation(here)
  local out = { '<nav><b><a href="index.html">cnas ' .. cnas.version .. "</a></b>" }
  if cnas.file.exists(cnas.home .. "/docs/tutorial.md") then
    out[#out + 1] = ('<a href="tutorial.html"%s>Tutorial</a>'):format(here == "tutorial" and ' class="here"' or "")
  end
  for _, page in ipairs(manual.pages()) do
    out[#out + 1] = ('<a href="%s.html"%s>%s</a>'):format(page.name, page == here and ' class="here"' or "",
      escape(page.title))
    if page == here then
      out[#out + 1] = '<div class="names">'
      for _, entry in ipairs(page.entries) do
        out[#out + 1] = ('<a href="#%s">%s</a>'):format(anchor(entry.name), escape(entry.name:gsub("^cnas%.", "")))
      end
      out[#out + 1] = "</div>"
    end
  end
  out[#out + 1] = "</nav>"
  return table.concat(out, "\n")
end

local function document(title, here, content)
  return table.concat({
    "<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    "<title>" .. escape(title) .. "</title>", "<style>" .. style .. "</style>", "</head>", "<body>",
    navigation(here), "<main>", content, "</main>", "</body>", "</html>",
  }, "\n") .. "\n"
end

local function page_text(page)
  local out = { "<h1>" .. escape(page.title) .. "</h1>", paragraphs(page.text) }
  for _, code in ipairs(page.examples) do out[#out + 1] = "<pre><code>" .. escape(code) .. "</code></pre>" end
  for _, entry in ipairs(page.entries) do out[#out + 1] = section(entry) end
  return table.concat(out, "\n")
end

local function index_text()
  local out = { "<h1>cnas: the manual</h1>",
    "<p>Every function and type of the Lua library. At the prompt of <code>cnas -i</code>, <code>?name</code> shows "
    .. "the same text.</p>" }
  for _, page in ipairs(manual.pages()) do
    local names = {}
    for _, entry in ipairs(page.entries) do
      if not entry.name:find(":", 1, true) then
        names[#names + 1] = ('<a href="%s">%s</a>'):format(place(entry), escape(entry.name:gsub("^cnas%.", "")))
      end
    end
    out[#out + 1] = ('<section class="index"><h2><a href="%s.html">%s</a></h2>\n%s\n<p class="names">%s</p></section>')
      :format(page.name, escape(page.title), paragraphs(page.text[1] and { page.text[1] } or {}),
              table.concat(names, "\n"))
  end
  return table.concat(out, "\n")
end

--- The manual's files: a list of { name, text }.
return function()
  local files = { { "index.html", document("cnas: the manual", nil, index_text()) } }
  local tutorial = tutorial_text()
  if tutorial then files[2] = { "tutorial.html", document("Tutorial - cnas", "tutorial", tutorial) } end
  for _, page in ipairs(manual.pages()) do
    files[#files + 1] = { page.name .. ".html", document(page.title .. " - cnas", page, page_text(page)) }
  end
  return files
end
