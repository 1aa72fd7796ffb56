/* matmul.cu - row matmul: z (M,N) = x (M,K) y (K,N), or one such product for each entry of a batch B. */
#include "kernels/cuda/gemm.cuh"

namespace {

struct Sizes {
  int64_t batch, m, k, n;
};

Sizes sizes_of(const CnCall *call) {
  const CnSpec *x = &call->in_spec[0], *y = &call->in_spec[1];
  int first = x->ndim == 3;
  return { first ? x->shape[0] : 1, x->shape[first], x->shape[first + 1], y->shape[first + 1] };
}

template <class T> CnErr matmul_forward(CnCall *call) {
  Sizes s = sizes_of(call);
  return gemm<false, false, T>(call, s.batch, s.m, s.n, s.k, data<T>(call->in[0]), data<T>(call->in[1]), NULL,
                               data<T>(call->out[0]));
}

/* gx = gz * yT, gy = xT * gz. */
template <class T> CnErr matmul_backward(CnCall *call) {
  Sizes s = sizes_of(call);
  const T *g = data<T>(call->gout[0]);
  if (call->gin[0])
    CN_TRY((gemm<false, true, T>(call, s.batch, s.m, s.k, s.n, g, data<T>(call->in[1]), NULL, data<T>(call->gin[0]))));
  if (call->gin[1])
    CN_TRY((gemm<true, false, T>(call, s.batch, s.k, s.n, s.m, data<T>(call->in[0]), g, NULL, data<T>(call->gin[1]))));
  return CN_OK;
}

} // namespace

KERNEL_FLOATS(matmul_forward)
KERNEL_FLOATS(matmul_backward)
