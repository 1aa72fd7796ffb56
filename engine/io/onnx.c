/* onnx.c - reading a model, and looking into one.
**
** protobuf-c unpacks messages within messages by recursion, and a few bytes of a file can ask for a large structure. So
** the nesting is measured first, by a walk over the bytes that allocates nothing, and the arena has a limit. */
#include "io/onnx.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "io/file.h"
#include "io/onnx_model.h"

#define FLOOR ((size_t)16 << 20)           /* bytes that unpacking any file may take beyond the file's size */
#define LARGEST ((size_t)INT32_MAX)        /* bytes of a protobuf message */
#define DEEPEST 12                         /* messages within messages; a model needs 6 */

CnErr cn_onnx_create(CnOnnx **out, const char *what, size_t allowed) {
  CnOnnx *m = cn_alloc_zeroed(sizeof *m);
  if (m == NULL) return CN_EMEMORY;
  m->arena.allowed = allowed;
  m->what = cn_strdup(what);
  if (m->what == NULL) {
    cn_free(m);
    return CN_EMEMORY;
  }
  *out = m;
  return CN_OK;
}

void cn_onnx_close(CnOnnx *m) {
  if (m == NULL) return;
  cn_onnx_let_go(&m->arena);
  cn_free(m->what);
  cn_free(m);
}

/* ---- measuring the nesting ---- */

typedef struct Bytes {
  const uint8_t *at, *end;
} Bytes;

/* A variable-length number; false: it does not end. */
static bool number(Bytes *b, uint64_t *out) {
  *out = 0;
  for (int shift = 0; shift < 64 && b->at < b->end; shift += 7) {
    uint8_t byte = *b->at++;
    *out |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return true;
  }
  return false;
}

/* That the bytes are fields of such a message, and of messages within it, no deeper than allowed. */
static bool well_formed(Bytes b, const ProtobufCMessageDescriptor *type, int depth) {
  enum { VARINT, EIGHT_BYTES, COUNTED, FOUR_BYTES = 5 };
  uint64_t tag, size;
  if (depth > DEEPEST) return false;
  while (b.at < b.end) {
    if (!number(&b, &tag) || tag >> 3 == 0 || tag >> 32 != 0) return false;
    switch (tag & 7) {
      case VARINT:
        if (!number(&b, &size)) return false;
        size = 0;
        break;
      case EIGHT_BYTES: size = 8; break;
      case FOUR_BYTES: size = 4; break;
      case COUNTED:
        if (!number(&b, &size)) return false;
        break;
      default: return false;
    }
    if (size > (uint64_t)(b.end - b.at)) return false;
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
    if (field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE && (tag & 7) == COUNTED &&
        !well_formed((Bytes){ b.at, b.at + size }, field->descriptor, depth + 1))
      return false;
    b.at += size;
  }
  return true;
}

/* ---- reading ---- */

static void *arena_alloc(void *arena, size_t size) { return cn_onnx_take(arena, size); }

static void arena_free(void *arena, void *piece) {
  (void)arena;
  (void)piece;
}

static CnErr check_constant(const CnOnnx *m, const Onnx__TensorProto *t) {
  const char *name = t->name != NULL ? t->name : "without a name";
  if (t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL || t->n_external_data > 0)
    return cn_fail(CN_EDATA, "%s: constant %s is kept in another file, which is not supported", m->what, name);
  bool real = t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  if (!real && t->data_type != ONNX__TENSOR_PROTO__DATA_TYPE__INT64)
    return cn_fail(CN_EDATA, "%s: constant %s is of ONNX's type %d, and only f32 (1) and i64 (7) are supported",
                   m->what, name, (int)t->data_type);
  if (t->n_dims > CN_MAX_DIMS)
    return cn_fail(CN_EDATA, "%s: constant %s has %zu dimensions, more than %d", m->what, name, t->n_dims, CN_MAX_DIMS);
  uint64_t bytes = real ? 4 : 8;
  for (size_t i = 0; i < t->n_dims; i++)
    if (t->dims[i] < 0 || __builtin_mul_overflow(bytes, (uint64_t)t->dims[i], &bytes))
      return cn_fail(CN_EDATA, "%s: constant %s has a size of %" PRId64, m->what, name, t->dims[i]);
  if (bytes != t->raw_data.len)
    return cn_fail(CN_EDATA, "%s: constant %s has %zu bytes of raw data, and its shape needs %" PRIu64, m->what, name,
                   t->raw_data.len, bytes);
  return CN_OK;
}

