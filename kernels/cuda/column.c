/* column.c - the GPU's column of the kernel table: made from ops.def, with those kernels that the module's files define.
**
** A kernel is cn_cuda_<row>_forward_<type> or …_backward_…, defined by KERNEL_… of kernel.cuh. One that nobody defines
** is a weak reference that stays NULL: asking for it is an ordinary error, "conv2d: no f64 kernel on cuda". */
#include "kernels/cuda/module.h"
#include "tensor/op.h"

#define K(name, type) cn_cuda_##name##_##type
#define DECLARE(name, type) CnErr K(name, type)(CnCall *call) __attribute__((weak));
#include "kernels/column.h"

const CnKernelRow cn_cuda_column[CN_OPS] = {
#define CN_OP(kind, id, inputs, attrs, outputs, types, saves, shape, doc) ROW_##kind(id, types)
#include "tensor/ops.def"
#undef CN_OP
};
