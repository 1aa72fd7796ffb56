/* autograd.c - the tape: nodes, edges, and the walk back.
**
** A node never refers to the tensors it computed, only the other way round: no cycles, so counting references frees
** every graph. Values that backward reads are kept as detached aliases, with the version of their storage: a write in
** place after the fact is an error, not a wrong gradient. */
#include "tensor/autograd.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/additions.h"
#include "tensor/watch.h"

/* To gradients of leaves, of the walk that this thread is on; NULL: they are made at once. */
static _Thread_local CnAdditions *put_off;

typedef struct Saved {
  CnTensor *tensor; /* detached alias, or NULL */
  uint32_t version;
} Saved;

typedef struct Source { /* an input: where its gradient goes */
  CnNode *node;         /* the node that computed it, */
  int output;           /* as which output; */
  CnTensor *leaf;       /* or the leaf that wants it; or neither */
  CnSpec spec;
  Saved saved;
} Source;

typedef struct Result { /* an output */
  CnSpec spec;
  Saved saved;
  CnTensor *gradient; /* summed up during backward */
  CnTensor *factor;   /* of the gradient, by channel: not yet multiplied; NULL: 1 */
} Result;

struct CnNode {
  int refs;
  bool spent;          /* backward has passed and freed the values */
  const void *owner;   /* for whom it ran, see watch.h */
  uint64_t number;     /* rising in order of creation */
  uint64_t walk;       /* the backward that has reached it last */
  CnNode *next;        /* in the list of nodes being freed */
  const CnOp *op;      /* NULL: custom */
  CnCustom custom;
  CnDevice device;
  CnDtype dtype;
  CnAttr attr[CN_MAX_ATTRS];
  int nin, nout;
  Result result[CN_MAX_OUTPUTS];
  Source source[]; /* nin */
};

static _Thread_local bool recording = true;
static _Thread_local uint64_t created, walks;

bool cn_grad_enable(bool on) {
  bool before = recording;
  recording = on;
  return before;
}

bool cn_grad_enabled(void) { return recording; }

CnNode *cn_node_ref(CnNode *node) {
  if (node) node->refs++;
  return node;
}

static void gradient_clear(Result *r) {
  cn_tensor_unref(r->gradient);
  cn_tensor_unref(r->factor);
  r->gradient = r->factor = NULL;
}

static void saved_clear(Saved *saved) {
  cn_tensor_unref(saved->tensor);
  saved->tensor = NULL;
}

/* Frees what backward would read. */
static void node_spend(CnNode *node) {
  node->spent = true;
  for (int i = 0; i < node->nin; i++) saved_clear(&node->source[i].saved);
  for (int i = 0; i < node->nout; i++) saved_clear(&node->result[i].saved);
  if (node->custom.release) node->custom.release(node->custom.data);
  node->custom.release = NULL;
}

/* Long chains of nodes go one after the other, not one inside the other. */
void cn_node_unref(CnNode *node) {
  static _Thread_local CnNode *waiting;
  static _Thread_local bool freeing;
  if (!node || --node->refs > 0) return;
  node->next = waiting;
  waiting = node;
  if (freeing) return;
  freeing = true;
  while (waiting) {
    CnNode *dead = waiting;
    waiting = dead->next;
    node_spend(dead);
    for (int i = 0; i < dead->nout; i++) gradient_clear(&dead->result[i]);
    for (int i = 0; i < dead->nin; i++) {
      cn_tensor_unref(dead->source[i].leaf);
      cn_node_unref(dead->source[i].node);
    }
    cn_free(dead);
  }
  freeing = false;
}

static CnErr save(Saved *saved, const CnTensor *t) {
  CN_TRY(cn_tensor_detach(&saved->tensor, t));
  saved->version = t->storage->version;
  return CN_OK;
}

static CnNode *node_new(CnTensor *const *in, int nin, CnTensor *const *out, int nout) {
  CnNode *node = cn_alloc_zeroed(sizeof *node + (size_t)nin * sizeof node->source[0]);
  if (!node) return NULL;
  node->refs = 1;
  node->owner = cn_work.owner;
  node->number = ++created;
  node->nin = nin;
  node->nout = nout;
  for (int i = 0; i < nin; i++) {
    Source *source = &node->source[i];
    source->spec.ndim = -1;
    if (!in[i]) continue;
    source->spec = cn_tensor_spec(in[i]);
    source->node = cn_node_ref(in[i]->node);
    source->output = in[i]->node_output;
    if (!in[i]->node && in[i]->requires_grad) source->leaf = cn_tensor_ref(in[i]);
  }
  for (int i = 0; i < nout; i++) node->result[i].spec = cn_tensor_spec(out[i]);
  return node;
}

