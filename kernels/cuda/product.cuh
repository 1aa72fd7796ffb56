/* product.cuh - products of images and matrices: what lies under convolutions and blocks.
**
** z (pixels, N) = a (pixels, K) b (K, N), where nothing of a need be in memory: a loader makes each pixel's elements as
** they are asked for, four at a time (of joined images through scale and shift, of patches, of a depthwise
** convolution, of an arriving gradient). A store takes the results, four neighbouring columns of a pixel at a time, and
** may sum them up by channel. A block makes tiles of M pixels and N columns through shared memory, the next tiles on
** their way while it multiplies; a thread makes ROWS pixels of four columns.
**
** A product may have parts, z, each with its own columns: groups, or two grids of pixels. A loader A has types Real,
** Row and Column and
**   Row row(int64_t p, int z)             what it needs of a pixel; of none behind the last
**   Column column(int k, int z)           the same of elements k … k+3; of none behind the last
**   void load(row, column, Real (&v)[4])  those elements, zeros for what is not there
** A matrix B has load(k, n, z, v): elements (k, n … n+3), zeros outside.
** A store S has the constants SUMS and JOINT and a type Thread, made of the store, a column and z, with put(p, v) and
** totals(sum). Sums are rows (SUMS, columns of all parts); JOINT: (SUMS, columns), the parts' sums being added up. */
#ifndef CN_CUDA_PRODUCT_CUH
#define CN_CUDA_PRODUCT_CUH

#include "kernels/cuda/image.cuh"

constexpr int STEP = 16; /* of the inner dimension, through shared memory at once */

template <int N> struct ProductTile {
  static constexpr int ACROSS = N / 4, DOWN = THREADS / ACROSS, ROWS = 4, M = DOWN * ROWS;
  static constexpr int LOADS = M * STEP / 4 / THREADS; /* packs of a that a thread brings for one step */
};

/* The sums of the threads that share a column, as rows of `partial`. */
template <int N, bool JOINT, int SUMS>
__device__ inline void leave_sums(const double (&sum)[SUMS][4], int64_t column, int64_t columns, double *partial) {
  constexpr int ACROSS = ProductTile<N>::ACROSS, WARPS = THREADS / WARP;
  __shared__ double part[SUMS][WARPS][N];
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  for (int s = 0; s < SUMS; s++)
    for (int j = 0; j < 4; j++) {
      double total = sum[s][j];
      for (int offset = WARP / 2; offset >= ACROSS; offset /= 2) total += __shfl_xor_sync(FULL, total, offset);
      if (lane < ACROSS) part[s][warp][4 * lane + j] = total;
    }
  __syncthreads();
  for (int i = threadIdx.x; i < SUMS * N; i += THREADS) {
    int s = i / N;
    int64_t n = column + i % N;
    double total = 0;
    for (int w = 0; w < WARPS; w++) total += part[s][w][i % N];
    if (n >= columns) continue;
    if (JOINT) partial[((s * columns + n) * gridDim.z + blockIdx.z) * gridDim.x + blockIdx.x] = total;
    else partial[(s * columns * gridDim.z + blockIdx.z * columns + n) * gridDim.x + blockIdx.x] = total;
  }
}

/* Blocks of a product that a multiprocessor has registers for: with more, the compiler would spill what factors need. */
template <class R> constexpr int BLOCKS_AT_ONCE = sizeof(R) == 4 ? 2 : 1;

/* One step of a tile: sum += a * b, both (inner, …) in shared memory. */
template <class R, int M, int N, int ROWS>
__device__ inline void multiply_step(const R (&a)[STEP][M + 4], const R (&b)[STEP][N + 4], int x, int y,
                                     R (&sum)[ROWS][4]) {
#pragma unroll
  for (int k = 0; k < STEP; k++) {
    R left[ROWS], right[4];
#pragma unroll
    for (int i = 0; i < ROWS; i++) left[i] = a[k][ROWS * y + i];
#pragma unroll
    for (int j = 0; j < 4; j++) right[j] = b[k][4 * x + j];
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) sum[i][j] += left[i] * right[j];
  }
}

