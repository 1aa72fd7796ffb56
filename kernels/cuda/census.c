/* census.c - the book of kernels.
**
** A table with a place for each kernel, found by its address (that of the function which the compiler made to launch
** it, or a user's handle). Places are taken once and never given back, so that a launch finds its own without a lock.
** While timing is on each launch stands between two events of its stream, which are read when timing is turned off. Then
** short kernels look longer than they are: from event to event is at least the time of a launch, some microseconds. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/census.h"
#include "kernels/cuda/host.h"

#define PLACES 8192 /* a power of two, several times the kernels that there are */

struct CnCounted {
  _Atomic(const void *) kernel; /* NULL: a free place */
  _Atomic(const char *) row;
  const CnProgram *program; /* of a user's kernel */
  atomic_uint threads;      /* of a block, at the last launch */
  atomic_size_t shared;
  atomic_llong launches;
  char *name;     /* malloc's, made when it is first asked for; under `lock`, as what follows */
  long long timed;
  double seconds;
};

static struct CnCounted places[PLACES];
static atomic_int order[PLACES], count; /* places in the order in which they were taken */

typedef struct Timed {
  CnCounted *counted;
  cudaEvent_t begin, end;
  bool launched;
} Timed;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool timing;
static Timed *timed; /* those since timing was turned on */
static int timings, room;
static _Thread_local int running = -1; /* which of them the calling thread is about to launch */

/* Of the C++ library, which the module has inside. */
char *__cxa_demangle(const char *mangled, char *buffer, size_t *length, int *status);

/* ---- places ---- */

static CnCounted *place_of(const void *kernel) {
  uint64_t hash = (uint64_t)(uintptr_t)kernel * 0x9e3779b97f4a7c15u >> 40;
  for (int i = 0; i < PLACES; i++) {
    int at = (int)((hash + (uint64_t)i) % PLACES);
    const void *there = atomic_load_explicit(&places[at].kernel, memory_order_acquire);
    if (there == kernel) return &places[at];
    if (there != NULL) continue;
    if (atomic_compare_exchange_strong(&places[at].kernel, &there, kernel)) {
      atomic_store(&order[atomic_fetch_add(&count, 1)], at + 1);
      return &places[at];
    }
    if (there == kernel) return &places[at]; /* another thread was faster */
  }
  return NULL;
}

void cn_census_add(const void *kernel) { place_of(kernel); }

void cn_census_program(const void *kernel, const CnProgram *program) {
  CnCounted *c = place_of(kernel);
  if (c != NULL) c->program = program;
}

/* ---- launches ---- */

/* Puts an event in front of the launch. Without memory or events it is not timed. */
static void begin_timing(CnCounted *c) {
  cudaEvent_t begin = NULL, end = NULL;
  running = -1;
  if (cudaEventCreateWithFlags(&begin, cudaEventDefault) != cudaSuccess) return;
  if (cudaEventCreateWithFlags(&end, cudaEventDefault) != cudaSuccess) {
    cudaEventDestroy(begin);
    return;
  }
  pthread_mutex_lock(&lock);
  if (timings == room) {
    Timed *larger = realloc(timed, (size_t)(2 * room + 256) * sizeof *timed);
    if (larger != NULL) {
      timed = larger;
      room = 2 * room + 256;
    }
  }
  if (timings < room) {
    running = timings++;
    timed[running] = (Timed){ c, begin, end, false };
  }
  pthread_mutex_unlock(&lock);
  if (running >= 0) {
    cudaEventRecord(begin, cudaStreamPerThread);
  } else {
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
  }
}

CnCounted *cn_census_launching(const void *kernel, const char *row, unsigned threads, size_t shared) {
  CnCounted *c = place_of(kernel);
  if (c == NULL) return NULL;
  if (row != NULL && atomic_load_explicit(&c->row, memory_order_relaxed) == NULL) atomic_store(&c->row, row);
  atomic_store_explicit(&c->threads, threads, memory_order_relaxed);
  atomic_store_explicit(&c->shared, shared, memory_order_relaxed);
  if (atomic_load_explicit(&timing, memory_order_relaxed)) begin_timing(c);
  return c;
}

void cn_census_launched(CnCounted *c, cudaError_t error) {
  if (c == NULL) return;
  if (error == cudaSuccess) atomic_fetch_add_explicit(&c->launches, 1, memory_order_relaxed);
  if (running < 0) return;
  pthread_mutex_lock(&lock);
  if (running < timings && timed[running].counted == c) { /* else timing was turned off in between */
    timed[running].launched = error == cudaSuccess;
    cudaEventRecord(timed[running].end, cudaStreamPerThread);
  }
  pthread_mutex_unlock(&lock);
  running = -1;
}

