/* depthwise.cuh - the depthwise convolution, weight (KH,KW,1,C), of an image read through scale, shift and ReLU: alone,
** and as the middle of separable_block. Padding is zeros, after the ReLU.
**
** A pixel's taps are read from memory by neighbouring threads again and again: that is, from the level-1 cache. The
** gradient by the input gathers as well, from the output pixels that read a pixel. */
#ifndef CN_CUDA_DEPTHWISE_CUH
#define CN_CUDA_DEPTHWISE_CUH

#include "kernels/cuda/product.cuh"

template <class T> struct Depthwise {
  Pixels image, result;
  int channels, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  Reader<Real<T>> reader;
  const T *x;
  const Real<T> *weight;
};

/* The geometry of a call whose attributes begin as conv2d's: image (N,H,W,C), weight (KH,KW,…), result (N,OH,OW,…). */
template <class T>
inline Depthwise<T> depthwise_of(const CnCall *call, const int64_t *x, const int64_t *weight, const int64_t *z) {
  auto attribute = [&](int i) { return static_cast<int>(call->attr[i].i); };
  return { Pixels(x[1], x[2]), Pixels(z[1], z[2]), static_cast<int>(x[3]), static_cast<int>(weight[0]),
           static_cast<int>(weight[1]), attribute(0), attribute(1), attribute(2), attribute(3), attribute(4),
           attribute(5), {}, NULL, NULL };
}

/* Channels c … c+VEC-1 of one pixel of the result. */
template <int VEC, class T>
__device__ inline void convolve(const Depthwise<T> &d, const Reading<Real<T>, VEC> &reading, Place at, int c,
                                Real<T> (&sum)[VEC]) {
  typedef Real<T> R;
  int y = at.y * d.stride_h - d.pad_h, x = at.x * d.stride_w - d.pad_w;
  const T *image = d.x + d.image.number(at.image, 0, 0) * d.channels + c;
  const R *weight = d.weight + c;
  for (int j = 0; j < VEC; j++) sum[j] = 0;
  for (int p = 0; p < d.kernel_h; p++) {
    int row = y + p * d.dilation_h;
    if (static_cast<unsigned>(row) >= static_cast<unsigned>(d.image.height)) continue;
    const T *line = image + static_cast<int64_t>(row) * d.image.width * d.channels;
#pragma unroll 5
    for (int q = 0; q < d.kernel_w; q++) {
      int column = x + q * d.dilation_w;
      if (static_cast<unsigned>(column) >= static_cast<unsigned>(d.image.width)) continue;
      R v[VEC], w[VEC];
      load_pack(line + static_cast<int64_t>(column) * d.channels, v);
      load_pack(weight + static_cast<int64_t>(p * d.kernel_w + q) * d.channels, w);
#pragma unroll
      for (int j = 0; j < VEC; j++) sum[j] += reading.read(j, v[j]) * w[j];
    }
  }
}

/* The index of the output that reads input index i by a tap, or -1. */
__device__ inline int reader_of_tap(int i, int tap, int stride, int pad, int dilation) {
  int from = i + pad - tap * dilation;
  if (stride == 1) return from;
  return from >= 0 && from % stride == 0 ? from / stride : -1;
}

/* ---------------------------------------------------------------- the image of results, as a loader */

template <class T> struct Convolved {
  typedef ::Real<T> Real;
  typedef Place Row; /* image -1: none */
  struct Column {
    int c, count;
    Reading<Real, 4> reading;
  };
  Depthwise<T> d;
  int64_t pixels;
  bool packed;
  __device__ Row row(int64_t p, int) const { return p < pixels ? d.result.find(p) : Place{ -1, 0, 0 }; }
  __device__ Column column(int c, int) const {
    int left = d.channels - c;
    bool whole = packed && left > 0;
    return { c, left < 0 ? 0 : left < 4 ? left : 4, whole ? Reading<Real, 4>(d.reader, c) : Reading<Real, 4>({}, 0) };
  }
  __device__ void load(Row row, const Column &c, Real (&v)[4]) const {
    for (int j = 0; j < 4; j++) v[j] = 0;
    if (row.image < 0 || c.count == 0) return;
    if (packed) {
      convolve<4>(d, c.reading, row, c.c, v);
      return;
    }
    for (int j = 0; j < c.count; j++) {
      Real one[1];
      convolve<1>(d, Reading<Real, 1>(d.reader, c.c + j), row, c.c + j, one);
      v[j] = one[0];
    }
  }
};

