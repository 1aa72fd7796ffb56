/* elementwise.cuh - out[i] = f(a[i], b[i] …) for operands of any strides (kernels/nest.h).
**
** Operands that lie along memory, or are constant, are read four elements at a time; others element by element, each
** thread finding where its own lie. `f` is a functor over the types that elements are computed in (Real<T>); what it
** returns is stored as the output's type. An operand may be the output itself. */
#ifndef CN_CUDA_ELEMENTWISE_CUH
#define CN_CUDA_ELEMENTWISE_CUH

#include <tuple>

#include "kernels/cuda/kernel.cuh"

extern "C" {
#include "kernels/nest.h"
}

/* An input of `map`. */
template <class T> struct Operand {
  const T *data;
  NestOperand shape;
};

template <class T> inline Operand<T> operand(const CnTensor *t) { return { data<T>(t), operand_of_tensor(t) }; }
/* Row-major, of the shape of a spec. */
template <class T> inline Operand<T> operand(const T *data, const CnSpec *spec) {
  return { data, operand_of_spec(spec) };
}

/* Division of numbers below 2^31 by a constant, by multiplication: Granlund and Montgomery, PLDI 1994. */
struct Divider {
  uint32_t size, magic, shift;
  void set(int64_t by) {
    size = static_cast<uint32_t>(by);
    for (shift = 0; (uint64_t{ 1 } << shift) < size;) shift++;
    magic = static_cast<uint32_t>((((uint64_t{ 1 } << shift) - size) << 32) / size + 1);
  }
  __device__ int64_t divide(int64_t n, int64_t *rest) const {
    uint32_t small = static_cast<uint32_t>(n), quotient = (__umulhi(small, magic) + small) >> shift;
    *rest = small - quotient * size;
    return quotient;
  }
};

/* The same for all numbers. */
struct WideDivider {
  int64_t size;
  void set(int64_t by) { size = by; }
  __device__ int64_t divide(int64_t n, int64_t *rest) const {
    *rest = n % size;
    return n / size;
  }
};

/* Loops of a nest, as a kernel walks them. */
template <class D> struct Loops {
  int ndim;
  D size[CN_MAX_DIMS];
  int64_t stride[CN_MAX_DIMS][NEST_OPERANDS];

  explicit Loops(const Nest &nest) : ndim(nest.ndim) {
    memcpy(stride, nest.stride, sizeof stride);
    for (int d = 0; d < ndim; d++) size[d].set(nest.size[d]);
  }
  /* Where the operands of output element i lie. */
  template <int OPERANDS> __device__ void find(int64_t i, int64_t (&offset)[OPERANDS]) const {
    for (int k = 0; k < OPERANDS; k++) offset[k] = 0;
    for (int d = ndim - 1; d >= 0; d--) {
      int64_t index = i;
      if (d > 0) i = size[d].divide(i, &index);
      for (int k = 0; k < OPERANDS; k++) offset[k] += index * stride[d][k];
    }
  }
};

/* An operand along memory (step 1) or constant (step 0). */
template <class T> struct Flat {
  const T *data;
  int64_t step;
  bool packed() const { return step == 0 || is_packed<4>(data); }
  __device__ Pack<T, 4> four(int64_t i) const {
    if (step) return *reinterpret_cast<const Pack<T, 4> *>(data + i);
    T value = *data;
    return { { value, value, value, value } };
  }
};

template <class F, class Out, class... In>
__global__ void map_flat(int64_t n, bool packed, Out *out, F f, Flat<In>... in) {
  int64_t i = 4 * thread_number();
  if (packed && i + 4 <= n) {
    auto four = [&](Pack<In, 4>... x) {
      Pack<Out, 4> y;
      for (int k = 0; k < 4; k++) y.at[k] = stored_of<Out>(f(real_of(x.at[k])...));
      return y;
    };
    *reinterpret_cast<Pack<Out, 4> *>(out + i) = four(in.four(i)...);
  } else {
    for (int64_t end = i + 4 < n ? i + 4 : n; i < end; i++)
      out[i] = stored_of<Out>(f(real_of(in.data[i * in.step])...));
  }
}

template <class D, class F, class Out, size_t... K, class... In>
__device__ inline Out map_one(const Loops<D> &loops, int64_t i, F f, std::index_sequence<K...>, const In *...in) {
  int64_t offset[sizeof...(In)];
  loops.find(i, offset);
  return stored_of<Out>(f(real_of(in[offset[K]])...));
}

template <class D, class F, class Out, class... In>
__global__ void map_strided(int64_t n, Loops<D> loops, Out *out, F f, const In *...in) {
  int64_t i = thread_number();
  if (i < n) out[i] = map_one<D, F, Out>(loops, i, f, std::index_sequence_for<In...>(), in...);
}

/* out, of the shape of `spec` and row-major. */
template <class F, class Out, class... In>
inline CnErr map(const CnCall *call, Out *out, const CnSpec *spec, F f, Operand<In>... in) {
  static_assert(sizeof...(In) >= 1 && sizeof...(In) <= NEST_OPERANDS, "a nest has room for so many operands");
  constexpr int operands = sizeof...(In);
  const NestOperand shapes[] = { in.shape... };
  Nest nest;
  nest_make(&nest, spec, shapes, operands);
  int64_t n = nest.count;
  if (n == 0) return CN_OK;
  bool flat = nest.ndim == 1;
  for (int k = 0; k < operands; k++) flat = flat && (nest.stride[0][k] == 0 || nest.stride[0][k] == 1);
  if (flat) {
    int k = 0;
    std::tuple<Flat<In>...> flats{ Flat<In>{ in.data, nest.stride[0][k++] }... }; /* braces: from left to right */
    auto run = [&](Flat<In>... x) {
      bool packed = is_packed<4>(out) && (x.packed() && ...);
      return launch(call, map_flat<F, Out, In...>, blocks_for(ceil_div<int64_t>(n, 4)), THREADS, 0, n, packed, out, f,
                    x...);
    };
    return std::apply(run, flats);
  }
  if (n <= INT32_MAX)
    return launch(call, map_strided<Divider, F, Out, In...>, blocks_for(n), THREADS, 0, n, Loops<Divider>(nest), out, f,
                  in.data...);
  return launch(call, map_strided<WideDivider, F, Out, In...>, blocks_for(n), THREADS, 0, n, Loops<WideDivider>(nest),
                out, f, in.data...);
}

#endif
