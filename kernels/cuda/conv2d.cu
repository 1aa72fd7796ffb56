/* conv2d.cu - row conv2d: convolutions by the way that suits their geometry, `way_of`.
**
** Depthwise ones are computed pixel by pixel (depthwise.cuh). All others are products: of the pixels as they are, for
** 1x1 with stride 1; else of patches, whose elements are found in the image as the product asks for them and are in
** memory nowhere. The gradient by the input gathers in the same way from the output's gradient: input pixels whose
** coordinates are equal modulo the stride (a phase) are reached by the same taps, from neighbouring output pixels, so
** each phase is a convolution of stride 1 without wasted taps and without scattering. */
#include "kernels/cuda/conv2d.cuh"

#include "kernels/cuda/depthwise.cuh"
#include "kernels/cuda/joined.cuh"

namespace {

enum class Way { depthwise, pointwise, patches };

/* Whoever brings a library for dense convolutions has its say here. */
template <class T> Way way_of(const Conv<T> &v) {
  if (v.groups > 1 && v.groups == v.c && v.groups == v.o) return Way::depthwise;
  bool is_pixel = v.kh == 1 && v.kw == 1 && v.stride_h == 1 && v.stride_w == 1 && v.pad_h == 0 && v.pad_w == 0;
  return is_pixel && v.groups == 1 ? Way::pointwise : Way::patches;
}

/* ---------------------------------------------------------------- patches */

/* The taps of one direction: result pixel i reads, by tap t, pixel i * step + base + t * delta. */
struct Taps {
  int count, step, base, delta;
};

/* What pixels of a result read of an image, tap by tap, `channels` of the pixel's from z * channels on. */
template <class T> struct Patches {
  typedef T Real;
  struct Row {
    const T *image; /* NULL: none */
    int y, x;
  };
  struct Column {
    int y[4], x[4], c[4]; /* c -1: none; where packed, only the first counts */
  };
  const T *x;
  Pixels image, result;
  Taps down, right;
  int pitch, channels, depth;
  Divider by_channels, by_width;
  int64_t pixels;
  bool relu, packed;
  __device__ Row row(int64_t p, int z) const {
    if (p >= pixels) return { NULL, 0, 0 };
    Place at = result.find(p);
    return { x + image.number(at.image, 0, 0) * pitch + z * channels, at.y * down.step + down.base,
             at.x * right.step + right.base };
  }
  __device__ Column column(int k, int) const {
    Column to;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      int64_t c, q;
      int64_t tap = by_channels.divide(k + j < depth ? k + j : 0, &c), p = by_width.divide(tap, &q);
      to.y[j] = static_cast<int>(p) * down.delta;
      to.x[j] = static_cast<int>(q) * right.delta;
      to.c[j] = k + j < depth ? static_cast<int>(c) : -1;
      if (packed) break;
    }
    return to;
  }
  __device__ void load(Row row, const Column &c, T (&v)[4]) const {
#pragma unroll
    for (int j = 0; j < 4; j++) v[j] = 0;
    if (row.image == NULL) return;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      int line = row.y + c.y[j], column = row.x + c.x[j];
      if (c.c[j] >= 0 && image.inside(line, column)) {
        const T *from = row.image + (static_cast<int64_t>(line) * image.width + column) * pitch + c.c[j];
        if (packed) load_pack(from, v);
        else v[j] = *from;
      }
      if (packed) break;
    }
    if (relu)
      for (int j = 0; j < 4; j++) v[j] = v[j] < 0 ? T(0) : v[j];
  }
};

template <class T> void patches_finish(Patches<T> *p) {
  p->depth = p->down.count * p->right.count * p->channels;
  p->by_channels.set(p->channels > 0 ? p->channels : 1);
  p->by_width.set(p->right.count > 0 ? p->right.count : 1);
  p->packed = p->channels % 4 == 0 && all_packed(p->pitch, p->x);
}