/* What the rest of this file, and its users, rely on. */
static CnErr check(const CnOnnx *m) {
  const Onnx__ModelProto *model = m->model;
  if (model->graph == NULL || !model->has_ir_version)
    return cn_fail(CN_EDATA, "%s: not an ONNX model: it has no %s", m->what, model->graph ? "IR version" : "graph");
  if (model->ir_version < 3 || model->ir_version > 10)
    return cn_fail(CN_EDATA, "%s: IR version %" PRId64 " is not supported (3 to 10 are)", m->what, model->ir_version);
  if (model->n_functions > 0 || model->graph->n_sparse_initializer > 0)
    return cn_fail(CN_EDATA, "%s: %s are not supported", m->what,
                   model->n_functions > 0 ? "functions of a model's own" : "sparse constants");
  for (size_t i = 0; i < model->graph->n_node; i++)
    if (model->graph->node[i]->op_type == NULL)
      return cn_fail(CN_EDATA, "%s: node %zu has no operation", m->what, i + 1);
  for (size_t i = 0; i < model->graph->n_initializer; i++) CN_TRY(check_constant(m, model->graph->initializer[i]));
  return CN_OK;
}

static CnErr unpack(CnOnnx *m, const void *data, size_t size) {
  const uint8_t *bytes = data;
  if (size > LARGEST) return cn_fail(CN_EDATA, "%s: %zu bytes, and an ONNX file has at most 2 GiB", m->what, size);
  if (!well_formed((Bytes){ bytes, bytes + size }, &onnx__model_proto__descriptor, 0))
    return cn_fail(CN_EDATA, "%s: not an ONNX model, or damaged: its messages do not fit into each other", m->what);
  ProtobufCAllocator allocator = { arena_alloc, arena_free, &m->arena };
  m->model = onnx__model_proto__unpack(&allocator, size, bytes);
  if (m->model != NULL) return check(m);
  if (m->arena.failed) return CN_EMEMORY;
  if (m->arena.refused)
    return cn_fail(CN_EDATA, "%s: unpacked it would take more than twice its size and 16 MiB of memory", m->what);
  return cn_fail(CN_EDATA, "%s: not an ONNX model, or damaged: it cannot be unpacked", m->what);
}

CnErr cn_onnx_open_memory(CnOnnx **out, const void *data, size_t size, const char *name) {
  CnOnnx *m;
  CN_TRY(cn_onnx_create(&m, name, size + FLOOR));
  CnErr e = unpack(m, data, size);
  if (e == CN_OK) *out = m;
  else cn_onnx_close(m);
  return e;
}

CnErr cn_onnx_open(CnOnnx **out, const char *path) {
  char *bytes;
  size_t size;
  CN_TRY(cn_file_read(&bytes, &size, path, LARGEST));
  CnErr e = cn_onnx_open_memory(out, bytes, size, path);
  cn_free(bytes);
  return e;
}

/* ---- looking into it ---- */

CnOnnxAbout cn_onnx_about(const CnOnnx *m) {
  const Onnx__ModelProto *model = m->model;
  CnOnnxAbout about = { .ir_version = model->ir_version, .producer = model->producer_name,
                        .producer_version = model->producer_version, .graph = model->graph->name };
  for (size_t i = 0; i < model->n_opset_import; i++) {
    const char *domain = model->opset_import[i]->domain;
    if (domain == NULL || domain[0] == 0) about.opset = model->opset_import[i]->version;
  }
  return about;
}

int cn_onnx_nodes(const CnOnnx *m) { return (int)m->model->graph->n_node; }

CnOnnxNode cn_onnx_node(const CnOnnx *m, int i) {
  const Onnx__NodeProto *node = m->model->graph->node[i];
  return (CnOnnxNode){ .op = node->op_type, .name = node->name != NULL ? node->name : "", .inputs = (int)node->n_input,
                       .outputs = (int)node->n_output, .attributes = (int)node->n_attribute, .input = node->input,
                       .output = node->output };
}

