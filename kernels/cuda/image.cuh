/* image.cuh - what kernels over images (N,H,W,C) share: pixels and their coordinates, an image read through scale,
** shift and ReLU, the gradient that arrives at a block, and sums for each channel.
**
** Neighbouring threads take neighbouring channels, four at a time where addresses allow it ("packed"). channel_pass is
** the loop of everything that works pixel by pixel. Sums for channels are taken in two stages: a block leaves its
** partial sums in f64, as rows of partial (sums, channels, blocks), and a second launch adds up each row in a fixed
** order. */
#ifndef CN_CUDA_IMAGE_CUH
#define CN_CUDA_IMAGE_CUH

#include "kernels/cuda/reduce.cuh"

/* ---------------------------------------------------------------- pixels */

/* VEC neighbouring elements. */
template <int VEC, class T> __device__ inline void load_pack(const T *p, Real<T> (&v)[VEC]) {
  if constexpr (VEC == 1) {
    v[0] = real_of(*p);
  } else {
    Pack<T, VEC> pack = *reinterpret_cast<const Pack<T, VEC> *>(p);
#pragma unroll
    for (int j = 0; j < VEC; j++) v[j] = real_of(pack.at[j]);
  }
}
template <int VEC, class T> __device__ inline void store_pack(T *p, const Real<T> (&v)[VEC]) {
  if constexpr (VEC == 1) {
    *p = stored_of<T>(v[0]);
  } else {
    Pack<T, VEC> pack;
#pragma unroll
    for (int j = 0; j < VEC; j++) pack.at[j] = stored_of<T>(v[j]);
    *reinterpret_cast<Pack<T, VEC> *>(p) = pack;
  }
}
/* Elements c … c+VEC-1 of an array that may be missing, `otherwise` then. */
template <int VEC, class R> __device__ inline void load_factors(const R *p, int c, R otherwise, R (&v)[VEC]) {
#pragma unroll
  for (int j = 0; j < VEC; j++) v[j] = p ? p[c + j] : otherwise;
}

/* Whether all of the arrays (NULL: not there) can be read four elements at a time. */
template <class... P> inline bool all_packed(int64_t channels, P... p) {
  return channels % 4 == 0 && (is_packed<4>(p) && ...);
}

/* The pixels of N images, in order. */
struct Place {
  int image, y, x;
};
struct Pixels {
  int height, width;
  Divider by_width, by_height;
  Pixels() = default;
  Pixels(int64_t h, int64_t w) : height(static_cast<int>(h)), width(static_cast<int>(w)) {
    by_width.set(w > 0 ? w : 1);
    by_height.set(h > 0 ? h : 1);
  }
  __device__ Place find(int64_t p) const {
    int64_t x, y, row = by_width.divide(p, &x), image = by_height.divide(row, &y);
    return { static_cast<int>(image), static_cast<int>(y), static_cast<int>(x) };
  }
  __device__ int64_t number(int image, int y, int x) const {
    return (static_cast<int64_t>(image) * height + y) * width + x;
  }
  __device__ bool inside(int y, int x) const {
    return static_cast<unsigned>(y) < static_cast<unsigned>(height) &&
           static_cast<unsigned>(x) < static_cast<unsigned>(width);
  }
};

/* Kernels count pixels, channels and coordinates in 32 bits. */
inline CnErr images_fit(const CnCall *call, const CnSpec *spec) {
  if (count_between(spec, 0, spec->ndim - 1) < INT32_MAX && spec->shape[spec->ndim - 1] < INT32_MAX) return CN_OK;
  return cn_cuda_fail(CN_EUSAGE, "%s: more than 2^31 pixels are too many for the GPU", call->op->name);
}

/* ---------------------------------------------------------------- reading through scale, shift and ReLU */

/* f(x * scale + shift), f being ReLU, which keeps NaN, or nothing; scale and shift (C) or both NULL. */
template <class R> struct Reader {
  const R *scale, *shift;
  bool relu;
};

/* The same for VEC channels. */
template <class R, int VEC> struct Reading {
  R scale[VEC], shift[VEC];
  bool relu;
  __device__ Reading(const Reader<R> &r, int c) : relu(r.relu) {
    load_factors(r.scale, c, R(1), scale);
    load_factors(r.shift, c, R(0), shift);
  }
  __device__ R read(int j, R x) const {
    R v = x * scale[j] + shift[j];
    return relu && v < 0 ? R(0) : v;
  }
  /* The gradient of what was read, before it is multiplied by scale. */
  __device__ R back(int j, R x, R g) const { return relu && x * scale[j] + shift[j] <= 0 ? R(0) : g; }
};

/* ---------------------------------------------------------------- sums of a thread */

