/* batch_norm.cu - row batch_norm: each channel (last dimension) normalised over all other dimensions.
**
** Two passes over x, and between them a launch that makes the factors of the second out of the sums of the first.
** Running statistics are inputs 3 and 4, written here in training. */
#include "kernels/cuda/image.cuh"

namespace {

/* Sums of g * (x - center) and of g; g NULL: x - center itself, so that a large mean costs the squares no digits. */
template <class T, int V> struct Sums {
  static constexpr int VEC = V, SUMS = 2;
  const T *x, *g, *center;
  int channels;
  struct Thread {
    const Sums &s;
    int c;
    T center[VEC];
    FactorSums<T, VEC> sums;
    __device__ Thread(const Sums &task, int channel) : s(task), c(channel) { load_factors(s.center, c, T(0), center); }
    __device__ void step(int64_t p) {
      T x[VEC], g[VEC];
      load_pack(s.x + p * s.channels + c, x);
#pragma unroll
      for (int j = 0; j < VEC; j++) x[j] -= center[j];
      if (s.g) load_pack(s.g + p * s.channels + c, g);
      sums.add(s.g ? g : x, x);
    }
    __device__ void totals(double (&sum)[2][VEC]) const { sums.totals(sum); }
  };
};

/* out = (x - center) * by_x + g * by_g + shift; x or g NULL: without that term. */
template <class T, int V> struct Affine {
  static constexpr int VEC = V, SUMS = 0;
  const T *x, *g, *center, *by_x, *by_g, *shift;
  T *out;
  int channels;
  struct Thread {
    const Affine &a;
    int c;
    T center[VEC], by_x[VEC], by_g[VEC], shift[VEC];
    __device__ Thread(const Affine &task, int channel) : a(task), c(channel) {
      load_factors(a.center, c, T(0), center);
      load_factors(a.by_x, c, T(0), by_x);
      load_factors(a.by_g, c, T(0), by_g);
      load_factors(a.shift, c, T(0), shift);
    }
    __device__ void step(int64_t p) {
      int64_t at = p * a.channels + c;
      T y[VEC], v[VEC];
      for (int j = 0; j < VEC; j++) y[j] = shift[j];
      if (a.x) {
        load_pack(a.x + at, v);
        for (int j = 0; j < VEC; j++) y[j] += (v[j] - center[j]) * by_x[j];
      }
      if (a.g) {
        load_pack(a.g + at, v);
        for (int j = 0; j < VEC; j++) y[j] += v[j] * by_g[j];
      }
      store_pack(a.out + at, y);
    }
  };
};

/* What the launch between the passes works on; a warp has a channel. NULL: not there, not wanted. */
template <class T> struct Channels {
  int channels, slices;
  double n, momentum, eps;
  const double *partial; /* NULL in evaluation */
  const T *pivot;        /* forward: what distances were summed from */
  const T *weight, *bias;
  T *running_mean, *running_var, *mean, *rstd; /* mean and rstd are written in forward */
  T *factor, *shift;                           /* forward's second pass */
  T *gweight, *gbias, *by_x, *by_g;            /* backward, with shift for its second pass */
};

template <class T> __global__ void forward_channels(Channels<T> v) {
  int c = static_cast<int>(thread_number() / WARP);
  if (c >= v.channels) return; /* a whole warp */
  double mean, var;
  if (v.partial) {
    double square = row_total(v.partial, c, v.slices) / v.n;
    double distance = row_total(v.partial, v.channels + c, v.slices) / v.n;
    mean = static_cast<double>(v.pivot[c]) + distance;
    var = square - distance * distance;
    if (var < 0) var = 0; /* NaN stays NaN */
  } else {
    mean = static_cast<double>(v.running_mean[c]);
    var = static_cast<double>(v.running_var[c]);
  }
  if (threadIdx.x % WARP != 0) return;
  v.mean[c] = static_cast<T>(mean);
  T rstd = static_cast<T>(1 / sqrt(var + v.eps));
  v.rstd[c] = rstd;
  v.factor[c] = v.weight ? v.weight[c] * rstd : rstd;
  v.shift[c] = v.bias ? v.bias[c] : T(0);
  if (!v.partial || !v.running_mean) return;
  double unbiased = var * (v.n > 1 ? v.n / (v.n - 1) : 1);
  v.running_mean[c] += static_cast<T>(v.momentum * (mean - static_cast<double>(v.running_mean[c])));
  v.running_var[c] += static_cast<T>(v.momentum * (unbiased - static_cast<double>(v.running_var[c])));
}

/* With the sums s1 of gy and s2 of gy*(x-mean) over the n rows: gbias = s1, gweight = s2*rstd, and
** gx = weight*rstd * (gy - s1/n - (x-mean)*rstd^2*s2/n); in evaluation, where statistics are constants, only the first
** term. */
template <class T> __global__ void backward_channels(Channels<T> v, bool training) {
  int c = static_cast<int>(thread_number() / WARP);
  if (c >= v.channels) return; /* a whole warp */
  double by_distance = row_total(v.partial, c, v.slices), plain = row_total(v.partial, v.channels + c, v.slices);
  if (threadIdx.x % WARP != 0) return;
  double r = static_cast<double>(v.rstd[c]), scale = v.weight ? static_cast<double>(v.weight[c]) * r : r;
  if (v.gweight) v.gweight[c] = static_cast<T>(by_distance * r);
  if (v.gbias) v.gbias[c] = static_cast<T>(plain);
  double share = training ? -scale / v.n : 0;
  v.by_g[c] = static_cast<T>(scale);
  v.by_x[c] = training ? static_cast<T>(share * r * r * by_distance) : T(0);
  v.shift[c] = training ? static_cast<T>(share * plain) : T(0);
}

template <class T>
CnErr sum_pass(const CnCall *call, int64_t rows, int64_t channels, const T *x, const T *g, const T *center,
               Partial *partial) {
  int c = static_cast<int>(channels);
  if (all_packed(channels, x, g)) return channel_pass(call, rows, channels, Sums<T, 4>{ x, g, center, c }, partial);
  return channel_pass(call, rows, channels, Sums<T, 1>{ x, g, center, c }, partial);
}

template <class T> CnErr affine_pass(const CnCall *call, int64_t rows, const Affine<T, 1> &a) {
  if (all_packed(a.channels, a.x, a.g, a.out))
    return channel_pass(call, rows, a.channels,
                        Affine<T, 4>{ a.x, a.g, a.center, a.by_x, a.by_g, a.shift, a.out, a.channels }, NULL);
  return channel_pass(call, rows, a.channels, a, NULL);
}

template <class T> CnErr batch_norm_forward(CnCall *call) {
  const CnSpec *spec = &call->in_spec[0];
  int64_t channels = spec->shape[spec->ndim - 1], rows = count_between(spec, 0, spec->ndim - 1);
  bool training = call->attr[0].i != 0;
  const T *x = data<T>(call->in[0]);
  Partial partial(call);
  Scratch<T> factors(call);
  if (rows == 0 || channels == 0) return CN_OK;
  CN_TRY(factors.take(2 * channels));
  if (training) CN_TRY(sum_pass<T>(call, rows, channels, x, NULL, x, &partial)); /* pivots: the first row */
  Channels<T> v = { static_cast<int>(channels), partial.slices, static_cast<double>(rows), call->attr[1].f,
                    call->attr[2].f, partial.memory.data(), x, given<T>(call, 1), given<T>(call, 2),
                    const_cast<T *>(given<T>(call, 3)), const_cast<T *>(given<T>(call, 4)),
                    data<T>(call->out[1]), data<T>(call->out[2]), factors.data(), factors.data() + channels, NULL, NULL,
                    NULL, NULL };
  CN_TRY(launch(call, forward_channels<T>, blocks_for(channels * WARP), THREADS, 0, v));
  return affine_pass<T>(call, rows, { x, NULL, v.mean, v.factor, NULL, v.shift, data<T>(call->out[0]), v.channels });
}

template <class T> CnErr batch_norm_backward(CnCall *call) {
  const CnSpec *spec = &call->in_spec[0];
  int64_t channels = spec->shape[spec->ndim - 1], rows = count_between(spec, 0, spec->ndim - 1);
  bool training = call->attr[0].i != 0;
  const T *x = data<T>(call->in[0]), *g = data<T>(call->gout[0]), *mean = data<T>(call->out[1]);
  T *gx = wanted<T>(call, 0);
  Partial partial(call);
  Scratch<T> factors(call);
  CN_TRY(factors.take(3 * channels + 1));
  CN_TRY(sum_pass(call, rows, channels, x, g, mean, &partial));
  Channels<T> v = { static_cast<int>(channels), partial.slices, static_cast<double>(rows), 0, 0,
                    partial.memory.data(), NULL, given<T>(call, 1), NULL, NULL, NULL, NULL,
                    data<T>(call->out[2]), NULL, factors.data(), wanted<T>(call, 1), wanted<T>(call, 2),
                    factors.data() + channels, factors.data() + 2 * channels };
  CN_TRY(launch(call, backward_channels<T>, blocks_for(channels * WARP), THREADS, 0, v, training));
  if (!gx) return CN_OK;
  return affine_pass<T>(call, rows, { training ? x : NULL, g, mean, v.by_x, v.by_g, v.shift, gx, v.channels });
}

} // namespace

KERNEL_FLOATS(batch_norm_forward)
KERNEL_FLOATS(batch_norm_backward)
