/* random_fill.cu - a tensor filled with random numbers. Kernels: fill_uniform_forward, fill_normal_forward, f32 and f64.
**
** Element i comes from word i % 4 of block counter + i / 4 (see base/random.h), whatever the type. Normal numbers are
** made in pairs (Box and Muller, 1958): words 0 and 1 give elements 0 and 1, words 2 and 3 give 2 and 3. */
#include "kernels/cuda/stream.cuh"

namespace {

template <class T> struct Uniform {
  double low, high;
  T below; /* the largest number under `high`: rounding must not reach the open end */
  __device__ void operator()(T (&out)[4], const uint32_t (&word)[4]) const {
    for (int k = 0; k < 4; k++) {
      T value = static_cast<T>(low + (high - low) * static_cast<double>(cn_u32_to_unit(word[k])));
      out[k] = value < static_cast<T>(high) ? value : below;
    }
  }
};

template <class T> struct Normal {
  double mean, deviation;
  __device__ void operator()(T (&out)[4], const uint32_t (&word)[4]) const {
    for (int k = 0; k < 4; k += 2) {
      double radius = sqrt(-2 * log((static_cast<double>(word[k]) + 1) * 0x1p-32));
      double angle = 6.283185307179586 * (static_cast<double>(word[k + 1]) * 0x1p-32);
      out[k] = static_cast<T>(mean + deviation * (radius * cos(angle)));
      out[k + 1] = static_cast<T>(mean + deviation * (radius * sin(angle)));
    }
  }
};

/* Four neighbouring elements for each thread. */
template <class T, class F> __global__ void draw(int64_t n, T *x, CnRng rng, F f) {
  int64_t block = thread_number();
  if (4 * block >= n) return;
  uint32_t word[4];
  T value[4];
  draw_block(word, rng, block);
  f(value, word);
  for (int k = 0; k < 4 && 4 * block + k < n; k++) x[4 * block + k] = value[k];
}

/* Attributes: two numbers, and a stream. */
template <class T, class F> CnErr fill(CnCall *call, F f) {
  int64_t n = count_of(&call->in_spec[0]);
  return launch(call, draw<T, F>, blocks_for(ceil_div<int64_t>(n, 4)), THREADS, 0, n, data<T>(call->in[0]),
                stream_of(call, 2), f);
}

template <class T> CnErr fill_uniform_forward(CnCall *call) {
  double low = call->attr[0].f, high = call->attr[1].f;
  if (!(low <= high)) return cn_cuda_fail(CN_EUSAGE, "fill_uniform: low %g must not be above high %g", low, high);
  T below = std::nextafter(static_cast<T>(high), static_cast<T>(low));
  return fill<T>(call, Uniform<T>{ low, high, below });
}

template <class T> CnErr fill_normal_forward(CnCall *call) {
  return fill<T>(call, Normal<T>{ call->attr[0].f, call->attr[1].f });
}

} // namespace

KERNEL_FLOATS(fill_uniform_forward)
KERNEL_FLOATS(fill_normal_forward)
