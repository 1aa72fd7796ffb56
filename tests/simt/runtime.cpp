/* runtime.cpp - the CUDA runtime of a GPU that the CPU plays: memory, streams, launches.
**
** Device memory is the C library's, so that the address sanitizer guards its ends and what has been freed; it is filled
** with 0xff (NaN, -1) before it is handed out and when it is freed. A stream belongs to a thread of the CPU and does
** what it is asked at once, or, where CNAS_SIMT says `lazy`, when something waits for it. */
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>
#include <vector>

#include "scheduler.h"

constexpr int GPUS = 2; /* so that copies between GPUs can be tested */
constexpr size_t SHARED_AT_ONCE = 48 << 10, SHARED_MOST = 227 << 10; /* bytes for a block */

/* When a stream came to an event. */
struct Moment {
  std::atomic<bool> known = false;
  std::chrono::steady_clock::time_point at;
};
struct simtEvent {
  std::shared_ptr<Moment> moment = std::make_shared<Moment>();
};

namespace simt {

static std::recursive_mutex one_at_a_time; /* work of all threads' streams */
static std::mutex books;
static std::unordered_map<void *, size_t> blocks; /* of device memory, with sizes */
static std::set<const void *> large;              /* kernels that may have more than SHARED_AT_ONCE */
static thread_local std::vector<std::function<void()>> waiting;

const Options &options() {
  static const Options chosen = [] {
    const char *text = getenv("CNAS_SIMT");
    Options o = { false, false, CUDART_VERSION, GPUS };
    for (const char *word = text; word != nullptr && *word != '\0';) {
      size_t n = strcspn(word, ", ");
      if (n == 8 && !strncmp(word, "reversed", n)) o.reversed = true;
      else if (n == 4 && !strncmp(word, "lazy", n)) o.lazy = true;
      else if (n == 10 && !strncmp(word, "driverless", n)) o.driver = 0;
      else if (n == 8 && !strncmp(word, "outdated", n)) o.driver = 11040;
      else if (n == 6 && !strncmp(word, "absent", n)) o.gpus = 0;
      else if (n > 0) {
        fprintf(stderr, "simt: CNAS_SIMT: unknown word in '%s': expected reversed, lazy, driverless, outdated, absent\n",
                text);
        abort();
      }
      word += n + strspn(word + n, ", ");
    }
    return o;
  }();
  return chosen;
}

static void do_all() {
  std::lock_guard<std::recursive_mutex> lock(one_at_a_time);
  std::vector<std::function<void()>> work;
  work.swap(waiting);
  for (auto &part : work) part();
}

void enqueue(std::function<void()> work) {
  waiting.push_back(std::move(work));
  if (!options().lazy) do_all();
}

static bool fits(unsigned n, unsigned most) { return n >= 1 && n <= most; }

cudaError_t launch(const cudaLaunchConfig_t &config, const void *kernel, std::function<void()> body) {
  dim3 grid = config.gridDim, block = config.blockDim;
  size_t shared = config.dynamicSmemBytes;
  if (config.stream != cudaStreamPerThread || config.numAttrs > 0) return cudaErrorInvalidValue;
  if (!fits(grid.x, INT32_MAX) || !fits(grid.y, 65535) || !fits(grid.z, 65535)) return cudaErrorInvalidConfiguration;
  if (!fits(block.x, 1024) || !fits(block.y, 1024) || !fits(block.z, 64) || block.x * block.y * block.z > 1024)
    return cudaErrorInvalidConfiguration;
  {
    std::lock_guard<std::mutex> lock(books);
    if (shared > (large.count(kernel) ? SHARED_MOST : SHARED_AT_ONCE)) return cudaErrorInvalidConfiguration;
  }
  enqueue([=] { run_grid(grid, block, shared, body); });
  return cudaSuccess;
}

} // namespace simt

using namespace simt;

/* ---------------------------------------------------------------- devices and errors */

cudaError_t cudaGetLastError(void) { return cudaSuccess; }