/* ---------------------------------------------------------------- alone */

template <class T, int V> struct DepthwiseForward {
  static constexpr int VEC = V, SUMS = 0;
  Depthwise<T> d;
  const Real<T> *bias;
  T *y;
  struct Thread {
    const DepthwiseForward &f;
    int c;
    Reading<Real<T>, VEC> reading;
    Real<T> bias[VEC];
    __device__ Thread(const DepthwiseForward &task, int channel)
        : f(task), c(channel), reading(task.d.reader, channel) {
      load_factors(f.bias, c, Real<T>(0), bias);
    }
    __device__ void step(int64_t p) {
      Real<T> sum[VEC];
      convolve<VEC>(f.d, reading, f.d.result.find(p), c, sum);
      for (int j = 0; j < VEC; j++) sum[j] += bias[j];
      store_pack(f.y + p * f.d.channels + c, sum);
    }
  };
};

/* The gradient by the input, of that of the result (G, dense). */
template <class T, class G, int V, bool FACTORS> struct DepthwiseBackward {
  static constexpr int VEC = V, SUMS = FACTORS ? 2 : 0;
  typedef Real<T> R;
  Depthwise<T> d;
  const G *g;
  Outgoing<T> outgoing;
  struct Thread {
    const DepthwiseBackward &b;
    int c;
    Leaving<T, VEC> leaving;
    __device__ Thread(const DepthwiseBackward &task, int channel)
        : b(task), c(channel), leaving(task.outgoing, channel) {}
    __device__ void step(int64_t pixel) {
      const Depthwise<T> &d = b.d;
      Place at = d.image.find(pixel);
      R sum[VEC] = {};
      for (int p = 0; p < d.kernel_h; p++) {
        int y = reader_of_tap(at.y, p, d.stride_h, d.pad_h, d.dilation_h);
        if (static_cast<unsigned>(y) >= static_cast<unsigned>(d.result.height)) continue;
        const G *line = b.g + d.result.number(at.image, y, 0) * d.channels + c;
#pragma unroll 5
        for (int q = 0; q < d.kernel_w; q++) {
          int x = reader_of_tap(at.x, q, d.stride_w, d.pad_w, d.dilation_w);
          if (static_cast<unsigned>(x) >= static_cast<unsigned>(d.result.width)) continue;
          R g[VEC], w[VEC];
          load_pack(line + static_cast<int64_t>(x) * d.channels, g);
          load_pack(d.weight + static_cast<int64_t>(p * d.kernel_w + q) * d.channels + c, w);
#pragma unroll
          for (int j = 0; j < VEC; j++) sum[j] += g[j] * w[j];
        }
      }
      leaving.write(pixel * d.channels, sum);
    }
    __device__ void totals(double (&sum)[2][VEC]) const { leaving.sums.totals(sum); }
  };
};

template <class T, class G>
inline CnErr depthwise_backward(const CnCall *call, int64_t pixels, const Depthwise<T> &d, const G *g,
                                const Outgoing<T> &out, Partial *partial) {
  bool packed = all_packed(d.channels, g, d.weight, out.x, out.gx);
  if (partial && packed)
    return channel_pass(call, pixels, d.channels, DepthwiseBackward<T, G, 4, true>{ d, g, out }, partial);
  if (partial) return channel_pass(call, pixels, d.channels, DepthwiseBackward<T, G, 1, true>{ d, g, out }, partial);
  if (packed) return channel_pass(call, pixels, d.channels, DepthwiseBackward<T, G, 4, false>{ d, g, out }, NULL);
  return channel_pass(call, pixels, d.channels, DepthwiseBackward<T, G, 1, false>{ d, g, out }, NULL);
}

