/* profile.c - see profile.h. A row is looked for from where the last one was found: passes repeat themselves. */
#include "tensor/profile.h"

#include <string.h>
#include <time.h>

#include "base/memory.h"

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void wait_for(CnDevice device) {
  if (device.kind != CN_CPU) (void)cn_device_synchronize(device);
}

static double begin(void *context, const CnCall *call) {
  (void)context;
  wait_for(call->device);
  cn_memory_reset_peak();
  return now();
}

static bool same(const CnProfileEntry *e, const CnCall *call) {
  return e->op == call->op && e->owner == cn_work.owner && e->backward == cn_work.backward;
}

static CnErr find(CnProfile *p, const CnCall *call, CnProfileEntry **out) {
  for (int i = 0; i < p->count; i++) {
    int at = (p->last + i) % p->count;
    if (!same(&p->entry[at], call)) continue;
    p->last = at;
    *out = &p->entry[at];
    return CN_OK;
  }
  if (p->count == p->room) {
    int room = p->room > 0 ? 2 * p->room : 128;
    CnProfileEntry *larger = cn_alloc((size_t)room * sizeof *larger);
    if (larger == NULL) return CN_EMEMORY;
    if (p->count > 0) memcpy(larger, p->entry, (size_t)p->count * sizeof *larger);
    cn_free(p->entry);
    p->entry = larger;
    p->room = room;
  }
  p->last = p->count;
  *out = &p->entry[p->count++];
  **out = (CnProfileEntry){ .owner = cn_work.owner, .op = call->op, .backward = cn_work.backward };
  return CN_OK;
}

static CnErr end(void *context, const CnCall *call, double begun) {
  CnProfile *p = context;
  CnProfileEntry *e;
  wait_for(call->device);
  double seconds = now() - begun;
  CnMemoryStats memory = cn_memory_stats();
  CN_TRY(find(p, call, &e));
  e->calls++;
  e->seconds += seconds;
  for (int i = 0; i < call->nout && !e->backward; i++)
    if (call->out[i] != NULL) e->bytes_made += (int64_t)cn_tensor_bytes(call->out[i]);
  if (memory.bytes_peak > e->bytes_peak) e->bytes_peak = memory.bytes_peak;
  if (memory.bytes_peak > p->bytes_peak) p->bytes_peak = memory.bytes_peak;
  return CN_OK;
}

CnErr cn_profile_begin(CnProfile **out) {
  CnProfile *p = cn_alloc_zeroed(sizeof *p);
  if (p == NULL) return CN_EMEMORY;
  p->watcher = (CnWatcher){ p, begin, end };
  CnErr e = cn_watch("profile", &p->watcher);
  if (e == CN_OK) *out = p;
  else cn_free(p);
  return e;
}

void cn_profile_end(CnProfile *p) {
  if (cn_watcher == &p->watcher) (void)cn_watch("profile", NULL);
}

void cn_profile_free(CnProfile *p) {
  if (p == NULL) return;
  cn_profile_end(p);
  cn_free(p->entry);
  cn_free(p);
}