/* Grid: ranges of tiles of pixels, tiles of columns, parts. */
template <int N, class A, class B, class S>
__global__ void __launch_bounds__(THREADS, BLOCKS_AT_ONCE<typename A::Real>)
    multiply_images_kernel(int64_t pixels, int depth, int columns, int64_t tiles, const __grid_constant__ A a,
                           const __grid_constant__ B b, const __grid_constant__ S store, double *partial) {
  typedef typename A::Real R;
  typedef ProductTile<N> Tile;
  constexpr int M = Tile::M, LOADS = Tile::LOADS;
  __shared__ __align__(16) R a_tile[STEP][M + 4];
  __shared__ __align__(16) R b_tile[STEP][N + 4];
  const int x = threadIdx.x % Tile::ACROSS, y = threadIdx.x / Tile::ACROSS, column = static_cast<int>(blockIdx.y) * N;
  const int a_row = threadIdx.x / 4, a_depth = threadIdx.x % 4 * 4;
  const int b_depth = threadIdx.x / Tile::ACROSS, b_column = threadIdx.x % Tile::ACROSS * 4;
  const int z = static_cast<int>(blockIdx.z);
  typename S::Thread out(store, column + 4 * x, z);
  int64_t each = (tiles + gridDim.x - 1) / gridDim.x, last = (blockIdx.x + 1) * each;
  if (last > tiles) last = tiles;
  for (int64_t tile = blockIdx.x * each; tile < last; tile++) {
    int64_t first = tile * M;
    typename A::Row row[LOADS];
    for (int l = 0; l < LOADS; l++) row[l] = a.row(first + a_row + l * (THREADS / 4), z);
    R sum[Tile::ROWS][4] = {}, next_a[LOADS][4], next_b[4];
    auto fetch = [&](int k) {
      typename A::Column c = a.column(k + a_depth, z);
      for (int l = 0; l < LOADS; l++) a.load(row[l], c, next_a[l]);
      if (b_depth < STEP) b.load(k + b_depth, column + b_column, z, next_b);
    };
    if (depth > 0) fetch(0);
    for (int k = 0; k < depth; k += STEP) {
      for (int l = 0; l < LOADS; l++)
        for (int j = 0; j < 4; j++) a_tile[a_depth + j][a_row + l * (THREADS / 4)] = next_a[l][j];
      if (b_depth < STEP)
        for (int j = 0; j < 4; j++) b_tile[b_depth][b_column + j] = next_b[j];
      __syncthreads();
      if (k + STEP < depth) fetch(k + STEP);
      multiply_step<R, M, N, Tile::ROWS>(a_tile, b_tile, x, y, sum);
      __syncthreads();
    }
    for (int i = 0; i < Tile::ROWS; i++) {
      int64_t p = first + y * Tile::ROWS + i;
      if (p < pixels) out.put(p, sum[i]);
    }
  }
  if constexpr (S::SUMS > 0) {
    double total[S::SUMS][4] = {};
    out.totals(total);
    leave_sums<N, S::JOINT>(total, column, columns, partial);
  }
}

/* Whether tiles of 32 columns waste less than tiles of 64. */
inline bool narrow_tiles(int64_t columns) { return (columns + 31) / 32 % 2 == 1; }

