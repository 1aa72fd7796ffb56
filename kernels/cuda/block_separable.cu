/* block_separable.cu - row separable_block: ReLU, depthwise and 1x1 convolution.
**
** Forward is one product whose pixels are convolved as it asks for them, so that what is between the convolutions is in
** memory nowhere. Backward makes it again for the 1x1 weight's gradient; its own gradient is written down, because each
** input pixel gathers from many of its pixels. */
#include "kernels/cuda/depthwise.cuh"
#include "kernels/cuda/joined.cuh"

namespace {

template <class T> Convolved<T> convolved_of(const CnCall *call) {
  typedef Real<T> R;
  Convolved<T> c = {
    depthwise_of<T>(call, call->in_spec[0].shape, call->in_spec[1].shape, call->out_spec[0].shape),
    count_between(&call->out_spec[0], 0, 3), false };
  c.d.reader = { given<R>(call, 3), given<R>(call, 4), call->attr[6].i != 0 };
  c.d.x = data<T>(call->in[0]);
  c.d.weight = data<R>(call->in[1]);
  c.packed = all_packed(c.d.channels, c.d.x, c.d.weight);
  return c;
}

template <class T> Weights<Real<T>> pointwise_weights(const CnCall *call) {
  const int64_t *shape = call->in_spec[2].shape;
  int inputs = static_cast<int>(shape[2]), outputs = static_cast<int>(shape[3]);
  return { 1, inputs, outputs, { 0, outputs }, { data<Real<T>>(call->in[2]) } };
}

template <class T> CnErr separable_block_forward(CnCall *call) {
  Convolved<T> inner = convolved_of<T>(call);
  Weights<Real<T>> weights = pointwise_weights<T>(call);
  T *z = data<T>(call->out[0]);
  Results<T> results = { 1, weights.columns, { 0, weights.columns }, { z }, NULL, all_packed(weights.columns, z) };
  Partial partial(call);
  CN_TRY(images_fit(call, &call->in_spec[0]));
  CN_TRY(images_fit(call, &call->out_spec[0]));
  CN_TRY(multiply_images(call, inner.pixels, weights.depth, weights.columns, 1, inner, weights,
                         ResultStore<T, true>(results), &partial));
  return finish_statistics(call, inner.pixels, partial, statistics_out<Real<T>>(call, 0));
}

/* What follows from the gradient of what is between the convolutions. */
template <class T> CnErr depthwise_part(CnCall *call, const Depthwise<T> &d, int64_t pixels, const Real<T> *gradient) {
  typedef Real<T> R;
  R *gdepthwise = wanted<R>(call, 1), *gscale = wanted<R>(call, 3), *gshift = wanted<R>(call, 4);
  bool factors = gscale || gshift;
  Outgoing<T> out = { d.reader, factors || d.reader.scale || d.reader.relu ? d.x : NULL, wanted<T>(call, 0),
                      call->add[0] };
  int64_t in_pixels = count_between(&call->in_spec[0], 0, 3);
  if (gdepthwise) CN_TRY(depthwise_weigh(call, pixels, d, gradient, gdepthwise));
  if (!factors) return out.gx ? depthwise_backward(call, in_pixels, d, gradient, out, NULL) : CN_OK;
  Partial partial(call);
  CN_TRY(depthwise_backward(call, in_pixels, d, gradient, out, &partial));
  return finish_factors(call, d.channels, partial, FactorsOut<R>{ { gscale }, { gshift } });
}

template <class T> CnErr separable_block_backward(CnCall *call) {
  typedef Real<T> R;
  Convolved<T> inner = convolved_of<T>(call);
  Weights<R> weights = pointwise_weights<T>(call);
  ArrivingImages<T> arriving = { 1, weights.columns, { 0, weights.columns }, { incoming_of<T>(call, 0) }, inner.pixels,
                                 false };
  arriving.packed = all_packed(weights.columns, arriving.incoming[0].g, arriving.incoming[0].z);
  R *const to[3] = { wanted<R>(call, 2), NULL, NULL };
  CN_TRY(images_fit(call, &call->in_spec[0]));
  CN_TRY(images_fit(call, &call->out_spec[0]));
  CN_TRY(weigh_images(call, inner.pixels, 1, inner, arriving, weights, to));
  if (!call->gin[0] && !call->gin[1] && !call->gin[3] && !call->gin[4]) return CN_OK;
  Scratch<R> gradient(call);
  CN_TRY(gradient.take(inner.pixels * weights.depth));
  CN_TRY(multiply_images(call, inner.pixels, weights.columns, weights.depth, 1, arriving, TurnedWeights<R>{ weights },
                         plain_store(gradient.data(), weights.depth, weights.depth), NULL));
  return depthwise_part(call, inner.d, inner.pixels, gradient.data());
}

} // namespace

KERNEL_ALL_FLOATS(separable_block_forward)
KERNEL_ALL_FLOATS(separable_block_backward)