/* The input around each output pixel. */
template <class T> Patches<T> input_patches(const Conv<T> &v) {
  Patches<T> p = {};
  p.x = v.x;
  p.image = Pixels(v.h, v.w);
  p.result = Pixels(v.oh, v.ow);
  p.down = { static_cast<int>(v.kh), static_cast<int>(v.stride_h), static_cast<int>(-v.pad_h),
             static_cast<int>(v.dilation_h) };
  p.right = { static_cast<int>(v.kw), static_cast<int>(v.stride_w), static_cast<int>(-v.pad_w),
              static_cast<int>(v.dilation_w) };
  p.pitch = static_cast<int>(v.c);
  p.channels = static_cast<int>(v.c / v.groups);
  p.pixels = v.n * v.oh * v.ow;
  p.relu = v.relu;
  patches_finish(&p);
  return p;
}

template <class T> Weights<T> weights_of(const Conv<T> &v) {
  return { 1, static_cast<int>(v.kh * v.kw * (v.c / v.groups)), static_cast<int>(v.o / v.groups),
           { 0, static_cast<int>(v.o) }, { v.weight } };
}

/* ---------------------------------------------------------------- the gradient by the input, phase by phase */

/* One direction of a phase: pixels `first`, first + stride, …; tap t of the phase is tap `tap + t * step` of the
** kernel. */
struct Phase {
  int first, stride, size, tap, step;
  Taps taps;
};

Phase phase_of(int64_t first, int64_t size, int64_t stride, int64_t kernel, int64_t pad, int64_t dilation) {
  int64_t a = dilation, b = stride, tap = 0;
  while (b != 0) { /* the greatest common divisor */
    int64_t rest = a % b;
    a = b, b = rest;
  }
  int64_t step = stride / a;
  while (tap < kernel && tap < step && (first + pad - tap * dilation) % stride != 0) tap++;
  bool any = tap < kernel && (first + pad - tap * dilation) % stride == 0;
  Phase p = { static_cast<int>(first), static_cast<int>(stride), static_cast<int>(ceil_div(size - first, stride)),
              static_cast<int>(tap), static_cast<int>(step), {} };
  if (any)
    p.taps = { static_cast<int>((kernel - 1 - tap) / step + 1), 1,
               static_cast<int>((first + pad - tap * dilation) / stride),
               static_cast<int>(-(step * dilation) / stride) };
  return p;
}

/* Element (k, n): output channel and tap of the phase by input channel of the group. */
template <class T> struct PhaseWeights {
  const T *weight;
  int depth, columns, outputs, all_outputs, kernel_w; /* outputs: of a group */
  int tap_h, step_h, tap_w, step_w;
  Divider by_outputs, by_width;
  __device__ void load(int k, int n, int z, T (&v)[4]) const {
    int64_t o, q, tap = by_outputs.divide(k < depth ? k : 0, &o), p = by_width.divide(tap, &q);
    int64_t at = ((tap_h + p * step_h) * kernel_w + tap_w + q * step_w) * columns;
    for (int j = 0; j < 4; j++)
      v[j] = k < depth && n + j < columns ? weight[(at + n + j) * all_outputs + z * outputs + o] : T(0);
  }
};

/* Into the pixels of a phase, masked by x unless that is NULL. */
template <class T> struct PhaseStore {
  static constexpr int SUMS = 0;
  static constexpr bool JOINT = false;
  typedef T R;
  T *gx;
  const T *x;
  Pixels image, phase;
  int first_h, stride_h, first_w, stride_w, pitch, columns;
  bool packed;
  struct Thread {
    const PhaseStore &s;
    int at, count;
    __device__ Thread(const PhaseStore &store, int column, int z)
        : s(store), at(z * store.columns + column), count(store.columns - column) {}
    __device__ void put(int64_t p, T (&v)[4]) {
      Place i = s.phase.find(p);
      int64_t to = s.image.number(i.image, s.first_h + i.y * s.stride_h, s.first_w + i.x * s.stride_w) * s.pitch + at;
      for (int j = 0; j < 4 && j < count; j++)
        if (s.x && s.x[to + j] <= 0) v[j] = 0;
      if (s.packed && count >= 4) store_pack(s.gx + to, v);
      else
        for (int j = 0; j < 4 && j < count; j++) s.gx[to + j] = v[j];
    }
  };
};

