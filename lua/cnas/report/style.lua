-- style.lua - how the report looks: its colours in the light and in the dark, its style sheet, the style of a figure
-- for papers, and the script that shows values under the pointer. Nothing of it needs the network; without the script
-- everything is there but those values.

local style = {}

-- Colours by name: in the light, in the dark. Series and families of operations are told apart by people who see no red
-- or green, and by shade in print; cells have those of engine/io/draw.c in the light.
local colors = {
  { "paper", "#ffffff", "#14171a" }, { "raised", "#f6f8fa", "#1c2126" }, { "ink", "#1c2024", "#e3e6ea" },
  { "soft", "#57606a", "#9aa4af" }, { "rule", "#dfe3e8", "#30373e" }, { "grid", "#e7eaee", "#2a3138" },
  { "stage", "#f3f5f8", "#1a1f24" }, { "edge", "#c9d0d8", "#3d464f" }, { "warm", "#a9b3bf", "#5d6874" },
  { "link", "#0b62c4", "#7fb5ff" }, { "change", "#b3261e", "#ff8a80" }, { "good", "#0f7a5c", "#4cc9a4" },
  { "busy", "#a65300", "#f0a050" },
  { "s1", "#2563a8", "#6aa9f0" }, { "s2", "#c2620a", "#f0a050" }, { "s3", "#0f8a6d", "#4cc9a4" },
  { "s4", "#7048b6", "#b79af0" }, { "s5", "#a3355f", "#ee8db4" }, { "s6", "#6b7280", "#a3adba" },
  { "o-sep-1", "#2563a8", "#4483c9" }, { "o-sep-2", "#8db4de", "#2b5a91" }, { "o-sep-3", "#c3d8ee", "#9cc4ef" },
  { "o-dil-1", "#0f8a6d", "#27a889" }, { "o-dil-2", "#86cbb8", "#146b56" }, { "o-dil-3", "#c4e5dc", "#93dcc9" },
  { "o-conv-1", "#7048b6", "#8f6bd0" }, { "o-conv-2", "#b9a3dc", "#5b3f95" }, { "o-conv-3", "#dcd0ee", "#c9b6ee" },
  { "o-pool-1", "#c2620a", "#d9822f" }, { "o-pool-2", "#efb77f", "#8f4d10" }, { "o-pool-3", "#f7dcc0", "#f2c08d" },
  { "o-skip-1", "#6b7280", "#8b95a3" }, { "o-skip-2", "#9aa1ac", "#6b7480" }, { "o-skip-3", "#c3c8cf", "#b4bcc6" },
  { "o-none-1", "#d5dae0", "#3a434c" }, { "o-none-2", "#d5dae0", "#3a434c" }, { "o-none-3", "#d5dae0", "#3a434c" },
  { "o-own-1", "#a3355f", "#c95f88" }, { "o-own-2", "#d79ab1", "#84304f" }, { "o-own-3", "#ebcdd8", "#e8a9c1" },
}

-- What cells are drawn in by engine/io/draw.c, and what that is in the dark.
local cell_colors = {
  ["#87909d"] = "#7f8996", ["#6b7280"] = "#a3adba", ["#2563a8"] = "#6aa9f0", ["#0f8a6d"] = "#4cc9a4",
  ["#7048b6"] = "#b79af0", ["#c2620a"] = "#f0a050", ["#a3355f"] = "#ee8db4", ["#d9ead3"] = "#22351d",
  ["#5b8c4a"] = "#7fb46c", ["#dbe7f6"] = "#1d2f47", ["#5779a8"] = "#7fa3d6", ["#fbe7b6"] = "#43360f",
  ["#b98a1d"] = "#d9ae48", ["#1f2937"] = "#e3e6ea",
}

local shapes = [[
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: butt; }
.point { fill: none; stroke-width: 7; stroke-linecap: round; }
.line.point { stroke-width: 4.5; }
.p2, .p4 { stroke-linecap: square; stroke-width: 6; } .hole { stroke-width: 3.5; }
.line.s2 { stroke-dasharray: 7 3; } .line.s3 { stroke-dasharray: 2 2.5; } .line.s4 { stroke-dasharray: 9 3 2 3; }
.line.s5 { stroke-dasharray: 4 4; } .line.s6 { stroke-dasharray: 12 4; } .line.point { stroke-dasharray: none; }
.band { stroke: none; fill-opacity: 0.18; }
.grid, .edge, .group, .change { fill: none; stroke-width: 1; }
.cut { fill: none; stroke-width: 1; stroke-opacity: 0.4; }
.change { stroke-width: 1.5; stroke-dasharray: 5 3; }
.share { stroke-width: 0.7; }
.heat { stroke: none; }
]]

