/* kernel.cuh - what every file of GPU kernels begins with.
**
** A file of kernels is plain C++17, compiled by nvcc for the GPU and by g++ against tests/simt, where the CPU plays the
** GPU. A row of ops.def has the kernels that some file defines:
**
**   namespace {
**   template <class T> __global__ void twice(int64_t n, T *y, const T *x) {             // on the GPU
**     int64_t i = thread_number();
**     if (i < n) y[i] = x[i] + x[i];
**   }
**   template <class T> CnErr double_forward(CnCall *call) {                             // on the CPU
**     int64_t n = count_of(&call->in_spec[0]);
**     return launch(call, twice<T>, blocks_for(n), THREADS, 0, n, data<T>(call->out[0]), data<T>(call->in[0]));
**   }
**   } // namespace
**   KERNEL_FLOATS(double_forward)
**
** A kernel function asks and returns: it waits for nothing, reads no tensor's values, and takes memory only as Scratch.
** Work is cut into blocks by shapes alone and sums are taken in a fixed order, without atomics on floats, so that
** results are the same bits in every run. Blocks are of whole warps. Kernels trust their arguments, but for indices:
** see report_fault. */
#ifndef CN_CUDA_KERNEL_CUH
#define CN_CUDA_KERNEL_CUH

#include <cuda_runtime.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>
#include <utility>

extern "C" {
#include "base/random.h"
#include "kernels/cuda/census.h"
#include "kernels/cuda/host.h"
#include "kernels/sizes.h"
#include "tensor/bf16.h"
#include "tensor/op.h"

/* Every kernel that ops.def has room for: a name that is not among them does not compile. */
#define K(name, type) cn_cuda_##name##_##type
#define DECLARE(name, type) CnErr K(name, type)(CnCall *call);
#include "kernels/column.h"
#undef K
#undef DECLARE
}

/* Behind the anonymous namespace of a file: kernel `name`, a template function of the element type, is that of the row
** and direction in its name, for these types. */
#define KERNEL_(name, type, T) \
  extern "C" CnErr cn_cuda_##name##_##type(CnCall *call) { \
    CN_TRY(cn_cuda_use(call->device.index)); \
    return name<T>(call); \
  }
#define KERNEL_FLOATS(name) KERNEL_(name, f32, float) KERNEL_(name, f64, double)
#define KERNEL_ALL_FLOATS(name) KERNEL_FLOATS(name) KERNEL_(name, bf16, Bf16)
#define KERNEL_ANY(name) KERNEL_ALL_FLOATS(name) KERNEL_(name, i64, int64_t) KERNEL_(name, u8, uint8_t)

/* ---------------------------------------------------------------- elements */

/* A bf16 number in memory; it is computed with as a float. */
struct Bf16 {
  CnBf16 bits;
};

template <class T> struct RealOf { typedef T type; };
template <> struct RealOf<Bf16> { typedef float type; };
/* The type that elements of type T are computed in. */
template <class T> using Real = typename RealOf<T>::type;

template <class T> __host__ __device__ inline T real_of(T x) { return x; }
__host__ __device__ inline float real_of(Bf16 x) { return cn_bf16_to_float(x.bits); }

/* A number as an element of type T: rounded to bf16, or as it is. */
template <class T, class V> __host__ __device__ inline T stored_of(V x) {
  if constexpr (std::is_same<T, V>::value) return x;
  else if constexpr (std::is_same<T, Bf16>::value) return Bf16{ cn_bf16_of_float(x) };
  else return static_cast<T>(x);
}

/* N neighbouring elements, read and written at once where their address is a multiple of is_packed's. */
template <class T, int N> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
  T at[N];
};
template <int N, class T> __host__ __device__ inline bool is_packed(const T *p) {
  return reinterpret_cast<uintptr_t>(p) % alignof(Pack<T, N>) == 0;
}

/* The elements of a tensor; NULL for none. */
template <class T> inline T *data(const CnTensor *t) {
  return t == NULL ? NULL : static_cast<T *>(t->storage->data) + t->offset;
}

