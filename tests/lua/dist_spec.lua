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
    T.raises("root must be in 0 ... 0, got 1", world.broadcast, world, "text", 1)
    T.raises("must be f32 or f64, got i64", world.allreduce, world, cnas.tensor({ 1 }, { dtype = "i64" }))
  end)

  T.it("that was started as one of many by a launcher it cannot join says so", function()
    if cnas.dist.mpi then T.skip("this build has MPI") end
    local status, _, err = T.run { "-e", "require 'cnas'.dist.world()", env = { PMI_SIZE = 2 } }
    T.equal(status, 1)
    T.contains(err, "this process is one of 2, but this build has no MPI")
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
