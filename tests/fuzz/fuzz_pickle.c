/* fuzz_pickle.c - any bytes as a pickle: refused, or a value that stays within its memory and its storages. */
#include <stdint.h>
#include <stdlib.h>

#include "base/memory.h"
#include "io/pickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every element of a tensor lies in its storage. */
static void check(const CnPickleValue *v) {
  if (v->kind == CN_PK_TUPLE || v->kind == CN_PK_LIST || v->kind == CN_PK_DICT) {
    for (uint32_t i = 0; i < v->as.list->count; i++) check(&v->as.list->item[i]);
  } else if (v->kind == CN_PK_TENSOR) {
    const CnPickleTensor *t = v->as.tensor;
    int64_t last = t->offset;
    for (int i = 0; i < t->ndim; i++) {
      if (t->shape[i] == 0) return;
      if (__builtin_add_overflow(last, (t->shape[i] - 1) * t->stride[i], &last)) abort();
    }
    if (t->offset < 0 || last >= t->storage->count) abort();
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  CnReader *r;
  CnPickle *p = NULL;
  uint64_t at = 0;
  int64_t blocks = cn_memory_stats().blocks_live;
  if (cn_reader_open_memory(&r, data, size, "input") != CN_OK) return 0;
  cn_memory_reset_peak();
  int64_t before = cn_memory_stats().bytes_live;
  CnErr e = cn_pickle_read(&p, r, &at, size, "input", size + 65536);
  if ((e == CN_OK) != (p != NULL) || (e != CN_OK && e != CN_EDATA && e != CN_EMEMORY) || at > size) abort();
  if (cn_memory_stats().bytes_peak - before > (int64_t)(2 * size + 262144)) abort();
  if (p) check(cn_pickle_value(p));
  cn_pickle_free(p);
  cn_reader_close(r);
  if (cn_memory_stats().blocks_live != blocks) abort();
  return 0;
}