template <class T> CnErr phase_backward(const CnCall *call, const Conv<T> &v, const Phase &down, const Phase &right) {
  Patches<T> patches = {};
  patches.x = v.gy;
  patches.image = Pixels(v.oh, v.ow);
  patches.result = Pixels(down.size, right.size);
  patches.down = down.taps;
  patches.right = right.taps;
  patches.pitch = static_cast<int>(v.o);
  patches.channels = static_cast<int>(v.o / v.groups);
  patches.pixels = v.n * down.size * right.size;
  patches_finish(&patches);
  PhaseWeights<T> weights = {};
  weights.weight = v.weight;
  weights.depth = patches.depth;
  weights.columns = static_cast<int>(v.c / v.groups);
  weights.outputs = patches.channels;
  weights.all_outputs = patches.pitch;
  weights.kernel_w = static_cast<int>(v.kw);
  weights.tap_h = down.tap, weights.step_h = down.step, weights.tap_w = right.tap, weights.step_w = right.step;
  weights.by_outputs = patches.by_channels;
  weights.by_width = patches.by_width;
  PhaseStore<T> store = { v.gx, v.relu ? v.x : NULL, Pixels(v.h, v.w), patches.result, down.first, down.stride,
                          right.first, right.stride, static_cast<int>(v.c), weights.columns,
                          weights.columns % 4 == 0 && all_packed(v.c, v.gx) };
  return multiply_images(call, patches.pixels, patches.depth, weights.columns, v.groups, patches, weights, store, NULL);
}

template <class T> CnErr patches_backward(const CnCall *call, const Conv<T> &v) {
  bool many = v.stride_h * v.stride_w > 4; /* then most phases have no tap */
  if (many) {
    size_t bytes = static_cast<size_t>(count_of(&call->in_spec[0])) * sizeof(T);
    CN_TRY(cn_cuda_launched(call, cudaMemsetAsync(v.gx, 0, bytes, cudaStreamPerThread)));
  }
  for (int64_t i = 0; i < v.stride_h && i < v.h; i++) {
    Phase down = phase_of(i, v.h, v.stride_h, v.kh, v.pad_h, v.dilation_h);
    if (many && down.taps.count == 0) continue;
    for (int64_t j = 0; j < v.stride_w && j < v.w; j++) {
      Phase right = phase_of(j, v.w, v.stride_w, v.kw, v.pad_w, v.dilation_w);
      if (!many || right.taps.count > 0) CN_TRY(phase_backward(call, v, down, right));
    }
  }
  return CN_OK;
}

/* ---------------------------------------------------------------- the three ways */

template <class T> Depthwise<T> depthwise_conv(const CnCall *call, const Conv<T> &v) {
  Depthwise<T> d =
    depthwise_of<T>(call, call->in_spec[0].shape, call->in_spec[1].shape, call->out_spec[0].shape);
  d.x = v.x;
  d.weight = v.weight;
  d.reader.relu = v.relu;
  return d;
}

template <class T> Sources<T> single_source(const Conv<T> &v) {
  Sources<T> s = {};
  s.count = 1;
  s.inputs = static_cast<int>(v.c);
  s.source[0] = { v.x, v.gx, s.inputs, 0, false };
  s.reader.relu = v.relu;
  s.pixels = v.n * v.h * v.w;
  s.packed = all_packed(v.c, v.x, v.gx);
  return s;
}

