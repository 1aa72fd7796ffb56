/* block_reduce.cu - row reduce_block: the product of block_pointwise.cuh on two grids of every other pixel, which
** joined.cuh tells about. */
#include "kernels/cuda/block_pointwise.cuh"

namespace {

template <class T> CnErr reduce_block_forward(CnCall *call) {
  return pointwise_forward(call, pointwise_of<T>(call, 2, false));
}
template <class T> CnErr reduce_block_backward(CnCall *call) {
  return pointwise_backward(call, pointwise_of<T>(call, 2, false));
}

} // namespace

KERNEL_ALL_FLOATS(reduce_block_forward)
KERNEL_ALL_FLOATS(reduce_block_backward)