/* Makes the float outputs results of the node, and drops the caller's reference to it. */
static void adopt(CnNode *node, CnTensor **out) {
  for (int i = 0; i < node->nout; i++) {
    if (!cn_dtype_is_float(out[i]->dtype)) continue;
    out[i]->node = cn_node_ref(node);
    out[i]->node_output = i;
  }
  cn_node_unref(node);
}

CnErr cn_node_record(CnCall *call) {
  const CnOpInfo *info = cn_op_info(call->op->id);
  CnNode *node = node_new(call->in, call->nin, call->out, call->nout);
  if (!node) return CN_EMEMORY;
  node->op = call->op;
  node->device = call->device;
  node->dtype = call->dtype;
  memcpy(node->attr, call->attr, sizeof node->attr);
  CnErr e = CN_OK;
  for (int i = 0; i < call->nin && e == CN_OK; i++)
    if (call->in[i] && info->saves_in >> CN_INPUT_INDEX(info, i) & 1) e = save(&node->source[i].saved, call->in[i]);
  for (int i = 0; i < call->nout && e == CN_OK; i++)
    if (info->saves_out >> i & 1) e = save(&node->result[i].saved, call->out[i]);
  if (e != CN_OK) cn_node_unref(node);
  else adopt(node, call->out);
  return e;
}

CnErr cn_custom_record(CnTensor **out, int nout, CnTensor *const *in, int nin, CnCustom custom) {
  bool wanted = false;
  for (int i = 0; i < nin; i++) wanted = wanted || (in[i] && cn_tensor_tracked(in[i]));
  CnNode *node = recording && wanted ? node_new(in, nin, out, nout) : NULL;
  if (!node) {
    custom.release(custom.data);
    return recording && wanted ? CN_EMEMORY : CN_OK;
  }
  node->custom = custom;
  node->device = cn_tensor_device(out[0]);
  node->dtype = out[0]->dtype;
  adopt(node, out);
  return CN_OK;
}

/* A growing list of nodes. */
typedef struct Walk {
  CnNode **node;
  size_t count, capacity;
} Walk;

static CnErr walk_add(Walk *walk, CnNode *node, uint64_t number) {
  if (!node || node->walk == number) return CN_OK;
  node->walk = number;
  if (walk->count == walk->capacity) {
    size_t capacity = walk->capacity ? 2 * walk->capacity : 256;
    CnNode **grown = cn_alloc(capacity * sizeof *grown);
    if (!grown) return CN_EMEMORY;
    if (walk->count) memcpy(grown, walk->node, walk->count * sizeof *grown);
    cn_free(walk->node);
    walk->node = grown;
    walk->capacity = capacity;
  }
  walk->node[walk->count++] = node;
  return CN_OK;
}

static int later_first(const void *a, const void *b) {
  uint64_t x = (*(CnNode *const *)a)->number, y = (*(CnNode *const *)b)->number;
  return x < y ? 1 : x > y ? -1 : 0;
}

/* Every node that the loss depends on, the last created first. */
static CnErr collect(Walk *walk, CnNode *start) {
  uint64_t number = ++walks;
  CN_TRY(walk_add(walk, start, number));
  for (size_t i = 0; i < walk->count; i++) {
    CnNode *node = walk->node[i];
    if (node->spent)
      return cn_fail(CN_EUSAGE, "backward: this graph was used already: pass retain, or compute the loss again");
    for (int k = 0; k < node->nin; k++) CN_TRY(walk_add(walk, node->source[k].node, number));
  }
  qsort(walk->node, walk->count, sizeof *walk->node, later_first);
  return CN_OK;
}

/* Multiplies a factor (C) into a gradient (N,H,W,C); both references are taken over by what is left in *g. */
static CnErr multiply_out(CnTensor **g, CnTensor **factor) {
  CnTensor *in[8] = { *g, NULL, *factor }, *product;
  if (!*factor) return CN_OK;
  CN_TRY(cn_apply(&product, CN_OP_add_block, in, 8, NULL));
  cn_tensor_unref(*g);
  cn_tensor_unref(*factor);
  *g = product;
  *factor = NULL;
  return CN_OK;
}

