/* gradients.c - see gradients.h. */
#include "dist/gradients.h"

#include <string.h>

#include "base/memory.h"
#include "dist/communicator.h"
#include "tensor/autograd.h"

#define BUCKET (1 << 20) /* bytes after which a bucket is full */

typedef struct Bucket {
  CnDtype dtype;
  int first, end;    /* leaves end-1 … first, those wanted among them */
  int members;
  int missing;       /* members whose gradient is still being computed here */
  int64_t count;     /* elements: the gradients, then for each member 1 where there is one, else 0 */
  char *data;
  size_t capacity;   /* bytes at `data`, kept from step to step */
  CnExchange sum;
} Bucket;

typedef struct Leaf {
  CnTensor *tensor;
  bool expected; /* in the graph, its gradient not final */
  bool wanted;   /* some rank has a gradient */
  int bucket;
  int64_t at;    /* its first element there */
} Leaf;

struct CnGradients {
  int count;
  Leaf *leaf;         /* in the order of definition */
  int *table, slots;  /* leaves by address, open addressing; -1: free */
  const CnWorld *world;
  uint8_t *have, *all; /* a bit for each leaf: here; on every rank in turn */
  size_t mask_bytes;
  CnExchange mask;
  bool asked, planned; /* the mask is under way; the buckets are made */
  Bucket *bucket;
  int buckets, made, sent; /* in use; with memory, from the beginning; under way */
};

/* ---- leaves ---- */

static int slot_of(const CnGradients *g, const CnTensor *leaf) {
  uint64_t h = (uint64_t)(uintptr_t)leaf * 0x9e3779b97f4a7c15u;
  int at = (int)(h >> 32) & (g->slots - 1);
  while (g->table[at] >= 0 && g->leaf[g->table[at]].tensor != leaf) at = (at + 1) & (g->slots - 1);
  return at;
}

CnErr cn_gradients_new(CnGradients **out, CnTensor *const *leaf, int count) {
  const CnWorld *world;
  CN_TRY(cn_world(&world));
  CnGradients *g = cn_alloc_zeroed(sizeof *g);
  if (g == NULL) return CN_EMEMORY;
  g->world = world;
  g->count = count;
  for (g->slots = 16; g->slots < 2 * count; g->slots *= 2) continue;
  g->mask_bytes = ((size_t)count + 7) / 8;
  g->leaf = cn_alloc_zeroed((size_t)count * sizeof *g->leaf);
  g->table = cn_alloc((size_t)g->slots * sizeof *g->table);
  g->have = cn_alloc_zeroed(g->mask_bytes);
  g->all = cn_alloc_zeroed(g->mask_bytes * (size_t)world->size);
  g->bucket = cn_alloc_zeroed((size_t)count * sizeof *g->bucket);
  if (!g->leaf || !g->table || !g->have || !g->all || !g->bucket) {
    cn_gradients_free(g);
    return CN_EMEMORY;
  }
  for (int i = 0; i < g->slots; i++) g->table[i] = -1;
  for (int i = 0; i < count; i++) {
    g->leaf[i].tensor = leaf[i];
    g->table[slot_of(g, leaf[i])] = i;
  }
  *out = g;
  return CN_OK;
}

/* After an error an exchange may be under way still: then its memory is left to the end of the process. */
void cn_gradients_free(CnGradients *g) {
  if (g == NULL || (g->asked && !cn_exchange_done(&g->mask))) return;
  for (int b = 0; b < g->sent; b++)
    if (!cn_exchange_done(&g->bucket[b].sum)) return;
  for (int b = 0; b < g->made; b++) cn_free(g->bucket[b].data);
  cn_free(g->bucket);
  cn_free(g->leaf);
  cn_free(g->table);
  cn_free(g->have);
  cn_free(g->all);
  cn_free(g);
}

/* ---- what is to be exchanged ---- */

/* Tells the others which leaves have a gradient here, or will have when backward is through. */
static CnErr ask(CnGradients *g) {
  memset(g->have, 0, g->mask_bytes);
  for (int i = 0; i < g->count; i++)
    if (g->leaf[i].expected || g->leaf[i].tensor->grad) g->have[i / 8] |= (uint8_t)(1 << i % 8);
  CN_TRY(cn_world_start_gather(&g->mask, g->have, g->all, g->mask_bytes));
  g->asked = true;
  return CN_OK;
}

static Bucket *new_bucket(CnGradients *g, int last, CnDtype dtype) {
  Bucket *b = &g->bucket[g->buckets++];
  b->dtype = dtype;
  b->end = last + 1;
  b->members = b->missing = 0;
  b->count = 0;
  return b;
}

