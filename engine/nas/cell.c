/* cell.c - building a cell, and running its nodes.
**
** Slots: preprocess0, preprocess1, then the operations. A node is the sum of its two edges; an edge "none" adds zeros,
** so it is not computed; a node without other edges is zeros. Every tensor is let go when its last reader has run.
**
** The output of a cell is read by the preprocess of the next cell and of the one after it, and by nothing else: it is
** brought to both at once (cn_cell_bring), read together and let go. */
#include "nas/cell.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "nas/operations.h"
#include "nn/weights.h"
#include "tensor/watch.h"

#define STATES (CN_MAX_NODES + 2)
#define FIRST_OP 2 /* slot of the first operation */

_Static_assert(CN_MAX_NODES <= CN_MAX_JOINED, "a cell's output is a feature");

typedef struct Cell {
  int nodes, operations; /* inner nodes; candidates on an edge (supernet) */
  int64_t channels;
  bool reduction, fixed;
  CnDtype precision;
  CnCellArch arch; /* of a fixed cell */
} Cell;

static void cell_describe(const CnModule *m, char *text, size_t size) {
  const Cell *c = m->data;
  snprintf(text, size, "%s, %d nodes, %" PRId64 " channels", c->reduction ? "reduction" : "normal", c->nodes,
           c->channels);
}

static const CnModuleKind cell_kind = { .name = "cell", .destroy = cn_module_free_data, .describe = cell_describe };

/* ---- building ---- */

static CnErr add_inputs(CnModule *m, const CnCellOptions *o, const CnOpSettings *s) {
  CnModule *input;
  CnErr made = o->after_reduction
    ? cn_factorized_reduce_new(&input, o->channels_before_last, o->channels, s->affine, s->track, s->rng)
    : cn_relu_conv_bn_new(&input, o->channels_before_last, 1, s);
  CN_TRY(cn_module_adopt(m, "preprocess0", made, &input));
  return cn_module_adopt(m, "preprocess1", cn_relu_conv_bn_new(&input, o->channels_last, 1, s), &input);
}

static int64_t edge_stride(const CnCellOptions *o, int from) {
  return o->reduction && from < 2 ? 2 : 1;
}

static CnErr add_fixed(CnModule *m, const CnCellOptions *o, CnOpSettings s) {
  char name[32];
  for (int i = 0; i < o->arch->count; i++) {
    const CnTriple *t = &o->arch->triple[i];
    CnModule *op;
    int index = cn_space_find(o->space, t->op);
    if (index < 0) return cn_fail(CN_EUSAGE, "cell: the space has no operation '%s'", t->op);
    s.stride = edge_stride(o, t->from);
    snprintf(name, sizeof name, "_ops.%d", i);
    CN_TRY(cn_module_adopt(m, name, cn_space_build(&op, o->space, index, &s), &op));
  }
  return CN_OK;
}

static CnErr add_shared(CnModule *m, const CnCellOptions *o, CnOpSettings s) {
  char name[32];
  for (int to = 2; to < o->nodes + 2; to++) {
    for (int from = 0; from < to; from++) {
      s.stride = edge_stride(o, from);
      for (int k = 0; k < o->space->count; k++) {
        CnModule *op;
        snprintf(name, sizeof name, "_ops.%d._ops.%d", cn_edge(from, to), k);
        CN_TRY(cn_module_adopt(m, name, cn_space_build(&op, o->space, k, &s), &op));
      }
    }
  }
  return CN_OK;
}

CnErr cn_cell_new(CnModule **out, CnCellOptions o, CnRng *rng) {
  bool fixed = o.arch != NULL;
  CnOpSettings settings = { .channels = o.channels, .stride = 1, .affine = fixed, .track = fixed, .supernet = !fixed,
                            .rng = rng };
  CnModule *m;
  Cell c = { .nodes = o.nodes, .operations = o.space->count, .channels = o.channels, .reduction = o.reduction,
             .fixed = fixed, .precision = o.precision };
  if (fixed) c.arch = *o.arch;
  CN_TRY(cn_module_new_copy(&m, &cell_kind, &c, sizeof c));
  CnErr e = add_inputs(m, &o, &settings);
  if (e == CN_OK) e = fixed ? add_fixed(m, &o, settings) : add_shared(m, &o, settings);
  if (e == CN_OK) *out = m;
  else cn_module_unref(m);
  return e;
}

int64_t cn_cell_channels(const CnModule *cell) {
  const Cell *c = cell->data;
  return c->channels * (c->fixed ? c->arch.concat_count : c->nodes);
}

bool cn_cell_is_reduction(const CnModule *cell) {
  return ((const Cell *)cell->data)->reduction;
}

/* ---- which operations a call runs ---- */