static CnErr finish_timing(void) {
  cudaError_t first = cudaSuccess;
  for (int i = 0; i < timings; i++) {
    float milliseconds = 0;
    cudaError_t error = cudaSuccess;
    if (timed[i].launched) error = cudaEventSynchronize(timed[i].end);
    if (timed[i].launched && error == cudaSuccess)
      error = cudaEventElapsedTime(&milliseconds, timed[i].begin, timed[i].end);
    if (timed[i].launched && error == cudaSuccess) {
      timed[i].counted->timed++;
      timed[i].counted->seconds += milliseconds / 1000;
    }
    if (first == cudaSuccess) first = error;
    cudaEventDestroy(timed[i].begin);
    cudaEventDestroy(timed[i].end);
  }
  free(timed);
  timed = NULL;
  timings = room = 0;
  if (first == cudaSuccess) return CN_OK;
  cudaGetLastError();
  return cn_cuda_fail(CN_ENOKERNEL, "cuda: timing kernels: %s", cudaGetErrorString(first));
}

CnErr cn_census_timing(bool on) {
  CnErr e = CN_OK;
  pthread_mutex_lock(&lock);
  bool was = atomic_exchange(&timing, on);
  if (on && !was) {
    for (int i = 0; i < PLACES; i++) {
      places[i].timed = 0;
      places[i].seconds = 0;
    }
  }
  if (!on && was) e = finish_timing();
  pthread_mutex_unlock(&lock);
  return e;
}

/* ---- facts ---- */

/* "void (anonymous namespace)::twice<float>(long, float*)" becomes "twice<float>": without result, namespace that says
** nothing, and parameters. In place. */
static void shorten(char *name) {
  static const char nowhere[] = "(anonymous namespace)::";
  for (char *p = name; (p = strstr(p, nowhere)) != NULL;)
    memmove(p, p + sizeof nowhere - 1, strlen(p) - sizeof nowhere + 2);
  if (!strncmp(name, "void ", 5)) memmove(name, name + 5, strlen(name) - 4);
  int depth = 0;
  for (char *p = name; *p != '\0'; p++) {
    if (*p == '<') depth++;
    if (*p == '>') depth--;
    if (*p != '(' || depth > 0) continue;
    *p = '\0';
    break;
  }
}

static const char *name_of(CnCounted *c, const void *kernel) {
  const char *mangled = NULL;
  int status = 0;
  if (c->name != NULL) return c->name;
#if CUDART_VERSION >= 12030
  if (cudaFuncGetName(&mangled, kernel) != cudaSuccess) {
    cudaGetLastError();
    mangled = NULL;
  }
#endif
  if (mangled == NULL) return NULL;
  c->name = __cxa_demangle(mangled, NULL, NULL, &status);
  if (c->name == NULL) c->name = strdup(mangled); /* extern "C" */
  if (c->name != NULL) shorten(c->name);
  return c->name;
}

/* What the GPU in use says of a kernel. */
static void ask(CnKernelFacts *out, int index, const void *kernel) {
  struct cudaFuncAttributes a;
  int threads = 0, blocks = 0;
  if (cudaFuncGetAttributes(&a, kernel) == cudaSuccess) {
    out->registers = a.numRegs;
    out->shared = (int64_t)a.sharedSizeBytes;
    out->local = (int64_t)a.localSizeBytes;
  }
  cudaError_t error = cudaDeviceGetAttribute(&threads, cudaDevAttrMaxThreadsPerMultiProcessor, index);
  if (error == cudaSuccess && out->block > 0)
    error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, out->block, (size_t)out->dynamic);
  if (error == cudaSuccess && out->block > 0)
    out->occupancy = (double)blocks * ((out->block + 31) / 32) / (threads / 32);
  cudaGetLastError(); /* what was not known is no error */
}

static CnErr facts_of(CnKernelFacts *out, int index, CnCounted *c) {
  const void *kernel = atomic_load(&c->kernel);
  CN_TRY(cn_cuda_use_any(&index));
  *out = (CnKernelFacts){ .registers = -1, .shared = -1, .local = -1, .occupancy = -1 };
  out->launches = atomic_load(&c->launches);
  out->block = out->launches > 0 ? (int)atomic_load(&c->threads) : -1;
  out->dynamic = out->launches > 0 ? (int64_t)atomic_load(&c->shared) : -1;
  out->row = atomic_load(&c->row);
  ask(out, index, kernel);
  pthread_mutex_lock(&lock);
  out->name = c->program != NULL ? c->program->kernel : name_of(c, kernel);
  out->file = c->program != NULL ? c->program->file : NULL;
  out->timed = c->timed;
  out->seconds = c->timed > 0 ? c->seconds : -1;
  pthread_mutex_unlock(&lock);
  return CN_OK;
}

CnErr cn_census_facts(CnKernelFacts *out, int index, const void *kernel) {
  CnCounted *c = place_of(kernel);
  return c != NULL ? facts_of(out, index, c) : cn_cuda_fail(CN_EMEMORY, "kernel: the book of kernels is full");
}

bool cn_census_read(CnKernelFacts *out, int index, int number) {
  int at = number < atomic_load(&count) ? atomic_load(&order[number]) : 0;
  return at > 0 && facts_of(out, index, &places[at - 1]) == CN_OK;
}