/* *sum becomes *sum + g. A gradient that nobody else holds is added to in place. */
static CnErr add_gradient(CnTensor **sum, CnTensor *g) {
  CnTensor *old = *sum, *total = NULL;
  if (!old) {
    *sum = cn_tensor_ref(g);
    return CN_OK;
  }
  if (old->refs == 1 && old->storage->refs == 1)
    return cn_apply2(NULL, CN_OP_accumulate, old, g, (CnAttr[]){ { .f = 1 } });
  CN_TRY(cn_apply2(&total, CN_OP_add, old, g, NULL));
  cn_tensor_unref(old);
  *sum = total;
  return CN_OK;
}

static const char *node_name(const CnNode *node) { return node->op ? node->op->name : "custom operation"; }

static CnErr check_version(const CnNode *node, const Saved *saved, const char *name) {
  if (!saved->tensor || saved->version == saved->tensor->storage->version) return CN_OK;
  return cn_fail(CN_EUSAGE, "backward: %s of %s was written in place after it was used", name, node_name(node));
}

/* The gradients that the node's results received, zeros for those that none reached. */
static CnErr complete_gradients(CnNode *node) {
  for (int i = 0; i < node->nout; i++) {
    Result *r = &node->result[i];
    if (!r->gradient && cn_dtype_is_float(r->spec.dtype))
      CN_TRY(cn_tensor_zeros(&r->gradient, r->spec.dtype, node->device, r->spec.ndim, r->spec.shape));
  }
  return CN_OK;
}

static bool wanted(const Source *source) { return source->node || source->leaf; }

/* A sum that nobody else holds is handed to a kernel that can add to it; deliver() puts it back. */
static bool lend_gradient(Source *source, CnTensor **gin) {
  if (!source->node) return false; /* a leaf's outlives an error */
  Result *r = &source->node->result[source->output];
  CnTensor **sum = &r->gradient;
  if (!*sum || r->factor || !cn_tensor_is_contiguous(*sum)) return false;
  if ((*sum)->refs > 1 || (*sum)->storage->refs > 1) return false;
  *gin = *sum;
  *sum = NULL;
  return true;
}

static CnErr run_kernel(CnNode *node, CnCall *call) {
  const CnOpInfo *info = cn_op_info(node->op->id);
  for (int i = 0; i < node->nin; i++)
    CN_TRY(check_version(node, &node->source[i].saved, info->input[CN_INPUT_INDEX(info, i)].name));
  for (int i = 0; i < node->nout; i++) CN_TRY(check_version(node, &node->result[i].saved, "the result"));
  if (node->op->kind == CN_VIEW) return node->op->backward(call);
  const CnDeviceModule *module = NULL;
  CN_TRY(cn_device_module(&module, node->device.kind));
  CnKernel kernel = module->kernels ? module->kernels[node->op->id].backward[node->dtype] : NULL;
  if (!kernel)
    return cn_fail(CN_ENOKERNEL, "%s: no %s gradient kernel on %s",
                   node->op->name, cn_dtype_name(node->dtype), module->name);
  for (int i = 0; i < node->nin; i++) {
    const CnSpec *spec = &node->source[i].spec;
    if (!wanted(&node->source[i])) continue;
    call->add[i] = info->input[CN_INPUT_INDEX(info, i)].adds && lend_gradient(&node->source[i], &call->gin[i]);
    if (!call->add[i])
      CN_TRY(cn_tensor_new(&call->gin[i], spec->dtype, node->device, spec->ndim, spec->shape));
  }
  return cn_run_watched(kernel, call);
}

