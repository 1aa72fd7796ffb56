-- numbers.lua - numbers as people read them: with as many digits as mean something, and axes with round ticks.

local numbers = {}

--- 1234567 as "1,234,567".
function numbers.count(n)
  local digits = ("%.0f"):format(n)
  local sign, rest = digits:match "^(%-?)(%d+)$"
  if not rest then return digits end
  local first = (#rest - 1) % 3 + 1
  return sign .. rest:sub(1, first) .. rest:sub(first + 1):gsub("(%d%d%d)", ",%1")
end

local function plain(text) -- "1.50" -> "1.5", "2.00" -> "2"
  return text:find "%." and text:gsub("0+$", ""):gsub("%.$", "") or text
end

--- Three digits and a unit: 3695374 as "3.70M", 564024960 as "564M", 5120 as "5.12k".
function numbers.short(n)
  local size, unit = math.abs(n), ""
  for _, one in ipairs { { 1e12, "T" }, { 1e9, "G" }, { 1e6, "M" }, { 1e3, "k" } } do
    if size >= one[1] * 0.9995 then
      n, size, unit = n / one[1], size / one[1], one[2]
      break
    end
  end
  if unit == "" then return (plain(("%.3g"):format(n))) end
  return (size >= 99.95 and "%.0f" or size >= 9.995 and "%.1f" or "%.2f"):format(n) .. unit
end

--- Four digits: 0.00123, 1.532, 12.35, 12346.
function numbers.value(n)
  if math.type(n) == "integer" or n % 1 == 0 and math.abs(n) < 1e9 then return numbers.count(n) end
  local size = math.abs(n)
  if size >= 1e6 or size < 1e-4 then return ("%.3e"):format(n) end
  return ("%." .. math.max(0, 3 - math.floor(math.log(size, 10) + 1e-12)) .. "f"):format(n)
end

--- A fraction as a percentage: 0.4662 as "46.6 %"; a no-break space is between.
function numbers.percent(n, digits) return ("%." .. (digits or 1) .. "f\u{A0}%%"):format(n * 100) end

--- "3m20s", "1h02m", "2d03h".
function numbers.duration(seconds)
  if seconds >= 1e12 or seconds < 0 then return ("%.3g s"):format(seconds) end
  local s = math.floor(seconds + 0.5)
  if s >= 86400 then return ("%dd%02dh"):format(s // 86400, s % 86400 // 3600) end
  if s >= 3600 then return ("%dh%02dm"):format(s // 3600, s % 3600 // 60) end
  if s >= 60 then return ("%dm%02ds"):format(s // 60, s % 60) end
  return seconds < 10 and ("%.1fs"):format(seconds) or s .. "s"
end

function numbers.bytes(n)
  return n >= 1e9 and ("%.2f GB"):format(n / 1e9) or n >= 1e6 and ("%.0f MB"):format(n / 1e6)
    or ("%.0f kB"):format(n / 1e3)
end

--- Milliseconds: "0.43 ms", "12.3 ms".
function numbers.milliseconds(n) return (n < 10 and "%.2f\u{A0}ms" or "%.1f\u{A0}ms"):format(n) end

--- The form in which a named value of a run is shown, in tables and at axes: a function from the number to its text.
function numbers.form(name)
  if name:find "accuracy" or name == "top1" or name == "top5" then return numbers.percent end
  if name == "parameters" or name == "macs" then return numbers.short end
  if name == "latency" then return numbers.milliseconds end
  return numbers.value
end

-- Axes --------------------------------------------------------------------------------------------------------------

-- The round step (1, 2 or 5 times a power of ten) with which a range has at most `most` steps.
local function step_of(range, most)
  local rough = range / math.max(most, 1)
  local power = 10 ^ math.floor(math.log(rough, 10))
  for _, factor in ipairs { 1, 2, 5, 10 } do
    if factor * power >= rough * 0.999999 then return factor * power end
  end
end

-- "3.50M" -> "3.5M", "3.00M" -> "3M"
local function brief(value)
  return (numbers.short(value):gsub("(%.%d-)0+(%a)$", "%1%2"):gsub("%.(%a)$", "%1"))
end

--- An axis over the values from `low` to `high`: { low, high, ticks = { { value, text } } }, with about `most` steps
--- between ticks at round numbers; it is as long as the values, or with `whole` from tick to tick. percent: values are
--- fractions. integer: no ticks between whole numbers.
function numbers.axis(low, high, most, o)
  o = o or {}
  if high <= low then -- one value: some room around it
    local room = low == 0 and 1 or math.abs(low) * 0.1
    low, high = low - room, high + room
  end
  local scale = o.percent and 100 or 1
  local step = step_of((high - low) * scale, most)
  if o.integer then step = math.max(step, 1) end
  local first, last = math.ceil(low * scale / step - 1e-9), math.floor(high * scale / step + 1e-9)
  if o.whole then
    first, last = math.floor(low * scale / step + 1e-9), math.ceil(high * scale / step - 1e-9)
    low, high = first * step / scale, last * step / scale
  end
  local digits = math.max(0, -math.floor(math.log(step, 10) + 1e-9))
  local axis, biggest = { low = low, high = high, ticks = {} }, math.max(math.abs(low), math.abs(high)) * scale
  for i = first, last do
    local value = i * step
    local text = biggest >= 1e4 and brief(value) or biggest < 1e-3 and ("%.2g"):format(value)
      or ("%." .. digits .. "f"):format(value)
    text = text:gsub("^%-", "\u{2212}") .. (o.percent and "%" or "")
    axis.ticks[#axis.ticks + 1] = { value = value / scale, text = text }
  end
  return axis
end

--- A logarithmic axis over positive values: ticks at 1, 2 and 5 times powers of ten, or at powers alone.
function numbers.log_axis(low, high, most)
  local first, last = math.floor(math.log(low, 10)), math.ceil(math.log(high, 10))
  local axis = { low = low, high = high, log = true, ticks = {} }
  local factors = (last - first) * 3 <= most and { 1, 2, 5 } or { 1 }
  local every = math.max(1, math.ceil((last - first) / most))
  for power = first, last, every do
    for _, factor in ipairs(factors) do
      local value = factor * 10.0 ^ power
      if value >= low * 0.999 and value <= high * 1.001 then
        axis.ticks[#axis.ticks + 1] = { value = value, text = value >= 1e4 and numbers.short(value)
          or value < 1e-3 and ("%.0e"):format(value) or (("%.3g"):format(value)) }
      end
    end
  end
  return axis
end

--- Where on an axis a value is: 0 at its low end, 1 at the high one.
function numbers.place(axis, value)
  if axis.log then
    return (math.log(math.max(value, 1e-300)) - math.log(axis.low)) / (math.log(axis.high) - math.log(axis.low))
  end
  return (value - axis.low) / (axis.high - axis.low)
end

return numbers
