/* gemm.cuh - products of matrices: c (M,N) = a (M,K) b (K,N) + bias (N), or one for each entry of a batch.
**
** Either factor may lie transposed in memory. A block makes a tile of c from tiles of a and b in shared memory, a thread
** TILE / 16 squared elements of it. Where c is small and K long, K is cut into parts by the shape alone, whose products
** are then added in order. */
#ifndef CN_CUDA_GEMM_CUH
#define CN_CUDA_GEMM_CUH

#include "kernels/cuda/reduce.cuh"

struct Product {
  int64_t m, n, k, batch;
  int64_t part, parts; /* of k */
};

constexpr int TILE = 64, DEPTH = 16, SIDE = 16, EACH = TILE / SIDE; /* SIDE * SIDE threads */

/* Elements (line, depth) of a factor's tile, zeros outside, into shared memory (depth, line). The factor is
** (lines, depths) in memory, or, ACROSS, (depths, lines). */
template <bool ACROSS, class T>
__device__ inline void load_tile(T (&tile)[DEPTH][TILE + 4], const T *from, int64_t lines, int64_t depths, int64_t line,
                                 int64_t depth, int64_t depth_end) {
  for (int i = threadIdx.x; i < TILE * DEPTH; i += SIDE * SIDE) {
    int l = ACROSS ? i % TILE : i / DEPTH, d = ACROSS ? i / TILE : i % DEPTH; /* neighbours along memory */
    bool inside = line + l < lines && depth + d < depth_end;
    int64_t at = ACROSS ? (depth + d) * lines + line + l : (line + l) * depths + depth + d;
    tile[d][l] = inside ? from[at] : T(0);
  }
}

/* A_ACROSS: a is (K,M) in memory; B_ALONG: b is (N,K). out is (batch, parts, M, N). */
template <bool A_ACROSS, bool B_ALONG, class T>
__global__ void __launch_bounds__(SIDE *SIDE) multiply(Product p, const T *a, const T *b, const T *bias, T *out) {
  __shared__ T a_tile[DEPTH][TILE + 4], b_tile[DEPTH][TILE + 4];
  int64_t row = static_cast<int64_t>(blockIdx.y) * TILE, column = static_cast<int64_t>(blockIdx.x) * TILE;
  int64_t entry = blockIdx.z / p.parts, part = blockIdx.z % p.parts;
  int64_t begin = part * p.part, end = begin + p.part < p.k ? begin + p.part : p.k;
  int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;
  T sum[EACH][EACH] = {};
  for (int64_t depth = begin; depth < end; depth += DEPTH) {
    load_tile<A_ACROSS>(a_tile, a + entry * p.m * p.k, p.m, p.k, row, depth, end);
    load_tile<!B_ALONG>(b_tile, b + entry * p.k * p.n, p.n, p.k, column, depth, end);
    __syncthreads();
    for (int d = 0; d < DEPTH; d++)
#pragma unroll
      for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++) sum[i][j] += a_tile[d][y + i * SIDE] * b_tile[d][x + j * SIDE];
    __syncthreads();
  }
  T *to = out + blockIdx.z * p.m * p.n;
  for (int i = 0; i < EACH; i++) {
    for (int j = 0; j < EACH; j++) {
      int64_t r = row + y + i * SIDE, c = column + x + j * SIDE;
      if (r < p.m && c < p.n) to[r * p.n + c] = sum[i][j] + (bias != NULL && part == 0 ? bias[c] : T(0));
    }
  }
}

/* c = a b + bias (NULL: none) for `batch` entries; see above for what lies how. */
template <bool A_ACROSS, bool B_ALONG, class T>
inline CnErr gemm(const CnCall *call, int64_t batch, int64_t m, int64_t n, int64_t k, const T *a, const T *b,
                  const T *bias, T *c) {
  dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(n, TILE)), static_cast<unsigned>(ceil_div<int64_t>(m, TILE)));
  int64_t blocks = static_cast<int64_t>(grid.x) * grid.y * batch;
  Slices s = slices_of(k, blocks * 4, 8 * DEPTH); /* enough for every processor twice */
  Product p = { m, n, k, batch, ceil_div<int64_t>(s.slice, DEPTH) * DEPTH, 1 };
  p.parts = k > 0 ? ceil_div(k, p.part) : 1;
  grid.z = static_cast<unsigned>(batch * p.parts);
  if (batch * p.parts > 65535 || ceil_div<int64_t>(m, TILE) > 65535)
    return cn_cuda_fail(CN_EUSAGE, "%s: too large for the GPU: %lld products of %lld rows", call->op->name,
                        static_cast<long long>(batch), static_cast<long long>(m));
  if (p.parts == 1) return launch(call, multiply<A_ACROSS, B_ALONG, T>, grid, SIDE * SIDE, 0, p, a, b, bias, c);
  Scratch<T> products(call);
  CN_TRY(products.take(batch * p.parts * m * n));
  CN_TRY(launch(call, multiply<A_ACROSS, B_ALONG, T>, grid, SIDE * SIDE, 0, p, a, b, bias, products.data()));
  CnSpec spec = { call->dtype, 3, { batch, p.parts, m * n } };
  return reduce_sum(call, c, products.data(), &spec, 1u << 1, 1);
}

#endif
