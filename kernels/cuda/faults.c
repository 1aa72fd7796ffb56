/* faults.c - wrong indices, and numbers that are not finite, which a kernel finds when the call that launched it has
** returned.
**
** A kernel that takes indices treats a wrong one as absent and reports it (an optimizer's step that would move by what
** is not finite moves nothing and says so) by an atomic minimum on one word of the CPU's memory that every GPU sees:
** number of the launch, then position, so the first of all remains. Whoever waits for a GPU next gets the error. Without faults this costs nothing but the comparison. */
#include <pthread.h>

#include "kernels/cuda/host.h"

#define NONE (~0ull)
#define REMEMBERED 4096 /* launches */
#define POSITION_MASK ((1ull << CN_FAULT_POSITION_BITS) - 1)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long long *first;
static unsigned long long launches;

/* The last launches, by number % REMEMBERED. */
static struct {
  unsigned long long number;
  const char *op, *what; /* what: "index"; NULL for a step */
  long long limit;
} remembered[REMEMBERED];

static CnErr make_word(void) {
  if (first != NULL) return CN_OK;
  cudaError_t error = cudaHostAlloc((void **)&first, sizeof *first, cudaHostAllocPortable | cudaHostAllocMapped);
  if (error != cudaSuccess) return cn_cuda_fail(CN_EMEMORY, "cuda: %s", cudaGetErrorString(error));
  *first = NONE;
  return CN_OK;
}

CnErr cn_cuda_faults(CnFaults *out, const CnCall *call, const char *what, int64_t limit) {
  pthread_mutex_lock(&lock);
  CnErr e = make_word();
  if (e == CN_OK) {
    unsigned long long number = launches++ & (NONE >> CN_FAULT_POSITION_BITS) >> 1; /* never that of NONE */
    remembered[number % REMEMBERED].number = number;
    remembered[number % REMEMBERED].op = call->op->name;
    remembered[number % REMEMBERED].what = what;
    remembered[number % REMEMBERED].limit = limit;
    *out = (CnFaults){ first, number << CN_FAULT_POSITION_BITS };
  }
  pthread_mutex_unlock(&lock);
  return e;
}

CnErr cn_cuda_faults_of_step(CnFaults *out, const CnCall *call, int64_t last) {
  return cn_cuda_faults(out, call, NULL, last);
}

/* What a step reported at `position`. */
static CnErr fail_step(const char *op, long long position, long long last) {
  if (position == 0) return cn_cuda_fail(CN_ENOTFINITE, "%s: the loss is not finite; its step moved no parameter", op);
  if (position == last)
    return cn_cuda_fail(CN_ENOTFINITE, "%s: the gradients' norm overflows; its step moved no parameter", op);
  return cn_cuda_fail(CN_ENOTFINITE, "%s: the gradient of the optimizer's parameter %lld is not finite; its step moved "
                      "no parameter", op, position);
}

CnErr cn_cuda_faults_found(void) {
  pthread_mutex_lock(&lock);
  unsigned long long found = first != NULL ? *(volatile unsigned long long *)first : NONE;
  CnErr e = CN_OK;
  if (found != NONE) {
    unsigned long long number = found >> CN_FAULT_POSITION_BITS, slot = number % REMEMBERED;
    long long position = (long long)(found & POSITION_MASK);
    *first = NONE;
    if (remembered[slot].number == number && remembered[slot].what == NULL)
      e = fail_step(remembered[slot].op, position, remembered[slot].limit);
    else if (remembered[slot].number == number)
      e = cn_cuda_fail(CN_EUSAGE, "%s: the %s at position %lld is outside 0 … %lld", remembered[slot].op,
                       remembered[slot].what, position, remembered[slot].limit - 1);
    else
      e = cn_cuda_fail(CN_EUSAGE, "cuda: an index at position %lld is outside its range", position);
  }
  pthread_mutex_unlock(&lock);
  return e;
}
