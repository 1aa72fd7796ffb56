/* trace.h - which rows a computation runs, on which values: its graph, as data.
**
** While a trace is on, every row that runs in its thread is noted. A value is what one tensor holds; a tensor on the
** same memory, of the same shape and strides, is the same value. Values that no row has made are the computation's
** inputs and constants. A trace keeps all its tensors. */
#ifndef CN_TRACE_H
#define CN_TRACE_H

#include "tensor/watch.h"

typedef struct CnTracedRow {
  const CnOp *op;
  const void *owner; /* see CnWork */
  CnAttr attr[CN_MAX_ATTRS];
  int inputs, outputs;
  int in[CN_MAX_INPUTS];   /* values; -1: not given */
  int out[CN_MAX_OUTPUTS]; /* visible outputs */
} CnTracedRow;

typedef struct CnTrace {
  CnWatcher watcher;
  int rows, values;
  CnTracedRow *row;
  CnTensor **value; /* owned */
  int row_room, value_room;
  int *place; /* hash table of values, place_room (a power of two) entries, -1: free */
  int place_room;
} CnTrace;

/* Starts one of a computation on `input`, value 0. Rows that write in place are errors while it is on, but for those
** that fill a tensor which no other row has seen. */
CnErr cn_trace_begin(CnTrace **out, CnTensor *input);
void cn_trace_end(CnTrace *t); /* stops noting; ending it twice is fine */
void cn_trace_free(CnTrace *t); /* ends it too; NULL is allowed */

int cn_trace_find(const CnTrace *t, const CnTensor *tensor); /* the value that a tensor holds; -1: none */

#endif