/* Sums of values and of their squares: of distances to the first, so that a large mean costs the squares no digits. */
template <class R, int VEC> struct Moments {
  R pivot[VEC], first[VEC], second[VEC];
  int count = 0;
  __device__ void add(const R (&v)[VEC]) {
#pragma unroll
    for (int j = 0; j < VEC; j++) {
      if (count == 0) pivot[j] = v[j], first[j] = second[j] = 0;
      R d = v[j] - pivot[j];
      first[j] += d;
      second[j] += d * d;
    }
    count++;
  }
  __device__ void totals(double (&sum)[2][VEC]) const {
#pragma unroll
    for (int j = 0; j < VEC; j++) {
      double f = count ? static_cast<double>(pivot[j]) : 0, a = count ? static_cast<double>(first[j]) : 0;
      sum[0][j] = a + count * f;
      sum[1][j] = (count ? static_cast<double>(second[j]) : 0) + 2 * f * a + count * f * f;
    }
  }
};

/* Sums of g * x and of g: the gradients of scale and shift. Of distances of x to the first, too. */
template <class R, int VEC> struct FactorSums {
  R pivot[VEC], by_x[VEC], plain[VEC];
  bool any = false;
  __device__ void add(const R (&g)[VEC], const R (&x)[VEC]) {
#pragma unroll
    for (int j = 0; j < VEC; j++) {
      if (!any) pivot[j] = x[j], by_x[j] = plain[j] = 0;
      by_x[j] += g[j] * (x[j] - pivot[j]);
      plain[j] += g[j];
    }
    any = true;
  }
  __device__ void totals(double (&sum)[2][VEC]) const {
#pragma unroll
    for (int j = 0; j < VEC; j++) {
      double p = any ? static_cast<double>(plain[j]) : 0;
      sum[0][j] = any ? static_cast<double>(by_x[j]) + static_cast<double>(pivot[j]) * p : 0;
      sum[1][j] = p;
    }
  }
};

/* ---------------------------------------------------------------- channel_pass */

/* How pixels and channels are cut into blocks: a block takes a slice of pixels and `across` packs of channels, `down`
** pixels at a time. */
struct ChannelCut {
  int64_t pixels, slice;
  int channels, across, down, slices, tiles;
};

inline ChannelCut channel_cut(int64_t pixels, int64_t channels, int vec, bool sums) {
  int64_t packs = ceil_div<int64_t>(channels, vec), tiles = packs > 0 ? ceil_div<int64_t>(packs, 64) : 1;
  ChannelCut cut = { pixels, pixels, static_cast<int>(channels), 1, 1, 1, static_cast<int>(tiles) };
  if (packs > 0) cut.across = static_cast<int>(ceil_div(packs, tiles));
  cut.down = THREADS / cut.across;
  int64_t steps = ceil_div<int64_t>(pixels, cut.down), most = sums ? 1024 : 8192; /* blocks that leave sums are few */
  int64_t each = ceil_div(steps, most), least = sums ? 4 : 1;
  if (each < least) each = least;
  cut.slice = each * cut.down;
  cut.slices = static_cast<int>(ceil_div(pixels, cut.slice));
  return cut;
}

/* A task F has the constants VEC and SUMS and a type Thread: made of the task and a channel, it is given the pixels of
** the thread one by one, as step(p), and has its SUMS sums in the end, as totals(sum). */
template <class F>
__global__ void __launch_bounds__(THREADS)
    channel_pass_kernel(const ChannelCut cut, const __grid_constant__ F task, double *partial) {
  constexpr int VEC = F::VEC, SUMS = F::SUMS;
  int x = threadIdx.x % cut.across, y = threadIdx.x / cut.across;
  int c = (static_cast<int>(blockIdx.y) * cut.across + x) * VEC;
  int64_t begin = blockIdx.x * cut.slice, end = begin + cut.slice < cut.pixels ? begin + cut.slice : cut.pixels;
  bool mine = y < cut.down && c < cut.channels;
  double sum[SUMS > 0 ? SUMS : 1][VEC] = {};
  if (mine) {
    typename F::Thread thread(task, c);
    for (int64_t p = begin + y; p < end; p += cut.down) thread.step(p);
    if constexpr (SUMS > 0) thread.totals(sum);
  }
  if constexpr (SUMS > 0) {
    __shared__ double part[SUMS * VEC][THREADS];
#pragma unroll
    for (int s = 0; s < SUMS; s++)
      for (int j = 0; j < VEC; j++) part[s * VEC + j][threadIdx.x] = sum[s][j];
    __syncthreads();
    for (int i = threadIdx.x; i < SUMS * VEC * cut.across; i += THREADS) {
      int lane = i / (SUMS * VEC), which = i % (SUMS * VEC);
      int channel = (static_cast<int>(blockIdx.y) * cut.across + lane) * VEC + which % VEC;
      double total = 0;
      for (int k = 0; k < cut.down; k++) total += part[which][k * cut.across + lane];
      if (channel < cut.channels)
        partial[(static_cast<int64_t>(which / VEC) * cut.channels + channel) * gridDim.x + blockIdx.x] = total;
    }
  }
}

