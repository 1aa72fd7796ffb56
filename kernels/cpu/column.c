/* column.c - the CPU's column of the kernel table, for one instruction set: made from ops.def.
**
** Compiled once for each CN_ISA; defines cn_cpu_column_<isa>. */
#include "tensor/op.h"

#define JOIN_(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define K(name, type) JOIN(name, type, CN_ISA)

#define DECLARE(name, type) CnErr K(name, type)(CnCall *call);
#include "kernels/column.h"

#define COLUMN_(isa) cn_cpu_column_##isa
#define COLUMN(isa) COLUMN_(isa)
extern const CnKernelRow COLUMN(CN_ISA)[CN_OPS];

const CnKernelRow COLUMN(CN_ISA)[CN_OPS] = {
#define CN_OP(kind, id, inputs, attrs, outputs, types, saves, shape, doc) ROW_##kind(id, types)
#include "tensor/ops.def"
#undef CN_OP
};