/* A call's path resolved: the module of each triple. */
typedef struct Route {
  const CnCellArch *arch;
  const char *name[2 * CN_MAX_NODES];  /* slots' names, for messages */
  CnModule *op[2 * CN_MAX_NODES];      /* borrowed */
  int last_reader[STATES];             /* the node that reads a node last; -1: none. The concat comes after all */
  int concat_count, concat[CN_MAX_NODES];
} Route;

static CnErr find_route(const CnModule *m, const CnCellCall *call, Route *r) {
  const Cell *c = m->data;
  r->arch = c->fixed ? &c->arch : call->path;
  if (cn_cell_nodes(r->arch) > c->nodes)
    return cn_fail(CN_EDATA, "supernet: the path has %d inner nodes, its cells have %d", cn_cell_nodes(r->arch),
                   c->nodes);
  for (int i = 0; i < STATES; i++) r->last_reader[i] = -1;
  for (int i = 0; i < r->arch->count; i++) {
    const CnTriple *t = &r->arch->triple[i];
    int slot = FIRST_OP + (c->fixed ? i : cn_edge(t->from, t->to) * c->operations + call->operation[i]);
    r->op[i] = m->slots[slot].child;
    r->name[i] = m->slots[slot].name;
    r->last_reader[t->from] = t->to;
  }
  r->concat_count = c->fixed ? c->arch.concat_count : c->nodes;
  for (int i = 0; i < r->concat_count; i++) r->concat[i] = c->fixed ? c->arch.concat[i] : i + 2;
  return CN_OK;
}

/* ---- running ---- */

/* What is kept in bf16 is brought to it: an operation that is no block has computed in f32, whatever it was given. */
static CnErr keep_in_precision(const Cell *c, CnFeature *f) {
  return c->precision == CN_BF16 ? cn_feature_to(f, CN_BF16) : CN_OK;
}

/* A one for each image, made for the first edge of a call that asks. */
static CnErr ones_for(CnTensor **ones, const CnFeature *y) {
  CnDtype dtype = cn_dtype_real(y->x[0]->dtype);
  if (*ones != NULL && (*ones)->dtype == dtype) return CN_OK;
  cn_tensor_unref(*ones);
  *ones = NULL;
  CN_TRY(cn_tensor_new(ones, dtype, cn_feature_device(y), 1, y->x[0]->shape));
  return cn_apply1(NULL, CN_OP_fill, *ones, (CnAttr[]){ { .f = 1 } });
}

/* What drop-path leaves of an edge: for each image 0 or 1/(1-p), as an (N) tensor; none for an identity. */
static CnErr draw_keep(CnTensor **out, const CnModule *op, const CnFeature *y, const CnCellCall *call,
                       CnTensor **ones) {
  *out = NULL;
  if (call->drop_path <= 0 || cn_identity_is(op)) return CN_OK;
  CnAttr attr[CN_MAX_ATTRS] = { { .f = call->drop_path } };
  cn_attr_rng(attr + 1, call->noise, y->x[0]->shape[0]);
  CN_TRY(ones_for(ones, y));
  return cn_apply1(out, CN_OP_drop_path, *ones, attr);
}

/* The edges into one node that have run: at most two, no "none" among them. */
typedef struct Edges {
  int count;
  CnFeature y[2];
  CnTensor *keep[2];
  CnTensor **ones; /* the call's, see ones_for */
} Edges;

static CnErr run_edge(const Cell *c, CnModule *op, const CnFeature *x, Edges *edges, const CnCellCall *call) {
  if (cn_zero_is(op)) return CN_OK;
  int i = edges->count;
  CN_TRY(cn_module_pass(op, &edges->y[i], x));
  edges->count++;
  CN_TRY(keep_in_precision(c, &edges->y[i]));
  return draw_keep(&edges->keep[i], op, &edges->y[i], call, edges->ones);
}

/* Zeros of a node's shape, which follows from the preprocessed input's. */
static CnErr zero_node(const Cell *c, const CnSpec *input, CnDevice device, CnFeature *out) {
  int64_t shape[4], stride = c->reduction ? 2 : 1;
  memcpy(shape, input->shape, sizeof shape);
  for (int d = 1; d <= 2; d++) shape[d] = (shape[d] + stride - 1) / stride;
  CN_TRY(cn_tensor_zeros(&out->x[0], input->dtype, device, 4, shape));
  out->count = 1;
  return CN_OK;
}

/* A node is written down, because several read it. */
static CnErr run_node(const Cell *c, const Route *r, int to, CnFeature state[STATES], const CnCellCall *call,
                      CnTensor **ones) {
  Edges edges = { .ones = ones };
  CnErr e = CN_OK;
  for (int i = 0; i < r->arch->count && e == CN_OK; i++) {
    const CnTriple *t = &r->arch->triple[i];
    if (t->to != to) continue;
    e = run_edge(c, r->op[i], &state[t->from], &edges, call);
    if (e != CN_OK) e = cn_fail_within(e, "in %s: ", r->name[i]);
  }
  if (e == CN_OK && edges.count > 0)
    e = cn_feature_add(&state[to], &edges.y[0], &edges.y[1], edges.keep[0], edges.keep[1]);
  if (e == CN_OK) e = keep_in_precision(c, &state[to]);
  for (int i = 0; i < 2; i++) {
    cn_feature_clear(&edges.y[i]);
    cn_tensor_unref(edges.keep[i]);
  }
  return e;
}

