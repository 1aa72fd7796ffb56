/* block_pointwise.cu - rows pointwise_block and pointwise_blocks: see block_pointwise.cuh. */
#include "kernels/cuda/block_pointwise.cuh"

namespace {

template <class T> CnErr pointwise_block_forward(CnCall *call) {
  return pointwise_forward(call, pointwise_of<T>(call, 1, true));
}
template <class T> CnErr pointwise_block_backward(CnCall *call) {
  return pointwise_backward(call, pointwise_of<T>(call, 1, true));
}
template <class T> CnErr pointwise_blocks_forward(CnCall *call) {
  return pointwise_forward(call, pointwise_of<T>(call, 3, true));
}
template <class T> CnErr pointwise_blocks_backward(CnCall *call) {
  return pointwise_backward(call, pointwise_of<T>(call, 3, true));
}

} // namespace

KERNEL_ALL_FLOATS(pointwise_block_forward)
KERNEL_ALL_FLOATS(pointwise_block_backward)
KERNEL_ALL_FLOATS(pointwise_blocks_forward)
KERNEL_ALL_FLOATS(pointwise_blocks_backward)