/* Partial sums of a launch: rows (sums, channels) of `slices` numbers each. */
struct Partial {
  Scratch<double> memory;
  int slices = 0;
  explicit Partial(const CnCall *call) : memory(call) {}
  CnErr take(int64_t rows, int64_t each) {
    slices = static_cast<int>(each);
    return memory.take(rows * (each > 0 ? each : 1));
  }
};

/* The task for all pixels and channels; partial: NULL where it has no sums. */
template <class F>
inline CnErr channel_pass(const CnCall *call, int64_t pixels, int64_t channels, F task, Partial *partial) {
  ChannelCut cut = channel_cut(pixels, channels, F::VEC, F::SUMS > 0);
  if (F::SUMS > 0) CN_TRY(partial->take(F::SUMS * channels, cut.slices));
  if (channels == 0) return CN_OK;
  return launch(call, channel_pass_kernel<F>, dim3(static_cast<unsigned>(cut.slices), static_cast<unsigned>(cut.tiles)),
                THREADS, 0, cut, task, F::SUMS > 0 ? partial->memory.data() : NULL);
}

/* ---------------------------------------------------------------- second stages */

/* A warp adds up a row of partial sums. */
__device__ inline double row_total(const double *partial, int64_t row, int slices) {
  double total = 0;
  for (int i = threadIdx.x % WARP; i < slices; i += WARP) total += partial[row * slices + i];
  return warp_sum(total);
}

/* Where mean and variance of the channels go: those of channels first[i] … first[i+1]-1 to mean[i] and var[i]. */
template <class R> struct StatisticsOut {
  int count, first[4];
  R *mean[3], *var[3];
};

template <class R>
__global__ void finish_statistics_kernel(int channels, int slices, double n, const double *partial,
                                         StatisticsOut<R> out) {
  int c = static_cast<int>(thread_number() / WARP), i = 0;
  if (c >= channels) return; /* a whole warp */
  double mean = row_total(partial, c, slices) / n, square = row_total(partial, channels + c, slices) / n;
  while (c >= out.first[i + 1]) i++;
  if (threadIdx.x % WARP != 0) return;
  out.mean[i][c - out.first[i]] = static_cast<R>(mean);
  double var = square - mean * mean;
  out.var[i][c - out.first[i]] = static_cast<R>(var < 0 ? 0 : var); /* NaN stays NaN */
}

/* Mean and biased variance from the sums of `count` values and of their squares. */
template <class R>
inline CnErr finish_statistics(const CnCall *call, int64_t count, Partial &partial, StatisticsOut<R> out) {
  int channels = out.first[out.count];
  return launch(call, finish_statistics_kernel<R>, blocks_for(static_cast<int64_t>(channels) * WARP), THREADS, 0,
                channels, partial.slices, static_cast<double>(count > 0 ? count : 1), partial.memory.data(), out);
}

/* Those of one result, outputs `z` + 1 and `z` + 2 of the call. */
template <class R> inline StatisticsOut<R> statistics_out(const CnCall *call, int z) {
  return { 1, { 0, static_cast<int>(call->out_spec[z].shape[3]) }, { data<R>(call->out[z + 1]) },
           { data<R>(call->out[z + 2]) } };
}

/* Where the gradients of scale and shift go, of one image or of two (NULL: not wanted). */
template <class R> struct FactorsOut {
  R *gscale[2], *gshift[2];
};

/* blockIdx.y: which image. */
template <class R>
__global__ void finish_factors_kernel(int channels, int slices, const double *partial, FactorsOut<R> out) {
  int c = static_cast<int>(thread_number() / WARP), image = blockIdx.y;
  R *gscale = out.gscale[image], *gshift = out.gshift[image];
  if (c >= channels || (!gscale && !gshift)) return; /* a whole warp */
  int64_t row = static_cast<int64_t>(2 * image) * channels + c;
  double scale = row_total(partial, row, slices), shift = row_total(partial, row + channels, slices);
  if (threadIdx.x % WARP != 0) return;
  if (gscale) gscale[c] = static_cast<R>(scale);
  if (gshift) gshift[c] = static_cast<R>(shift);
}