template <int N, class A, class B, class S>
inline CnErr multiply_tiles(const CnCall *call, int64_t pixels, int64_t depth, int64_t columns, int64_t parts,
                            const A &a, const B &b, const S &store, Partial *partial) {
  int64_t tiles = ceil_div<int64_t>(pixels, ProductTile<N>::M);
  int64_t blocks = S::SUMS > 0 && tiles > 1024 ? ceil_div(tiles, ceil_div<int64_t>(tiles, 1024)) : tiles;
  if (S::SUMS > 0) CN_TRY(partial->take(S::SUMS * columns * (S::JOINT ? 1 : parts), blocks * (S::JOINT ? parts : 1)));
  int64_t column_tiles = ceil_div<int64_t>(columns, N);
  if (column_tiles > 65535 || parts > 65535)
    return cn_cuda_fail(CN_EUSAGE, "%s: %lld groups of %lld channels are too many for the GPU", call->op->name,
                        static_cast<long long>(parts), static_cast<long long>(columns));
  dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(column_tiles), static_cast<unsigned>(parts));
  return launch(call, multiply_images_kernel<N, A, B, S>, grid, THREADS, 0, pixels, static_cast<int>(depth),
                static_cast<int>(columns), tiles, a, b, store, S::SUMS > 0 ? partial->memory.data() : NULL);
}

/* The product, for each of `parts`; `depth` elements of a pixel, `columns` of its results. partial: NULL without
** sums. */
template <class A, class B, class S>
inline CnErr multiply_images(const CnCall *call, int64_t pixels, int64_t depth, int64_t columns, int64_t parts,
                             const A &a, const B &b, const S &store, Partial *partial) {
  if (narrow_tiles(columns)) return multiply_tiles<32>(call, pixels, depth, columns, parts, a, b, store, partial);
  return multiply_tiles<64>(call, pixels, depth, columns, parts, a, b, store, partial);
}

/* ---------------------------------------------------------------- weights */

/* Matrices (K, N_i) joined along their columns: column `first[i]` of all is the first of w[i]. Part z has columns
** z * columns and on. */
template <class R> struct Weights {
  int count, depth, columns;
  int first[4];
  const R *w[3];
  __device__ int find(int column) const {
    return count > 1 && column >= first[1] ? count > 2 && column >= first[2] ? 2 : 1 : 0;
  }
  /* `column` is one of all. */
  __device__ R at(int k, int column) const {
    int i = find(column);
    return w[i][static_cast<int64_t>(k) * (first[i + 1] - first[i]) + column - first[i]];
  }
  __device__ void load(int k, int n, int z, R (&v)[4]) const {
    for (int j = 0; j < 4; j++) v[j] = k < depth && n + j < columns ? at(k, z * columns + n + j) : R(0);
  }
};

/* Their transpose: element (k, n) is that of row n and column k of the part. */
template <class R> struct TurnedWeights {
  Weights<R> of; /* depth and columns are those of the weights */
  __device__ void load(int k, int n, int z, R (&v)[4]) const {
    for (int j = 0; j < 4; j++) v[j] = k < of.columns && n + j < of.depth ? of.at(n + j, z * of.columns + k) : R(0);
  }
};

/* ---------------------------------------------------------------- gradients of weights */

/* The gradient (K, N) of a matrix, or of some that are joined as Weights are, as slices of pixels give it: part of the
** memory for each matrix, (slices, K, N_i) each. */
template <class R> struct WeightSums {
  int count, depth, columns;
  int first[4];
  R *partial;
  int64_t slices;
  __device__ void put(int64_t slice, int z, int k, int n, R v) const {
    int column = z * columns + n;
    int i = count > 1 && column >= first[1] ? count > 2 && column >= first[2] ? 2 : 1 : 0;
    int width = first[i + 1] - first[i];
    partial[slices * depth * first[i] + (slice * depth + k) * width + column - first[i]] = v;
  }
};

