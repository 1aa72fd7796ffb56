/* block_pointwise.cuh - the product under pointwise_block, pointwise_blocks and reduce_block: pixels of several images,
** joined along their channels, times one matrix or several. One launch makes the results and their partial sums. */
#ifndef CN_CUDA_BLOCK_POINTWISE_CUH
#define CN_CUDA_BLOCK_POINTWISE_CUH

#include "kernels/cuda/joined.cuh"

template <class T> struct Pointwise {
  typedef Real<T> R;
  Sources<T> sources;
  Weights<R> weights;
  int parts;                      /* 1, or 2 grids of pixels, each with its own matrix */
  int results, first[4];          /* columns of the results among all */
  int output[3], input[3];        /* by result, its outputs in the call begin; by matrix, its input */
  int scale;                      /* input of the factors; shift is behind it */
  int64_t pixels;
};

/* Inputs 0 … slots-1 are the matrices, where given; scale, shift and the images follow. `split`: they share one grid of
** pixels and have a result each; in backward results that no gradient reached are left out, and their matrices have
** none. Else they have a grid each, and one result. */
template <class T> inline Pointwise<T> pointwise_of(CnCall *call, int slots, bool split) {
  typedef Real<T> R;
  Pointwise<T> b = {};
  Sources<T> *s = &b.sources;
  b.scale = slots;
  b.parts = split ? 1 : slots;
  b.pixels = count_between(&call->out_spec[0], 0, 3);
  s->reader = { given<R>(call, slots), given<R>(call, slots + 1), call->attr[0].i != 0 };
  s->pixels = b.pixels;
  s->packed = true;
  s->spaced = !split;
  const int64_t *x = call->in_spec[slots + 2].shape, *z = call->out_spec[0].shape;
  s->image = Pixels(x[1], x[2]);
  s->result = Pixels(z[1], z[2]);
  for (int at = slots + 2; at < call->nin; at++) {
    int channels = static_cast<int>(call->in_spec[at].shape[3]);
    Source<T> one = { data<T>(call->in[at]), data<T>(call->gin[at]), channels, s->inputs, call->add[at] };
    s->packed = s->packed && all_packed(channels, one.x, one.gx);
    s->source[s->count++] = one;
    s->inputs += channels;
  }
  Weights<R> *w = &b.weights;
  w->depth = s->inputs;
  for (int i = 0; i < slots; i++) {
    if (i >= call->nin || call->in_spec[i].ndim < 0) continue;
    if (split && call->gout[0] && (call->reached >> 3 * i & 7) == 0) {
      cn_cuda_unref(call->gin[i]);
      call->gin[i] = NULL;
      continue;
    }
    b.input[w->count] = i;
    b.output[w->count] = 3 * i;
    w->w[w->count] = data<R>(call->in[i]);
    w->first[w->count + 1] = w->first[w->count] + static_cast<int>(call->in_spec[i].shape[3]);
    w->count++;
  }
  w->columns = w->first[w->count] / b.parts;
  b.results = split ? w->count : 1;
  memcpy(b.first, w->first, sizeof b.first);
  if (!split) b.first[1] = w->first[w->count];
  return b;
}

/* Whether all results' columns can be taken four at a time. */
template <class T> inline bool columns_packed(const Pointwise<T> &b) {
  bool packed = b.weights.columns % 4 == 0;
  for (int i = 0; i < b.results; i++) packed = packed && b.first[i + 1] % 4 == 0;
  return packed;
}

template <class T> inline CnErr pointwise_forward(CnCall *call, const Pointwise<T> &b) {
  typedef Real<T> R;
  Results<T> results = {};
  StatisticsOut<R> out = {};
  results.count = out.count = b.results;
  results.columns = b.weights.columns;
  results.packed = columns_packed(b);
  memcpy(results.first, b.first, sizeof b.first);
  memcpy(out.first, b.first, sizeof b.first);
  for (int i = 0; i < b.results; i++) {
    results.z[i] = data<T>(call->out[b.output[i]]);
    results.packed = results.packed && is_packed<4>(results.z[i]);
    out.mean[i] = data<R>(call->out[b.output[i] + 1]);
    out.var[i] = data<R>(call->out[b.output[i] + 2]);
  }
  CN_TRY(images_fit(call, &call->in_spec[b.scale + 2]));
  Partial partial(call);
  CN_TRY(multiply_images(call, b.pixels, b.weights.depth, b.weights.columns, b.parts, JoinedImages<T>(b.sources),
                         b.weights, ResultStore<T, true>(results), &partial));
  return finish_statistics(call, b.pixels, partial, out);
}

template <class T> inline CnErr pointwise_backward(CnCall *call, const Pointwise<T> &b) {
  typedef Real<T> R;
  ArrivingImages<T> arriving = {};
  arriving.count = b.results;
  arriving.columns = b.weights.columns;
  arriving.pixels = b.pixels;
  arriving.packed = columns_packed(b);
  memcpy(arriving.first, b.first, sizeof b.first);
  for (int i = 0; i < b.results; i++) {
    arriving.incoming[i] = incoming_of<T>(call, b.output[i]);
    arriving.packed = arriving.packed && all_packed(4, arriving.incoming[i].g, arriving.incoming[i].z);
  }
  CN_TRY(images_fit(call, &call->in_spec[b.scale + 2]));
  R *to[3] = {}, *gscale = wanted<R>(call, b.scale), *gshift = wanted<R>(call, b.scale + 1);
  for (int i = 0; i < b.weights.count; i++) to[i] = wanted<R>(call, b.input[i]);
  CN_TRY(weigh_images(call, b.pixels, b.parts, JoinedImages<T>(b.sources), arriving, b.weights, to));
  TurnedWeights<R> turned = { b.weights };
  int64_t inputs = b.weights.depth, outputs = b.weights.columns;
  if (gscale || gshift) {
    Partial partial(call);
    CN_TRY(multiply_images(call, b.pixels, outputs, inputs, b.parts, arriving, turned,
                           JoinedGradient<T, true>(b.sources), &partial));
    return finish_factors(call, inputs, partial, FactorsOut<R>{ { gscale }, { gshift } });
  }
  bool any = false;
  for (int i = 0; i < b.sources.count; i++) any = any || b.sources.source[i].gx;
  if (!any) return CN_OK;
  return multiply_images(call, b.pixels, outputs, inputs, b.parts, arriving, turned,
                         JoinedGradient<T, false>(b.sources), NULL);
}

#endif
