/* layers.h - the modules everything is made of. Images are (N,H,W,C).
**
** Every constructor draws its initial weights from `rng` (moving it on) in f32 on the CPU. Convolutions and linear
** layers start as in PyTorch: uniform in ±1/sqrt(fan in). NULL `rng` leaves zeros (for loading or counting). */
#ifndef CN_LAYERS_H
#define CN_LAYERS_H

#include "nn/module.h"

typedef struct CnConv2dOptions { /* zero means the usual: kernel 1, stride 1, padding 0, dilation 1, groups 1 */
  int64_t inp, out;              /* channels */
  int64_t kernel[2], stride[2], padding[2], dilation[2], groups;
  bool bias;
} CnConv2dOptions;

CnErr cn_conv2d_new(CnModule **out, CnConv2dOptions options, CnRng *rng); /* "weight" (KH,KW,I/groups,O), "bias" (O) */
bool cn_conv2d_is(const CnModule *m);
bool cn_conv2d_has_bias(const CnModule *m);
/* A convolution called on max(x, 0), which it takes as it loads x: a ReLU in front of it that leaves no tensor behind. */
CnErr cn_conv2d_forward_relu(CnModule *m, CnTensor **out, CnTensor *x);
/* Blocks (rows of ops.def) that layers make up together; `relu`: of max(x, 0). They read a feature and leave a raw
** result with its statistics. */
bool cn_conv2d_is_pointwise(const CnModule *m, const CnFeature *x); /* 1x1, and x has the channels it takes */
CnErr cn_conv2d_pass_pointwise(CnModule *m, bool relu, CnFeature *out, const CnFeature *x);
CnErr cn_conv2d_pass_any(CnModule *m, bool relu, CnFeature *out, const CnFeature *x); /* without bias */
/* n (2 or 3) of them on the same x. */
CnErr cn_conv2d_pass_pointwise_together(CnModule *const *m, int n, bool relu, CnFeature *out, const CnFeature *x);
bool cn_conv2d_is_separable(const CnModule *depthwise, const CnModule *pointwise, const CnFeature *x);
CnErr cn_conv2d_pass_separable(CnModule *depthwise, CnModule *pointwise, bool relu, CnFeature *out,
                               const CnFeature *x);

typedef struct CnBatchNormOptions {
  int64_t channels;
  bool affine;        /* "weight" ones, "bias" zeros */
  bool track;         /* buffers "running_mean", "running_var", used when not training; without: always the batch's */
  double eps, momentum; /* 0: 1e-5, 0.1 */
} CnBatchNormOptions;
CnErr cn_batch_norm_new(CnModule **out, CnBatchNormOptions options);
bool cn_batch_norm_is(const CnModule *m);
/* Whether it can follow x as scale and shift: x is raw, has its statistics and the channels it takes. */
bool cn_batch_norm_can_follow(const CnModule *m, const CnFeature *x);
/* x, which is changed, with the scale and shift that normalise it. */
CnErr cn_batch_norm_follow(CnModule *m, CnFeature *x);

CnErr cn_linear_new(CnModule **out, int64_t inp, int64_t outp, bool bias, CnRng *rng); /* "weight" (I,O), "bias" (O) */
CnErr cn_embedding_new(CnModule **out, int64_t rows, int64_t width, CnRng *rng);       /* "weight" (V,E), normal(0,1) */
/* "weight_ih" (I,4H), "weight_hh" (H,4H), "bias" (4H), uniform in ±1/sqrt(H). Called with x, h, c; gives h and c. */
CnErr cn_lstm_cell_new(CnModule **out, int64_t inp, int64_t hidden, CnRng *rng);
bool cn_lstm_cell_is(const CnModule *m);
CnErr cn_lstm_cell_forward(CnModule *m, CnTensor **h, CnTensor **c, CnTensor *x, CnTensor *h0, CnTensor *c0);

CnErr cn_relu_new(CnModule **out);
bool cn_relu_is(const CnModule *m);
CnErr cn_identity_new(CnModule **out);
bool cn_identity_is(const CnModule *m);
CnErr cn_zero_new(CnModule **out, int64_t stride);                /* "none": zeros of the strided shape */
bool cn_zero_is(const CnModule *m);
CnErr cn_max_pool_new(CnModule **out, int64_t kernel, int64_t stride, int64_t padding);
CnErr cn_avg_pool_new(CnModule **out, int64_t kernel, int64_t stride, int64_t padding);
bool cn_pool_is(const CnModule *m); /* a max or average pool */
CnErr cn_pool_pass(CnModule *m, bool relu, CnFeature *out, const CnFeature *x); /* row pool_block */
CnErr cn_global_avg_pool_new(CnModule **out);                     /* (N,H,W,C) -> (N,C) */
CnErr cn_dropout_new(CnModule **out, double p, CnRng *stream);    /* `stream` is borrowed and moved on at each call */
/* ReLU, two 1x1 convolutions of stride 2 on grids shifted by one pixel, concat, BN. Names conv_1, conv_2, bn. */
CnErr cn_factorized_reduce_new(CnModule **out, int64_t inp, int64_t outp, bool affine, bool track, CnRng *rng);
/* Children "0", "1", …; each taken by a new reference. A ReLU right in front of a convolution is not called: the
** convolution takes it over (cn_conv2d_forward_relu). */
CnErr cn_sequential_new(CnModule **out, CnModule *const *children, int n);
CnErr cn_sequential_add(CnModule *sequence, CnModule *child); /* new reference */
/* A sequence under the name "op", as published checkpoints spell it. */
CnErr cn_chain_new(CnModule **out, CnModule *const *children, int n);

/* Calls n (1 … 3) modules on the same x. Chains of ReLU, 1x1 convolution and batch normalisation read it together. On
** failure nothing is left in `out`, and *failed is the module's index. */
CnErr cn_modules_pass(CnModule *const *modules, int n, CnFeature *out, const CnFeature *x, int *failed);

/* Writing a sequence down layer by layer, with one check at the end:
**   CnBuilder b = cn_build_begin();
**   cn_build_add(&b, cn_relu_new(&b.next));
**   cn_build_add(&b, cn_conv2d_new(&b.next, options, rng));
**   return cn_build_chain(out, &b);
** The first failure is kept, and what had been made is dropped by cn_build_sequential or cn_build_chain. */
typedef struct CnBuilder {
  CnModule *sequence, *next;
  CnErr error;
} CnBuilder;
CnBuilder cn_build_begin(void);
void cn_build_add(CnBuilder *b, CnErr made);
CnErr cn_build_sequential(CnModule **out, CnBuilder *b);
CnErr cn_build_chain(CnModule **out, CnBuilder *b);

#endif