-- Rules that give classes their colours; `value` turns a colour's name into CSS.
local function colored(value)
  local out = {}
  local function rule(selector, property, name)
    out[#out + 1] = ("%s { %s: %s; }"):format(selector, property, value(name))
  end
  for i = 1, 6 do
    rule((".line.s%d"):format(i), "stroke", "s" .. i)
    rule((".band.s%d"):format(i), "fill", "s" .. i)
  end
  rule(".p1", "stroke", "s2")
  rule(".p2", "stroke", "s3")
  rule(".p3", "stroke", "s6")
  rule(".p4", "stroke", "s2")
  rule(".p5", "stroke", "s1")
  rule(".hole", "stroke", "paper")
  for _, name in ipairs { "grid", "edge", "change" } do rule("." .. name, "stroke", name) end
  rule(".group", "stroke", "edge")
  rule(".cut", "stroke", "ink")
  rule(".stage", "fill", "stage")
  rule(".warm", "fill", "warm")
  rule(".heat", "fill", "s1")
  rule(".share", "stroke", "paper")
  for _, color in ipairs(colors) do
    if color[1]:sub(1, 2) == "o-" then rule(".share." .. color[1], "fill", color[1]) end
  end
  return table.concat(out, "\n")
end

--- The style sheet of a figure that is a file of its own, in the light.
function style.figure()
  local light = {}
  for _, color in ipairs(colors) do light[color[1]] = color[2] end
  return shapes .. colored(function(name) return light[name] end)
    .. ('\ntext { font-family: "DejaVu Sans", Verdana, sans-serif; font-size: 11px; fill: %s; }'):format(light.ink)
    .. ("\n.title { font-weight: bold; font-size: 13px; } circle.badge { fill: %s; }"):format(light.change)
    .. "\n.on, .label.badge { font-size: 10px; fill: #ffffff; } .label.badge { font-weight: bold; }\n"
    .. "text.o-sep-2, text.o-dil-2, text.o-pool-2, text.o-conv-2, text.o-own-2, text.o-none-1 { fill: #1c2024; }"
end

local function variables(which)
  local out = {}
  for i, color in ipairs(colors) do out[i] = ("--%s: %s;"):format(color[1], color[which]) end
  return table.concat(out, " ")
end

-- Cells in the dark, in the scope of a selector.
local function dark_cells(scope)
  local out, light = {}, {}
  for color in pairs(cell_colors) do light[#light + 1] = color end
  table.sort(light)
  for i, color in ipairs(light) do
    for _, property in ipairs { "fill", "stroke" } do
      out[#out + 1] = ('%s .cell [%s="%s"] { %s: %s; }'):format(scope, property, color, property, cell_colors[light[i]])
    end
  end
  out[#out + 1] = scope .. " .cell text:not([fill]) { fill: #e3e6ea; }"
  return table.concat(out, "\n")
end

local page = [[
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; color: var(--ink); background: var(--paper); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
  "DejaVu Sans", sans-serif; }
main, header.top, nav { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem; }
header.top { padding-top: 1.6rem; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: 0 0 0.2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 0.7rem; padding-top: 0.9rem; border-top: 1px solid var(--rule);
  overflow-wrap: anywhere; scroll-margin-top: 3rem; }
main > section > h2:first-of-type { border-top: 0; margin-top: 0.6rem; }
h3 { font-size: 1.02rem; margin: 1.5rem 0 0.5rem; }
p { margin: 0.4rem 0 0.8rem; max-width: 60rem; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 0.85em; overflow-wrap: anywhere; }
pre { background: var(--raised); border-radius: 6px; padding: 0.8em 1em; overflow-x: auto; overflow-wrap: normal; }
.soft, .note { color: var(--soft); } .note { font-size: 0.9em; }
nav { position: sticky; top: 0; z-index: 3; background: var(--paper); border-bottom: 1px solid var(--rule);
  display: flex; gap: 0.1rem 1.1rem; overflow-x: auto; white-space: nowrap; padding-top: 0.5rem;
  padding-bottom: 0.45rem; margin-top: 0.9rem; font-size: 0.92rem; }
.state { display: inline-block; border: 1px solid currentColor; border-radius: 1em; padding: 0 0.65em;
  font-size: 0.83em; font-weight: 600; white-space: nowrap; }
.state.complete { color: var(--good); } .state.running { color: var(--busy); } .state.stopped { color: var(--change); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.6rem, 1fr)); gap: 0.6rem; margin: 1rem 0; }
.facts div { background: var(--raised); border-radius: 8px; padding: 0.55rem 0.8rem; min-width: 0; }
.facts dt { color: var(--soft); font-size: 0.82rem; } .facts dd { margin: 0; font-size: 1.28rem; font-weight: 600;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; } .facts dd small { font-size: 0.68em; font-weight: 400;
  color: var(--soft); display: block; }
.scroll { overflow-x: auto; margin: 0.5rem 0 1rem; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.28rem 0.75rem; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: baseline; }
th:first-child, td:first-child { padding-left: 0; }
thead th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; white-space: nowrap; }
table.numbers td, table.numbers thead th { text-align: right; white-space: nowrap; }
table.numbers .name { text-align: left; white-space: normal; min-width: 10rem;
  overflow-wrap: break-word; }
table.numbers td.code, table.numbers th.code { text-align: left; white-space: normal; min-width: 6rem;
  max-width: 34rem; }
tr.best td, tr.best th { font-weight: 700; }
tr.sum td, tr.sum th { border-top: 2px solid var(--rule); font-weight: 600; }
.key { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 0 1.6rem; margin: 0.5rem 0; }
.key div { display: flex; justify-content: space-between; gap: 0.8rem; border-bottom: 1px solid var(--rule);
  padding: 0.2rem 0; min-width: 0; font-size: 0.92rem; }
.key .long { grid-column: 1 / -1; } .key dt { color: var(--soft); flex: none; max-width: 60%;
  overflow-wrap: anywhere; } .key dd { margin: 0; text-align: right; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; }
figure { margin: 0; }
figure.panel { margin: 1.3rem 0 2rem; break-inside: avoid; }
figcaption { font-size: 0.9rem; }
.panel figcaption { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0.1rem 1.1rem; min-height: 1.5em; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1rem; list-style: none; margin: 0; padding: 0; color: var(--soft);
  font-size: 0.88em; }
.legend li { max-width: 100%; overflow-wrap: anywhere; }
.swatch { margin-right: 0.4em; vertical-align: -0.05em; overflow: visible; }
.readout { margin-left: auto; font-size: 0.85em; color: var(--ink); font-variant-numeric: tabular-nums; }
.plot { position: relative; margin: 0.4rem 0.2rem 1.5rem 4.4rem; font-size: 0.74rem; line-height: 1; color: var(--soft);
  font-variant-numeric: tabular-nums; }
.plot.banded { margin-top: 1.3rem; }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; border-bottom: 1px solid
  var(--edge); }
.plot svg * { vector-effect: non-scaling-stroke; }
.plot span { position: absolute; white-space: nowrap; pointer-events: none; }
.plot .yl { right: calc(100% + 0.45rem); transform: translateY(50%); }
.plot .xl { top: calc(100% + 0.4rem); transform: translateX(-50%); }
.plot .bl { bottom: calc(100% + 0.3rem); overflow: hidden; text-overflow: clip; padding-left: 0.25rem;
  line-height: 1.25; }
.plot .bl { container-type: inline-size; height: 1.25em; }
@container (max-width: 5.5rem) { .plot .bl i { display: none; } }
.plot .bl i { font-style: normal; position: static; }
.plot .tl { transform: translate(-50%, -50%); }
.plot .badge { color: var(--paper); background: var(--change); border-radius: 1em; padding: 0.12em 0.45em;
  font-weight: 700; }
.plot .on { color: #ffffff; font-size: 0.95em; }
.on.o-sep-2, .on.o-dil-2, .on.o-conv-2, .on.o-pool-2, .on.o-own-2, .on.o-none-1, .on.o-sep-3, .on.o-dil-3 {
  color: var(--on-pale); }
.cursor { position: absolute; top: 0; bottom: 0; width: 1px; background: var(--ink); opacity: 0.55;
  pointer-events: none; }
.halves { display: grid; gap: 0 2rem; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
.halves figure { min-width: 0; } .halves .legend { width: 100%; }
.stages { display: grid; gap: 1.2rem; }
.stage-card { border: 1px solid var(--rule); border-radius: 8px; padding: 0.8rem 1rem; min-width: 0;
  break-inside: avoid; }
.stage-card h3 { margin: 0 0 0.2rem; } .pair { display: grid; gap: 0.6rem 1.4rem; grid-template-columns:
  repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); align-items: start; }
.drawing { min-width: 0; text-align: center; } .drawing.wide { grid-column: 1 / -1; }
.drawing figcaption { color: var(--soft); text-align: left; }
.cell { width: 100%; height: auto; } .cell text { font-family: "DejaVu Sans", Verdana, system-ui, sans-serif; }
.cell > g > polygon[fill="white"] { fill: none; }
.cell.down { display: none; max-height: 34rem; }
details > summary { cursor: pointer; color: var(--link); } details.text { margin-top: 0.4rem; font-size: 0.92em; }
.problems { border-left: 3px solid var(--change); padding: 0.1rem 0 0.1rem 0.9rem; margin: 0.8rem 0; }
ol.changes { padding-left: 1.4rem; } ol.changes code { white-space: pre-wrap; }
ol.changes li::marker { color: var(--change); font-weight: 700; }
footer { max-width: 72rem; margin: 2.5rem auto 0; padding: 0.8rem 1.25rem 2rem; color: var(--soft); font-size: 0.85rem;
  border-top: 1px solid var(--rule); }
@media (max-width: 46rem) {
  body { font-size: 14.5px; } main, header.top, nav { padding-left: 0.9rem; padding-right: 0.9rem; }
  .facts { grid-template-columns: repeat(2, minmax(0, 1fr)); } .facts dd { font-size: 1.12rem; }
  .plot { margin-left: 3.6rem; } .plot .odd { display: none; }
  .cell.across { display: none; } .cell.down { display: inline; }
  .readout { margin-left: 0; width: 100%; } .stage-card { padding: 0.7rem 0.6rem; }
  th, td { padding-left: 0.5rem; padding-right: 0.5rem; }
}
@media (max-width: 66rem) { .plot .on { display: none; } }
@media print {
  table { font-size: 8.5pt; } th, td { padding: 0.2rem 0.4rem; } .scroll { overflow: visible; }
  table.numbers .name { min-width: 6.5rem; } .plot .on { display: none; }
  nav, .readout, .cursor { display: none; } body { font-size: 10.5pt; } h2 { break-after: avoid; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
]]

--- The style sheet of the page. theme: "light", "dark", or nil for what the reader's system prefers.
function style.page(theme)
  local light = ":root { color-scheme: light; --on-pale: #1c2024; " .. variables(2) .. " }"
  local dark = ":root { color-scheme: dark; --on-pale: #ffffff; " .. variables(3) .. " }\n" .. dark_cells ":root"
  local themes
  if theme == "dark" then themes = dark
  elseif theme == "light" then themes = light
  else themes = ("%s\n@media screen and (prefers-color-scheme: dark) {\n%s\n}"):format(light, dark) end
  return table.concat({ themes, shapes, colored(function(name) return ("var(--%s)"):format(name) end), page }, "\n")
end

--- Values under the pointer: a line in every plot of the run at the same epoch, and its numbers beside the legend. It
--- is framed so that the page is XML too.
style.script = [=[
//<![CDATA[
for (const section of document.querySelectorAll("[data-epochs]")) {
  const names = JSON.parse(section.dataset.epochs);
  const panels = [...section.querySelectorAll("figure[data-series]")].map(figure => {
    const cursor = document.createElement("div");
    cursor.className = "cursor";
    cursor.hidden = true;
    const plot = figure.querySelector(".plot");
    plot.append(cursor);
    return { plot, cursor, out: figure.querySelector(".readout"), n: +figure.dataset.n, top: +figure.dataset.top || 0,
             series: JSON.parse(figure.dataset.series) };
  });
  const text = (value, form) =>
    form === "percent" ? (100 * value).toFixed(1) + "\u00a0%" : String(+value.toPrecision(4));
  function show(x) {
    for (const p of panels) {
      if (x < 1 || x > p.n) continue;
      p.cursor.hidden = false;
      p.cursor.style.left = 100 * (x - 0.5) / p.n + "%";
      let list = p.series.filter(s => s[2][x - 1] !== null && s[2][x - 1] !== undefined);
      if (p.top) list = list.slice().sort((a, b) => b[2][x - 1] - a[2][x - 1]).slice(0, p.top);
      p.out.textContent = (names[x - 1] || "epoch " + x) + ": " +
        list.map(s => s[0] + " " + text(s[2][x - 1], s[1])).join(", ");
    }
  }
  function hide() {
    for (const p of panels) { p.cursor.hidden = true; p.out.textContent = ""; }
  }
  for (const p of panels) {
    p.plot.addEventListener("pointermove", event => {
      const box = p.plot.getBoundingClientRect();
      show(Math.min(p.n, Math.max(1, Math.ceil((event.clientX - box.left) / box.width * p.n))));
    });
    p.plot.addEventListener("pointerleave", hide);
  }
}
//]]>
]=]

--- Its SHA-256, by which the page lets it run and nothing else; a test compares them.
style.script_sha256 = "d929a83f319b75e0a3c0fb360921572e0a2487c8ea4e78f70a568cca5f1ec307"

return style
