/* reduce.cuh - sums over any dimensions of a row-major array, for rows that reduce and for gradients of broadcasting.
**
** Neighbouring dimensions of one kind, kept or summed, are merged. Where the innermost one is summed, a warp or a block
** adds up each result ("rows"); where it is kept, neighbouring threads add up neighbouring columns. Long sums are cut
** into slices, by the shape alone, whose partial sums a second launch adds in a fixed order. Sums of floats are taken in
** f64, those of integers in i64. */
#ifndef CN_CUDA_REDUCE_CUH
#define CN_CUDA_REDUCE_CUH

#include "kernels/cuda/elementwise.cuh"

/* What sums of T are taken in, and what they are returned in. */
template <class T> using Accumulator = std::conditional_t<std::is_integral<T>::value, int64_t, double>;
template <class T> using SumOf = std::conditional_t<std::is_integral<T>::value, int64_t, T>;

/* What is summed of an element: the element itself, or its square. */
struct Same {
  template <class V> __device__ V operator()(V x) const { return x; }
};
struct Square {
  template <class V> __device__ V operator()(V x) const { return x * x; }
};

/* A sum as a result of type Out: times a factor where it is not whole. */
template <class Out, class A> __device__ inline Out sum_result(A total, double factor) {
  if constexpr (std::is_integral<A>::value) return static_cast<Out>(total);
  else return stored_of<Out>(static_cast<Real<Out>>(total * factor));
}

/* An array as (kept) x (summed) x (columns), the columns along memory; the first two with strides, by loops. */
struct Reduction {
  Nest kept, summed;
  int64_t columns; /* 1 when the innermost dimension is summed */
};

inline void reduction_add(Nest *loops, int64_t size, int64_t stride) {
  int last = loops->ndim - 1;
  loops->count *= size;
  if (last >= 0 && loops->stride[last][0] == stride * size) {
    loops->size[last] *= size;
    loops->stride[last][0] = stride;
  } else {
    loops->size[loops->ndim] = size;
    loops->stride[loops->ndim++][0] = stride;
  }
}

inline Reduction reduction_make(const CnSpec *spec, uint32_t dims) {
  Reduction r = {};
  r.kept.count = r.summed.count = r.columns = 1;
  int inner = spec->ndim; /* from here on all dimensions are kept */
  while (inner > 0 && (spec->shape[inner - 1] == 1 || !(dims >> (inner - 1) & 1))) inner--;
  r.columns = count_between(spec, inner, spec->ndim);
  int64_t stride = count_of(spec);
  for (int d = 0; d < inner; d++) {
    if (spec->shape[d] == 1) continue;
    stride = count_between(spec, d + 1, spec->ndim);
    reduction_add(dims >> d & 1 ? &r.summed : &r.kept, spec->shape[d], stride);
  }
  for (Nest *loops : { &r.kept, &r.summed })
    if (loops->ndim == 0) loops->size[loops->ndim++] = 1;
  return r;
}

/* A sum of `length` elements in slices, each of `slice`. */
struct Slices {
  int64_t length, slice, count;
};

/* So many that about a thousand blocks are busy, but not more than leave each `least` elements. */
inline Slices slices_of(int64_t length, int64_t blocks, int64_t least) {
  int64_t wanted = ceil_div<int64_t>(1024, blocks > 0 ? blocks : 1), most = ceil_div(length, least);
  int64_t count = wanted < most ? wanted : most;
  int64_t slice = count > 1 ? ceil_div(length, count) : length;
  return { length, slice, count > 1 ? ceil_div(length, slice) : 1 };
}

/* LANES neighbouring threads, a warp or a block, add up each slice of each kept entry: out is (kept, slices). */
template <int LANES, class Out, class T, class F>
__global__ void sum_rows(int64_t sums, Slices s, Loops<WideDivider> kept, Loops<WideDivider> summed, const T *x, F f,
                         Out *out, double factor) {
  int64_t sum = thread_number() / LANES;
  int lane = threadIdx.x % LANES;
  Accumulator<T> total = 0;
  if (sum < sums) {
    int64_t begin = sum % s.count * s.slice, end = begin + s.slice < s.length ? begin + s.slice : s.length;
    int64_t base[1], offset[1];
    kept.find(sum / s.count, base);
#pragma unroll 4
    for (int64_t i = begin + lane; i < end; i += LANES) {
      summed.find(i, offset);
      total += f(static_cast<Accumulator<T>>(real_of(x[base[0] + offset[0]])));
    }
  }
  if constexpr (LANES == WARP) total = warp_sum(total);
  else total = block_sum(total);
  if (sum < sums && lane == 0) out[sum] = sum_result<Out>(total, factor);
}

