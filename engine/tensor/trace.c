/* trace.c - see trace.h. Values are found by a hash of where they lie. */
#include "tensor/trace.h"

#include <string.h>

#include "base/memory.h"

/* A larger copy of an array of `count` entries; NULL: no memory. `old` is freed on success. */
static void *grow(void *old, int count, int room, size_t size) {
  void *larger = cn_alloc((size_t)room * size);
  if (larger == NULL) return NULL;
  if (count > 0) memcpy(larger, old, (size_t)count * size);
  cn_free(old);
  return larger;
}

static size_t hash(const CnTensor *t) {
  uint64_t h = (uint64_t)(uintptr_t)t->storage ^ (uint64_t)t->offset * 0x9e3779b97f4a7c15u;
  for (int d = 0; d < t->ndim; d++) h = (h ^ (uint64_t)t->shape[d]) * 0x9e3779b97f4a7c15u;
  return (size_t)(h ^ h >> 32);
}

static bool same(const CnTensor *a, const CnTensor *b) {
  return a->storage == b->storage && a->offset == b->offset && a->dtype == b->dtype && cn_tensor_same_shape(a, b) &&
         memcmp(a->stride, b->stride, (size_t)a->ndim * sizeof *a->stride) == 0;
}

/* Where the value is in the table, or the free place where it belongs. */
static int *locate(const CnTrace *t, const CnTensor *tensor) {
  size_t mask = (size_t)t->place_room - 1, i = hash(tensor) & mask;
  while (t->place[i] >= 0 && !same(t->value[t->place[i]], tensor)) i = (i + 1) & mask;
  return &t->place[i];
}

int cn_trace_find(const CnTrace *t, const CnTensor *tensor) {
  return t->place_room > 0 ? *locate(t, tensor) : -1;
}

/* Room for one more value in both tables. */
static CnErr make_room(CnTrace *t) {
  if (t->values < t->value_room) return CN_OK;
  int room = t->value_room > 0 ? 2 * t->value_room : 256;
  CnTensor **value = grow(t->value, t->values, room, sizeof *value);
  if (value == NULL) return CN_EMEMORY;
  t->value = value;
  int *place = cn_alloc((size_t)room * 2 * sizeof *place);
  if (place == NULL) return CN_EMEMORY;
  cn_free(t->place);
  t->place = place;
  t->place_room = 2 * room;
  t->value_room = room;
  for (int i = 0; i < t->place_room; i++) place[i] = -1;
  for (int i = 0; i < t->values; i++) *locate(t, t->value[i]) = i;
  return CN_OK;
}

static CnErr note_value(CnTrace *t, int *out, CnTensor *tensor) {
  *out = -1;
  if (tensor == NULL) return CN_OK;
  CN_TRY(make_room(t));
  int *place = locate(t, tensor);
  if (*place < 0) {
    t->value[t->values] = cn_tensor_ref(tensor);
    *place = t->values++;
  }
  *out = *place;
  return CN_OK;
}

static double begin(void *context, const CnCall *call) {
  (void)context;
  (void)call;
  return 0;
}

static CnErr end(void *context, const CnCall *call, double begun) {
  CnTrace *t = context;
  (void)begun;
  if (call->op->kind == CN_INPLACE && cn_trace_find(t, call->in[0]) < 0) return CN_OK;
  if (call->op->kind == CN_INPLACE)
    return cn_fail(CN_EUSAGE, "trace: %s writes in place, which a trace cannot follow", call->op->name);
  if (t->rows == t->row_room) {
    int room = t->row_room > 0 ? 2 * t->row_room : 256;
    CnTracedRow *row = grow(t->row, t->rows, room, sizeof *row);
    if (row == NULL) return CN_EMEMORY;
    t->row = row;
    t->row_room = room;
  }
  CnTracedRow *row = &t->row[t->rows];
  *row = (CnTracedRow){ .op = call->op, .owner = cn_work.owner, .inputs = call->nin };
  memcpy(row->attr, call->attr, sizeof row->attr);
  for (int i = 0; i < call->nin; i++) CN_TRY(note_value(t, &row->in[i], call->in[i]));
  for (int i = 0; i < cn_op_info(call->op->id)->visible && call->out[i] != NULL; i++)
    CN_TRY(note_value(t, &row->out[row->outputs++], call->out[i]));
  t->rows++;
  return CN_OK;
}

CnErr cn_trace_begin(CnTrace **out, CnTensor *input) {
  CnTrace *t = cn_alloc_zeroed(sizeof *t);
  if (t == NULL) return CN_EMEMORY;
  t->watcher = (CnWatcher){ t, begin, end };
  int value;
  CnErr e = note_value(t, &value, input);
  if (e == CN_OK) e = cn_watch("trace", &t->watcher);
  if (e == CN_OK) *out = t;
  else cn_trace_free(t);
  return e;
}

void cn_trace_end(CnTrace *t) {
  if (cn_watcher == &t->watcher) (void)cn_watch("trace", NULL);
}

void cn_trace_free(CnTrace *t) {
  if (t == NULL) return;
  cn_trace_end(t);
  for (int i = 0; i < t->values; i++) cn_tensor_unref(t->value[i]);
  cn_free(t->value);
  cn_free(t->row);
  cn_free(t->place);
  cn_free(t);
}
