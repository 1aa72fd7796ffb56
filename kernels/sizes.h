/* sizes.h - elements of a shape and of parts of it, for the kernels of every device. */
#ifndef CN_SIZES_H
#define CN_SIZES_H

#include "tensor/tensor.h"

/* The product of the sizes first … last-1. */
static inline int64_t count_between(const CnSpec *spec, int first, int last) {
  int64_t n = 1;
  for (int d = first; d < last; d++) n *= spec->shape[d];
  return n;
}
static inline int64_t count_of(const CnSpec *spec) { return count_between(spec, 0, spec->ndim); }

/* The dimensions of `out` along which an input of shape `in` was broadcast, as bits. */
static inline uint32_t broadcast_dims(const CnSpec *out, const CnSpec *in) {
  uint32_t dims = 0;
  int missing = out->ndim - in->ndim;
  for (int d = 0; d < out->ndim; d++)
    if (d < missing || in->shape[d - missing] != out->shape[d]) dims |= 1u << d;
  return dims;
}

#endif
