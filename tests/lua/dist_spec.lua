-- dist_spec.lua - the processes of a run; two of them on this machine where there is an mpirun.

local T = require "spec"
local cnas = require "cnas"

T.describe("one process", function()
  T.it("is rank 0 of 1 and keeps what it has", function()
    local world = cnas.dist.world()
    T.equal({ world.rank, world.size }, { 0, 1 })
    T.equal(tostring(world), "cnas.World: rank 0 of 1")
    world:barrier()
    local t = cnas.tensor({ { 1, 2 }, { 3, 4 } })
    T.equal(world:allreduce(t):totable(), { { 1, 2 }, { 3, 4 } })
    T.equal(world:broadcast("text"), "text")
    T.equal(world:gather("text"), { "text" })
    T.equal({ world:sum(1, 2.5) }, { 1, 2.5 })
    local sum <close> = world:start_sum(t)
    T.equal({ sum:done(), sum:wait() == t, tostring(sum) }, { true, true, "cnas.Exchange: over" })
    T.raises("root must be in 0 ... 0, got 1", world.broadcast, world, "text", 1)
    T.raises("must be f32 or f64, got i64", world.allreduce, world, cnas.tensor({ 1 }, { dtype = "i64" }))
  end)

  T.it("that was started as one of many by a launcher it cannot join says so", function()
    local status, out, err = T.run { "-e", "print 'alone'", seconds = 60,
      env = { PMI_SIZE = 2, OMPI_ALLOW_RUN_AS_ROOT = 1, OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1 } }
    T.equal({ status, out }, { 2, "" })
    T.contains(err, cnas.dist.mpi and "the launcher started 2 processes, but MPI finds 1"
      or "this process is one of 2, but this build has no MPI")
  end)
end)

T.describe("two processes", function()
  local function both(code)
    if T.shell("command -v mpirun") ~= 0 then T.skip("no mpirun") end
    if not cnas.dist.mpi then T.skip("this build has no MPI") end
    return T.run { "-e", "local cnas = require 'cnas' local world = cnas.dist.world() " .. code, seconds = 60,
      under = "mpirun -np 2", env = { CNAS_THREADS = 1, ASAN_OPTIONS = "detect_leaks=0",
        OMPI_ALLOW_RUN_AS_ROOT = 1, OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1, OMPI_MCA_rmaps_base_oversubscribe = 1 } }
  end

  T.it("sum in the order of the ranks and see the same bits", function()
    local status, out, err = both [[
      local t = cnas.randn({ 300000 }, { rng = cnas.rng(1, "rank " .. world.rank) })
      local a = cnas.randn({ 300000 }, { rng = cnas.rng(1, "rank 0") })
      local b = cnas.randn({ 300000 }, { rng = cnas.rng(1, "rank 1") })
      world:allreduce(t)
      io.write((t - (a + b)):abs():max():item() == 0 and "same " or "other ")]]
    T.equal({ status, out }, { 0, "same same " }, err)
  end)

  T.it("sum while they compute, several sums at a time", function()
    local status, out, err = both [[
      local sums = {}
      for i = 1, 20 do sums[i] = world:start_sum(cnas.full({ i * 1000 }, i * (world.rank + 1))) end
      local a = cnas.ones(64, 64)
      for _ = 1, 50 do a:matmul(a) end
      local right = 0
      for i = 1, 20 do
        local sum = sums[i]:wait()
        if sum:min():item() == 3 * i and sum:max():item() == 3 * i then right = right + 1 end
      end
      io.write(right, " ")]]
    T.equal({ status, out }, { 0, "20 20 " }, err)
  end)

  T.it("gather strings of any lengths, and add numbers", function()
    local status, out, err = both [[
      local all = world:gather(("x"):rep(10 * world.rank))
      local a, b = world:sum(1, world.rank)
      io.write(#all, #all[1], #all[2], " ", a, b, "\n")]]
    T.equal({ status, out }, { 0, "2010 21\n2010 21\n" }, err)
  end)

  T.it("hear what one says, tensors of any strides too", function()
    local status, out, err = both [[
      local text = world:broadcast("rank " .. world.rank .. ("!"):rep(world.rank), 1)
      local t = cnas.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }) * (world.rank + 1)
      local column = t:transpose(1, 2)
      world:broadcast(column, 0)
      io.write(text, " ", t:sum():item(), "\n")]]
    T.equal({ status, out }, { 0, "rank 1! 21\nrank 1! 21\n" }, err)
  end)

  T.it("do not wait for one that failed", function()
    local status, _, err = both "if world.rank == 1 then error 'lost' end world:barrier()"
    T.truthy(status ~= 0 and status ~= 124, "exit status")
    T.contains(err, "lost")
  end)
end)
