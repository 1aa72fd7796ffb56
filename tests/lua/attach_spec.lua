-- Runs at work, in processes of their own, and who attaches to them from another terminal.
local T = require "spec"
local cnas = require "cnas"
local console = require "cnas.console"
local run_files = require "run_files"

local metrics, last_checkpoint = run_files.timeless, run_files.last_checkpoint

local here = arg[0]:match("^(.*)/tests/lua/[^/]*$") or "."
local recipe = here .. "/recipes/curriculum_search.lua"
local small = "--preset quick --train-images 240 --channels 3 --layers 3 --batch 8 --epochs 200 --derive-images 24 "
  .. "--warmup 0 --threads 1"

-- Starts a search; body(run) while it is at work, with run.signal(name), run.ends() -> status, output; it is killed at
-- the end if it still is. `under` stands in front of the program.
local function at_work(folder, options, body, under)
  local path = T.quote(folder)
  T.shell(([[( env CNAS_THREADS=1 sh -c 'echo $$ >%s.pid; exec "$@"' sh %s %s %s -o %s %s </dev/null >%s.out 2>&1
    echo $? >%s.status ) >/dev/null 2>&1 &]]):format(path, under or "", T.quote(T.program), T.quote(recipe), path,
    options, path, path))
  local function wait_for(file, what)
    local started = cnas.clock()
    while not cnas.file.exists(file) or cnas.file.exists(file) == "file" and cnas.file.size(file) == 0 do
      if cnas.clock() - started > 60 then error(what .. ":\n" .. T.read(folder .. ".out"), 3) end
      T.shell "sleep 0.02"
    end
  end
  local run = {}
  function run.signal(name) T.shell(("kill -%s $(cat %s.pid)"):format(name, path)) end
  function run.ends()
    wait_for(folder .. ".status", "the run does not end")
    return tonumber(T.read(folder .. ".status")), T.read(folder .. ".out")
  end
  os.remove(folder .. ".status")
  wait_for(folder .. "/.attach/socket", "the run does not listen")
  local good, e = xpcall(body, debug.traceback, run)
  if not cnas.file.exists(folder .. ".status") then
    run.signal "KILL"
    run.ends()
  end
  os.remove(folder .. ".status")
  if not good then error(e, 0) end
end

-- cnas attach FOLDER -e CODE
local function attach(folder, code, more)
  local o = { "attach", folder, "-e", code, seconds = 60 }
  for key, value in pairs(more or {}) do o[key] = value end
  return T.run(o)
end

