/* autograd.h - reverse-mode differentiation over the operations that were applied.
**
** Every application with a tracked input leaves a node that holds what its row's backward reads, and edges to where
** the gradients go. Nodes are numbered in order of creation; backward walks them in falling order. Values are freed as
** the walk passes them. */
#ifndef CN_AUTOGRAD_H
#define CN_AUTOGRAD_H

#include "tensor/op.h"

/* Adds d(loss)/d(leaf) to leaf->grad of every leaf that requires it. `gradient` is d(result)/d(loss), NULL for a
** one-element loss. The graph is spent afterwards unless `retain`. Sums are taken in a fixed order. */
CnErr cn_backward(CnTensor *loss, CnTensor *gradient, bool retain);

/* Who hears of the leaves of a backward: `reached` of each leaf of the graph, once, before anything is computed; `final`
** when nothing more of this backward will be added to its gradient (NULL, when nothing was). */
typedef struct CnLeafListener {
  void *context;
  void (*reached)(void *context, CnTensor *leaf);
  CnErr (*final)(void *context, CnTensor *leaf);
} CnLeafListener;
CnErr cn_backward_heard(CnTensor *loss, CnTensor *gradient, bool retain, const CnLeafListener *listener);

/* Whether applications are recorded in this thread. Returns the previous setting. */
bool cn_grad_enable(bool on);
bool cn_grad_enabled(void);

/* A node whose backward is not a row but a callback: for operations written in Lua. The callback reads gout[0 … nout-1]
** (never NULL) and stores in gin[i] a new reference of the input's shape, or leaves NULL for no gradient. */
typedef struct CnCustom {
  void *data;
  CnErr (*backward)(void *data, CnTensor *const *gout, int nout, CnTensor **gin, int nin);
  void (*release)(void *data); /* called once, when the node goes */
} CnCustom;

/* Makes `out[0 … nout-1]` (untracked until now) the results of a custom operation on `in`. Takes over `custom.data`:
** on failure it is released. Does nothing but release when no input is tracked or recording is off. */
CnErr cn_custom_record(CnTensor **out, int nout, CnTensor *const *in, int nin, CnCustom custom);

/* For tensor.c and op.c. */
typedef struct CnNode CnNode;
CnErr cn_node_record(CnCall *call);
CnNode *cn_node_ref(CnNode *node);
void cn_node_unref(CnNode *node);

#endif
