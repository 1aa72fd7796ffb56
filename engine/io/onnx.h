/* onnx.h - ONNX models: a graph of named nodes on named values, its constants, and what else a file says.
**
** A model is built by adding to it, or read from a file; the same functions look into both. It is plain data: what
** nodes compute is the business of lua/cnas/onnx.lua. Files are of IR version 7 and opset 13; the reader takes IR
** versions 3 to 10 and any opset, but only constants of f32 and i64 that are stored as raw bytes in the file itself,
** and no graphs within nodes. Same model, same bytes. A build without ONNX has none of these functions (CN_WITH_ONNX).
** */
#ifndef CN_ONNX_H
#define CN_ONNX_H

#include "tensor/tensor.h"

#define CN_ONNX_IR 7
#define CN_ONNX_OPSET 13

typedef struct CnOnnx CnOnnx;

typedef struct CnOnnxAbout { /* NULL or 0 where a file does not say */
  int64_t ir_version, opset;
  const char *producer, *producer_version, *graph;
} CnOnnxAbout;

typedef struct CnOnnxNode {
  const char *op, *name; /* "Conv"; may be empty */
  int inputs, outputs, attributes;
  char *const *input, *const *output; /* values; an input "" is not given */
} CnOnnxNode;

typedef enum CnOnnxKind { CN_ONNX_INT, CN_ONNX_FLOAT, CN_ONNX_INTS, CN_ONNX_STRING } CnOnnxKind;

typedef struct CnOnnxAttribute {
  const char *name;
  CnOnnxKind kind;
  int64_t i;
  float f;
  const int64_t *ints;
  const char *s;
  int count; /* of ints; bytes of s */
} CnOnnxAttribute;

typedef struct CnOnnxValue { /* an input or output of the graph */
  const char *name;
  CnDtype dtype;                    /* CN_F32 or CN_I64 */
  int ndim;
  int64_t shape[CN_MAX_DIMS];       /* -1: any size, called by */
  const char *symbol[CN_MAX_DIMS];  /* this; NULL: a size that is known, or has no name */
} CnOnnxValue;

/* ---- building: everything is copied ---- */

CnErr cn_onnx_new(CnOnnx **out, const char *graph, const char *producer_version);
CnErr cn_onnx_add_node(CnOnnx *m, const CnOnnxNode *node, const CnOnnxAttribute *attributes);
/* f32 or i64, any strides, any device. */
CnErr cn_onnx_add_constant(CnOnnx *m, const char *name, CnTensor *t);
CnErr cn_onnx_add_value(CnOnnx *m, bool output, const CnOnnxValue *value);
CnErr cn_onnx_add_metadata(CnOnnx *m, const char *key, const char *value);

/* Replaces `path` as cn_file_write does. A model of more than 2 GiB is CN_EUSAGE: the format ends there. */
CnErr cn_onnx_save(const CnOnnx *m, const char *path);

/* ---- reading ---- */

/* The file is hostile: nesting is measured before anything is unpacked, and unpacking may take as much memory as the
** file and 16 MiB. What is not a model, or not one as described above, is CN_EDATA. */
CnErr cn_onnx_open(CnOnnx **out, const char *path);
/* The same on bytes in memory; `name` is used in messages. Nothing is borrowed. */
CnErr cn_onnx_open_memory(CnOnnx **out, const void *data, size_t size, const char *name);
void cn_onnx_close(CnOnnx *m); /* NULL is allowed */

/* ---- looking into it: strings belong to the model ---- */

CnOnnxAbout cn_onnx_about(const CnOnnx *m);
int cn_onnx_nodes(const CnOnnx *m);
CnOnnxNode cn_onnx_node(const CnOnnx *m, int i);
CnErr cn_onnx_attribute(CnOnnxAttribute *out, const CnOnnx *m, int node, int i); /* of another kind: CN_EDATA */
int cn_onnx_constants(const CnOnnx *m);
const char *cn_onnx_constant_name(const CnOnnx *m, int i);
CnErr cn_onnx_constant(CnTensor **out, const CnOnnx *m, int i); /* a new tensor on the CPU */
int cn_onnx_values(const CnOnnx *m, bool output);
CnErr cn_onnx_value(CnOnnxValue *out, const CnOnnx *m, bool output, int i);
int cn_onnx_metadata(const CnOnnx *m);
void cn_onnx_metadata_entry(const CnOnnx *m, int i, const char **key, const char **value);

#endif