CnErr cn_onnx_attribute(CnOnnxAttribute *out, const CnOnnx *m, int node, int i) {
  const Onnx__NodeProto *owner = m->model->graph->node[node];
  const Onnx__AttributeProto *a = owner->attribute[i];
  *out = (CnOnnxAttribute){ .name = a->name != NULL ? a->name : "" };
  switch (a->type) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT: out->kind = CN_ONNX_INT, out->i = a->i; return CN_OK;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT: out->kind = CN_ONNX_FLOAT, out->f = a->f; return CN_OK;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
      out->kind = CN_ONNX_INTS;
      out->ints = a->ints;
      out->count = (int)a->n_ints;
      return CN_OK;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
      out->kind = CN_ONNX_STRING;
      out->s = a->s.data != NULL ? (const char *)a->s.data : "";
      out->count = (int)a->s.len;
      return CN_OK;
    default:
      return cn_fail(CN_EDATA, "%s: node %d (%s): attribute %s is of ONNX's type %d, and only float (1), integer (2), "
                     "text (3) and integers (7) are supported", m->what, node + 1, owner->op_type, out->name,
                     (int)a->type);
  }
}

int cn_onnx_constants(const CnOnnx *m) { return (int)m->model->graph->n_initializer; }

const char *cn_onnx_constant_name(const CnOnnx *m, int i) {
  const char *name = m->model->graph->initializer[i]->name;
  return name != NULL ? name : "";
}

CnErr cn_onnx_constant(CnTensor **out, const CnOnnx *m, int i) {
  const Onnx__TensorProto *from = m->model->graph->initializer[i];
  CnDtype dtype = from->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT ? CN_F32 : CN_I64;
  CnTensor *t;
  CN_TRY(cn_tensor_new(&t, dtype, CN_DEVICE_CPU, (int)from->n_dims, from->dims));
  if (from->raw_data.len > 0) memcpy(cn_tensor_data(t), from->raw_data.data, from->raw_data.len);
  *out = t;
  return CN_OK;
}

int cn_onnx_values(const CnOnnx *m, bool output) {
  return (int)(output ? m->model->graph->n_output : m->model->graph->n_input);
}

CnErr cn_onnx_value(CnOnnxValue *out, const CnOnnx *m, bool output, int i) {
  const Onnx__ValueInfoProto *from = (output ? m->model->graph->output : m->model->graph->input)[i];
  *out = (CnOnnxValue){ .name = from->name != NULL ? from->name : "" };
  const Onnx__TypeProto__Tensor *type = NULL;
  if (from->type != NULL && from->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
    type = from->type->tensor_type;
  bool real = type != NULL && type->elem_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  if (!real && (type == NULL || type->elem_type != ONNX__TENSOR_PROTO__DATA_TYPE__INT64))
    return cn_fail(CN_EDATA, "%s: %s %s must be a tensor of f32 or i64", m->what, output ? "output" : "input",
                   out->name);
  out->dtype = real ? CN_F32 : CN_I64;
  size_t n = type->shape != NULL ? type->shape->n_dim : 0;
  if (n > CN_MAX_DIMS)
    return cn_fail(CN_EDATA, "%s: %s has %zu dimensions, more than %d", m->what, out->name, n, CN_MAX_DIMS);
  out->ndim = (int)n;
  for (size_t d = 0; d < n; d++) {
    const Onnx__TensorShapeProto__Dimension *size = type->shape->dim[d];
    bool known = size->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    bool named = size->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    out->shape[d] = known ? size->dim_value : -1;
    out->symbol[d] = named ? size->dim_param : NULL;
  }
  return CN_OK;
}

int cn_onnx_metadata(const CnOnnx *m) { return (int)m->model->n_metadata_props; }

void cn_onnx_metadata_entry(const CnOnnx *m, int i, const char **key, const char **value) {
  const Onnx__StringStringEntryProto *entry = m->model->metadata_props[i];
  *key = entry->key != NULL ? entry->key : "";
  *value = entry->value != NULL ? entry->value : "";
}
