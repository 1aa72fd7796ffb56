/* conv2d.cuh - the geometry of one 2-d convolution and what it is computed from, for the rows conv2d and conv_block. */
#ifndef CN_CUDA_CONV2D_CUH
#define CN_CUDA_CONV2D_CUH

#include "kernels/cuda/kernel.cuh"

/* With `relu` it is the convolution of max(x, 0). */
template <class T> struct Conv {
  int64_t n, h, w, c, oh, ow, o, kh, kw;
  int64_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
  bool relu;
  const T *x, *weight, *bias; /* bias: NULL when there is none */
  T *y;
  const T *gy;      /* backward only, as the two below */
  T *gx, *gweight;  /* NULL: not wanted */
};

/* The geometry, x and weight of a call whose inputs, attributes and first output begin as conv2d's. */
template <class T> inline Conv<T> conv_of(const CnCall *call) {
  const CnAttr *a = call->attr;
  const int64_t *x = call->in_spec[0].shape, *weight = call->in_spec[1].shape, *y = call->out_spec[0].shape;
  Conv<T> v = {};
  v.n = x[0], v.h = x[1], v.w = x[2], v.c = x[3];
  v.oh = y[1], v.ow = y[2], v.o = y[3], v.kh = weight[0], v.kw = weight[1];
  v.stride_h = a[0].i, v.stride_w = a[1].i, v.pad_h = a[2].i, v.pad_w = a[3].i;
  v.dilation_h = a[4].i, v.dilation_w = a[5].i, v.groups = a[6].i, v.relu = a[7].i != 0;
  v.x = data<T>(call->in[0]), v.weight = data<T>(call->in[1]);
  return v;
}

/* conv2d.cu: the way that suits the geometry. */
CnErr conv_forward(const CnCall *call, const Conv<float> &v);
CnErr conv_forward(const CnCall *call, const Conv<double> &v);
CnErr conv_backward(const CnCall *call, const Conv<float> &v);
CnErr conv_backward(const CnCall *call, const Conv<double> &v);

#endif
