-- The report: what is on its page, that it is one file which fetches nothing, that texts of a run folder stay texts,
-- and how a browser shows it.
local T = require "spec"
local cnas = require "cnas"
local html = require "cnas.report.html"
local numbers = require "cnas.report.numbers"
local report = require "cnas.report.page"
local style = require "cnas.report.style"

local here = arg[0]:match("^(.*)/tests/lua/[^/]*$") or "."

-- Writes a search's run folder: `epochs` of each of three stages, as a run of that seed might have.
local function write_search(folder, o)
  o = o or {}
  local rng, lines, step = cnas.rng(o.seed or 1, "report"), {}, 0
  local ops = { "sep_conv_3x3", "skip_connect", "none" }
  local function add(line)
    step = step + 10
    line.step, line.time = step, { seconds = 1.5 }
    lines[#lines + 1] = cnas.json.encode(line) .. "\n"
  end
  cnas.file.mkdir(folder .. "/genotypes")
  for s = 1, 3 do
    local name = o.stage or ops[s]
    for epoch = 1, o.epochs or 4 do
      local counts = { operations = {}, edges = { ["0 2"] = 3 + rng:integer(9), ["1 2"] = 3 + rng:integer(9) } }
      for k = 1, s do counts.operations[ops[k]] = 1 + rng:integer(9) end
      add { phase = epoch == 1 and "warm-up" or "search", epoch = epoch, stage = s, name = name,
            loss = 2 / s + rng:uniform(), accuracy = 0.1 * s + 0.1 * rng:uniform(),
            reward = epoch > 1 and 0.2 * s + 0.1 * rng:uniform() or nil, entropy = epoch > 1 and 6.5 or nil,
            ["entropy/normal nodes"] = epoch > 1 and 3.25 or nil, chosen = { normal = counts, reduction = counts } }
    end
    add { phase = "derive", stage = s, name = name, validation_accuracy = 0.25 * s, test_accuracy = 0.24 * s,
          parameters = 3000000 + s, macs = 500000000 }
    if s == 2 then
      add { phase = "change", stage = 2, epoch = 1, text = o.change or "weights.lr = 0.001", by = "terminal" }
    end
    local arch = cnas.genotype.named "CNAS"
    cnas.file.write(("%s/genotypes/stage-%d.json"):format(folder, s), cnas.json.encode {
      normal = arch.normal, normal_concat = arch.normal_concat, reduction = arch.reduction,
      reduction_concat = arch.reduction_concat, name = name, stage = s, validation_accuracy = 0.25 * s,
    })
  end
  cnas.file.write(folder .. "/metrics.jsonl", table.concat(lines))
  cnas.file.write(folder .. "/config.json", cnas.json.encode {
    recipe = o.recipe or "recipes/curriculum_search.lua", preset = "quick",
    options = { seed = o.seed or 1, grow = o.grow or "op", data = "shapes", lr = 0.02 },
    machine = { cpu = o.cpu or "a processor", cnas = cnas.version }, started = "2026-01-02T03:04:05Z",
  })
  cnas.file.write(folder .. "/recipe.lua", o.source or "-- the recipe\nlocal x <const> = 1 & 2\n")
  if not o.going then
    cnas.file.write(folder .. "/summary.json", '{"step":99,"time":{"seconds":75},"finished":"2026-01-02T03:05:20Z"}')
  end
  return folder
end

local function page_of(folders, o)
  local runs = {}
  for i, folder in ipairs(folders) do runs[i] = cnas.folder.read(folder) end
  return report.text(runs, o or {})
end

-- The text without markup.
local function words_of(page)
  local body = page:match "<body>(.*)</body>":gsub("<script>.*</script>", ""):gsub("<style>.-</style>", "")
  return (body:gsub("<[^>]+>", " "):gsub("&amp;", "&"):gsub("&lt;", "<"):gsub("&gt;", ">"):gsub("&#39;", "'")
    :gsub("&quot;", '"'):gsub("%s+", " "):gsub("\u{A0}", " "))
end

-- Whether a parser of XML takes the text; skipped without one.
local function well_formed(text, name)
  if T.shell "command -v xmllint" ~= 0 then return end
  local path = T.write(T.folder() .. "/" .. (name or "page.html"), text)
  local status, _, err = T.shell("xmllint --noout --nonet " .. T.quote(path))
  T.equal(status, 0, err)
end

T.describe("html", function()
  T.it("escapes texts and attributes, and nothing else", function()
    T.equal(html.render(html.p { class = 'a"b', title = "<", "1 < 2 & 'x'", { html.b { 7 }, html.raw "<i/>" }, nil }),
            '<p class="a&quot;b" title="&lt;">1 &lt; 2 &amp; &#39;x&#39;<b>7</b><i/></p>')
    T.equal(html.render(html.rect { width = 3, hidden = false, data_n = 4 }), '<rect data-n="4" width="3"/>')
    T.raises("expected a table", html.p, "text")
  end)

  T.it("makes UTF-8 that XML allows of any bytes", function()
    T.equal(html.clean "gr\u{FC}n \u{2192} \u{1F600}\n", "gr\u{FC}n \u{2192} \u{1F600}\n")
    T.equal(html.clean "a\0b\x1b\x7f\xff\xc3(\u{FFFE}", "a\u{FFFD}b\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}(\u{FFFD}")
    local all = {}
    for byte = 0, 255 do all[#all + 1] = string.char(byte) end
    well_formed(html.render(html.p { table.concat(all), title = table.concat(all) }))
  end)
end)

T.describe("numbers", function()
  T.it("have the digits that mean something", function()
    for _, case in ipairs {
      { numbers.count(1234567), "1,234,567" }, { numbers.count(999), "999" }, { numbers.short(3695374), "3.70M" },
      { numbers.short(564024960), "564M" }, { numbers.short(999999), "1.00M" }, { numbers.short(0), "0" },
      { numbers.value(0.0123456), "0.01235" }, { numbers.value(12.3456), "12.35" }, { numbers.value(3), "3" },
      { numbers.percent(0.46617), "46.6\u{A0}%" }, { numbers.duration(3725), "1h02m" },
      { numbers.duration(4.26), "4.3s" },
      { numbers.duration(200000), "2d07h" },
    } do T.equal(case[1], case[2]) end
  end)

  T.it("make axes with ticks at round numbers", function()
    local function ticks(axis)
      local list = {}
      for i, tick in ipairs(axis.ticks) do list[i] = tick.text end
      return list
    end
    T.equal(ticks(numbers.axis(0.12, 0.55, 5, { percent = true, whole = true })),
            { "10%", "20%", "30%", "40%", "50%", "60%" })
    T.equal(ticks(numbers.axis(0, 8, 12, { integer = true })), { "0", "1", "2", "3", "4", "5", "6", "7", "8" })
    T.equal(ticks(numbers.axis(-1, 1, 4)), { "\u{2212}1.0", "\u{2212}0.5", "0.0", "0.5", "1.0" })
    T.equal(ticks(numbers.axis(1e5, 3e5, 2)), { "100k", "200k", "300k" })
    T.equal(ticks(numbers.log_axis(0.1, 10, 9)), { "0.1", "0.2", "0.5", "1", "2", "5", "10" })
    for _, case in ipairs { { 5, 5 }, { 0, 0 }, { -1e-9, 1e-9 }, { 1e300, 2e300 }, { -3, -3 } } do
      local axis = numbers.axis(case[1], case[2], 6, { whole = true })
      T.truthy(#axis.ticks >= 2 and #axis.ticks <= 12, #axis.ticks)
      for _, tick in ipairs(axis.ticks) do
        local place = numbers.place(axis, tick.value)
        T.truthy(place > -1e-6 and place < 1 + 1e-6, place)
      end
    end
  end)
end)

T.describe("the report of a search", function()
  T.it("has everything on one page", function()
    local page = page_of { write_search(T.folder() .. "/my_search") }
    well_formed(page)
    local words = words_of(page)
    for _, part in ipairs { "my_search", "complete", "data shapes", "seed 1", "75.0 %", "72.0 %", "3.00M", "500M",
                            "1m15s",
                            "12 epochs", "The best genotypes", "Accuracy", "Loss", "Reward", "Entropy", "normal nodes",
                            "1 : sep_conv_3x3", "Operations, normal cell", "Edges, reduction cell",
                            "k\u{2212}2 \u{2192} 0", "Changed by hand",
                            "weights.lr = 0.001 at step 110, from the terminal",
                            "The cells of every stage", "Options, preset quick", "a processor",
                            "local x <const> = 1 & 2" } do
      T.contains(words, part)
    end
    local _, cells = page:gsub('class="cell across"', "")
    T.equal(cells, 2 * (1 + 3))
    local _, badges = page:gsub('class="tl badge"', "")
    T.equal(badges, 4 + 4) -- of every plot over the epochs
  end)

  T.it("fetches nothing and runs no script but its own", function()
    local page = page_of { write_search(T.folder() .. "/run") }
    local plain = page:gsub('http://www%.w3%.org/%d+/%a+', "")
    for _, pattern in ipairs { "https?:", "src=", "@import", "url%(", "<link", "<iframe", "<img", " on%a+=" } do
      T.equal(plain:find(pattern), nil, pattern)
    end
    local _, scripts = page:gsub("<script", "")
    T.equal(scripts, 1)
    local path = T.write(T.folder() .. "/script", style.script)
    T.equal(cnas.file.has_sha256(path, style.script_sha256), true)
    T.equal(#style.script_sha256, 64)
    T.equal(page:match "<script>(.-)</script>", style.script)
  end)

  T.it("leaves texts of the folder texts", function()
    local evil = "</script></style><script>document.title='owned'</script>"
      .. "<img src=x onerror=\"document.title='owned'\">'\"&]]>\27[31m"
    local page = page_of { write_search(T.folder() .. "/run", {
      stage = evil, change = evil, recipe = evil, grow = evil, cpu = evil, source = evil .. "\0\xff",
    }) }
    well_formed(page)
    T.equal(select(2, page:gsub("<script", "")), 1)
    T.equal(page:find("<img", 1, true), nil)
    T.contains(page, "&lt;script&gt;document.title=&#39;owned&#39;&lt;/script&gt;")
  end)

  T.it("shows what there is of a run that is going on, or hardly began", function()
    local folder = write_search(T.folder() .. "/run", { going = true })
    local lock <close> = cnas.file.lock(folder) -- luacheck: ignore
    local metrics = T.read(folder .. "/metrics.jsonl")
    for _, bytes in ipairs { #metrics - 7, #metrics // 2, 300, 0 } do
      T.write(folder .. "/metrics.jsonl", metrics:sub(1, bytes))
      local page = page_of { folder }
      well_formed(page)
      T.contains(words_of(page), "running")
      T.equal(page:find("Not everything could be read", 1, true), nil)
    end
    cnas.file.remove_tree(folder .. "/genotypes")
    well_formed(page_of { folder })
  end)

  T.it("says of which stage the numbers are", function()
    local folder = write_search(T.folder() .. "/run", { going = true })
    local metrics = T.read(folder .. "/metrics.jsonl")
    local derived = select(2, metrics:find '"phase":"derive","stage":2[^\n]*\n') -- and an epoch of stage 3
    T.write(folder .. "/metrics.jsonl", metrics:sub(1, metrics:find("\n", metrics:find("\n", derived + 1) + 1)))
    cnas.file.remove(folder .. "/genotypes/stage-3.json")
    local words = words_of(page_of { folder })
    T.contains(words, "50.0 % of the cell of stage 2")
    T.contains(words, "The cell of stage 2, skip_connect")
  end)

  T.it("tells what could not be read", function()
    local folder = write_search(T.folder() .. "/run")
    T.write(folder .. "/genotypes/stage-2.json", "{")
    T.contains(words_of(page_of { folder }), "Not everything could be read genotypes/stage-2.json: ")
  end)

  T.it("makes a page of any numbers and types", function()
    local folder = write_search(T.folder() .. "/run")
    cnas.file.remove_tree(folder .. "/genotypes") -- which are drawn, and that takes its time
    local arch = cnas.genotype.named "CNAS"
    T.write(folder .. "/pareto.json", cnas.json.encode { seen = 3, aims = { accuracy = "most", macs = "least" },
      front = { { genotype = arch, accuracy = 0.5, macs = 5e8 }, { genotype = arch, accuracy = 0.6, macs = 6e8 } } })
    T.write(folder .. "/summary.json", '{"results":{"top1":0.5,"best_epoch":2,"multiply_adds":7},"time":{"seconds":7}}')
    for _, name in ipairs { "metrics.jsonl", "pareto.json", "summary.json", "config.json" } do
      local whole = T.read(folder .. "/" .. name)
      for _, token in ipairs { "1e308", "-1e299", "1e-299", "0", "-1", "1.5", "9007199254740993", "true", "null", "{}",
                               "[]", '"text"', '"%d%s"' } do
        T.write(folder .. "/" .. name, (whole:gsub('([:,%[] *)%-?[%d.]+%f[,}%]%s]', "%1" .. token:gsub("%%", "%%%%"))))
        well_formed(page_of { folder })
        local one = 0 -- every third number alone
        T.write(folder .. "/" .. name, (whole:gsub('([:,%[] *)(%-?[%d.]+)%f[,}%]%s]', function(before, n)
          one = one + 1
          return before .. (one % 3 == 0 and token or n)
        end)))
        well_formed(page_of { folder })
      end
      T.write(folder .. "/" .. name, whole)
    end
  end)

  T.it("stays readable with many epochs", function()
    local page = page_of { write_search(T.folder() .. "/run", { epochs = 400 }) }
    well_formed(page)
    T.truthy(#page < 1.5e6, #page)
    T.contains(words_of(page), "1,200 epochs")
  end)
end)

T.describe("the report of several runs", function()
  T.it("has seeds side by side, with mean and deviation", function()
    local folder = T.folder()
    for seed = 1, 3 do write_search(("%s/seed-%d"):format(folder, seed), { seed = seed }) end
    local page = page_of(cnas.folder.find(folder))
    well_formed(page)
    local words = words_of(page)
    for _, part in ipairs { "3 runs", "Side by side", "3 seeds", "75.0 ± 0.0 %", "3.00 ± 0.00M", "mean ± deviation",
                            "Training loss", "/seed-3" } do T.contains(words, part) end
    T.truthy(select(2, page:gsub('class="band s1"', "")) >= 3)
    T.equal(words:find "Options that differ", nil)
    local ids, twice = {}, nil
    for id in page:gmatch ' id="([^"]+)"' do
      twice = twice or ids[id] and id
      ids[id] = true
    end
    T.equal(twice, nil)
    for link in page:gmatch 'href="#([^"]+)"' do T.truthy(ids[link], link) end
  end)

  T.it("tells groups apart by their options", function()
    local folder = T.folder()
    local page = page_of { write_search(folder .. "/a"), write_search(folder .. "/b", { seed = 2 }),
                           write_search(folder .. "/c", { grow = "node" }) }
    local words = words_of(page)
    for _, part in ipairs { "curriculum_search, grow op", "curriculum_search, grow node", "Options that differ",
                            "2 seeds" } do
      T.contains(words, part)
    end
  end)
end)

T.describe("recipes/report.lua", function()
  T.it("writes the page beside the run, or where it is told", function()
    local folder = T.folder()
    write_search(folder .. "/seeds/seed-1")
    write_search(folder .. "/seeds/seed-2", { seed = 2 })
    local status, out, err = T.run { here .. "/recipes/report.lua", folder .. "/seeds/" }
    T.equal(status, 0, err)
    T.contains(out, folder .. "/seeds/report.html: 2 runs")
    status = T.run { here .. "/recipes/report.lua", folder .. "/seeds/seed-1", "-o", folder .. "/x.html",
                     "--title", "A <title>" }
    T.equal(status, 0)
    T.contains(T.read(folder .. "/x.html"), "<title>A &lt;title&gt;</title>")
    status, out, err = T.run { here .. "/recipes/report.lua", folder }
    T.equal(out, "")
    T.equal(status, 3)
    T.contains(err, "is no run's folder")
    status, out, err = T.run { here .. "/recipes/report.lua" }
    T.equal(out, "")
    T.equal(status, 2)
    T.contains(err, "RUN is missing")
  end)

  T.it("writes every chart and cell as SVG and PNG", function()
    local folder = write_search(T.folder() .. "/run")
    local status, out, err = T.run { here .. "/recipes/report.lua", folder, "--png", "--scale", "2" }
    T.equal(status, 0, err)
    T.contains(out, "figures: 14 figures, each as PNG and SVG")
    for _, name in ipairs { "curves-loss", "operations-normal", "edges-reduction", "cell-stage-3-normal" } do
      local svg = T.read(("%s/figures/%s.svg"):format(folder, name))
      well_formed(svg, "figure.svg")
      local width = tonumber(svg:match '<svg.- width="([%d.]+)"') or tonumber(svg:match 'width="([%d.]+)pt"') * 96 / 72
      local image = cnas.image.load(("%s/figures/%s.png"):format(folder, name))
      T.near(image:size(2), 2 * width, 0.01)
      local dark = image:to "f32":mean():item()
      T.truthy(dark > 128 and dark < 254, name .. " is blank")
    end
  end)
end)

-- In a browser ------------------------------------------------------------------------------------------------------

local browser
for _, name in ipairs { "chromium", "chromium-browser", "google-chrome" } do
  if not browser and T.shell("command -v " .. name) == 0 then browser = name end
end

-- Opens a file in the browser, which does what `words` say; its output.
local function open(path, words)
  if not browser then T.skip "there is no Chromium" end
  local status, out, err = T.shell(("HOME=%s timeout 120 %s --headless --no-sandbox --disable-gpu --hide-scrollbars "
    .. "--virtual-time-budget=3000 %s file://%s"):format(T.quote(T.folder()), browser, words, T.quote(path)))
  if status == 124 then T.skip "Chromium does not come to an end here" end
  T.equal(status, 0, err)
  return out
end

-- The document in a window of that width.
local function dump(path, width) return open(path, ("--window-size=%d,900 --dump-dom"):format(width)) end

-- The page with a script of the test's, which the page's policy would not let run.
local function with_script(page, code)
  local function plain(text) return (text:gsub("%%", "%%%%")) end
  page = page:gsub('<meta content="default%-src[^>]*>', "")
  page = page:gsub("</body>", plain("<script>" .. code .. "</script></body>"))
  return T.write(T.folder() .. "/page.html", page)
end

T.describe("the report in Chromium", function()
  T.it("runs its script under its policy, and nothing that a folder brought", function()
    local evil = "<img src=x onerror=\"document.title='owned'\">"
    local page = page_of { write_search(T.folder() .. "/run", { stage = evil }) }
    local dom = dump(T.write(T.folder() .. "/page.html", page), 1200)
    T.contains(dom, 'class="cursor"') -- which the script made
    T.contains(dom, "<title>run</title>")
    T.equal(dom:find("<img", 1, true), nil)
  end)

  T.it("is never wider than the window", function()
    local folder = T.folder()
    local name = "/a_run_with_quite_a_long_name_that_has_no_spaces_in_it"
    local one = write_search(folder .. name, { grow = ("x"):rep(90) })
    local two = write_search(folder .. "/two", { seed = 2, cpu = ("word "):rep(60) })
    for _, page in ipairs { page_of { one }, page_of { one, two } } do
      for _, width in ipairs { 500, 1400 } do -- Chromium has no narrower window
        local path = with_script(page, "document.title = document.documentElement.scrollWidth + ' of ' + innerWidth")
        local wide, inner = dump(path, width):match "<title>(%d+) of (%d+)</title>"
        T.truthy(tonumber(wide) <= tonumber(inner), ("%s of %s at %d"):format(wide, inner, width))
      end
      local frame = with_script("<html><body></body></html>", [[
        const frame = document.createElement("iframe");
        frame.style.width = "380px"; frame.style.height = "800px"; frame.style.border = "0";
        frame.onload = () => {
          const root = frame.contentDocument.documentElement;
          document.title = root.scrollWidth + " of " + root.clientWidth;
        };
        frame.srcdoc = ]] .. cnas.json.encode(page):gsub("</", "<\\/") .. ";document.body.append(frame)")
      local wide, inner = dump(frame, 800):match "<title>(%d+) of (%d+)</title>"
      T.equal(wide, inner)
    end
  end)

  T.it("shows values under the pointer", function()
    local page = page_of { write_search(T.folder() .. "/run") }
    local dom = dump(with_script(page, [[
      const plot = document.querySelector("figure.panel .plot"), box = plot.getBoundingClientRect();
      const at = { clientX: box.left + box.width * 5.5 / 12, clientY: box.top + 9 };
      plot.dispatchEvent(new PointerEvent("pointermove", at));
      document.title = [...document.querySelectorAll(".readout")].map(out => out.textContent).join(" | ");
    ]]), 1200)
    local title = dom:match "<title>(.-)</title>"
    T.contains(title, "epoch 6, stage 2, search 2: training ")
    T.contains(title, "sep_conv_3x3")
    T.contains(title, "k\u{2212}2 \u{2192} 0")
  end)

  T.it("is drawn, in the light and in the dark", function()
    local folder = write_search(T.folder() .. "/run")
    local means = {}
    for _, theme in ipairs { "light", "dark" } do
      local path = T.write(T.folder() .. "/page.html", page_of({ folder }, { theme = theme }))
      local png = folder .. "/shot.png"
      open(path, "--window-size=1000,1600 --screenshot=" .. T.quote(png))
      local image = cnas.image.load(png):to "f32"
      means[theme] = image:mean():item()
      local spread = ((image - means[theme]) ^ 2):mean():item() ^ 0.5
      T.truthy(spread > 12, ("%s is blank: %.1f"):format(theme, spread))
    end
    T.truthy(means.light > 200 and means.dark < 70, ("%.0f %.0f"):format(means.light, means.dark))
  end)
end)
