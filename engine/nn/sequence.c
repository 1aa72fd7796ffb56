/* sequence.c - modules one after the other; each intermediate result is let go as soon as it has been used. */
#include <stdio.h>

#include "nn/layers.h"
#include "nn/weights.h"

/* All slots of a sequence are children. Whether child i is a ReLU that the convolution after it takes over. */
static bool is_taken_over(const CnModule *m, int i) {
  return i + 1 < m->count && cn_relu_is(m->slots[i].child) && cn_conv2d_is(m->slots[i + 1].child);
}

static CnErr sequence_forward(CnModule *self, CnTensor **out, CnTensor *const *x, int nx) {
  CnTensor *y = cn_tensor_ref(x[0]);
  (void)nx;
  for (int i = 0; i < self->count; i++) {
    CnTensor *next;
    bool relu = is_taken_over(self, i);
    if (relu) i++;
    CnModule *child = self->slots[i].child;
    CnErr e = relu ? cn_conv2d_forward_relu(child, &next, y) : cn_module_forward1(child, &next, y);
    cn_tensor_unref(y);
    if (e != CN_OK) return cn_fail_within(e, "in %s: ", self->slots[i].name);
    y = next;
  }
  *out = y;
  return CN_OK;
}

static CnErr sequence_cost(const CnModule *self, CnCost *cost, CnSpec *x) {
  for (int i = 0; i < self->count; i++) {
    CnErr e = cn_module_cost(self->slots[i].child, cost, x);
    if (e != CN_OK) return cn_fail_within(e, "in %s: ", self->slots[i].name);
  }
  return CN_OK;
}

static const CnModuleKind sequential_kind = { "sequential", sequence_forward, NULL, NULL, sequence_cost };
/* A chain has one child, the sequence "op"; calling it is calling that. */
static const CnModuleKind chain_kind = { "chain", sequence_forward, NULL, NULL, sequence_cost };

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
