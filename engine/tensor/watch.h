/* watch.h - being told of every row that runs: what tracing and profiling are made of.
**
** A thread has at most one watcher. Without one a row costs one comparison more. Composed rows are not told of, the
** rows that they are made of are. Modules say for whom they work, so that time can be laid to someone's account. */
#ifndef CN_WATCH_H
#define CN_WATCH_H

#include "base/interrupt.h"
#include "tensor/op.h"

typedef struct CnWatcher {
  void *context;
  /* In front of a row's kernel (or view); what it returns comes back in `end`. */
  double (*begin)(void *context, const CnCall *call);
  /* Behind it, inputs and outputs being there (in backward: gin and gout). An error becomes the row's. */
  CnErr (*end)(void *context, const CnCall *call, double begun);
} CnWatcher;

typedef struct CnWork {
  const void *owner; /* the module that is being called, the innermost; NULL: none. Only an address */
  bool backward;     /* the tape is being walked: rows belong to the gradient of what `owner` did */
} CnWork;

extern _Thread_local const CnWatcher *cn_watcher; /* set by cn_watch */
extern _Thread_local CnWork cn_work;

/* Makes `watcher` (borrowed; NULL: nobody) this thread's. There is one already: CN_EUSAGE, naming `who`. */
CnErr cn_watch(const char *who, const CnWatcher *watcher);

/* From here on rows run for `owner`; gives what holds now, to be put back into cn_work. */
static inline CnWork cn_work_for(const void *owner) {
  CnWork before = cn_work;
  cn_work.owner = owner;
  return before;
}

/* The error of a row that was interrupted; from here on the wish is known. */
CnErr cn_interrupted(const CnCall *call);

/* Runs a kernel. One that was interrupted may have left anything in its results: they are not to be seen. */
static inline CnErr cn_run_whole(CnErr (*run)(CnCall *call), CnCall *call) {
  CnErr e = run(call);
  return e == CN_OK && atomic_load_explicit(&cn_interrupt_at_once, memory_order_relaxed) ? cn_interrupted(call) : e;
}

static inline CnErr cn_run_watched(CnErr (*run)(CnCall *call), CnCall *call) {
  const CnWatcher *w = cn_watcher;
  if (w == NULL) return cn_run_whole(run, call);
  double begun = w->begin(w->context, call);
  CnErr e = cn_run_whole(run, call);
  return e == CN_OK ? w->end(w->context, call, begun) : e;
}

#endif
