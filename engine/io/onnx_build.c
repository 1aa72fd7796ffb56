/* onnx_build.c - making a model and writing it: protobuf messages in the model's arena, written as they are walked. */
#include <string.h>

#include "io/file.h"
#include "io/onnx_model.h"

#define LARGEST ((size_t)INT32_MAX) /* bytes of a protobuf message */

/* ---- pieces ---- */

/* A message of any kind: `init` is its generated initial value. */
static void *message(CnOnnx *m, const void *init, size_t size) {
  void *made = cn_onnx_take(&m->arena, size);
  return made != NULL ? memcpy(made, init, size) : NULL;
}

#define MESSAGE(m, Type, INIT) message(m, &(const Onnx__##Type)INIT, sizeof(Onnx__##Type))

static char *text(CnOnnx *m, const char *from, size_t length) {
  char *copy = cn_onnx_take(&m->arena, length + 1);
  return copy != NULL ? memcpy(copy, from, length) : NULL;
}

static CnErr set_text(CnOnnx *m, char **field, const char *from) {
  *field = text(m, from, strlen(from));
  return *field != NULL ? CN_OK : CN_EMEMORY;
}

/* Appends to a repeated field of messages. It grows by doubling when its count is a power of two. */
static CnErr append(CnOnnx *m, size_t *count, void ***list, void *made) {
  if (made == NULL) return CN_EMEMORY;
  if ((*count & (*count - 1)) == 0) {
    void **larger = cn_onnx_take(&m->arena, (*count > 0 ? 2 * *count : 1) * sizeof *larger);
    if (larger == NULL) return CN_EMEMORY;
    if (*count > 0) memcpy(larger, *list, *count * sizeof *larger);
    *list = larger;
  }
  (*list)[(*count)++] = made;
  return CN_OK;
}

#define APPEND(m, owner, field, made) append(m, &(owner)->n_##field, (void ***)&(owner)->field, made)

CnErr cn_onnx_new(CnOnnx **out, const char *graph, const char *producer_version) {
  CnOnnx *m;
  CN_TRY(cn_onnx_create(&m, "the new model", SIZE_MAX));
  Onnx__OperatorSetIdProto *set = MESSAGE(m, OperatorSetIdProto, ONNX__OPERATOR_SET_ID_PROTO__INIT);
  m->model = MESSAGE(m, ModelProto, ONNX__MODEL_PROTO__INIT);
  CnErr e = m->model != NULL && set != NULL ? CN_OK : CN_EMEMORY;
  if (e == CN_OK) {
    m->model->has_ir_version = set->has_version = true;
    m->model->ir_version = CN_ONNX_IR;
    set->version = CN_ONNX_OPSET;
    e = set_text(m, &set->domain, "");
  }
  if (e == CN_OK) e = APPEND(m, m->model, opset_import, set);
  if (e == CN_OK) e = set_text(m, &m->model->producer_name, "cnas");
  if (e == CN_OK) e = set_text(m, &m->model->producer_version, producer_version);
  if (e == CN_OK) e = (m->model->graph = MESSAGE(m, GraphProto, ONNX__GRAPH_PROTO__INIT)) ? CN_OK : CN_EMEMORY;
  if (e == CN_OK) e = set_text(m, &m->model->graph->name, graph);
  if (e == CN_OK) *out = m;
  else cn_onnx_close(m);
  return e;
}

/* ---- nodes ---- */

static CnErr make_attribute(CnOnnx *m, Onnx__AttributeProto **out, const CnOnnxAttribute *from) {
  static const Onnx__AttributeProto__AttributeType type[] = {
    [CN_ONNX_INT] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT,
    [CN_ONNX_FLOAT] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT,
    [CN_ONNX_INTS] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS,
    [CN_ONNX_STRING] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING,
  };
  Onnx__AttributeProto *a = *out = MESSAGE(m, AttributeProto, ONNX__ATTRIBUTE_PROTO__INIT);
  if (a == NULL) return CN_EMEMORY;
  CN_TRY(set_text(m, &a->name, from->name));
  a->has_type = true;
  a->type = type[from->kind];
  size_t count = (size_t)from->count;
  switch (from->kind) {
    case CN_ONNX_INT: a->has_i = true, a->i = from->i; break;
    case CN_ONNX_FLOAT: a->has_f = true, a->f = from->f; break;
    case CN_ONNX_INTS:
      a->n_ints = count;
      a->ints = cn_onnx_take(&m->arena, count * sizeof *a->ints);
      if (a->ints == NULL) return CN_EMEMORY;
      if (count > 0) memcpy(a->ints, from->ints, count * sizeof *a->ints);
      break;
    case CN_ONNX_STRING:
      a->has_s = true;
      a->s.len = count;
      a->s.data = (uint8_t *)text(m, from->s, count);
      if (a->s.data == NULL) return CN_EMEMORY;
      break;
  }
  return CN_OK;
}

static CnErr add_names(CnOnnx *m, size_t *count, char ***list, char *const *from, int n) {
  for (int i = 0; i < n; i++) CN_TRY(append(m, count, (void ***)list, text(m, from[i], strlen(from[i]))));
  return CN_OK;
}

