/* dropout.cu - noise that zeroes elements or whole images. Kernels: dropout, drop_path, _forward and _backward.
**
** The mask is a function of the stream: element (image) i is kept when word i % 4 of block counter + i / 4, as a number
** in [0, 1), is at least p. So backward draws the mask again instead of keeping it. Forward and backward are one
** function: y = mask / (1 - p) * x, gx = mask / (1 - p) * gy. */
#include "kernels/cuda/stream.cuh"

namespace {

template <class T> struct Noise {
  CnRng rng;
  float p;
  T factor;
  __device__ T operator()(T x, uint32_t word) const { return cn_u32_to_unit(word) >= p ? x * factor : T(0); }
};

/* Attributes: p, and a stream. */
template <class T> Noise<T> noise_of(const CnCall *call) {
  double p = call->attr[0].f;
  return { stream_of(call, 1), static_cast<float>(p), static_cast<T>(1 / (1 - p)) };
}

/* Four neighbouring elements for each thread. */
template <class T> __global__ void drop_elements(int64_t n, bool packed, T *out, const T *x, Noise<T> noise) {
  int64_t i = 4 * thread_number();
  if (i >= n) return;
  uint32_t word[4];
  draw_block(word, noise.rng, i / 4);
  if (packed && i + 4 <= n) {
    Pack<T, 4> v = *reinterpret_cast<const Pack<T, 4> *>(x + i);
    for (int k = 0; k < 4; k++) v.at[k] = noise(v.at[k], word[k]);
    *reinterpret_cast<Pack<T, 4> *>(out + i) = v;
  } else {
    for (int k = 0; k < 4 && i + k < n; k++) out[i + k] = noise(x[i + k], word[k]);
  }
}

/* Elements of image blockIdx.y, … + gridDim.y, …; of which there are `images`. */
template <class T>
__global__ void drop_images(int64_t images, int64_t image, T *out, const T *x, Noise<T> noise) {
  int64_t k = thread_number();
  for (int64_t i = blockIdx.y; i < images; i += gridDim.y) {
    uint32_t word[4];
    draw_block(word, noise.rng, i / 4);
    if (k < image) out[i * image + k] = noise(x[i * image + k], word[i % 4]);
  }
}

template <class T> CnErr dropout(const CnCall *call, T *out, const T *x) {
  if (!out) return CN_OK;
  int64_t n = count_of(&call->in_spec[0]);
  return launch(call, drop_elements<T>, blocks_for(ceil_div<int64_t>(n, 4)), THREADS, 0, n,
                is_packed<4>(out) && is_packed<4>(x), out, x, noise_of<T>(call));
}

template <class T> CnErr drop_path(const CnCall *call, T *out, const T *x) {
  if (!out) return CN_OK;
  const CnSpec *spec = &call->in_spec[0];
  int64_t images = spec->ndim > 0 ? spec->shape[0] : 1, image = count_between(spec, 1, spec->ndim);
  dim3 grid = blocks_for(image);
  grid.y = static_cast<unsigned>(images < 65535 ? images : 65535);
  return launch(call, drop_images<T>, grid, THREADS, 0, images, image, out, x, noise_of<T>(call));
}

template <class T> CnErr dropout_forward(CnCall *call) {
  return dropout(call, data<T>(call->out[0]), data<T>(call->in[0]));
}
template <class T> CnErr dropout_backward(CnCall *call) {
  return dropout(call, data<T>(call->gin[0]), data<T>(call->gout[0]));
}
template <class T> CnErr drop_path_forward(CnCall *call) {
  return drop_path(call, data<T>(call->out[0]), data<T>(call->in[0]));
}
template <class T> CnErr drop_path_backward(CnCall *call) {
  return drop_path(call, data<T>(call->gin[0]), data<T>(call->gout[0]));
}

} // namespace

KERNEL_FLOATS(dropout_forward)
KERNEL_FLOATS(dropout_backward)
KERNEL_FLOATS(drop_path_forward)
KERNEL_FLOATS(drop_path_backward)
