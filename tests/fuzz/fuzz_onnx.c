/* fuzz_onnx.c - any bytes as an ONNX file: opened, and looked into everywhere. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/onnx.h"

static size_t read_text; /* keeps the compiler from leaving reads out */

static void read_string(const char *s) { read_text += strlen(s); }

static void check(CnErr e) {
  if (e != CN_OK && e != CN_EDATA && e != CN_EMEMORY) abort();
}

static void read_nodes(const CnOnnx *m) {
  for (int i = 0; i < cn_onnx_nodes(m); i++) {
    CnOnnxNode node = cn_onnx_node(m, i);
    read_string(node.op);
    read_string(node.name);
    for (int k = 0; k < node.inputs; k++) read_string(node.input[k]);
    for (int k = 0; k < node.outputs; k++) read_string(node.output[k]);
    for (int k = 0; k < node.attributes; k++) {
      CnOnnxAttribute a;
      CnErr e = cn_onnx_attribute(&a, m, i, k);
      check(e);
      if (e != CN_OK) continue;
      read_string(a.name);
      for (int n = 0; a.kind == CN_ONNX_INTS && n < a.count; n++) read_text += (size_t)a.ints[n];
      for (int n = 0; a.kind == CN_ONNX_STRING && n < a.count; n++) read_text += (size_t)a.s[n];
    }
  }
}

static void read_values(const CnOnnx *m, bool output) {
  for (int i = 0; i < cn_onnx_values(m, output); i++) {
    CnOnnxValue v;
    CnErr e = cn_onnx_value(&v, m, output, i);
    check(e);
    if (e != CN_OK) continue;
    read_string(v.name);
    for (int d = 0; d < v.ndim; d++)
      if (v.symbol[d] != NULL) read_string(v.symbol[d]);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  CnOnnx *m = NULL;
  CnErr e = cn_onnx_open_memory(&m, data, size, "input");
  check(e);
  if ((e == CN_OK) != (m != NULL)) abort();
  if (m != NULL) {
    CnOnnxAbout about = cn_onnx_about(m);
    if (about.producer != NULL) read_string(about.producer);
    read_nodes(m);
    read_values(m, false);
    read_values(m, true);
    for (int i = 0; i < cn_onnx_constants(m); i++) {
      CnTensor *t = NULL;
      read_string(cn_onnx_constant_name(m, i));
      e = cn_onnx_constant(&t, m, i);
      check(e);
      if (t != NULL && cn_tensor_bytes(t) > size) abort(); /* no more than they sent */
      cn_tensor_unref(t);
    }
    for (int i = 0; i < cn_onnx_metadata(m); i++) {
      const char *key, *value;
      cn_onnx_metadata_entry(m, i, &key, &value);
      read_string(key);
      read_string(value);
    }
  }
  cn_onnx_close(m);
  if (cn_tensor_live() != 0 || cn_memory_stats().blocks_live != 0) abort();
  return 0;
}