/* Runs one node's backward: gradients of its inputs into gin, their factors (of what the node saved) borrowed. */
static CnErr run_node(CnNode *node, CnTensor **gin, CnTensor **factor) {
  CnTensor *gout[CN_MAX_OUTPUTS] = { NULL };
  uint32_t reached = 0;
  for (int i = 0; i < node->nout; i++) reached |= (uint32_t)(node->result[i].gradient != NULL) << i;
  CN_TRY(complete_gradients(node));
  uint32_t takes = node->op ? cn_op_info(node->op->id)->takes_factor : 0;
  for (int i = 0; i < node->nout; i++)
    if (!(takes >> i & 1)) CN_TRY(multiply_out(&node->result[i].gradient, &node->result[i].factor));
  for (int i = 0; i < node->nout; i++) gout[i] = node->result[i].gradient;
  if (!node->op) return node->custom.backward(node->custom.data, gout, node->nout, gin, node->nin);
  CnCall call = { .op = node->op, .nin = node->nin, .nout = node->nout, .device = node->device, .dtype = node->dtype,
                  .reached = reached };
  memcpy(call.attr, node->attr, sizeof call.attr);
  for (int i = 0; i < node->nin; i++) {
    call.in_spec[i] = node->source[i].spec;
    call.in[i] = node->source[i].saved.tensor;
  }
  for (int i = 0; i < node->nout; i++) {
    call.out_spec[i] = node->result[i].spec;
    call.out[i] = node->result[i].saved.tensor;
    call.gout[i] = gout[i];
    call.gout_factor[i] = node->result[i].factor;
  }
  CnErr e = run_kernel(node, &call);
  memcpy(gin, call.gin, sizeof call.gin);
  memcpy(factor, call.gin_factor, sizeof call.gin_factor);
  return e;
}

static CnErr check_custom(const CnNode *node, const Source *source, const CnTensor *g) {
  char a[160], b[160];
  if (g->dtype == source->spec.dtype && g->ndim == source->spec.ndim &&
      !memcmp(g->shape, source->spec.shape, (size_t)g->ndim * sizeof g->shape[0]) &&
      cn_device_equal(cn_tensor_device(g), node->device)) return CN_OK;
  return cn_fail(CN_EUSAGE, "backward of a custom operation: expected a %s gradient of shape %s, got %s %s",
                 cn_dtype_name(source->spec.dtype), cn_shape_text(source->spec.ndim, source->spec.shape, a),
                 cn_dtype_name(g->dtype), cn_shape_text(g->ndim, g->shape, b));
}

/* Adds a dense gradient to what an input has received. Its factor stays apart as long as it is the only one. */
static CnErr add_to_source(Source *source, CnTensor **g, CnTensor **factor) {
  Result *r = source->node ? &source->node->result[source->output] : NULL;
  if (*factor && r && !r->gradient) {
    r->gradient = cn_tensor_ref(*g);
    r->factor = cn_tensor_ref(*factor);
    return CN_OK;
  }
  CN_TRY(multiply_out(g, factor));
  if (r) CN_TRY(multiply_out(&r->gradient, &r->factor));
  if (!r && put_off && source->leaf->grad) {
    bool put;
    CN_TRY(cn_additions_put(put_off, source->leaf->grad, *g, &put));
    if (put) return CN_OK;
  }
  return add_gradient(r ? &r->gradient : &source->leaf->grad, *g);
}

/* Hands one gradient on to where it belongs; `factor` as call->gin_factor. */
static CnErr deliver(CnNode *node, int i, CnTensor *g, CnTensor *factor) {
  Source *source = &node->source[i];
  CnTensor *dense = NULL;
  if (!g || !wanted(source)) return CN_OK;
  if (!node->op) CN_TRY(check_custom(node, source, g));
  if (cn_tensor_is_contiguous(g)) dense = cn_tensor_ref(g);
  else CN_TRY(cn_apply1(&dense, CN_OP_contiguous, g, NULL));
  if (factor) cn_tensor_ref(factor);
  CnErr e = add_to_source(source, &dense, &factor);
  cn_tensor_unref(dense);
  cn_tensor_unref(factor);
  return e;
}

/* Counts what the leaves of the walk will get, and tells of each. */
static void announce(const Walk *walk, const CnLeafListener *listener) {
  for (size_t i = 0; i < walk->count; i++)
    for (int k = 0; k < walk->node[i]->nin; k++) {
      CnTensor *leaf = walk->node[i]->source[k].leaf;
      if (leaf && leaf->awaited++ == 0) listener->reached(listener->context, leaf);
    }
}

/* The node's leaves have got from it what they get. After an error they are only forgotten. */
static CnErr settle(CnNode *node, const CnLeafListener *listener, CnErr e) {
  for (int k = 0; k < node->nin; k++) {
    CnTensor *leaf = node->source[k].leaf;
    if (leaf && --leaf->awaited == 0 && e == CN_OK) e = listener->final(listener->context, leaf);
  }
  return e;
}

