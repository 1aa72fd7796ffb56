/* shape.h - the shape rules of ops.def. A rule checks sizes and attributes and writes call->out_spec; its errors name
** the operation, the input, what was expected and what came. Dimension attributes arrive counted from 0, or negative. */
#ifndef CN_SHAPE_H
#define CN_SHAPE_H

#include "tensor/op.h"

CnErr cn_shape_same(CnCall *call);
CnErr cn_shape_none(CnCall *call);
CnErr cn_shape_noise(CnCall *call);
CnErr cn_shape_pair(CnCall *call);
CnErr cn_shape_broadcast(CnCall *call);
CnErr cn_shape_compare(CnCall *call);
CnErr cn_shape_where(CnCall *call);
CnErr cn_shape_cast(CnCall *call);
CnErr cn_shape_concat(CnCall *call);
CnErr cn_shape_sum(CnCall *call);
CnErr cn_shape_reduce(CnCall *call);
CnErr cn_shape_extremum(CnCall *call);
CnErr cn_shape_arg(CnCall *call);
CnErr cn_shape_topk(CnCall *call);
CnErr cn_shape_squared_norm(CnCall *call);
CnErr cn_shape_index_select(CnCall *call);
CnErr cn_shape_gather(CnCall *call);
CnErr cn_shape_embedding(CnCall *call);
CnErr cn_shape_matmul(CnCall *call);
CnErr cn_shape_linear(CnCall *call);
CnErr cn_shape_lstm_gates(CnCall *call);
CnErr cn_shape_conv2d(CnCall *call);
CnErr cn_shape_max_pool2d(CnCall *call);
CnErr cn_shape_avg_pool2d(CnCall *call);
CnErr cn_shape_global_avg_pool2d(CnCall *call);
CnErr cn_shape_batch_norm(CnCall *call);
CnErr cn_shape_subsample2d(CnCall *call);
CnErr cn_shape_dim_same(CnCall *call);
CnErr cn_shape_cross_entropy(CnCall *call);
CnErr cn_shape_accuracy(CnCall *call);
CnErr cn_shape_separable_block(CnCall *call);
CnErr cn_shape_pointwise_block(CnCall *call);
CnErr cn_shape_pointwise_blocks(CnCall *call);
CnErr cn_shape_reduce_block(CnCall *call);
CnErr cn_shape_conv_block(CnCall *call);
CnErr cn_shape_pool_block(CnCall *call);
CnErr cn_shape_add_block(CnCall *call);
CnErr cn_shape_norm_factors(CnCall *call);

/* A dimension attribute made absolute, in place: counted from 0, `extra` beyond the last allowed (1 for unsqueeze). */
CnErr cn_shape_dim(CnCall *call, int slot, int extra);

/* What rules are made of. */

/* The i-th output has the call's type and this shape. */
void cn_shape_set(CnCall *call, int i, int ndim, const int64_t *shape);
#define SET(call, i, ...) \
  cn_shape_set(call, i, (int)(sizeof(int64_t[]){ __VA_ARGS__ } / sizeof(int64_t)), (const int64_t[]){ __VA_ARGS__ })

/* Input i, where it is given, must have exactly this shape; a size of -1 fits any. */
CnErr cn_shape_expect(const CnCall *call, int i, int ndim, const int64_t *shape);
#define EXPECT(call, i, ...) \
  cn_shape_expect(call, i, (int)(sizeof(int64_t[]){ __VA_ARGS__ } / sizeof(int64_t)), (const int64_t[]){ __VA_ARGS__ })

/* Output size of a window that slides: (size + 2·pad - span) / stride + 1, span = dilation·(kernel - 1) + 1. */
CnErr cn_shape_slide(const CnCall *call, int64_t *out, int64_t size, int64_t kernel, int64_t stride, int64_t pad,
                     int64_t dilation);

/* Output 0 of a pool with the attributes kernel, stride and padding; and an output of its shape for tap numbers. */
CnErr cn_shape_pool(CnCall *call);
CnErr cn_shape_argmax(CnCall *call, int output);

#endif
