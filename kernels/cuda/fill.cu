/* fill.cu - one value everywhere. Kernel: fill_forward of any type; the value is converted as in cast. */
#include "kernels/cuda/kernel.cuh"

extern "C" {
#include "kernels/convert.h"
}

namespace {

template <class T> __global__ void fill(int64_t n, bool packed, T *x, T value) {
  int64_t i = 4 * thread_number();
  if (packed && i + 4 <= n) {
    *reinterpret_cast<Pack<T, 4> *>(x + i) = { { value, value, value, value } };
  } else {
    for (int64_t end = i + 4 < n ? i + 4 : n; i < end; i++) x[i] = value;
  }
}

template <class T> T value_of(double x) {
  if constexpr (std::is_same<T, int64_t>::value) return i64_of_double(x);
  else if constexpr (std::is_same<T, uint8_t>::value) return u8_of_double(x);
  else if constexpr (std::is_same<T, Bf16>::value) return { cn_bf16_of_double(x) };
  else return static_cast<T>(x);
}

template <class T> CnErr fill_forward(CnCall *call) {
  T *x = data<T>(call->in[0]);
  int64_t n = count_of(&call->in_spec[0]);
  return launch(call, fill<T>, blocks_for(ceil_div<int64_t>(n, 4)), THREADS, 0, n, is_packed<4>(x), x,
                value_of<T>(call->attr[0].f));
}

} // namespace

KERNEL_ANY(fill_forward)
