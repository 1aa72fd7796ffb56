/* op.c - the table of rows, and applying one.
**
** The text columns of ops.def are parsed once, on first use. Nothing here knows what an operation computes. */
#include "tensor/op.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "tensor/autograd.h"
#include "tensor/composed.h"
#include "tensor/shape.h"
#include "tensor/view.h"
#include "tensor/watch.h"

/* Functions of view and composed rows, by kind. */
#define FUNCTIONS_CN_KERNEL(id) NULL, NULL
#define FUNCTIONS_CN_FORWARD(id) NULL, NULL
#define FUNCTIONS_CN_INPLACE(id) NULL, NULL
#define FUNCTIONS_CN_VIEW(id) id##_view, id##_view_backward
#define FUNCTIONS_CN_COMPOSED(id) id##_composed, NULL

_Static_assert(CN_KERNEL_TYPES == CN_DTYPES, "a column of kernels has one for each type");

static const CnOp rows[CN_OPS] = {
#define CN_OP(kind, id, inputs, attrs, outputs, types, saves, shape, doc) \
  [CN_OP_##id] = { CN_OP_##id, kind, #id, inputs, attrs, outputs, types, saves, shape, FUNCTIONS_##kind(id), doc },
#include "tensor/ops.def"
#undef CN_OP
};

static CnOpInfo infos[CN_OPS];
static pthread_once_t parsed = PTHREAD_ONCE_INIT;

static const struct {
  const char *name;
  int slots;
} attr_kinds[] = { [CN_INT] = { "int", 1 },   [CN_FLOAT] = { "float", 1 }, [CN_BOOL] = { "bool", 1 },
                   [CN_DTYPE] = { "dtype", 1 }, [CN_PAIR] = { "pair", 2 },   [CN_DIM] = { "dim", 1 },
                   [CN_DIMS] = { "dims", 1 }, [CN_INTS] = { "ints", 7 },   [CN_RNG_SLOTS] = { "rng", 3 } };

/* The next word of a space-separated list into `word`; returns what is left, NULL at the end. */
static const char *next_word(const char *list, char word[64]) {
  list += strspn(list, " ");
  size_t n = strcspn(list, " ");
  if (n == 0) return NULL;
  memcpy(word, list, n);
  word[n] = 0;
  return list + n;
}

static void parse_input(CnInputInfo *input, char *word) {
  char *type = strchr(word, ':');
  input->dtype = CN_CALLS;
  if (type) {
    CnDtype dtype = CN_F32;
    *type = 0;
    if (strcmp(type + 1, "real")) (void)cn_dtype_parse(&dtype, type + 1);
    input->dtype = strcmp(type + 1, "real") ? (int)dtype : CN_CALLS_REAL;
  }
  size_t n = strlen(word);
  input->optional = word[n - 1] == '?';
  input->variadic = n > 3 && !strcmp(word + n - 3, "...");
  n -= input->optional ? 1 : input->variadic ? 3 : 0;
  input->adds = word[n - 1] == '+';
  word[n - (input->adds ? 1 : 0)] = 0;
  snprintf(input->name, sizeof input->name, "%.23s", word);
}

static void parse_attr(CnOpInfo *info, CnAttrInfo *attr, char *word, int slot) {
  char *value = strchr(word, '='), *kind = strchr(word, ':');
  if (value) *value++ = 0;
  *kind++ = 0;
  snprintf(attr->name, sizeof attr->name, "%.23s", word);
  for (int k = 0; k <= CN_RNG_SLOTS; k++)
    if (!strcmp(kind, attr_kinds[k].name)) attr->kind = (CnAttrKind)k;
  attr->slot = slot;
  attr->slots = attr_kinds[attr->kind].slots;
  attr->required = value == NULL;
  for (int i = 0; value && i < attr->slots; i++) {
    if (attr->kind == CN_FLOAT) info->defaults[slot].f = atof(value);
    else if (attr->kind == CN_DIM && value[0] != '-') info->defaults[slot].i = atoll(value) - 1;
    else info->defaults[slot + i].i = atoll(value);
  }
}

static void parse_rows(void) {
  char word[64];
  for (int id = 0; id < CN_OPS; id++) {
    CnOpInfo *info = &infos[id];
    for (const char *p = rows[id].inputs; (p = next_word(p, word));) parse_input(&info->input[info->inputs++], word);
    int slot = 0;
    for (const char *p = rows[id].attrs; (p = next_word(p, word)); info->attrs++) {
      parse_attr(info, &info->attr[info->attrs], word, slot);
      slot += info->attr[info->attrs].slots;
    }
    for (const char *p = rows[id].outputs; (p = next_word(p, word)); info->outputs++) {
      char *mark = strpbrk(word, "*?~");
      info->visible += !mark || *mark != '*';
      if (mark && *mark == '~') info->takes_factor |= 1u << info->outputs;
      if (mark) *mark = 0;
      char saved[64];
      for (const char *q = rows[id].saves; (q = next_word(q, saved));)
        if (!strcmp(saved, word)) info->saves_out |= 1u << info->outputs;
    }
    for (const char *p = rows[id].saves; (p = next_word(p, word));)
      for (int i = 0; i < info->inputs; i++)
        if (!strcmp(word, info->input[i].name)) info->saves_in |= 1u << i;
  }
}

const CnOp *cn_op(CnOpId id) { return &rows[id]; }

const CnOpInfo *cn_op_info(CnOpId id) {
  pthread_once(&parsed, parse_rows);
  return &infos[id];
}

const CnOp *cn_op_find(const char *name) {
  for (int id = 0; id < CN_OPS; id++)
    if (!strcmp(rows[id].name, name)) return &rows[id];
  return NULL;
}

static bool strided(const CnOp *op) { return op->types == CN_FLOATS_STRIDED || op->types == CN_ANY_STRIDED; }

/* The types that a row has kernels for, as bits; and the same in words. */
static const struct {
  uint32_t bits;
  const char *words;
} row_types[] = {
  [CN_FLOATS] = { 1u << CN_F32 | 1u << CN_F64, "f32 or f64" },
  [CN_FLOATS_STRIDED] = { 1u << CN_F32 | 1u << CN_F64, "f32 or f64" },
  [CN_ALL_FLOATS] = { 1u << CN_F32 | 1u << CN_F64 | 1u << CN_BF16, "f32, f64 or bf16" },
  [CN_ANY] = { (1u << CN_DTYPES) - 1, "any type" },
  [CN_ANY_STRIDED] = { (1u << CN_DTYPES) - 1, "any type" },
};

static const CnInputInfo *input_info(const CnOpInfo *info, int i) {
  return &info->input[CN_INPUT_INDEX(info, i)];
}

/* The call's type: that of the first input without one of its own. */
static CnErr find_type(CnCall *call) {
  const CnOp *op = call->op;
  for (int i = 0; i < call->nin && call->dtype == CN_DTYPES; i++)
    if (call->in[i] && input_info(cn_op_info(op->id), i)->dtype == CN_CALLS) call->dtype = call->in[i]->dtype;
  if (call->dtype == CN_DTYPES || row_types[op->types].bits >> call->dtype & 1) return CN_OK;
  return cn_fail(CN_EUSAGE, "%s: expected %s, got %s: convert with :to()", op->name, row_types[op->types].words,
                 cn_dtype_name(call->dtype));
}

static CnDtype expected_type(const CnCall *call, const CnInputInfo *input) {
  if (input->dtype == CN_CALLS) return call->dtype;
  return input->dtype == CN_CALLS_REAL ? cn_dtype_real(call->dtype) : (CnDtype)input->dtype;
}

/* Counts, types and devices of the inputs; fills in the call's type and device. */
static CnErr check_inputs(CnCall *call) {
  const CnOp *op = call->op;
  const CnOpInfo *info = cn_op_info(op->id);
  bool variadic = info->inputs > 0 && info->input[info->inputs - 1].variadic;
  if (call->nin > (variadic ? CN_MAX_INPUTS : info->inputs))
    return cn_fail(CN_EUSAGE, "%s: at most %d inputs, got %d",
                   op->name, variadic ? CN_MAX_INPUTS : info->inputs, call->nin);
  if (variadic && call->nin < info->inputs)
    return cn_fail(CN_EUSAGE, "%s: at least one %s", op->name, input_info(info, info->inputs - 1)->name);
  int count = variadic ? call->nin : info->inputs;
  bool placed = false;
  for (int i = 0; i < count; i++)
    if ((i >= call->nin || !call->in[i]) && !input_info(info, i)->optional)
      return cn_fail(CN_EUSAGE, "%s: %s is missing", op->name, input_info(info, i)->name);
  CN_TRY(find_type(call));
  for (int i = 0; i < call->nin; i++) {
    const CnInputInfo *input = input_info(info, i);
    CnTensor *t = call->in[i];
    if (!t) continue;
    if (t->dtype != expected_type(call, input))
      return cn_fail(CN_EUSAGE, "%s: %s must be %s, got %s: convert with :to()", op->name, input->name,
                     cn_dtype_name(expected_type(call, input)), cn_dtype_name(t->dtype));
    char a[16], b[16];
    if (placed && !cn_device_equal(call->device, cn_tensor_device(t)))
      return cn_fail(CN_EUSAGE, "%s: inputs are on %s and %s: move them with :to()", op->name,
                     cn_device_name(call->device, a), cn_device_name(cn_tensor_device(t), b));
    call->device = cn_tensor_device(t);
    placed = true;
  }
  return CN_OK;
}

static CnErr find_kernel(CnKernel *out, const CnCall *call) {
  const CnDeviceModule *module = NULL;
  CN_TRY(cn_device_module(&module, call->device.kind));
  *out = module->kernels ? module->kernels[call->op->id].forward[call->dtype] : NULL;
  if (*out) return CN_OK;
  return cn_fail(CN_ENOKERNEL, "%s: no %s kernel on %s", call->op->name, cn_dtype_name(call->dtype), module->name);
}

/* Replaces inputs that are not contiguous by contiguous copies (in the graph). `owned` gets what must be released. */
static CnErr make_contiguous(CnCall *call, CnTensor **owned) {
  for (int i = 0; i < call->nin; i++) {
    if (!call->in[i] || cn_tensor_is_contiguous(call->in[i])) continue;
    CN_TRY(cn_apply1(&owned[i], CN_OP_contiguous, call->in[i], NULL));
    call->in[i] = owned[i];
  }
  return CN_OK;
}

static void release(CnTensor **tensors, int n) {
  for (int i = 0; i < n; i++) {
    cn_tensor_unref(tensors[i]);
    tensors[i] = NULL;
  }
}

static CnErr run_kernel(CnCall *call) {
  CnKernel kernel = NULL;
  CN_TRY(find_kernel(&kernel, call));
  CN_TRY(call->op->shape(call));
  for (int i = 0; i < call->nout; i++) {
    const CnSpec *spec = &call->out_spec[i];
    CN_TRY(cn_tensor_new(&call->out[i], spec->dtype, call->device, spec->ndim, spec->shape));
  }
  return cn_run_watched(kernel, call);
}

/* In place: the first input may have any strides; then a contiguous copy is written and copied back. */
static CnErr run_inplace(CnCall *call, CnTensor *original) {
  if (cn_grad_enabled() && cn_tensor_tracked(original))
    return cn_fail(CN_EUSAGE, "%s: cannot write in place to a tensor that takes part in a gradient: use no_grad",
                   call->op->name);
  CnKernel kernel = NULL;
  CN_TRY(find_kernel(&kernel, call));
  CN_TRY(call->op->shape(call));
  for (int i = 0; i < call->nin; i++) /* which of them the kernel writes is the row's business */
    if (call->in[i]) call->in[i]->storage->version++;
  CN_TRY(cn_run_watched(kernel, call));
  return call->in[0] == original ? CN_OK : cn_tensor_copy(original, call->in[0]);
}

static bool any_tracked(const CnCall *call) {
  for (int i = 0; i < call->nin; i++)
    if (call->in[i] && cn_tensor_tracked(call->in[i])) return true;
  return false;
}

static CnErr run(CnCall *call, CnTensor *const *in) {
  const CnOp *op = call->op;
  if (op->kind == CN_COMPOSED) return op->forward(call);
  if (op->kind == CN_INPLACE) return run_inplace(call, in[0]);
  CN_TRY(op->kind == CN_VIEW ? cn_run_watched(op->forward, call) : run_kernel(call));
  bool floats = cn_dtype_is_float(call->dtype) && cn_dtype_is_float(call->out[0]->dtype);
  bool differentiable = op->kind != CN_FORWARD && floats;
  return differentiable && cn_grad_enabled() && any_tracked(call) ? cn_node_record(call) : CN_OK;
}

CnErr cn_apply(CnTensor **out, CnOpId id, CnTensor *const *in, int nin, const CnAttr *attr) {
  CnCall call = { .op = &rows[id], .nin = nin, .dtype = CN_DTYPES };
  const CnOpInfo *info = cn_op_info(id);
  CnTensor *owned[CN_MAX_INPUTS] = { NULL };
  if (nin > CN_MAX_INPUTS)
    return cn_fail(CN_EUSAGE, "%s: at most %d inputs, got %d", call.op->name, CN_MAX_INPUTS, nin);
  cn_progress_note();
  for (int i = 0; i < nin; i++) call.in[i] = in[i];
  int slots = info->attrs ? info->attr[info->attrs - 1].slot + info->attr[info->attrs - 1].slots : 0;
  memcpy(call.attr, attr ? attr : info->defaults, (size_t)slots * sizeof *attr);
  CnErr e = check_inputs(&call);
  if (e == CN_OK && !strided(call.op)) e = make_contiguous(&call, owned);
  for (int i = 0; i < CN_MAX_INPUTS; i++)
    call.in_spec[i] = call.in[i] ? cn_tensor_spec(call.in[i]) : (CnSpec){ .ndim = -1 };
  call.nout = call.op->kind == CN_INPLACE ? 0 : info->outputs;
  if (e == CN_OK) e = run(&call, in);
  release(owned, nin);
  if (e == CN_OK)
    for (int i = 0; i < info->visible; i++) {
      out[i] = call.out[i];
      call.out[i] = NULL;
    }
  release(call.out, CN_MAX_OUTPUTS);
  return e;
}