const char *cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorNoKernelImageForDevice: return "no kernel image is available for execution on the device";
    case cudaErrorSymbolNotFound: return "named symbol not found";
    case cudaErrorNotSupported: return "operation not supported";
    default: return "invalid argument";
  }
}

cudaError_t cudaDriverGetVersion(int *version) {
  *version = options().driver;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
  *count = options().gpus;
  if (options().driver < CUDART_VERSION) return cudaErrorInsufficientDriver;
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int index) {
  *properties = cudaDeviceProp{ "the CPU in the part of a GPU", 9, 0, 132 };
  return index >= 0 && index < GPUS ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = 132; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
    case cudaDevAttrMemoryPoolsSupported: *value = 1; break;
  }
  return cudaSuccess;
}

static thread_local int in_use = 0;

cudaError_t cudaSetDevice(int index) {
  if (index < 0 || index >= GPUS) return cudaErrorInvalidValue;
  in_use = index;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int *index) {
  *index = in_use;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute, int value) {
  if (value < 0 || static_cast<size_t>(value) > SHARED_MOST) return cudaErrorInvalidValue;
  std::lock_guard<std::mutex> lock(books);
  large.insert(kernel);
  return cudaSuccess;
}

/* ---------------------------------------------------------------- memory */

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void *) { return cudaSuccess; }

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
  *free_bytes = *total = size_t{ 1 } << 30;
  return cudaSuccess;
}

cudaError_t cudaMallocAsync(void **out, size_t bytes, cudaStream_t stream) {
  if (stream != cudaStreamPerThread) return cudaErrorInvalidValue;
  void *block = nullptr;
  if (posix_memalign(&block, 256, bytes) != 0) return cudaErrorMemoryAllocation;
  memset(block, 0xff, bytes);
  std::lock_guard<std::mutex> lock(books);
  blocks[block] = bytes;
  *out = block;
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void *block, cudaStream_t stream) {
  size_t bytes = 0;
  {
    std::lock_guard<std::mutex> lock(books);
    auto found = blocks.find(block);
    if (stream != cudaStreamPerThread || found == blocks.end()) return cudaErrorInvalidValue;
    bytes = found->second;
    blocks.erase(found);
  }
  enqueue([=] {
    memset(block, 0xff, bytes);
    free(block);
  });
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned) {
  *out = malloc(bytes);
  return *out != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void *block) {
  free(block);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  if (stream != cudaStreamPerThread) return cudaErrorInvalidValue;
  enqueue([=] { memmove(to, from, bytes); });
  return cudaSuccess;
}

cudaError_t cudaMemcpyPeerAsync(void *to, int, const void *from, int, size_t bytes, cudaStream_t stream) {
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream);
}

cudaError_t cudaMemsetAsync(void *to, int byte, size_t bytes, cudaStream_t stream) {
  if (stream != cudaStreamPerThread) return cudaErrorInvalidValue;
  enqueue([=] { memset(to, byte, bytes); });
  return cudaSuccess;
}

/* ---------------------------------------------------------------- streams */

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream != cudaStreamPerThread) return cudaErrorInvalidValue;
  do_all();
  return cudaSuccess;
}

/* Both GPUs of a thread share its stream, so what is behind a record is behind it everywhere. */
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
  *event = new simtEvent();
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (stream != cudaStreamPerThread) return cudaErrorInvalidValue;
  /* Of its own: the event may be recorded again, or destroyed, before the stream comes to it. */
  std::shared_ptr<Moment> moment = event->moment = std::make_shared<Moment>();
  enqueue([=] {
    moment->at = std::chrono::steady_clock::now();
    moment->known = true;
  });
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (!event->moment->known) do_all();
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) { return event->moment->known ? cudaSuccess : cudaErrorNotReady; }

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  if (!begin->moment->known || !end->moment->known) return cudaErrorInvalidValue;
  *milliseconds = std::chrono::duration<float, std::milli>(end->moment->at - begin->moment->at).count();
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
