-- jobs.lua - commands of the shell, each with a limit of seconds and a log; some may run at once.

local cnas = require "cnas"
local bench = require "bench"

local jobs = {}

local folder  -- of logs
local count = 0

--- Logs go to this folder, which is there.
function jobs.open(where) folder = where end

local function content(path)
  local file <close> = io.open(path, "rb")
  return file and file:read "a" or ""
end
jobs.content = content

--- Starts a command: { name, log = path of what it prints, … }. It is ended `seconds` from now.
function jobs.start(name, seconds, command)
  count = count + 1
  local path = ("%s/%02d-%s"):format(folder, count, name:gsub("[^%w._-]", "-"))
  local job = { name = name, command = command, limit = math.max(1, math.floor(seconds)), log = path .. ".log",
                ended = path .. ".status", started = cnas.clock() }
  os.execute(("{ timeout -k 3 %d sh -c %s </dev/null >%s 2>&1; echo $? >%s; } &"):format(job.limit,
             bench.quote(command), bench.quote(job.log), bench.quote(job.ended)))
  return job
end

--- Whether a job has ended; then it has `status` (124, 137: at its limit) and `seconds`.
function jobs.ended(job)
  if job.status then return true end
  job.status = tonumber(content(job.ended):match "^(%d+)\n")
  job.seconds = job.status and cnas.clock() - job.started
  return job.status ~= nil
end

function jobs.pause() os.execute "sleep 0.1" end

--- Waits for a job; an error when it failed. Returns what it printed.
function jobs.wait(job)
  while not jobs.ended(job) do jobs.pause() end
  return jobs.output(job)
end

--- What a job that has ended printed; an error, with the last lines of it, when it failed.
function jobs.output(job)
  local text = content(job.log)
  if job.status == 0 then return text end
  local how = (job.status == 124 or job.status == 137) and ("ended after its %d seconds"):format(job.limit)
              or ("exit status %d"):format(job.status)
  error(("%s: %s%s"):format(job.name, how, jobs.tail(text, 3)), 0)
end

--- The last lines of a text, each behind "\n  ".
function jobs.tail(text, lines)
  local last = {}
  for line in text:gmatch "[^\n]+" do last[#last + 1] = "\n  " .. line:sub(1, 300) end
  return table.concat(last, "", math.max(1, #last - lines + 1))
end

return jobs
