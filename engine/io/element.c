/* element.c - see element.h. Files are read by blocks that stay in the cache until they are summed and converted. */
#include "io/element.h"

#include <string.h>
#include <zlib.h>

#include "base/memory.h"

#define BLOCK ((size_t)1 << 18) /* bytes */

static const struct {
  const char *safetensors, *storage;
  uint8_t size;
  CnDtype dtype;
} elements[CN_ELEMENTS] = {
  [CN_EL_F64] = { "F64", "DoubleStorage", 8, CN_F64 },      [CN_EL_F32] = { "F32", "FloatStorage", 4, CN_F32 },
  [CN_EL_F16] = { "F16", "HalfStorage", 2, CN_F32 },        [CN_EL_BF16] = { "BF16", "BFloat16Storage", 2, CN_BF16 },
  [CN_EL_I64] = { "I64", "LongStorage", 8, CN_I64 },        [CN_EL_I32] = { "I32", "IntStorage", 4, CN_I64 },
  [CN_EL_I16] = { "I16", "ShortStorage", 2, CN_I64 },       [CN_EL_I8] = { "I8", "CharStorage", 1, CN_I64 },
  [CN_EL_U8] = { "U8", "ByteStorage", 1, CN_U8 },           [CN_EL_BOOL] = { "BOOL", "BoolStorage", 1, CN_U8 },
};

size_t cn_element_size(CnElement element) { return elements[element].size; }
CnDtype cn_element_dtype(CnElement element) { return elements[element].dtype; }
const char *cn_element_safetensors(CnElement element) { return elements[element].safetensors; }
const char *cn_element_storage(CnElement element) { return elements[element].storage; }

/* 1 sign bit, 5 of exponent, 10 of fraction; exact in f32. */
static float half_to_float(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023, bits;
  float value;
  if (exponent == 0) { /* zero or denormal: fraction * 2^-24 */
    value = (float)fraction * 0x1p-24f;
    memcpy(&bits, &value, sizeof bits);
    bits |= sign;
  } else {
    bits = sign | (exponent == 31 ? 0xffu : exponent + 112) << 23 | fraction << 13;
  }
  memcpy(&value, &bits, sizeof value);
  return value;
}

static void convert(void *to, const void *from, size_t count, CnElement element) {
  float *f = to;
  int64_t *i = to;
  uint8_t *u = to;
  switch (element) {
    case CN_EL_F16: for (size_t k = 0; k < count; k++) f[k] = half_to_float(((const uint16_t *)from)[k]); break;
    case CN_EL_I32: for (size_t k = 0; k < count; k++) i[k] = ((const int32_t *)from)[k]; break;
    case CN_EL_I16: for (size_t k = 0; k < count; k++) i[k] = ((const int16_t *)from)[k]; break;
    case CN_EL_I8: for (size_t k = 0; k < count; k++) i[k] = ((const int8_t *)from)[k]; break;
    case CN_EL_BOOL: for (size_t k = 0; k < count; k++) u[k] = ((const uint8_t *)from)[k] != 0; break;
    default: memcpy(to, from, count * elements[element].size);
  }
}

static bool same_in_file(CnElement element) {
  return element != CN_EL_BOOL && elements[element].size == cn_dtype_size(elements[element].dtype);
}

static CnErr read_blocks(char *to, void *block, CnReader *file, uint64_t offset, size_t count, CnElement element,
                         uint32_t *crc) {
  size_t size = elements[element].size, ours = cn_dtype_size(elements[element].dtype);
  for (size_t done = 0; done < count;) {
    size_t n = count - done < BLOCK / size ? count - done : BLOCK / size;
    void *raw = block ? block : to + done * ours;
    CN_TRY(cn_reader_get(file, raw, offset + done * size, n * size));
    if (crc) *crc = (uint32_t)crc32_z(*crc, raw, n * size);
    if (block) convert(to + done * ours, block, n, element);
    done += n;
  }
  return CN_OK;
}

CnErr cn_elements_read(CnTensor *to, CnReader *file, uint64_t offset, CnElement element, uint32_t *crc) {
  void *block = NULL;
  size_t count = (size_t)cn_tensor_count(to), bytes = count * elements[element].size;
  if (!same_in_file(element) && !(block = cn_alloc(bytes < BLOCK ? bytes : BLOCK))) return CN_EMEMORY;
  CnErr e = read_blocks(cn_tensor_data(to), block, file, offset, count, element, crc);
  cn_free(block);
  return e;
}

CnErr cn_reader_crc(uint32_t *crc, CnReader *file, uint64_t offset, uint64_t size) {
  size_t room = size < BLOCK ? (size_t)size : BLOCK;
  char *block = cn_alloc(room);
  CnErr e = block ? CN_OK : CN_EMEMORY;
  for (uint64_t done = 0; e == CN_OK && done < size;) {
    size_t n = size - done < room ? (size_t)(size - done) : room;
    e = cn_reader_get(file, block, offset + done, n);
    if (e == CN_OK) *crc = (uint32_t)crc32_z(*crc, (const unsigned char *)block, n);
    done += n;
  }
  cn_free(block);
  return e;
}
