/* onnx_model.h - what a model is made of, for the files that build and read it. */
#ifndef CN_ONNX_MODEL_H
#define CN_ONNX_MODEL_H

#include <onnx/onnx.pb-c.h> /* made by protoc-c from the proto file of ONNX */

#include "io/onnx.h"
#include "io/onnx_arena.h"

struct CnOnnx {
  CnOnnxArena arena;       /* of everything below */
  Onnx__ModelProto *model; /* with a graph */
  char *what;              /* the file, for messages */
};

/* An empty one (model NULL) that may take `allowed` bytes. */
CnErr cn_onnx_create(CnOnnx **out, const char *what, size_t allowed);

#endif