/* state[2 …] from state[0] and state[1], which are let go when no later node reads them. */
static CnErr run_nodes(const Cell *c, const Route *r, CnFeature state[STATES], const CnCellCall *call) {
  CnSpec input = cn_feature_spec(&state[0]);
  CnDevice device = cn_feature_device(&state[0]);
  CnTensor *ones = NULL;
  CnErr e = CN_OK;
  for (int to = 2; to < c->nodes + 2 && e == CN_OK; to++) {
    e = run_node(c, r, to, state, call, &ones);
    if (e == CN_OK && state[to].count == 0) e = zero_node(c, &input, device, &state[to]);
    for (int f = 0; f < 2 && e == CN_OK; f++)
      if (r->last_reader[f] <= to) cn_feature_clear(&state[f]);
  }
  cn_tensor_unref(ones);
  return e;
}

/* The output: nodes whose channels count as joined. */
static CnErr join_nodes(const Cell *c, const Route *r, const CnFeature state[STATES], CnFeature *out) {
  CnFeature joined = { .count = r->concat_count };
  for (int i = 0; i < r->concat_count; i++) joined.x[i] = state[r->concat[i]].x[0];
  if (cn_blocks_wanted(&joined)) {
    *out = cn_feature_copy(&joined);
    return CN_OK;
  }
  CN_TRY(cn_feature_write(&joined, &out->x[0]));
  out->count = 1;
  CnErr e = keep_in_precision(c, out);
  if (e != CN_OK) cn_feature_clear(out);
  return e;
}

CnErr cn_cell_bring(const CnModule *const *cells, const int *inputs, int n, CnFeature *out, const CnFeature *y,
                    int *failed) {
  CnModule *preprocess[3];
  for (int i = 0; i < n; i++) preprocess[i] = cells[i]->slots[inputs[i]].child;
  CnWork before = cn_work_for(preprocess[0]); /* what they do together is laid to the first */
  CnErr e = cn_modules_pass(preprocess, n, out, y, failed);
  cn_work = before;
  return e == CN_OK ? CN_OK : cn_fail_within(e, "in %s: ", cells[*failed]->slots[inputs[*failed]].name);
}

CnErr cn_cell_forward(CnModule *m, CnFeature *out, CnFeature brought[2], const CnCellCall *call) {
  const Cell *c = m->data;
  CnFeature state[STATES] = { brought[0], brought[1] };
  Route r;
  CnWork before = cn_work_for(m);
  brought[0] = brought[1] = (CnFeature){ 0 };
  CnErr e = find_route(m, call, &r);
  for (int i = 0; i < 2 && e == CN_OK; i++) e = keep_in_precision(c, &state[i]);
  if (e == CN_OK) e = run_nodes(c, &r, state, call);
  if (e == CN_OK) e = join_nodes(c, &r, state, out);
  for (int i = 0; i < STATES; i++) cn_feature_clear(&state[i]);
  cn_work = before;
  return e;
}

/* ---- cost ---- */

/* A second use of an operation on the same edge costs multiply-adds, but no parameters. */
static bool used_before(const Route *r, int i) {
  for (int k = 0; k < i; k++)
    if (r->op[k] == r->op[i]) return true;
  return false;
}

CnErr cn_cell_cost(const CnModule *m, CnCost *cost, const CnSpec *s0, CnSpec *s1, const CnCellCall *call) {
  const Cell *c = m->data;
  CnSpec state[STATES];
  Route r;
  CN_TRY(find_route(m, call, &r));
  state[0] = *s0;
  state[1] = *s1;
  for (int i = 0; i < 2; i++) CN_TRY(cn_module_cost(m->slots[i].child, cost, &state[i]));
  for (int t = 2; t < STATES; t++) {
    state[t] = state[0];
    for (int d = 1; d <= 2 && c->reduction; d++) state[t].shape[d] = (state[0].shape[d] + 1) / 2;
  }
  for (int i = 0; i < r.arch->count; i++) {
    CnSpec x = state[r.arch->triple[i].from];
    int64_t parameters = cost->parameters;
    CnErr e = cn_module_cost(r.op[i], cost, &x);
    if (e != CN_OK) return cn_fail_within(e, "in %s: ", r.name[i]);
    if (used_before(&r, i)) cost->parameters = parameters;
  }
  *s1 = state[2];
  s1->shape[3] = cn_cell_channels(m);
  return CN_OK;
}