/* out (K,N) = a (pixels,K) transposed * g (pixels,N), for a slice of pixels. Grid: tiles of K and of N, parts, slices.
** g is a loader as a is. */
template <int N, class A, class G>
__global__ void __launch_bounds__(THREADS, BLOCKS_AT_ONCE<typename A::Real>)
    weigh_images_kernel(int64_t pixels, int64_t slice, const __grid_constant__ A a, const __grid_constant__ G g,
                        const __grid_constant__ WeightSums<typename A::Real> out) {
  typedef typename A::Real R;
  typedef ProductTile<N> Tile;
  constexpr int M = Tile::M, LOADS = Tile::LOADS, PACKS = M / 4;
  __shared__ __align__(16) R a_tile[STEP][M + 4];
  __shared__ __align__(16) R g_tile[STEP][N + 4];
  const int x = threadIdx.x % Tile::ACROSS, y = threadIdx.x / Tile::ACROSS;
  const int tiles = (out.depth + M - 1) / M, row = static_cast<int>(blockIdx.x) % tiles * M;
  const int column = static_cast<int>(blockIdx.x) / tiles * N;
  const int a_pixel = threadIdx.x / PACKS, a_pack = threadIdx.x % PACKS * 4, z = static_cast<int>(blockIdx.y);
  const int g_pixel = threadIdx.x / Tile::ACROSS, g_pack = threadIdx.x % Tile::ACROSS * 4;
  typename A::Column a_column = a.column(row + a_pack, z);
  typename G::Column g_column = g.column(column + g_pack, z);
  int64_t begin = blockIdx.z * slice, end = begin + slice < pixels ? begin + slice : pixels;
  R sum[Tile::ROWS][4] = {}, next_a[LOADS][4], next_g[4];
  auto fetch = [&](int64_t p) {
    for (int l = 0; l < LOADS; l++) {
      int64_t at = p + a_pixel + l * (THREADS / PACKS);
      a.load(a.row(at < end ? at : pixels, z), a_column, next_a[l]);
    }
    if (g_pixel < STEP) g.load(g.row(p + g_pixel < end ? p + g_pixel : pixels, z), g_column, next_g);
  };
  if (begin < end) fetch(begin);
  for (int64_t p = begin; p < end; p += STEP) {
    for (int l = 0; l < LOADS; l++)
      for (int j = 0; j < 4; j++) a_tile[a_pixel + l * (THREADS / PACKS)][a_pack + j] = next_a[l][j];
    if (g_pixel < STEP)
      for (int j = 0; j < 4; j++) g_tile[g_pixel][g_pack + j] = next_g[j];
    __syncthreads();
    if (p + STEP < end) fetch(p + STEP);
    multiply_step<R, M, N, Tile::ROWS>(a_tile, g_tile, x, y, sum);
    __syncthreads();
  }
  for (int i = 0; i < Tile::ROWS; i++)
    for (int j = 0; j < 4; j++) {
      int k = row + y * Tile::ROWS + i, n = column + 4 * x + j;
      if (k < out.depth && n < out.columns) out.put(blockIdx.z, z, k, n, sum[i][j]);
    }
}

/* The matrices' gradients, where `to` is not NULL; they are joined as `shape` says. */
template <int N, class A, class G, class R>
inline CnErr weigh_tiles(const CnCall *call, int64_t pixels, int64_t parts, const A &a, const G &g,
                         const Weights<R> &shape, R *const (&to)[3]) {
  int64_t tiles = ceil_div<int64_t>(shape.depth, ProductTile<N>::M) * ceil_div<int64_t>(shape.columns, N);
  Slices s = slices_of(pixels, tiles * parts * 2, 256);
  s.slice = ceil_div<int64_t>(s.slice, STEP) * STEP;
  s.count = s.slice > 0 ? ceil_div(pixels, s.slice) : 1;
  if (s.count < 1) s.count = 1;
  int64_t all = static_cast<int64_t>(shape.depth) * shape.first[shape.count];
  Scratch<R> partial(call);
  CN_TRY(partial.take(s.count * all + 1));
  WeightSums<R> sums = { shape.count, shape.depth, shape.columns, {}, partial.data(), s.count };
  memcpy(sums.first, shape.first, sizeof sums.first);
  if (parts > 65535)
    return cn_cuda_fail(CN_EUSAGE, "%s: %lld groups are too many for the GPU", call->op->name,
                        static_cast<long long>(parts));
  dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(parts), static_cast<unsigned>(s.count));
  CN_TRY(launch(call, weigh_images_kernel<N, A, G>, grid, THREADS, 0, pixels, s.slice, a, g, sums));
  for (int i = 0; i < shape.count; i++) {
    int64_t width = shape.first[i + 1] - shape.first[i], count = shape.depth * width;
    CnSpec spec = { cn_dtype_real(call->dtype), 2, { s.count, count } };
    if (to[i])
      CN_TRY(reduce_sum(call, to[i], partial.data() + s.count * shape.depth * shape.first[i], &spec, 1u << 0, 1));
  }
  return CN_OK;
}

