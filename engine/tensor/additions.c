/* additions.c - see additions.h. Each is of its own tensor: one that is put off holds `to`, so that nobody else may add
** to it in place until it is made. */
#include "tensor/additions.h"

#include <string.h>

#include "base/memory.h"
#include "tensor/watch.h"

/* A call that a watcher can be told of; first, so that one is the other. */
typedef struct Added {
  CnCall call;
  const CnGpu *gpu;
  const CnAdditions *additions;
} Added;

static bool can_wait(const CnTensor *to, const CnTensor *what) {
  return cn_tensor_device(to).kind == CN_CUDA && cn_device_equal(cn_tensor_device(to), cn_tensor_device(what)) &&
         cn_dtype_is_real(to->dtype) && to->dtype == what->dtype && cn_tensor_same_shape(to, what) && to->refs == 1 &&
         to->storage->refs == 1 && cn_tensor_is_contiguous(to) && cn_tensor_is_contiguous(what);
}

static CnErr make_room(CnAdditions *a) {
  if (a->count < a->room) return CN_OK;
  int room = a->room > 0 ? 2 * a->room : 64;
  CnMoved *larger = cn_alloc((size_t)room * sizeof *larger);
  if (larger == NULL) return CN_EMEMORY;
  if (a->count > 0) memcpy(larger, a->list, (size_t)a->count * sizeof *larger);
  cn_free(a->list);
  a->list = larger;
  a->room = room;
  return CN_OK;
}

CnErr cn_additions_put(CnAdditions *a, CnTensor *to, CnTensor *what, bool *put) {
  *put = false;
  if (!can_wait(to, what)) return cn_additions_make(a);
  const CnTensor *first = a->count > 0 ? a->list[0].in[0] : to;
  if (first->dtype != to->dtype || !cn_device_equal(cn_tensor_device(first), cn_tensor_device(to)))
    CN_TRY(cn_additions_make(a));
  CN_TRY(make_room(a));
  a->list[a->count++] = (CnMoved){ { cn_tensor_ref(to), cn_tensor_ref(what), NULL, NULL }, 0 };
  *put = true;
  return CN_OK;
}

static CnErr run(CnCall *call) {
  const Added *added = (const Added *)call;
  return added->gpu->move(call, added->additions->list, added->additions->count, NULL, 0);
}

static CnErr make_all(const CnAdditions *a) {
  const CnMoved *first = &a->list[0];
  Added added = { .call = { .op = cn_op(CN_OP_accumulate), .nin = 2, .device = cn_tensor_device(first->in[0]),
                            .dtype = first->in[0]->dtype, .attr = { { .f = 1 } } }, .additions = a };
  CN_TRY(cn_gpu(&added.gpu));
  for (int i = 0; i < CN_MAX_INPUTS; i++) added.call.in_spec[i].ndim = -1;
  for (int k = 0; k < 2; k++) { /* a watcher sees the first one's */
    added.call.in[k] = first->in[k];
    added.call.in_spec[k] = cn_tensor_spec(first->in[k]);
  }
  for (int i = 0; i < a->count; i++) a->list[i].in[0]->storage->version++;
  return cn_run_watched(run, &added.call);
}

CnErr cn_additions_make(CnAdditions *a) {
  CnErr e = a->count > 0 ? make_all(a) : CN_OK;
  for (int i = 0; i < a->count; i++) {
    cn_tensor_unref(a->list[i].in[0]);
    cn_tensor_unref(a->list[i].in[1]);
  }
  a->count = 0;
  return e;
}

void cn_additions_free(CnAdditions *a) {
  cn_free(a->list);
  *a = (CnAdditions){ 0, 0, NULL };
}