template <class T> CnErr forward(const CnCall *call, const Conv<T> &v) {
  int64_t pixels = v.n * v.oh * v.ow;
  CN_TRY(images_fit(call, &call->in_spec[0]));
  CN_TRY(images_fit(call, &call->out_spec[0]));
  Way way = way_of(v);
  if (way == Way::depthwise) {
    Depthwise<T> d = depthwise_conv(call, v);
    if (all_packed(v.c, v.x, v.weight, v.y))
      return channel_pass(call, pixels, v.c, DepthwiseForward<T, 4>{ d, v.bias, v.y }, NULL);
    return channel_pass(call, pixels, v.c, DepthwiseForward<T, 1>{ d, v.bias, v.y }, NULL);
  }
  Weights<T> weights = weights_of(v);
  PlainStore<T> store = plain_store(v.y, v.o, weights.columns, v.bias);
  if (way == Way::pointwise)
    return multiply_images(call, pixels, v.c, v.o, 1, JoinedImages<T>(single_source(v)), weights, store, NULL);
  Patches<T> patches = input_patches(v);
  return multiply_images(call, pixels, patches.depth, weights.columns, v.groups, patches, weights, store, NULL);
}

template <class T> CnErr backward(const CnCall *call, const Conv<T> &v) {
  int64_t pixels = v.n * v.oh * v.ow;
  CN_TRY(images_fit(call, &call->in_spec[0]));
  CN_TRY(images_fit(call, &call->out_spec[0]));
  Way way = way_of(v);
  if (way == Way::depthwise) {
    Depthwise<T> d = depthwise_conv(call, v);
    Outgoing<T> out = { d.reader, v.relu ? v.x : NULL, v.gx, false };
    if (v.gweight) CN_TRY(depthwise_weigh(call, pixels, d, v.gy, v.gweight));
    return v.gx ? depthwise_backward(call, v.n * v.h * v.w, d, v.gy, out, NULL) : CN_OK;
  }
  Weights<T> weights = weights_of(v);
  PlainImage<T> gradient = plain_image(v.gy, pixels, v.o, weights.columns);
  T *const to[3] = { v.gweight, NULL, NULL };
  if (way == Way::patches) {
    CN_TRY(weigh_images(call, pixels, v.groups, input_patches(v), gradient, weights, to));
    return v.gx ? patches_backward(call, v) : CN_OK;
  }
  Sources<T> source = single_source(v);
  CN_TRY(weigh_images(call, pixels, 1, JoinedImages<T>(source), gradient, weights, to));
  if (!v.gx) return CN_OK;
  return multiply_images(call, pixels, v.o, v.c, 1, gradient, TurnedWeights<T>{ weights },
                         JoinedGradient<T, false>(source), NULL);
}

template <class T> CnErr conv2d_forward(CnCall *call) {
  Conv<T> v = conv_of<T>(call);
  v.bias = given<T>(call, 2);
  v.y = data<T>(call->out[0]);
  return conv_forward(call, v);
}

template <class T> CnErr conv2d_backward(CnCall *call) {
  Conv<T> v = conv_of<T>(call);
  v.gy = data<T>(call->gout[0]);
  v.gx = wanted<T>(call, 0);
  v.gweight = wanted<T>(call, 1);
  if (wanted<T>(call, 2)) CN_TRY(reduce_sum(call, wanted<T>(call, 2), v.gy, &call->out_spec[0], 7, 1));
  return conv_backward(call, v);
}

} // namespace

CnErr conv_forward(const CnCall *call, const Conv<float> &v) { return forward(call, v); }
CnErr conv_forward(const CnCall *call, const Conv<double> &v) { return forward(call, v); }
CnErr conv_backward(const CnCall *call, const Conv<float> &v) { return backward(call, v); }
CnErr conv_backward(const CnCall *call, const Conv<double> &v) { return backward(call, v); }

KERNEL_FLOATS(conv2d_forward)
KERNEL_FLOATS(conv2d_backward)