template <class A, class G, class R>
inline CnErr weigh_images(const CnCall *call, int64_t pixels, int64_t parts, const A &a, const G &g,
                          const Weights<R> &shape, R *const (&to)[3]) {
  if (!to[0] && !to[1] && !to[2]) return CN_OK;
  if (narrow_tiles(shape.columns)) return weigh_tiles<32>(call, pixels, parts, a, g, shape, to);
  return weigh_tiles<64>(call, pixels, parts, a, g, shape, to);
}

/* ---------------------------------------------------------------- loaders of plain images */

/* Pixels as they are: `columns` channels from z * columns on, of `pitch`. */
template <class T> struct PlainImage {
  typedef ::Real<T> Real;
  typedef int64_t Row; /* -1: none */
  struct Column {
    int at, count; /* count: 0 … 4 */
  };
  const T *x;
  int64_t pixels;
  int pitch, columns;
  bool packed;
  __device__ Row row(int64_t p, int) const { return p < pixels ? p : -1; }
  __device__ Column column(int k, int z) const {
    int left = columns - k;
    return { z * columns + k, left < 0 ? 0 : left < 4 ? left : 4 };
  }
  __device__ void load(Row row, Column c, Real (&v)[4]) const {
    for (int j = 0; j < 4; j++) v[j] = 0;
    if (row < 0) return;
    const T *from = x + row * pitch + c.at;
    if (packed && c.count == 4) load_pack(from, v);
    else
      for (int j = 0; j < c.count; j++) v[j] = real_of(from[j]);
  }
};

template <class T> inline PlainImage<T> plain_image(const T *x, int64_t pixels, int64_t pitch, int64_t columns) {
  return { x, pixels, static_cast<int>(pitch), static_cast<int>(columns), columns % 4 == 0 && all_packed(pitch, x) };
}

/* ---------------------------------------------------------------- stores of plain images */

/* The counterpart of PlainImage, plus a bias (of all channels; NULL: none). */
template <class T> struct PlainStore {
  static constexpr int SUMS = 0;
  static constexpr bool JOINT = false;
  typedef Real<T> R;
  T *z;
  const R *bias;
  int pitch, columns;
  bool packed;
  struct Thread {
    T *to;
    int pitch, count;
    bool packed;
    R bias[4];
    __device__ Thread(const PlainStore &s, int column, int part)
        : to(s.z + part * s.columns + column), pitch(s.pitch), count(s.columns - column), packed(s.packed) {
      for (int j = 0; j < 4; j++) bias[j] = s.bias && j < count ? s.bias[part * s.columns + column + j] : R(0);
    }
    __device__ void put(int64_t p, R (&v)[4]) {
      for (int j = 0; j < 4; j++) v[j] += bias[j];
      if (packed && count >= 4) store_pack(to + p * pitch, v);
      else
        for (int j = 0; j < 4 && j < count; j++) to[p * pitch + j] = stored_of<T>(v[j]);
    }
  };
};

template <class T>
inline PlainStore<T> plain_store(T *z, int64_t pitch, int64_t columns, const Real<T> *bias = NULL) {
  return { z, bias, static_cast<int>(pitch), static_cast<int>(columns), columns % 4 == 0 && all_packed(pitch, z) };
}

#endif
