/* module.c - the tree of named parameters, whatever the kinds in it compute.
**
** A module's slots stand in definition order; that order is the order of visiting, and so of an optimizer's state and
** of a checkpoint. A slot holds a tensor or a child, never both. */
#include "nn/module.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/autograd.h"
#include "tensor/watch.h"

#define NAME_SIZE 512 /* bytes of a full name */

CnErr cn_module_new(CnModule **out, const CnModuleKind *kind, void *data) {
  CnModule *m = cn_alloc_zeroed(sizeof *m);
  if (m == NULL) return CN_EMEMORY;
  m->refs = 1;
  m->kind = kind;
  m->training = true;
  m->data = data;
  *out = m;
  return CN_OK;
}

CnModule *cn_module_ref(CnModule *m) {
  m->refs++;
  return m;
}

void cn_module_unref(CnModule *m) {
  if (m == NULL || --m->refs > 0) return;
  for (int i = 0; i < m->count; i++) {
    cn_free(m->slots[i].name);
    cn_tensor_unref(m->slots[i].tensor);
    cn_module_unref(m->slots[i].child);
  }
  cn_free(m->slots);
  if (m->kind->destroy != NULL) m->kind->destroy(m);
  if (m->release != NULL) m->release(m->kept);
  cn_free(m);
}

/* ---- slots ---- */

static CnErr reserve_slot(CnModule *m) {
  if (m->count < m->capacity) return CN_OK;
  int capacity = m->capacity > 0 ? 2 * m->capacity : 4;
  CnSlot *slots = cn_alloc((size_t)capacity * sizeof *slots);
  if (slots == NULL) return CN_EMEMORY;
  if (m->count > 0) memcpy(slots, m->slots, (size_t)m->count * sizeof *slots);
  cn_free(m->slots);
  m->slots = slots;
  m->capacity = capacity;
  return CN_OK;
}

/* A new slot with a copy of `name` and nothing in it; NULL: no memory. */
static CnErr new_slot(CnModule *m, const char *name, CnSlot **out) {
  CN_TRY(reserve_slot(m));
  char *copy = cn_strdup(name);
  if (copy == NULL) return CN_EMEMORY;
  *out = &m->slots[m->count++];
  **out = (CnSlot){ .name = copy };
  return CN_OK;
}

CnErr cn_module_add_tensor(CnModule *m, const char *name, CnTensor *t, bool buffer) {
  CnSlot *slot;
  CN_TRY(new_slot(m, name, &slot));
  slot->tensor = cn_tensor_ref(t);
  slot->buffer = buffer;
  if (!buffer) t->requires_grad = true;
  return CN_OK;
}

CnErr cn_module_add_child(CnModule *m, const char *name, CnModule *child) {
  CnSlot *slot;
  CN_TRY(new_slot(m, name, &slot));
  slot->child = cn_module_ref(child);
  return CN_OK;
}

CnErr cn_module_adopt(CnModule *m, const char *name, CnErr made, CnModule **child) {
  if (made != CN_OK) return made;
  CnErr e = cn_module_add_child(m, name, *child);
  cn_module_unref(*child);
  return e;
}

CnErr cn_module_keep(CnModule *m, void *kept, void (*release)(void *kept)) {
  if (m->release != NULL) {
    release(kept);
    return cn_fail(CN_EUSAGE, "%s: this module keeps something alive already", m->kind->name);
  }
  m->kept = kept;
  m->release = release;
  return CN_OK;
}

CnTensor *cn_module_tensor(const CnModule *m, const char *name) {
  for (int i = 0; i < m->count; i++)
    if (m->slots[i].tensor != NULL && strcmp(m->slots[i].name, name) == 0) return m->slots[i].tensor;
  return NULL;
}

CnModule *cn_module_child(const CnModule *m, int index) {
  for (int i = 0; i < m->count; i++)
    if (m->slots[i].child != NULL && index-- == 0) return m->slots[i].child;
  return NULL;
}

int cn_module_children(const CnModule *m) {
  int n = 0;
  for (int i = 0; i < m->count; i++) n += m->slots[i].child != NULL;
  return n;
}

/* ---- the whole tree ---- */

CnErr cn_module_forward(CnModule *m, CnTensor **out, CnTensor *const *x, int nx) {
  if (m->kind->forward == NULL)
    return cn_fail(CN_EUSAGE, "%s: cannot be called with tensors alone", m->kind->name);
  CnWork before = cn_work_for(m);
  CnErr e = m->kind->forward(m, out, x, nx);
  cn_work = before;
  return e;
}

