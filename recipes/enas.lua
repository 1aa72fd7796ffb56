-- enas.lua - the fixed space with REINFORCE: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing",
-- ICML 2018 (the cell search).
--
--   cnas recipes/enas.lua --preset quick
--   cnas recipes/enas.lua
--
-- It is the curriculum search whose curriculum has one stage, in which everything is open, and no warm-up; with the
-- settings that the authors published for their controller. The loops are those of curriculum_search.lua.

local cnas = require "cnas"

cnas.options.defaults {
  about = "ENAS: REINFORCE on a fixed space with shared weights (Pham et al., ICML 2018).",
  grow = "fix", warmup = 0, epochs = 150,
  policy_lr = 3.5e-3, policy_decay = 0.0, entropy = 1e-4, tanh_constant = 1.1, op_tanh_reduce = 2.5,
}

dofile((arg[0]:match("^.*/") or "") .. "curriculum_search.lua")
