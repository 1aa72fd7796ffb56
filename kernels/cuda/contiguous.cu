/* contiguous.cu - strided values copied to row-major order, and the reverse. Kernels: contiguous_forward of any type,
** contiguous_backward of floats; and the module's copy_strided. */
#include "kernels/cuda/elementwise.cuh"

extern "C" {
#include "kernels/cuda/module.h"
}

namespace {

struct Same {
  template <class V> __device__ V operator()(V x) const { return x; }
};

template <class T> CnErr contiguous_forward(CnCall *call) {
  return map(call, data<T>(call->out[0]), &call->out_spec[0], Same(), operand<T>(call->in[0]));
}

template <class T> CnErr contiguous_backward(CnCall *call) {
  if (!call->gin[0]) return CN_OK;
  return map(call, data<T>(call->gin[0]), &call->out_spec[0], Same(), operand<T>(call->gout[0]));
}

/* Element i of both, in row-major order. */
template <class T> __global__ void copy_each(int64_t n, Loops<WideDivider> loops, T *to, const T *from) {
  int64_t i = thread_number(), offset[2];
  if (i >= n) return;
  loops.find(i, offset);
  to[offset[0]] = from[offset[1]];
}

template <class T> CnErr copy_strided(const CnCall *call, const CnTensor *to, const CnTensor *from) {
  const NestOperand operands[] = { operand_of_tensor(to), operand_of_tensor(from) };
  Nest nest;
  nest_make(&nest, &call->in_spec[0], operands, 2);
  return launch(call, copy_each<T>, blocks_for(nest.count), THREADS, 0, nest.count, Loops<WideDivider>(nest),
                data<T>(to), data<T>(from));
}

} // namespace

extern "C" CnErr cn_cuda_copy_strided(const CnTensor *to, const CnTensor *from) {
  static const CnOp copy = { CN_OP_contiguous, CN_INPLACE, "copy", "", "", "", CN_ANY, "", NULL, NULL, NULL, "" };
  CnCall call = {};
  call.op = &copy;
  call.device = cn_tensor_device(to);
  call.in_spec[0].ndim = to->ndim;
  memcpy(call.in_spec[0].shape, to->shape, sizeof to->shape);
  CN_TRY(cn_cuda_use(call.device.index));
  switch (to->dtype) {
    case CN_F32: return copy_strided<float>(&call, to, from);
    case CN_F64: return copy_strided<double>(&call, to, from);
    case CN_I64: return copy_strided<int64_t>(&call, to, from);
    case CN_U8: return copy_strided<uint8_t>(&call, to, from);
    default: return copy_strided<Bf16>(&call, to, from);
  }
}

KERNEL_ANY(contiguous_forward)
KERNEL_ALL_FLOATS(contiguous_backward)
