/* additions.h - additions on a GPU that are put off, to be made together in a few launches: gradients of a batch to
** those of the batches before it. */
#ifndef CN_ADDITIONS_H
#define CN_ADDITIONS_H

#include "device/cuda.h"
#include "tensor/tensor.h"

typedef struct CnAdditions { /* all zeros: none */
  int count, room;
  CnMoved *list; /* in[0] gets in[1] added; references */
} CnAdditions;

/* Puts off to += what, where that can be done in place on a GPU; else *put is false, and none is put off any more. */
CnErr cn_additions_put(CnAdditions *a, CnTensor *to, CnTensor *what, bool *put);
/* Makes those that were put off. After an error, too, none is left. */
CnErr cn_additions_make(CnAdditions *a);
void cn_additions_free(CnAdditions *a); /* of none that is put off */

#endif