/* Makes the buckets; the mask has come. */
static CnErr plan(CnGradients *g) {
  Bucket *b = NULL;
  g->buckets = 0;
  for (int i = g->count - 1; i >= 0; i--) {
    Leaf *leaf = &g->leaf[i];
    leaf->wanted = false;
    for (int r = 0; r < g->world->size; r++)
      leaf->wanted = leaf->wanted || g->all[(size_t)r * g->mask_bytes + (size_t)i / 8] >> i % 8 & 1;
    if (!leaf->wanted) continue;
    CnDtype dtype = leaf->tensor->dtype;
    if (!b || b->dtype != dtype || (size_t)b->count * cn_dtype_size(dtype) >= BUCKET) b = new_bucket(g, i, dtype);
    leaf->bucket = g->buckets - 1;
    leaf->at = b->count;
    b->first = i;
    b->count += cn_tensor_count(leaf->tensor);
    b->members++;
    b->missing += leaf->expected;
  }
  for (int k = 0; k < g->buckets; k++) {
    b = &g->bucket[k];
    b->count += b->members;
    size_t bytes = (size_t)b->count * cn_dtype_size(b->dtype);
    if (bytes <= b->capacity) continue;
    cn_free(b->data);
    b->capacity = 0;
    if (g->made < k + 1) g->made = k + 1;
    if (!(b->data = cn_alloc(bytes))) return CN_EMEMORY;
    b->capacity = bytes;
  }
  g->planned = true;
  return CN_OK;
}

/* ---- buckets ---- */

static void scale(void *data, int64_t count, CnDtype dtype, double by) {
  if (dtype == CN_F32)
    for (int64_t i = 0; i < count; i++) ((float *)data)[i] *= (float)by;
  else
    for (int64_t i = 0; i < count; i++) ((double *)data)[i] *= by;
}

static void set_flag(Bucket *b, int member, bool on) {
  int64_t at = b->count - b->members + member;
  if (b->dtype == CN_F32) ((float *)(void *)b->data)[at] = on;
  else ((double *)(void *)b->data)[at] = on;
}

static bool flag(const Bucket *b, int member) {
  int64_t at = b->count - b->members + member;
  return b->dtype == CN_F32 ? ((float *)(void *)b->data)[at] > 0 : ((double *)(void *)b->data)[at] > 0;
}

static char *place(const Bucket *b, const Leaf *leaf) { return b->data + (size_t)leaf->at * cn_dtype_size(b->dtype); }

static CnErr pack(const CnGradients *g, Bucket *b) {
  for (int i = b->end - 1, member = 0; i >= b->first; i--) {
    const Leaf *leaf = &g->leaf[i];
    CnTensor *grad = leaf->tensor->grad;
    if (!leaf->wanted) continue;
    set_flag(b, member++, grad != NULL);
    size_t bytes = cn_tensor_bytes(leaf->tensor);
    if (grad == NULL) memset(place(b, leaf), 0, bytes);
    else CN_TRY(cn_tensor_read(grad, place(b, leaf), bytes));
    if (grad != NULL) scale(place(b, leaf), cn_tensor_count(grad), b->dtype, g->world->share);
  }
  return CN_OK;
}

static CnErr unpack(const CnGradients *g, Bucket *b) {
  for (int i = b->end - 1, member = 0; i >= b->first; i--) {
    CnTensor *t = g->leaf[i].tensor;
    if (!g->leaf[i].wanted || !flag(b, member++)) continue;
    if (t->grad == NULL || t->grad->refs > 1 || t->grad->storage->refs > 1) { /* somebody else's too: leave it to him */
      CnTensor *own;
      CN_TRY(cn_tensor_new_like(&own, t));
      cn_tensor_unref(t->grad);
      t->grad = own;
    }
    CN_TRY(cn_tensor_write(t->grad, place(b, &g->leaf[i]), cn_tensor_bytes(t)));
  }
  return CN_OK;
}

/* Sends what can be sent. */
static CnErr advance(CnGradients *g) {
  if (!g->planned && cn_exchange_done(&g->mask)) {
    CN_TRY(cn_exchange_wait(&g->mask)); /* its error */
    CN_TRY(plan(g));
  }
  while (g->planned && g->sent < g->buckets && g->bucket[g->sent].missing == 0) {
    Bucket *b = &g->bucket[g->sent];
    CN_TRY(pack(g, b));
    CN_TRY(cn_world_start_sum(&b->sum, b->data, b->count, b->dtype));
    g->sent++;
  }
  return CN_OK;
}

/* ---- a step ---- */

static void reached(void *context, CnTensor *tensor) {
  CnGradients *g = context;
  int i = g->table[slot_of(g, tensor)];
  if (i >= 0) g->leaf[i].expected = true;
}

static CnErr final(void *context, CnTensor *tensor) {
  CnGradients *g = context;
  int i = g->table[slot_of(g, tensor)];
  if (i < 0) return CN_OK;
  if (!g->asked) CN_TRY(ask(g));
  g->leaf[i].expected = false;
  if (g->planned) g->bucket[g->leaf[i].bucket].missing--;
  return advance(g);
}

static void begin(CnGradients *g) {
  for (int i = 0; i < g->count; i++) g->leaf[i].expected = false;
  g->asked = g->planned = false;
  g->sent = 0;
}

static CnErr complete(CnGradients *g) {
  if (!g->asked) CN_TRY(ask(g));
  CN_TRY(cn_exchange_wait(&g->mask));
  CN_TRY(advance(g));
  for (int b = 0; b < g->buckets; b++) {
    CN_TRY(cn_exchange_wait(&g->bucket[b].sum));
    CN_TRY(unpack(g, &g->bucket[b]));
  }
  return CN_OK;
}

CnErr cn_gradients_backward(CnGradients *g, CnTensor *loss) {
  CnLeafListener listener = { g, reached, final };
  begin(g);
  CN_TRY(cn_backward_heard(loss, NULL, false, &listener));
  return complete(g);
}

CnErr cn_gradients_average(CnGradients *g) {
  begin(g);
  return complete(g);
}
