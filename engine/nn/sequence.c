/* sequence.c - modules one after the other; each intermediate result is let go as soon as it has been used.
**
** All slots of a sequence are children. Neighbours that are a block of ops.def together run as one: a ReLU with a
** depthwise and a 1x1 convolution, with a 1x1 convolution, with any convolution in front of a normalisation, with a pool.
** A batch normalisation behind a block is left to whoever reads the result; a ReLU in front of another convolution is
** taken over by that. */
#include <stdio.h>

#include "nn/layers.h"
#include "nn/weights.h"

static const CnModuleKind chain_kind;

/* NULL behind the end. */
static CnModule *part(const CnModule *m, int i) { return i < m->count ? m->slots[i].child : NULL; }

/* Runs the block that child *i and those after it make up for x, and moves *i to its last; *done: there is one. */
static CnErr pass_block(const CnModule *m, int *i, CnFeature *out, const CnFeature *x, bool *done) {
  bool relu = cn_relu_is(part(m, *i));
  int first = *i + (relu ? 1 : 0);
  CnModule *one = part(m, first), *two = part(m, first + 1);
  bool pointwise = one != NULL && cn_conv2d_is_pointwise(one, x);
  bool separable = !pointwise && one != NULL && two != NULL && cn_conv2d_is_separable(one, two, x);
  bool conv = !pointwise && !separable && one != NULL && two != NULL && cn_conv2d_is(one) && !cn_conv2d_has_bias(one) &&
              cn_batch_norm_is(two);
  bool pool = one != NULL && cn_pool_is(one) && x->count == 1;
  *done = pointwise || separable || conv || pool;
  if (*done) *i = separable ? first + 1 : first;
  if (pointwise) return cn_conv2d_pass_pointwise(one, relu, out, x);
  if (separable) return cn_conv2d_pass_separable(one, two, relu, out, x);
  if (conv) return cn_conv2d_pass_any(one, relu, out, x);
  return pool ? cn_pool_pass(one, relu, out, x) : CN_OK;
}

/* Child *i alone, or a ReLU with the convolution after it. */
static CnErr pass_child(const CnModule *m, int *i, CnFeature *out, const CnFeature *x) {
  CnModule *one = part(m, *i), *two = part(m, *i + 1);
  CnTensor *written, *y;
  if (!cn_relu_is(one) || two == NULL || !cn_conv2d_is(two)) return cn_module_pass(one, out, x);
  ++*i;
  CN_TRY(cn_feature_write(x, &written));
  CnErr e = cn_conv2d_forward_relu(two, &y, written);
  cn_tensor_unref(written);
  if (e == CN_OK) *out = (CnFeature){ .count = 1, .x = { y } };
  return e;
}

/* One step from child *i on, into *out. */
static CnErr step(const CnModule *m, int *i, CnFeature *out, CnFeature *x) {
  bool done = false;
  if (cn_batch_norm_can_follow(part(m, *i), x)) {
    *out = cn_feature_copy(x);
    return cn_batch_norm_follow(part(m, *i), out);
  }
  if (cn_blocks_wanted(x)) CN_TRY(pass_block(m, i, out, x, &done));
  return done ? CN_OK : pass_child(m, i, out, x);
}

static CnErr sequence_pass(CnModule *self, CnFeature *out, const CnFeature *x) {
  CnFeature y = cn_feature_copy(x);
  for (int i = 0; i < self->count; i++) {
    CnFeature next = { 0 };
    CnErr e = step(self, &i, &next, &y);
    cn_feature_clear(&y);
    if (e != CN_OK) {
      cn_feature_clear(&next);
      return cn_fail_within(e, "in %s: ", self->slots[i].name);
    }
    y = next;
  }
  *out = y;
  return CN_OK;
}

static CnErr sequence_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  CnFeature from = { .count = 1, .x = { x[0] } }, to;
  (void)nx;
  CN_TRY(sequence_pass(self, &to, &from));
  CnErr e = cn_feature_write(&to, out);
  cn_feature_clear(&to);
  return e;
}

/* The 1x1 convolution of a chain that is ReLU, that and a batch normalisation, for x; else NULL. */
static CnModule *chain_pointwise(const CnModule *chain, const CnFeature *x) {
  const CnModule *m = chain->kind == &chain_kind ? chain->slots[0].child : NULL;
  if (m == NULL || m->count != 3) return NULL;
  bool fits = cn_relu_is(part(m, 0)) && cn_conv2d_is_pointwise(part(m, 1), x) && cn_batch_norm_is(part(m, 2));
  return fits ? part(m, 1) : NULL;
}

