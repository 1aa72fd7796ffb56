/* safetensors.h - named tensors in one file: a length, a JSON header, the raw values.
**
** The format is Hugging Face's safetensors, read strictly: nothing in a file is believed before it has been compared
** with the file's size. Ours adds checksums: the metadata key "crc32" holds a JSON object that gives for each tensor
** the CRC-32 of its bytes in 8 hexadecimal digits, and under "__metadata__" that of the other metadata. Where it is
** present it is verified, so that a flipped bit names its tensor. Other readers see one more string of metadata.
** Written are F32, F64, I64, U8, BF16; read besides these F16, I32, I16, I8 and BOOL, converted as element.h says.
** Little-endian, row-major. */
#ifndef CN_SAFETENSORS_H
#define CN_SAFETENSORS_H

#include "tensor/tensor.h"

typedef struct CnNamedTensor {
  const char *name;
  CnTensor *tensor; /* any strides, any device */
} CnNamedTensor;

typedef struct CnMetadata {
  const char *key, *value;
} CnMetadata;

/* Replaces `path` as cn_file_write does; the values go straight from the tensors to the file. Order: I64, F64, F32,
** BF16, U8, each by name, as the reference writer does. */
CnErr cn_safetensors_save(const char *path, const CnNamedTensor *tensors, int count, const CnMetadata *metadata,
                          int metadata_count);

/* A file whose header has been read and checked; values are read when asked for. */
typedef struct CnSafetensors CnSafetensors;
CnErr cn_safetensors_open(CnSafetensors **out, const char *path);
/* The same on bytes in memory, borrowed until close; `name` is used in messages. */
CnErr cn_safetensors_open_memory(CnSafetensors **out, const void *data, size_t size, const char *name);
void cn_safetensors_close(CnSafetensors *s); /* NULL is allowed */

int cn_safetensors_count(const CnSafetensors *s);
const char *cn_safetensors_name(const CnSafetensors *s, int i); /* in the file's order; borrowed */
CnSpec cn_safetensors_spec(const CnSafetensors *s, int i); /* of the tensor that will be read */
int cn_safetensors_find(const CnSafetensors *s, const char *name); /* -1 when there is none */
/* A new tensor on the CPU with the values of the i-th, its checksum verified. */
CnErr cn_safetensors_read(CnTensor **out, CnSafetensors *s, int i);

int cn_safetensors_metadata_count(const CnSafetensors *s); /* without "crc32" */
CnMetadata cn_safetensors_metadata(const CnSafetensors *s, int i); /* sorted by key; borrowed */

#endif