/* ---------------------------------------------------------------- launching */

constexpr int WARP = 32;
constexpr int THREADS = 256; /* of a block, where nothing asks for another number */
constexpr unsigned FULL = 0xffffffffu; /* mask of all lanes */

template <class T> __host__ __device__ constexpr T ceil_div(T n, T part) { return (n + part - 1) / part; }

/* Blocks of THREADS threads for n of them. */
inline dim3 blocks_for(int64_t n) { return dim3(static_cast<unsigned>(ceil_div<int64_t>(n, THREADS))); }

/* The number of the thread in a grid of one dimension. */
__device__ inline int64_t thread_number() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

/* Launches kernel(args…) on the calling thread's stream; a grid of no blocks is no launch. `shared` is the dynamic
** shared memory in bytes. The operation's name is in the error. */
template <class... Parameters, class... Arguments>
inline CnErr launch(const CnCall *call, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared,
                    Arguments... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return CN_OK;
  cudaError_t error = cudaSuccess;
  if (shared > 48 * 1024) /* more must be asked for */
    error = cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shared));
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = cudaStreamPerThread;
  CnCounted *counted = cn_census_launching(reinterpret_cast<const void *>(kernel), call->op->name,
                                           block.x * block.y * block.z, shared);
  if (error == cudaSuccess) error = cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(args)...);
  cn_census_launched(counted, error);
  return cn_cuda_launched(call, error);
}

/* The dynamic shared memory of a launch, as an array `name` of T. */
#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(T, name) \
  extern __shared__ __align__(16) unsigned char dynamic_shared_memory[]; \
  T *name = reinterpret_cast<T *>(dynamic_shared_memory)
#endif

/* Memory of the call's GPU for what one launch leaves to the next: CN_TRY(scratch.take(count)). Given back at the end of
** the scope, in the stream's order. */
template <class T> class Scratch {
 public:
  explicit Scratch(const CnCall *call) : index(call->device.index) {}
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;
  ~Scratch() { cn_cuda_free(index, block); }
  CnErr take(int64_t count) { return cn_cuda_alloc(&block, index, static_cast<size_t>(count) * sizeof(T)); }
  T *data() { return static_cast<T *>(block); }

 private:
  int index;
  void *block = NULL;
};

/* A kernel that takes indices treats a wrong one as if it were not there, and reports its position to the faults that
** cn_cuda_faults made for the launch. */
__device__ inline void report_fault(CnFaults faults, int64_t position) {
  atomicMin_system(faults.first, faults.launch | static_cast<unsigned long long>(position));
}

/* ---------------------------------------------------------------- sums within warps and blocks */

struct Sum {
  template <class T> __device__ T operator()(T a, T b) const { return a + b; }
};

/* What `reduce` (which must be commutative) makes of v of groups of LANES neighbouring lanes, in each of them: the same
** bits. */
template <int LANES = WARP, class T, class F> __device__ inline T warp_reduce(T v, F reduce) {
  for (int offset = LANES / 2; offset > 0; offset /= 2) v = reduce(v, __shfl_xor_sync(FULL, v, offset));
  return v;
}

/* The same of v of all threads of a block of one dimension, of whole warps. `none` leaves others as they are. */
template <class T, class F> __device__ inline T block_reduce(T v, F reduce, T none) {
  __shared__ T of_warp[WARP];
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
  v = warp_reduce(v, reduce);
  __syncthreads(); /* of_warp may still be read by an earlier call */
  if (lane == 0) of_warp[warp] = v;
  __syncthreads();
  return warp_reduce(lane < warps ? of_warp[lane] : none, reduce);
}

template <int LANES = WARP, class T> __device__ inline T warp_sum(T v) { return warp_reduce<LANES>(v, Sum()); }
template <class T> __device__ inline T block_sum(T v) { return block_reduce(v, Sum(), T(0)); }

#endif