static CnErr pass_together(CnModule *const *chains, CnModule *const *convs, int n, CnFeature *out, const CnFeature *x,
                           int *failed) {
  *failed = 0;
  CN_TRY(cn_conv2d_pass_pointwise_together(convs, n, true, out, x));
  CnErr e = CN_OK;
  for (int i = 0; i < n && e == CN_OK; i++) {
    *failed = i;
    CnModule *norm = part(chains[i]->slots[0].child, 2);
    if (cn_batch_norm_can_follow(norm, &out[i])) {
      e = cn_batch_norm_follow(norm, &out[i]);
    } else { /* one value alone: for it to say so */
      CnFeature raw = out[i];
      out[i] = (CnFeature){ 0 };
      e = cn_module_pass(norm, &out[i], &raw);
      cn_feature_clear(&raw);
    }
  }
  for (int i = 0; i < n && e != CN_OK; i++) cn_feature_clear(&out[i]);
  return e;
}

CnErr cn_modules_pass(CnModule *const *modules, int n, CnFeature *out, const CnFeature *x, int *failed) {
  CnModule *convs[3];
  int together = 0;
  for (int i = 0; i < n && cn_blocks_wanted(x); i++)
    if ((convs[together] = chain_pointwise(modules[i], x)) != NULL) together++;
  if (together == n && n > 1 && x->count + 5 <= CN_MAX_INPUTS)
    return pass_together(modules, convs, n, out, x, failed);
  for (int i = 0; i < n; i++) {
    CnErr e = cn_module_pass(modules[i], &out[i], x);
    *failed = i;
    if (e == CN_OK) continue;
    while (i-- > 0) cn_feature_clear(&out[i]);
    return e;
  }
  return CN_OK;
}

static CnErr sequence_cost(const CnModule *self, CnCost *cost, CnSpec *x) {
  for (int i = 0; i < self->count; i++) {
    CnErr e = cn_module_cost(self->slots[i].child, cost, x);
    if (e != CN_OK) return cn_fail_within(e, "in %s: ", self->slots[i].name);
  }
  return CN_OK;
}

static const CnModuleKind sequential_kind = { "sequential", sequence_forward, NULL, NULL, sequence_cost,
                                              sequence_pass };
/* A chain has one child, the sequence "op"; calling it is calling that. */
static const CnModuleKind chain_kind = { "chain", sequence_forward, NULL, NULL, sequence_cost, sequence_pass };

CnErr cn_sequential_add(CnModule *sequence, CnModule *child) {
  char name[16];
  if (sequence->kind != &sequential_kind)
    return cn_fail(CN_EUSAGE, "sequential: cannot add to a %s", sequence->kind->name);
  snprintf(name, sizeof name, "%d", sequence->count);
  return cn_module_add_child(sequence, name, child);
}

CnErr cn_sequential_new(CnModule **out, CnModule *const *children, int n) {
  CnModule *m;
  CN_TRY(cn_module_new(&m, &sequential_kind, NULL));
  for (int i = 0; i < n; i++) {
    CnErr e = cn_sequential_add(m, children[i]);
    if (e != CN_OK) {
      cn_module_unref(m);
      return e;
    }
  }
  *out = m;
  return CN_OK;
}

/* The chain around `sequence`, whose reference it takes over. */
static CnErr chain_around(CnModule **out, CnModule *sequence) {
  CnModule *m;
  CnErr e = cn_module_new(&m, &chain_kind, NULL);
  if (e != CN_OK) {
    cn_module_unref(sequence);
    return e;
  }
  e = cn_module_adopt(m, "op", CN_OK, &sequence);
  if (e == CN_OK) *out = m;
  else cn_module_unref(m);
  return e;
}

CnErr cn_chain_new(CnModule **out, CnModule *const *children, int n) {
  CnModule *sequence;
  CN_TRY(cn_sequential_new(&sequence, children, n));
  return chain_around(out, sequence);
}

/* ---- building ---- */

CnBuilder cn_build_begin(void) {
  CnBuilder b = { 0 };
  b.error = cn_sequential_new(&b.sequence, NULL, 0);
  return b;
}

void cn_build_add(CnBuilder *b, CnErr made) {
  if (made == CN_OK) {
    if (b->error == CN_OK) b->error = cn_sequential_add(b->sequence, b->next);
    cn_module_unref(b->next);
  } else if (b->error == CN_OK) {
    b->error = made;
  }
  b->next = NULL;
}

CnErr cn_build_sequential(CnModule **out, CnBuilder *b) {
  if (b->error == CN_OK) *out = b->sequence;
  else cn_module_unref(b->sequence);
  b->sequence = NULL;
  return b->error;
}

CnErr cn_build_chain(CnModule **out, CnBuilder *b) {
  CnModule *sequence = NULL;
  CN_TRY(cn_build_sequential(&sequence, b));
  return chain_around(out, sequence);
}
