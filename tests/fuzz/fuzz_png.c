/* fuzz_png.c - any bytes as a PNG file. */
#include <stdint.h>
#include <stdlib.h>

#include "io/png.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  CnTensor *image = NULL;
  CnErr e = cn_png_decode(&image, data, size, "input");
  if ((e == CN_OK) != (image != NULL) || (e != CN_OK && e != CN_EDATA && e != CN_EMEMORY)) abort();
  cn_tensor_unref(image);
  if (cn_tensor_live() != 0) abort();
  return 0;
}
