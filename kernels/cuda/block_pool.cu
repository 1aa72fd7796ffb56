/* block_pool.cu - row pool_block: pooling (see pool.cuh) of an image that is read through scale, shift and ReLU, with
** the statistics of the result. */
#include "kernels/cuda/pool.cuh"

namespace {

template <class T> Reader<Real<T>> reader_of(const CnCall *call) {
  return { given<Real<T>>(call, 1), given<Real<T>>(call, 2), call->attr[7].i != 0 };
}

template <class T> CnErr pool_block_forward(CnCall *call) {
  uint8_t *argmax = call->attr[6].i != 0 ? data<uint8_t>(call->out[3]) : NULL;
  PoolForward<T> f = { pool_of(call), reader_of<T>(call), data<T>(call->in[0]), data<T>(call->out[0]), argmax };
  Partial partial(call);
  CN_TRY(pool_forward(call, f, &partial));
  return finish_statistics(call, count_between(&call->out_spec[0], 0, 3), partial, statistics_out<Real<T>>(call, 0));
}

template <class T> CnErr pool_block_backward(CnCall *call) {
  typedef Real<T> R;
  R *gscale = wanted<R>(call, 1), *gshift = wanted<R>(call, 2);
  bool factors = gscale || gshift;
  Reader<R> reader = reader_of<T>(call);
  Outgoing<T> out = { reader, factors || reader.scale || reader.relu ? data<T>(call->in[0]) : NULL,
                      wanted<T>(call, 0), call->add[0] };
  PoolBackward<T> b = { pool_of(call), incoming_of<T>(call, 0),
                        call->attr[6].i != 0 ? data<uint8_t>(call->out[3]) : NULL, out };
  Partial partial(call);
  if (!factors) return out.gx ? pool_backward(call, b, NULL) : CN_OK;
  CN_TRY(pool_backward(call, b, &partial));
  return finish_factors(call, b.pool.channels, partial, FactorsOut<R>{ { gscale }, { gshift } });
}

} // namespace

KERNEL_ALL_FLOATS(pool_block_forward)
KERNEL_ALL_FLOATS(pool_block_backward)
