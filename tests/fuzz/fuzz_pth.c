/* fuzz_pth.c - any bytes as a PyTorch file: opened, its numbers read, every tensor of it made. */
#include <stdint.h>
#include <stdlib.h>

#include "base/memory.h"
#include "io/pth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first and the last byte of a tensor can be read. */
static void touch(const CnTensor *t) {
  const volatile char *first = cn_tensor_data(t);
  int64_t last = 0;
  if (cn_tensor_count(t) == 0) return;
  for (int i = 0; i < t->ndim; i++) last += (t->shape[i] - 1) * t->stride[i];
  (void)first[0];
  (void)first[(size_t)(last + 1) * cn_dtype_size(t->dtype) - 1];
}

static void read_tensors(CnPth *pth, const CnPickleValue *v, size_t size) {
  if (v->kind == CN_PK_TUPLE || v->kind == CN_PK_LIST || v->kind == CN_PK_DICT) {
    for (uint32_t i = 0; i < v->as.list->count; i++) read_tensors(pth, &v->as.list->item[i], size);
  } else if (v->kind == CN_PK_TENSOR) {
    CnTensor *t = NULL;
    if (cn_pth_tensor(&t, pth, v->as.tensor) != CN_OK) return;
    if (cn_tensor_bytes(t) > 8 * size) abort(); /* no more than they sent; I8 becomes i64 */
    touch(t);
    cn_tensor_unref(t);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  CnPth *pth = NULL;
  int64_t blocks = cn_memory_stats().blocks_live;
  CnErr e = cn_pth_open_memory(&pth, data, size, "input");
  if ((e == CN_OK) != (pth != NULL) || (e != CN_OK && e != CN_EDATA && e != CN_EMEMORY)) abort();
  if (e == CN_OK) e = cn_pth_load(pth);
  if (e != CN_OK && e != CN_EDATA && e != CN_EMEMORY) abort();
  if (e == CN_OK) read_tensors(pth, cn_pth_value(pth), size);
  cn_pth_close(pth);
  if (cn_tensor_live() != 0 || cn_memory_stats().blocks_live != blocks) abort();
  return 0;
}