/* ---------------------------------------------------------------- the gradient of the weight */

/* A slice of output pixels, TAPS taps from blockIdx.z * TAPS on: partial is (slices, taps, channels). A thread has one
** channel and every so many pixels. */
template <int TAPS, class T, class G>
__global__ void __launch_bounds__(THREADS) weigh_taps(ChannelCut cut, Depthwise<T> d, const G *g, Real<T> *partial) {
  typedef Real<T> R;
  __shared__ R part[THREADS];
  int lane = threadIdx.x % cut.across, y = threadIdx.x / cut.across;
  int c = static_cast<int>(blockIdx.y) * cut.across + lane;
  int taps = d.kernel_h * d.kernel_w, first = static_cast<int>(blockIdx.z) * TAPS;
  int64_t begin = blockIdx.x * cut.slice, end = begin + cut.slice < cut.pixels ? begin + cut.slice : cut.pixels;
  R sum[TAPS] = {};
  if (y < cut.down && c < cut.channels) {
    Reading<R, 1> reading(d.reader, c);
    for (int64_t p = begin + y; p < end; p += cut.down) {
      Place at = d.result.find(p);
      R gradient = real_of(g[p * d.channels + c]);
      const T *image = d.x + d.image.number(at.image, 0, 0) * d.channels + c;
#pragma unroll
      for (int t = 0; t < TAPS; t++) {
        int tap = first + t, row = at.y * d.stride_h - d.pad_h + tap / d.kernel_w * d.dilation_h;
        int column = at.x * d.stride_w - d.pad_w + tap % d.kernel_w * d.dilation_w;
        if (tap < taps && d.image.inside(row, column))
          sum[t] += reading.read(0, real_of(image[(static_cast<int64_t>(row) * d.image.width + column) * d.channels])) *
                    gradient;
      }
    }
  }
#pragma unroll
  for (int t = 0; t < TAPS; t++) {
    __syncthreads();
    part[threadIdx.x] = sum[t];
    __syncthreads();
    if (y != 0 || c >= cut.channels || first + t >= taps) continue;
    double total = 0;
    for (int k = 0; k < cut.down; k++) total += static_cast<double>(part[k * cut.across + lane]);
    partial[(static_cast<int64_t>(blockIdx.x) * taps + first + t) * cut.channels + c] = static_cast<R>(total);
  }
}

/* gweight (KH,KW,1,C) from the gradient of the result (dense, `pixels` of them). */
template <class T, class G>
inline CnErr depthwise_weigh(const CnCall *call, int64_t pixels, const Depthwise<T> &d, const G *g, Real<T> *gweight) {
  int64_t taps = static_cast<int64_t>(d.kernel_h) * d.kernel_w, many = taps > 9 ? 25 : 9;
  ChannelCut cut = channel_cut(pixels, d.channels, 1, true);
  int64_t chunks = ceil_div(taps, many), slices = cut.slices > 0 ? cut.slices : 1;
  Scratch<Real<T>> partial(call);
  if (d.channels == 0) return CN_OK;
  CN_TRY(partial.take(slices * taps * d.channels));
  dim3 grid(static_cast<unsigned>(slices), static_cast<unsigned>(cut.tiles), static_cast<unsigned>(chunks));
  auto kernel = many == 9 ? weigh_taps<9, T, G> : weigh_taps<25, T, G>;
  CN_TRY(launch(call, kernel, grid, THREADS, 0, cut, d, g, partial.data()));
  CnSpec spec = { cn_dtype_real(call->dtype), 2, { slices, taps * d.channels } };
  return reduce_sum(call, gweight, partial.data(), &spec, 1u << 0, 1);
}

#endif