/* Rows of partial: `channels` for the first image's scale, as many for its shift, then those of the second. */
template <class R>
inline CnErr finish_factors(const CnCall *call, int64_t channels, Partial &partial, FactorsOut<R> out) {
  bool two = out.gscale[1] || out.gshift[1];
  if (!two && !out.gscale[0] && !out.gshift[0]) return CN_OK;
  dim3 grid = blocks_for(channels * WARP);
  grid.y = two ? 2 : 1;
  return launch(call, finish_factors_kernel<R>, grid, THREADS, 0, static_cast<int>(channels), partial.slices,
                partial.memory.data(), out);
}

/* ---------------------------------------------------------------- calls */

/* An input, or the gradient of one, that may be missing. */
template <class T> inline const T *given(const CnCall *call, int i) {
  return i < call->nin ? data<T>(call->in[i]) : NULL;
}
template <class T> inline T *wanted(const CnCall *call, int i) { return i < call->nin ? data<T>(call->gin[i]) : NULL; }

/* ---------------------------------------------------------------- the gradient that arrives at a block */

/* The gradient of z when its mean and variance have gradients too: g * by_g + (z - mean) * 2 gvar/n + gmean/n. */
template <class T> struct Incoming {
  const T *g, *z;                             /* z NULL: g as it is */
  const Real<T> *mean, *by_g, *gmean, *gvar; /* (channels); by_g NULL: 1 */
  double share;                               /* 1/n */
};

/* Of outputs z, z+1 and z+2 of the call. */
template <class T> inline Incoming<T> incoming_of(const CnCall *call, int z) {
  typedef Real<T> R;
  int64_t n = count_between(&call->out_spec[z], 0, 3);
  return { data<T>(call->gout[z]), data<T>(call->out[z]), data<R>(call->out[z + 1]), data<R>(call->gout_factor[z]),
           data<R>(call->gout[z + 1]), data<R>(call->gout[z + 2]), 1 / static_cast<double>(n > 0 ? n : 1) };
}

/* The same for VEC channels from c on, of `channels`. */
template <class T, int VEC> struct Arriving {
  typedef Real<T> R;
  const T *g, *z;
  R by_g[VEC], by_z[VEC], mean[VEC], shift[VEC];
  __device__ Arriving(const Incoming<T> &in, int c) : g(in.g + c), z(in.z ? in.z + c : NULL) {
    load_factors(in.by_g, c, R(1), by_g);
#pragma unroll
    for (int j = 0; j < VEC; j++) {
      by_z[j] = z ? static_cast<R>(2 * in.share * static_cast<double>(in.gvar[c + j])) : R(0);
      shift[j] = z ? static_cast<R>(in.share * static_cast<double>(in.gmean[c + j])) : R(0);
      mean[j] = z ? in.mean[c + j] : R(0);
    }
  }
  /* At element `at` (a pixel's number times the channels). */
  __device__ void read(int64_t at, R (&v)[VEC]) const {
    load_pack(g + at, v);
    if (!z) return;
    R value[VEC];
    load_pack(z + at, value);
#pragma unroll
    for (int j = 0; j < VEC; j++) v[j] = v[j] * by_g[j] + ((value[j] - mean[j]) * by_z[j] + shift[j]);
  }
};

/* ---------------------------------------------------------------- the gradient of an image that was read */

/* Where it goes. gx NULL: not wanted; `add`: to what is there. */
template <class T> struct Outgoing {
  Reader<Real<T>> reader;
  const T *x; /* NULL: was read as it is, and no sums are wanted */
  T *gx;
  bool add;
};

/* The same for VEC channels, with the sums for scale and shift. */
template <class T, int VEC> struct Leaving {
  typedef Real<T> R;
  Reading<R, VEC> reading;
  FactorSums<R, VEC> sums;
  const T *x;
  T *gx;
  bool add;
  __device__ Leaving(const Outgoing<T> &out, int c)
      : reading(out.reader, c), x(out.x ? out.x + c : NULL), gx(out.gx ? out.gx + c : NULL), add(out.add) {}
  __device__ void write(int64_t at, R (&g)[VEC]) {
    if (x) {
      R value[VEC];
      load_pack(x + at, value);
#pragma unroll
      for (int j = 0; j < VEC; j++) g[j] = reading.back(j, value[j], g[j]);
      sums.add(g, value);
#pragma unroll
      for (int j = 0; j < VEC; j++) g[j] *= reading.scale[j];
    }
    if (!gx) return;
    if (add) {
      R before[VEC];
      load_pack(gx + at, before);
#pragma unroll
      for (int j = 0; j < VEC; j++) g[j] += before[j];
    }
    store_pack(gx + at, g);
  }
};

#endif
