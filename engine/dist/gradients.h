/* gradients.h - gradients averaged over the processes while backward still computes.
**
** A step begins with what is to be exchanged: which parameters have a gradient on some rank. Those are packed into
** buckets of about a mebibyte, in the reverse of the order of their definition, which is about the order in which
** backward reaches them. A bucket is sent as soon as it and all before it are complete on this rank, so the order of
** sending is the same everywhere. A rank's part is weighted by its share of the batch (cn_world_weigh); without a
** gradient it counts as zero. A parameter that has a gradient nowhere stays without, its momentum untouched. */
#ifndef CN_GRADIENTS_H
#define CN_GRADIENTS_H

#include "tensor/tensor.h"

typedef struct CnGradients CnGradients;

/* For these leaves, real and contiguous, borrowed: they outlive the result. The same on every rank. */
CnErr cn_gradients_new(CnGradients **out, CnTensor *const *leaf, int count);
void cn_gradients_free(CnGradients *g); /* NULL is allowed */

/* cn_backward of a loss, then the mean over the processes in the leaves' gradients. What earlier calls of cn_backward
** left there is part of it. */
CnErr cn_gradients_backward(CnGradients *g, CnTensor *loss);
/* The mean of the gradients that are there. */
CnErr cn_gradients_average(CnGradients *g);

#endif
