/* column.h - what a device's column of kernels is made of, by ops.def. In front of it a column's file defines
**   K(name, type)         the kernel `name` (relu_forward) of a type (f32)
**   DECLARE(name, type)   its declaration
** and behind it the table, an entry of which is ROW_<kind>(id, types). No include guard: one column in each file. */

#define DECLARE_FLOATS(name) DECLARE(name, f32) DECLARE(name, f64)
#define DECLARE_ALL_FLOATS(name) DECLARE_FLOATS(name) DECLARE(name, bf16)
#define DECLARE_ANY(name) DECLARE_ALL_FLOATS(name) DECLARE(name, i64) DECLARE(name, u8)
#define FLOATS(name) { [CN_F32] = K(name, f32), [CN_F64] = K(name, f64) }
#define ALL_FLOATS(name) { [CN_F32] = K(name, f32), [CN_F64] = K(name, f64), [CN_BF16] = K(name, bf16) }
#define ANY(name) { K(name, f32), K(name, f64), K(name, i64), K(name, u8), K(name, bf16) }

/* By types: which forward kernels there are, and which gradients: those of floats. */
#define DECLARE_CN_FLOATS(id) DECLARE_FLOATS(id##_forward)
#define DECLARE_CN_FLOATS_STRIDED(id) DECLARE_FLOATS(id##_forward)
#define DECLARE_CN_ALL_FLOATS(id) DECLARE_ALL_FLOATS(id##_forward)
#define DECLARE_CN_ANY(id) DECLARE_ANY(id##_forward)
#define DECLARE_CN_ANY_STRIDED(id) DECLARE_ANY(id##_forward)
#define DECLARE_GRADIENT_CN_FLOATS(id) DECLARE_FLOATS(id##_backward)
#define DECLARE_GRADIENT_CN_FLOATS_STRIDED(id) DECLARE_FLOATS(id##_backward)
#define DECLARE_GRADIENT_CN_ALL_FLOATS(id) DECLARE_ALL_FLOATS(id##_backward)
#define DECLARE_GRADIENT_CN_ANY(id) DECLARE_ALL_FLOATS(id##_backward)
#define DECLARE_GRADIENT_CN_ANY_STRIDED(id) DECLARE_ALL_FLOATS(id##_backward)
#define ROW_CN_FLOATS(id) FLOATS(id##_forward)
#define ROW_CN_FLOATS_STRIDED(id) FLOATS(id##_forward)
#define ROW_CN_ALL_FLOATS(id) ALL_FLOATS(id##_forward)
#define ROW_CN_ANY(id) ANY(id##_forward)
#define ROW_CN_ANY_STRIDED(id) ANY(id##_forward)
#define GRADIENT_CN_FLOATS(id) FLOATS(id##_backward)
#define GRADIENT_CN_FLOATS_STRIDED(id) FLOATS(id##_backward)
#define GRADIENT_CN_ALL_FLOATS(id) ALL_FLOATS(id##_backward)
#define GRADIENT_CN_ANY(id) ALL_FLOATS(id##_backward)
#define GRADIENT_CN_ANY_STRIDED(id) ALL_FLOATS(id##_backward)

/* By kind: views and composed rows have no kernels. */
#define DECLARE_CN_KERNEL(id, types) DECLARE_##types(id) DECLARE_GRADIENT_##types(id)
#define DECLARE_CN_FORWARD(id, types) DECLARE_##types(id)
#define DECLARE_CN_INPLACE(id, types) DECLARE_##types(id)
#define DECLARE_CN_VIEW(id, types)
#define DECLARE_CN_COMPOSED(id, types)
#define ROW_CN_KERNEL(id, types) [CN_OP_##id] = { ROW_##types(id), GRADIENT_##types(id) },
#define ROW_CN_FORWARD(id, types) [CN_OP_##id] = { ROW_##types(id), { NULL } },
#define ROW_CN_INPLACE(id, types) [CN_OP_##id] = { ROW_##types(id), { NULL } },
#define ROW_CN_VIEW(id, types)
#define ROW_CN_COMPOSED(id, types)

#define CN_OP(kind, id, inputs, attrs, outputs, types, saves, shape, doc) DECLARE_##kind(id, types)
#include "tensor/ops.def"
#undef CN_OP