T.describe("cnas attach", function()
  T.it("changes a run at work, which tells of it when it is resumed", function()
    local folder = T.folder() .. "/run"
    at_work(folder, small, function(run)
      T.equal({ attach(folder, "weights.lr") }, { 0, "0.02\n", "" })
      T.equal({ attach(folder, "weights.lr = 0.125") }, { 0, "", "" })
      T.equal({ attach(folder, "weights.lr") }, { 0, "0.125\n", "" })
      T.equal({ attach(folder, "nothing.field") },
              { 1, "input:1: attempt to index a nil value (global 'nothing')\n", "" })
      T.equal({ attach(folder, "print(") }, { 1, "input:1: unexpected symbol near <eof>\n", "" })
      local status, out = T.run { "attach", folder,
        input = "function reward(accuracy)\nreturn accuracy + 5\nend\nreward(1)\n\n?conv2d\nw = io.write('a\\n')\n" }
      T.equal(status, 0)
      T.contains(out, "6\n")
      T.contains(out, "weight (KH,KW,C/groups,O)")
      T.contains(out, "a\n")
      local stopped = table.pack(attach(folder, ":stop"))
      local ended, said = run.ends()
      T.equal(ended, 5)
      T.equal({ table.unpack(stopped) }, { 0, said:match "cnas: (stopped at [^\n]*\n)" or "no stop", "" })
    end)
    T.equal(cnas.file.exists(folder .. "/.attach"), false)
    local status, _, err = attach(folder, "1")
    T.equal(status, 3)
    T.contains(err, "no run is at work in " .. folder .. " on this machine; go on with it by: cnas " .. recipe)

    at_work(folder, "--resume", function()
      local said = T.read(folder .. ".out")
      T.contains(said, "3 changes by hand, listed in")
      T.contains(said, "by attach: function reward(accuracy)\n    return accuracy + 5\n    end")
      T.contains(said, "own definitions and options are in force again")
      T.equal({ attach(folder, "reward(1), weights.lr") }, { 0, "1\n0.02\n", "" })
    end)
  end)

  T.it("finds a resumed run with its changes made again, also after it was killed", function()
    local folder = T.folder() .. "/run"
    at_work(folder, small, function(run)
      T.equal({ attach(folder, "function reward(accuracy) return accuracy + 5 end weights.lr = 0.125") }, { 0, "", "" })
      run.signal "KILL"
      run.ends()
      T.equal(cnas.file.exists(folder .. "/.attach/socket"), "other") -- nobody was there to remove it
      local status, _, err = attach(folder, "1")
      T.equal(status, 3)
      T.contains(err, "(the one before was killed)")
    end)
    T.shell("rm -f " .. T.quote(folder .. "/.attach/socket")) -- at_work waits for the new one
    at_work(folder, "--resume --replay", function()
      local status, out
      for _ = 1, 100 do -- until it has come to its place
        status, out = attach(folder, "reward(1), weights.lr")
        if out ~= "" then break end
      end
      T.equal({ status, out }, { 0, "6\n0.125\n" })
      T.contains(T.read(folder .. ".out"), "1 change by hand made again")
    end)
  end)

  T.it("leaves a search that, copied and resumed with its changes, ends in the same bytes", function()
    local folder = T.folder()
    local whole, copy = folder .. "/whole", folder .. "/copy"
    local tiny = "--data shapes --train-images 192 --channels 3 --layers 3 --nodes 2 --hidden 8 --batch 24 --grow fix "
      .. "--warmup 1 --epochs 6 --derive-images 24 --derive-samples 2 --derive-rounds 1 --threads 1 --keep 100"
    at_work(whole, tiny, function(run)
      local c = console.connect(whole)
      T.truthy(c:receive(30))
      local function ask(text)
        T.truthy(c:send(cnas.json.encode { run = text }, 5))
        local answer = cnas.json.decode(c:receive(30))
        T.truthy(answer.good, answer.output)
        return answer.output
      end
      ask ":hold"
      ask "calls = 0"
      ask "function reward(accuracy, arch) calls = calls + 1 return accuracy ^ 2 + #arch.normal + calls / 100 end"
      ask "weights.lr = weights.lr / 2"
      ask "controller.draw()"
      T.shell(("cp -r %s %s && rm -r %s/.attach"):format(T.quote(whole), T.quote(copy), T.quote(copy)))
      c:close()
      local status, said = run.ends()
      T.equal(status, 0, said)
    end)
    local status, said, err = T.run { recipe, "--resume", "--replay", "-o", copy, env = { CNAS_THREADS = 1 } }
    T.equal(status, 0, err)
    T.contains(said, "4 changes by hand made again")
    T.equal(metrics(copy), metrics(whole))
    T.truthy(last_checkpoint(copy) == last_checkpoint(whole), "checkpoints differ")
    T.equal(T.read(copy .. "/genotypes/stage-1.json"), T.read(whole .. "/genotypes/stage-1.json"))
    local last = cnas.json.decode((metrics(whole)[#metrics(whole) - 1]))
    T.truthy(last.reward > 4, "the reward was not the changed one")
  end)

  T.it("changes all processes of a run, and says when a text fails on one alone", function()
    if T.shell("command -v mpirun") ~= 0 then T.skip("no mpirun") end
    if not cnas.dist.mpi then T.skip("this build has no MPI") end
    local folder = T.folder() .. "/run"
    local under = "env ASAN_OPTIONS=detect_leaks=0 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
      .. "OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none mpirun -np 2"
    local function works() -- each has the reward, and a sum over all is one
      T.equal({ attach(folder, "run.world:sum(reward(1))") }, { 0, "12.0\n", "" })
      T.equal({ attach(folder, "run.world:sum(run.world.rank + 1)") }, { 0, "3.0\n", "" })
    end
    at_work(folder, small, function(run)
      T.equal({ attach(folder, "function reward(accuracy) return accuracy + 5 end") }, { 0, "", "" })
      works()
      T.equal({ attach(folder, "nothing.field") },
              { 1, "input:1: attempt to index a nil value (global 'nothing')\n", "" })
      local stopped, _, err = attach(folder, ":stop")
      T.equal(stopped, 0, err .. select(2, run.ends()))
    end, under)
    at_work(folder, "--resume --replay", function(run)
      works()
      local status, out = attach(folder, "if run.world.rank == 1 then error 'alone' end")
      T.equal(status, 1)
      T.equal(out, "rank 1, alone: input:1: alone\n"
        .. "(the processes may differ now: :stop, and resume without this change)\n")
      attach(folder, ":stop")
      run.ends()
    end, under)
    local status, _, err = T.shell(("env CNAS_THREADS=1 %s %s %s --resume --replay -o %s </dev/null"):format(under,
      T.quote(T.program), T.quote(recipe), T.quote(folder)))
    T.truthy(status ~= 0)
    T.contains(err, "rank 1: ")
    T.contains(err, "a change by hand cannot be made again")
  end)

  T.it("serves several at once, and one that holds the run does not hinder another", function()
    local folder = T.folder() .. "/run"
    at_work(folder, small, function()
      local one, two = console.connect(folder), console.connect(folder)
      local function ask(c, text)
        T.truthy(c:send(cnas.json.encode { run = text }, 5))
        return cnas.json.decode(c:receive(30)).output
      end
      for _, c in ipairs { one, two } do T.contains(cnas.json.decode(c:receive(30)).hello, "stage 1 of 8") end
      ask(one, "shared_by_all = 1")
      T.equal(ask(two, "shared_by_all"), "1\n")
      ask(one, ":hold")
      local step = ask(two, "run.step")
      T.equal({ attach(folder, "run.step") }, { 0, step, "" })
      T.equal(ask(two, "run.step"), step)
      one:close() -- and with it the hold
      local moved
      for _ = 1, 50 do moved = moved or ask(two, "run.step") ~= step end
      T.truthy(moved)
    end)
  end)

  T.it("survives who dies, stalls, or talks nonsense", function()
    local folder = T.folder() .. "/run"
    at_work(folder, small, function()
      local function fresh()
        local c = T.truthy(console.connect(folder))
        T.truthy(c:receive(30))
        return c
      end
      local started = cnas.clock()
      local c = fresh() -- dies while its text runs
      c:send(cnas.json.encode { run = "while true do end" }, 5)
      T.shell "sleep 0.3"
      c:close()
      T.equal({ attach(folder, "1") }, { 0, "1\n", "" })
      c = fresh() -- while a long operation runs
      c:send(cnas.json.encode { run = "cnas.full({ 1, 512, 512, 64 }, 0.5):conv2d(cnas.zeros(15, 15, 64, 256))" }, 5)
      T.shell "sleep 0.5"
      c:close()
      T.equal({ attach(folder, "1") }, { 0, "1\n", "" })
      for _, message in ipairs { "", "no json", "[]", "3", "null", '{"run":3}', '{"complete":"x","at":"y"}',
                                 '{"run":"1","columns":"many"}', '{"complete":{},"run":{}}', "\0\255" } do
        c = fresh()
        T.truthy(c:send(message, 5))
        c:close()
      end
      c = fresh() -- takes no answer: a text prints more than fits on the way
      c:send(cnas.json.encode { run = "for i = 1, 40000 do print(('x'):rep(100)) end" }, 5)
      T.equal({ attach(folder, "1") }, { 0, "1\n", "" })
      c:close()
      c = fresh() -- half a message, and the other half never
      T.shell("true")
      T.truthy(c:send(("x"):rep(3 << 20), 5) or true)
      T.equal({ attach(folder, "1") }, { 0, "1\n", "" })
      T.truthy(cnas.clock() - started < 60)
      local status, out = attach(folder, "for i = 1, 40000 do print(('x'):rep(100)) end")
      T.equal(status, 0)
      T.contains(out, "(2991424 bytes more)")
    end)
  end)

  T.it("does not wait for ever at the door", function()
    local folder, outside, why = T.folder(), {}
    local listener <close> = T.truthy(console.listen(folder)) -- luacheck: ignore 211
    repeat outside[#outside + 1], why = console.connect(folder) until why
    T.equal(why, "busy")
    T.truthy(#outside < 20)
    T.write(folder .. "/config.json", "{}")
    local status, _, err = attach(folder, "1")
    T.equal(status, 6)
    T.contains(err, "has not let in those who came before")
  end)

  T.it("is interrupted by Ctrl-C, and so is the line that runs", function()
    local folder = T.folder() .. "/run"
    at_work(folder, small, function()
      local status, out = T.shell((
        [[%s attach %s -e 'io.open("%s.begun", "w"):close() while true do end' </dev/null & client=$!
        until [ -e %s.begun ]; do sleep 0.05; done; kill -INT $client; wait $client]])
        :format(T.quote(T.program), T.quote(folder), folder, T.quote(folder)))
      T.equal({ status, out }, { 1, "interrupted\n" })
      T.equal({ attach(folder, "1") }, { 0, "1\n", "" })
    end)
  end)

  T.it("says what is wrong with a folder", function()
    local folder = T.folder()
    local function fails(path, status, text)
      local got, out, err = attach(path, "1")
      T.equal({ got, out }, { status, "" }, err)
      T.contains(err, text)
    end
    fails(folder .. "/nowhere", 2, "there is no folder '" .. folder .. "/nowhere'")
    fails(folder, 2, folder .. " holds no run (no config.json)")
    local status, _, err = T.run { "attach" }
    T.equal(status, 2)
    T.contains(err, "RUN is missing")
    T.write(folder .. "/config.json", "{}")
    fails(folder, 3, "no run is at work in " .. folder)
    do
      local lock <close> = cnas.file.lock(folder) -- luacheck: ignore 211
      fails(folder, 3, "the run in " .. folder .. " is at work (process ")
    end
    T.write(folder .. "/summary.json", "{}")
    fails(folder, 3, "the run in " .. folder .. " is complete")
  end)

  T.it("is for the run's owner alone", function()
    if T.shell "test $(id -u) = 0 && command -v setpriv" ~= 0 then T.skip "only root can become somebody else" end
    local folder = T.folder()
    T.shell("chmod 755 " .. T.quote(folder))
    at_work(folder .. "/run", small, function()
      T.equal(select(2, T.shell("stat -c %a " .. T.quote(folder .. "/run/.attach"))), "700\n")
      T.equal(select(2, T.shell("stat -c %a " .. T.quote(folder .. "/run/.attach/socket"))), "600\n")
      local other = "setpriv --reuid=65534 --regid=65534 --clear-groups"
      local status, _, err = attach(folder .. "/run", "1", { under = other })
      if err:find("cannot", 1, true) and not err:find("attach", 1, true) then T.skip "the program is not for all" end
      T.equal(status, 3, err)
      T.contains(err, "is another user's: only who started a run can attach to it")
      T.shell("chmod 777 " .. T.quote(folder .. "/run/.attach") .. " " .. T.quote(folder .. "/run/.attach/socket"))
      status = T.shell(other .. (" perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0) or exit 1; "
        .. "connect($s, pack_sockaddr_un(\"%s\")) or exit 2; exit(sysread($s, my $byte, 1) == 0 ? 7 : 8)'")
        :format(folder .. "/run/.attach/socket"))
      T.equal(status, 7) -- hung up on without a word
    end)
  end)

  T.it("finds a run whose path is long, and one whose folder can have no socket", function()
    local folder = T.folder() .. "/" .. ("long"):rep(40)
    cnas.file.mkdir(folder)
    at_work(folder .. "/run", small, function() T.equal({ attach(folder .. "/run", "1") }, { 0, "1\n", "" }) end)
    local runtime = T.folder()
    local run = T.folder() .. "/run"
    cnas.file.mkdir(run)
    T.write(run .. "/.attach", "no folder")
    local status, out, err = T.shell(([[export XDG_RUNTIME_DIR=%s CNAS_THREADS=1
      %s %s -o %s %s </dev/null >/dev/null 2>&1 & search=$!
      until ls %s/cnas-*/socket >/dev/null 2>&1; do sleep 0.05; done
      %s attach %s -e 'run.step >= 0'
      kill -TERM $search; wait $search; ls -A %s]]):format(T.quote(runtime), T.quote(T.program), T.quote(recipe),
      T.quote(run), small, T.quote(runtime), T.quote(T.program), T.quote(run), T.quote(runtime)))
    T.equal({ status, out }, { 0, "true\n" }, err)
  end)
end)
