/* block_missing.c - on this branch only: rows whose kernels are still to come. Delete your own lines; never on main. */
#include "kernels/cpu/kernel.h"
#define MISSING(kernel) \
  CnErr FN(kernel)(CnCall *call) { return cn_fail(CN_ENOKERNEL, "%s: not there yet", call->op->name); }
MISSING(pool_block_forward)
MISSING(pool_block_backward)
