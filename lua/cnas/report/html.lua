-- html.lua - HTML and SVG as tables in which every text is escaped, because texts of run folders may be anything.
--
--   html.p { class = "note", "a < b & ", html.b { name } }     -- <p class="note">a &lt; b &amp; <b>…</b></p>
--   html.render(node)
--
-- Named fields are attributes (true: one without a value; nil or false: none), entries are children: texts and numbers,
-- which are escaped, nodes, and lists of these. html.raw(text) is text that is markup already: the library's own. What
-- comes out is XML as well as HTML.

local MARKS = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

-- Text as UTF-8 that XML allows: bytes that are none, and control characters, become U+FFFD.
local function clean(text)
  if not utf8.len(text) or text:find "[^\t\n\r\x20-\x7e\x80-\xff]" or text:find "\x7f" then
    local out, at = {}, 1
    while at <= #text do
      local length = text:match("^[\x20-\x7e\t\n\r]+()", at)
      if length then
        out[#out + 1], at = text:sub(at, length - 1), length
      else
        local one = text:match("^" .. utf8.charpattern, at)
        local good = one and #one > 1 and utf8.len(one)
        out[#out + 1], at = good and one or "\u{FFFD}", at + (good and #one or 1)
      end
    end
    text = table.concat(out)
  end
  return (text:gsub("\u{FFFE}", "\u{FFFD}"):gsub("\u{FFFF}", "\u{FFFD}"))
end

local function escape(text) return (clean(tostring(text)):gsub("[&<>\"']", MARKS)) end

local Node = { __name = "cnas.Html" }

local void = { area = true, br = true, col = true, hr = true, img = true, input = true, link = true, meta = true,
               circle = true, line = true, path = true, rect = true, polygon = true, stop = true, use = true }

local function attributes(node)
  local names, out = {}, {}
  for name, value in pairs(node) do
    if type(name) == "string" and value then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = node[name]
    out[#out + 1] = (' %s="%s"'):format(name:gsub("_", "-"), value == true and "" or escape(value))
  end
  return table.concat(out)
end

local function put(out, node)
  local meta = getmetatable(node)
  if type(node) ~= "table" then
    out[#out + 1] = escape(node)
  elseif meta ~= Node then
    for _, child in ipairs(node) do put(out, child) end
  elseif node.raw then
    out[#out + 1] = node.raw
  else
    out[#out + 1] = ("<%s%s"):format(meta.names[node], attributes(node))
    if #node == 0 and void[meta.names[node]] then
      out[#out + 1] = "/>"
      return
    end
    out[#out + 1] = ">"
    for _, child in ipairs(node) do put(out, child) end
    out[#out + 1] = ("</%s>"):format(meta.names[node])
  end
end

Node.names = setmetatable({}, { __mode = "k" }) -- of elements, beside their attributes

local html = { escape = escape, clean = clean }

--- Markup that is one already, made by the library itself.
function html.raw(text) return setmetatable({ raw = text }, Node) end

--- The text of a node or a list of nodes.
function html.render(node)
  local out = {}
  put(out, node)
  return table.concat(out)
end

--- A table of numbers, which scrolls by itself where it is too wide: lists of cells of the head and of rows.
function html.grid(head, rows)
  return html.div { class = "scroll", html.table { class = "numbers", html.thead { html.tr { head } },
                                                   html.tbody { rows } } }
end

-- html.NAME(table): an element. An underscore in an attribute's name is a dash.
return setmetatable(html, { __index = function(_, name)
  return function(node)
    if type(node) ~= "table" or getmetatable(node) then
      error(("html.%s: expected a table of attributes and children"):format(name), 2)
    end
    Node.names[node] = name
    return setmetatable(node, Node)
  end
end })
