/* fuzz_safetensors.c - any bytes as a safetensors file: opened, and every tensor of it read. */
#include <stdint.h>
#include <stdlib.h>

#include "io/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  CnSafetensors *s = NULL;
  CnErr e = cn_safetensors_open_memory(&s, data, size, "input");
  if ((e == CN_OK) != (s != NULL) || (e != CN_OK && e != CN_EDATA && e != CN_EMEMORY)) abort();
  for (int i = 0; s && i < cn_safetensors_count(s); i++) {
    CnTensor *t = NULL;
    e = cn_safetensors_read(&t, s, i);
    if ((e == CN_OK) != (t != NULL) || (e != CN_OK && e != CN_EDATA && e != CN_EMEMORY)) abort();
    if (t && cn_tensor_bytes(t) > 8 * size) abort(); /* no more than they sent; I8 becomes i64 */
    cn_tensor_unref(t);
  }
  cn_safetensors_close(s);
  if (cn_tensor_live() != 0) abort();
  return 0;
}
