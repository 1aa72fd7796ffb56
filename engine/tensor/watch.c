/* watch.c - see watch.h. */
#include "tensor/watch.h"

_Thread_local const CnWatcher *cn_watcher;
_Thread_local CnWork cn_work;

CnErr cn_watch(const char *who, const CnWatcher *watcher) {
  if (watcher != NULL && cn_watcher != NULL)
    return cn_fail(CN_EUSAGE, "%s: rows are being watched already: a trace or profile within another", who);
  cn_watcher = watcher;
  return CN_OK;
}

CnErr cn_interrupted(const CnCall *call) {
  atomic_store(&cn_interrupt_at_once, false);
  cn_interrupt_requested();
  return cn_fail(CN_EINTERRUPTED, "%s: interrupted", call->op->name);
}