static CnErr step_back(CnNode *node, bool retain) {
  CnTensor *gin[CN_MAX_INPUTS] = { NULL }, *factor[CN_MAX_INPUTS] = { NULL };
  cn_work.owner = node->owner;
  if (!node->op && put_off) CN_TRY(cn_additions_make(put_off)); /* a callback may look at gradients */
  CnErr e = run_node(node, gin, factor);
  for (int i = 0; i < node->nout; i++) /* before delivery: a view's gin may share its storage */
    gradient_clear(&node->result[i]);
  for (int i = 0; i < node->nin; i++) {
    CnTensor *g = gin[i];
    if (e == CN_OK) e = deliver(node, i, g, factor[i]);
    cn_tensor_unref(g);
  }
  if (!retain) node_spend(node);
  return e;
}

static CnErr start_gradient(CnTensor **out, const CnTensor *loss, CnTensor *gradient) {
  char a[160], b[160];
  if (!gradient) {
    if (cn_tensor_count(loss) != 1)
      return cn_fail(CN_EUSAGE, "backward: a loss of shape %s needs a gradient of that shape",
                     cn_shape_text(loss->ndim, loss->shape, a));
    CN_TRY(cn_tensor_new_like(out, loss));
    CnErr e = cn_apply1(NULL, CN_OP_fill, *out, (CnAttr[]){ { .f = 1 } });
    if (e != CN_OK) cn_tensor_unref(*out);
    return e;
  }
  if (!cn_tensor_same_shape(loss, gradient) || loss->dtype != gradient->dtype)
    return cn_fail(CN_EUSAGE, "backward: the gradient must be %s %s, got %s %s", cn_dtype_name(loss->dtype),
                   cn_shape_text(loss->ndim, loss->shape, a), cn_dtype_name(gradient->dtype),
                   cn_shape_text(gradient->ndim, gradient->shape, b));
  return cn_apply1(out, CN_OP_contiguous, gradient, NULL); /* a copy: what the caller does to his is his */
}

static CnErr backward(CnTensor *loss, CnTensor *gradient, bool retain, const CnLeafListener *listener) {
  CnTensor *start = NULL;
  CN_TRY(start_gradient(&start, loss, gradient));
  CnErr e = CN_OK;
  Walk walk = { 0 };
  if (loss->node) {
    e = collect(&walk, loss->node);
    for (size_t i = 0; e == CN_OK && i < walk.count; i++) cn_node_ref(walk.node[i]);
    bool held = e == CN_OK;
    if (held && listener) announce(&walk, listener);
    if (e == CN_OK) e = add_gradient(&loss->node->result[loss->node_output].gradient, start);
    cn_tensor_unref(start);
    for (size_t i = 0; held && i < walk.count; i++) {
      if (e == CN_OK) e = step_back(walk.node[i], retain);
      for (int k = 0; k < walk.node[i]->nout; k++) { /* left over after an error */
        gradient_clear(&walk.node[i]->result[k]);
      }
      if (listener) e = settle(walk.node[i], listener, e);
    }
    for (size_t i = 0; held && i < walk.count; i++) cn_node_unref(walk.node[i]);
  } else {
    if (listener) listener->reached(listener->context, loss);
    e = add_gradient(&loss->grad, start);
    cn_tensor_unref(start);
    if (listener && e == CN_OK) e = listener->final(listener->context, loss);
  }
  cn_free(walk.node);
  return e;
}

CnErr cn_backward(CnTensor *loss, CnTensor *gradient, bool retain) {
  return cn_backward_heard(loss, gradient, retain, NULL);
}

CnErr cn_backward_heard(CnTensor *loss, CnTensor *gradient, bool retain, const CnLeafListener *listener) {
  if (!cn_tensor_tracked(loss))
    return cn_fail(CN_EUSAGE, "backward: the loss does not depend on any tensor that requires a gradient");
  bool before = cn_grad_enable(false);
  CnWork work = cn_work;
  cn_work.backward = true;
  CnAdditions additions = { 0, 0, NULL }, *outer = put_off;
  put_off = listener ? NULL : &additions; /* who listens is told of gradients that are there */
  CnErr e = backward(loss, gradient, retain, listener), added = cn_additions_make(&additions);
  put_off = outer;
  cn_additions_free(&additions);
  if (e == CN_OK) e = added;
  cn_work = work;
  cn_grad_enable(before);
  return e;
}