/* A block adds up WIDTH columns of a slice, each by THREADS / WIDTH threads: out is (kept, slices, columns). */
template <int WIDTH, class Out, class T, class F>
__global__ void sum_columns(int64_t tiles, int64_t columns, Slices s, Loops<WideDivider> kept,
                            Loops<WideDivider> summed, const T *x, F f, Out *out, double factor) {
  __shared__ Accumulator<T> part[THREADS];
  int64_t sum = blockIdx.x / tiles, column = blockIdx.x % tiles * WIDTH + threadIdx.x % WIDTH;
  int64_t begin = sum % s.count * s.slice, end = begin + s.slice < s.length ? begin + s.slice : s.length;
  Accumulator<T> total = 0;
  if (column < columns) {
    int64_t base[1], offset[1];
    kept.find(sum / s.count, base);
#pragma unroll 4
    for (int64_t i = begin + threadIdx.x / WIDTH; i < end; i += THREADS / WIDTH) {
      summed.find(i, offset);
      total += f(static_cast<Accumulator<T>>(real_of(x[base[0] + offset[0] + column])));
    }
  }
  part[threadIdx.x] = total;
  for (int half = THREADS / 2; half >= WIDTH; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
  }
  if (threadIdx.x < WIDTH && column < columns) out[sum * columns + column] = sum_result<Out>(part[threadIdx.x], factor);
}

/* Columns that are neither many nor long: in narrow tiles, in which many threads share a column, one launch is enough. */
inline bool is_narrow(const Reduction &r) {
  return r.columns > 1 && r.summed.count <= 2048 && r.kept.count * ceil_div<int64_t>(r.columns, 8) <= 2048;
}

/* Sums of a reduction whose summed entries are cut into s.count slices: out is (kept, slices, columns). */
template <class Out, class T, class F>
inline CnErr sum_slices(const CnCall *call, Out *out, const T *x, const Reduction &r, Slices s, F f, double factor) {
  Loops<WideDivider> kept(r.kept), summed(r.summed);
  int64_t sums = r.kept.count * s.count;
  if (r.columns == 1 && s.slice <= 1024)
    return launch(call, sum_rows<WARP, Out, T, F>, blocks_for(sums * WARP), THREADS, 0, sums, s, kept, summed, x, f, out,
                  factor);
  if (r.columns == 1)
    return launch(call, sum_rows<THREADS, Out, T, F>, blocks_for(sums * THREADS), THREADS, 0, sums, s, kept, summed, x,
                  f, out, factor);
  int width = r.columns <= 8 || (s.count == 1 && is_narrow(r)) ? 8 : r.columns <= 16 ? 16 : 32;
  auto kernel = width == 8 ? sum_columns<8, Out, T, F> : width == 16 ? sum_columns<16, Out, T, F>
                                                                     : sum_columns<32, Out, T, F>;
  int64_t tiles = ceil_div<int64_t>(r.columns, width);
  return launch(call, kernel, dim3(static_cast<unsigned>(sums * tiles)), THREADS, 0, tiles, r.columns, s, kept, summed,
                x, f, out, factor);
}

struct Times {
  double factor;
  template <class V> __device__ V operator()(V x) const { return static_cast<V>(x * static_cast<V>(factor)); }
};

/* out = factor * sum of f(x) (x row-major, of shape `spec`) over the dimensions whose bit is set in `dims`; out has the
** others, row-major. The factor is for floats. */
template <class T, class Out = SumOf<T>, class F = Same>
inline CnErr reduce_sum(const CnCall *call, Out *out, const T *x, const CnSpec *spec, uint32_t dims, double factor,
                        F f = F()) {
  if (dims == 0 && std::is_same<F, Same>::value) return map(call, out, spec, Times{ factor }, operand(x, spec));
  Reduction r = reduction_make(spec, dims);
  bool rows = r.columns == 1;
  Slices s = slices_of(r.summed.count, r.kept.count * (rows ? 1 : ceil_div<int64_t>(r.columns, WARP)),
                       rows ? 2048 : 256);
  if (is_narrow(r)) s = { r.summed.count, r.summed.count, 1 };
  if (s.count == 1) return sum_slices(call, out, x, r, s, f, factor);
  Scratch<Accumulator<T>> partial(call);
  CN_TRY(partial.take(r.kept.count * s.count * r.columns));
  CN_TRY(sum_slices(call, partial.data(), x, r, s, f, 1.0));
  Reduction second = {}; /* (kept, slices, columns) */
  second.kept.count = second.summed.count = 1;
  reduction_add(&second.kept, r.kept.count, s.count * r.columns);
  reduction_add(&second.summed, s.count, r.columns);
  second.columns = r.columns;
  return sum_slices(call, out, partial.data(), second, Slices{ s.count, s.count, 1 }, Same(), factor);
}

#endif