CnErr cn_onnx_add_node(CnOnnx *m, const CnOnnxNode *from, const CnOnnxAttribute *attributes) {
  Onnx__NodeProto *node = MESSAGE(m, NodeProto, ONNX__NODE_PROTO__INIT);
  if (node == NULL) return CN_EMEMORY;
  CN_TRY(add_names(m, &node->n_input, &node->input, from->input, from->inputs));
  CN_TRY(add_names(m, &node->n_output, &node->output, from->output, from->outputs));
  CN_TRY(set_text(m, &node->name, from->name));
  CN_TRY(set_text(m, &node->op_type, from->op));
  for (int i = 0; i < from->attributes; i++) {
    Onnx__AttributeProto *a;
    CN_TRY(make_attribute(m, &a, &attributes[i]));
    CN_TRY(APPEND(m, node, attribute, a));
  }
  return APPEND(m, m->model->graph, node, node);
}

/* ---- constants, values, metadata ---- */

static CnErr data_type(int32_t *out, CnDtype dtype, const char *name) {
  if (dtype != CN_F32 && dtype != CN_I64)
    return cn_fail(CN_EUSAGE, "onnx: %s must be f32 or i64, got %s", name, cn_dtype_name(dtype));
  *out = dtype == CN_F32 ? ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT : ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
  return CN_OK;
}

CnErr cn_onnx_add_constant(CnOnnx *m, const char *name, CnTensor *t) {
  Onnx__TensorProto *made = MESSAGE(m, TensorProto, ONNX__TENSOR_PROTO__INIT);
  if (made == NULL) return CN_EMEMORY;
  CN_TRY(data_type(&made->data_type, t->dtype, name));
  CN_TRY(set_text(m, &made->name, name));
  made->has_data_type = made->has_raw_data = true;
  made->n_dims = (size_t)t->ndim;
  made->dims = cn_onnx_take(&m->arena, sizeof t->shape);
  made->raw_data.len = cn_tensor_bytes(t);
  made->raw_data.data = cn_onnx_take(&m->arena, made->raw_data.len);
  if (made->dims == NULL || made->raw_data.data == NULL) return CN_EMEMORY;
  memcpy(made->dims, t->shape, sizeof t->shape);
  CN_TRY(cn_tensor_read(t, made->raw_data.data, made->raw_data.len));
  return APPEND(m, m->model->graph, initializer, made);
}

static CnErr add_dimension(CnOnnx *m, Onnx__TensorShapeProto *shape, int64_t size, const char *symbol) {
  Onnx__TensorShapeProto__Dimension *d =
    MESSAGE(m, TensorShapeProto__Dimension, ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT);
  if (d == NULL) return CN_EMEMORY;
  if (symbol != NULL) {
    d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    CN_TRY(set_text(m, &d->dim_param, symbol));
  } else if (size >= 0) {
    d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    d->dim_value = size;
  }
  return APPEND(m, shape, dim, d);
}

CnErr cn_onnx_add_value(CnOnnx *m, bool output, const CnOnnxValue *from) {
  Onnx__ValueInfoProto *made = MESSAGE(m, ValueInfoProto, ONNX__VALUE_INFO_PROTO__INIT);
  Onnx__TypeProto *type = MESSAGE(m, TypeProto, ONNX__TYPE_PROTO__INIT);
  Onnx__TypeProto__Tensor *tensor = MESSAGE(m, TypeProto__Tensor, ONNX__TYPE_PROTO__TENSOR__INIT);
  Onnx__TensorShapeProto *shape = MESSAGE(m, TensorShapeProto, ONNX__TENSOR_SHAPE_PROTO__INIT);
  if (made == NULL || type == NULL || tensor == NULL || shape == NULL) return CN_EMEMORY;
  CN_TRY(set_text(m, &made->name, from->name));
  CN_TRY(data_type(&tensor->elem_type, from->dtype, from->name));
  tensor->has_elem_type = true;
  tensor->shape = shape;
  type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  type->tensor_type = tensor;
  made->type = type;
  for (int i = 0; i < from->ndim; i++) CN_TRY(add_dimension(m, shape, from->shape[i], from->symbol[i]));
  if (output) return APPEND(m, m->model->graph, output, made);
  return APPEND(m, m->model->graph, input, made);
}

CnErr cn_onnx_add_metadata(CnOnnx *m, const char *key, const char *value) {
  Onnx__StringStringEntryProto *entry = MESSAGE(m, StringStringEntryProto, ONNX__STRING_STRING_ENTRY_PROTO__INIT);
  if (entry == NULL) return CN_EMEMORY;
  CN_TRY(set_text(m, &entry->key, key));
  CN_TRY(set_text(m, &entry->value, value));
  return APPEND(m, m->model, metadata_props, entry);
}

/* ---- writing ---- */

typedef struct Sink { /* what protobuf-c packs into */
  ProtobufCBuffer base;
  CnWriter *file;
  CnErr error;
} Sink;

static void sink_append(ProtobufCBuffer *buffer, size_t size, const uint8_t *data) {
  Sink *s = (Sink *)buffer;
  if (s->error == CN_OK) s->error = cn_writer_put(s->file, data, size);
}

CnErr cn_onnx_save(const CnOnnx *m, const char *path) {
  size_t size = onnx__model_proto__get_packed_size(m->model);
  if (size > LARGEST)
    return cn_fail(CN_EUSAGE, "%s: the model has %zu bytes, and an ONNX file at most 2 GiB: save it as safetensors",
                   path, size);
  Sink sink = { .base = { sink_append } };
  CN_TRY(cn_writer_open(&sink.file, path));
  onnx__model_proto__pack_to_buffer(m->model, &sink.base);
  if (sink.error == CN_OK) return cn_writer_commit(sink.file);
  cn_writer_abandon(sink.file);
  return sink.error;
}
