/* element.h - the element types of foreign tensor files, and reading runs of them into tensors of ours.
**
** What a tensor cannot hold is converted on the way, without loss: F16 to f32; I8, I16 and I32 to i64; BOOL to u8 (0 or
** 1). The others are the engine's own and are read straight into place. */
#ifndef CN_ELEMENT_H
#define CN_ELEMENT_H

#include "io/file.h"
#include "tensor/tensor.h"

/* In the order in which safetensors' own writer puts them. */
typedef enum CnElement {
  CN_EL_I64, CN_EL_F64, CN_EL_F32, CN_EL_I32, CN_EL_BF16, CN_EL_F16, CN_EL_I16, CN_EL_I8, CN_EL_U8, CN_EL_BOOL,
  CN_ELEMENTS
} CnElement;

size_t cn_element_size(CnElement element); /* bytes in a file */
CnDtype cn_element_dtype(CnElement element);
/* As safetensors ("F32") and PyTorch ("FloatStorage") call it. */
const char *cn_element_safetensors(CnElement element);
const char *cn_element_storage(CnElement element);

/* Fills `to`, contiguous, on the CPU and of the element's dtype, with the values at `offset`. `crc`, when not NULL,
** goes on with the bytes as they are in the file. */
CnErr cn_elements_read(CnTensor *to, CnReader *file, uint64_t offset, CnElement element, uint32_t *crc);

/* `crc` goes on with `size` bytes at `offset`. */
CnErr cn_reader_crc(uint32_t *crc, CnReader *file, uint64_t offset, uint64_t size);

#endif