CnErr cn_module_pass(CnModule *m, CnFeature *out, const CnFeature *x) {
  CnTensor *written, *y;
  if (m->kind->pass != NULL) {
    CnWork before = cn_work_for(m);
    CnErr e = m->kind->pass(m, out, x);
    cn_work = before;
    return e;
  }
  CN_TRY(cn_feature_write(x, &written));
  CnErr e = cn_module_forward1(m, &y, written);
  cn_tensor_unref(written);
  if (e == CN_OK) *out = (CnFeature){ .count = 1, .x = { y } };
  return e;
}

void cn_module_train(CnModule *m, bool training) {
  m->training = training;
  for (int i = 0; i < m->count; i++)
    if (m->slots[i].child != NULL) cn_module_train(m->slots[i].child, training);
}

/* `name` holds the path so far, `used` bytes of it. */
static CnErr visit_under(CnModule *m, char *name, size_t used, CnVisit visit, void *context) {
  for (int i = 0; i < m->count; i++) {
    const CnSlot *slot = &m->slots[i];
    int n = snprintf(name + used, NAME_SIZE - used, "%s%s", used > 0 ? "." : "", slot->name);
    if (n < 0 || (size_t)n >= NAME_SIZE - used) {
      name[used] = 0;
      return cn_fail(CN_EUSAGE, "module: a parameter's name under '%s' is longer than %d bytes", name, NAME_SIZE - 1);
    }
    if (slot->tensor != NULL) CN_TRY(visit(context, name, slot->tensor, slot->buffer));
    else CN_TRY(visit_under(slot->child, name, used + (size_t)n, visit, context));
  }
  return CN_OK;
}

CnErr cn_module_visit(CnModule *m, CnVisit visit, void *context) {
  char name[NAME_SIZE] = "";
  return visit_under(m, name, 0, visit, context);
}

static int64_t own_parameters(const CnModule *m) {
  int64_t n = 0;
  for (int i = 0; i < m->count; i++)
    if (m->slots[i].tensor != NULL && !m->slots[i].buffer) n += cn_tensor_count(m->slots[i].tensor);
  return n;
}

int64_t cn_module_parameter_count(const CnModule *m) {
  int64_t n = own_parameters(m);
  for (int i = 0; i < m->count; i++)
    if (m->slots[i].child != NULL) n += cn_module_parameter_count(m->slots[i].child);
  return n;
}

typedef struct Target {
  CnDtype dtype;
  CnDevice device;
} Target;

/* Exchanges what the two tensors hold; the objects themselves stay where they are referred to. */
static CnErr move_tensor(void *context, const char *name, CnTensor *t, bool buffer) {
  const Target *to = context;
  CnTensor *moved;
  (void)buffer;
  CnErr e = cn_tensor_to(&moved, t, to->dtype, to->device);
  if (e != CN_OK) return cn_fail_within(e, "in %s: ", name);
  if (moved != t) {
    CnStorage *storage = t->storage;
    t->storage = moved->storage;
    moved->storage = storage;
    t->dtype = moved->dtype;
    t->offset = moved->offset;
    memcpy(t->stride, moved->stride, sizeof t->stride);
    cn_tensor_unref(t->grad);
    t->grad = NULL;
  }
  cn_tensor_unref(moved);
  return CN_OK;
}

CnErr cn_module_to(CnModule *m, CnDtype dtype, CnDevice device) {
  if (!cn_dtype_is_real(dtype))
    return cn_fail(CN_EUSAGE, "%s: parameters must be f32 or f64, got %s", m->kind->name, cn_dtype_name(dtype));
  Target target = { dtype, device };
  bool recorded = cn_grad_enable(false);
  CnErr e = cn_module_visit(m, move_tensor, &target);
  cn_grad_enable(recorded);
  return e;
}

CnErr cn_module_cost(const CnModule *m, CnCost *cost, CnSpec *x) {
  CnCost before = *cost;
  cost->parameters += own_parameters(m);
  if (m->kind->cost != NULL) CN_TRY(m->kind->cost(m, cost, x));
  if (cost->report != NULL) {
    CnCost added = { .parameters = cost->parameters - before.parameters,
                     .conv_macs = cost->conv_macs - before.conv_macs,
                     .linear_macs = cost->linear_macs - before.linear_macs };
    cost->report(cost->context, m, &added, x);
  }
  return CN_OK;
}
