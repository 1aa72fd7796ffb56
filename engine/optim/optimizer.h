/* optimizer.h - SGD and Adam over groups of parameters.
**
** Parameters without a gradient are left alone, their momentum too: in a supernet only the sampled path moves. */
#ifndef CN_OPTIMIZER_H
#define CN_OPTIMIZER_H

#include "tensor/tensor.h"

typedef struct CnOptimizer CnOptimizer;

typedef enum CnOptimizerKind { CN_SGD, CN_ADAM } CnOptimizerKind;

typedef struct CnGroup { /* hyper-parameters of one group; may be changed between steps */
  double lr, weight_decay;
  double momentum; bool nesterov;   /* SGD */
  double beta1, beta2, eps;         /* Adam */
} CnGroup;

CnErr cn_optimizer_new(CnOptimizer **out, CnOptimizerKind kind);
void cn_optimizer_free(CnOptimizer *o); /* NULL is allowed */
/* Starts a new group; returns its number (from 0) in *index. */
CnErr cn_optimizer_add_group(CnOptimizer *o, CnGroup group, int *index);
/* Usual values: SGD {lr}, Adam {lr, 0.9, 0.999, 1e-8}; all else zero. */
CnGroup cn_group_defaults(CnOptimizerKind kind, double lr);
/* CN_EUSAGE for a value out of its range: negative rates, beta outside [0, 1), nesterov without momentum, … */
CnErr cn_group_check(CnOptimizerKind kind, const CnGroup *group);
/* Adds a parameter (new reference) to a group under a name that is unique in the optimizer. */
CnErr cn_optimizer_add(CnOptimizer *o, int group, const char *name, CnTensor *parameter);
CnOptimizerKind cn_optimizer_kind(const CnOptimizer *o);
int cn_optimizer_groups(const CnOptimizer *o);
CnGroup *cn_optimizer_group(CnOptimizer *o, int index); /* borrowed */

/* From now on the gradients of a step are the mean over the processes of the run (dist/gradients.h). Every process has
** the same optimizer and makes the same steps. Alone it changes nothing. */
CnErr cn_optimizer_share(CnOptimizer *o);
/* Computes the gradients of a loss; shared, their mean over the processes. After an error there are none. */
CnErr cn_optimizer_backward(CnOptimizer *o, CnTensor *loss);
/* Gradients that are there already become their mean, when shared. */
CnErr cn_optimizer_average(CnOptimizer *o);

/* The 2-norm of all gradients together, in a fixed order, into *norm. */
CnErr cn_optimizer_grad_norm(CnOptimizer *o, double *norm);
/* One step; gradients are scaled by clip / (norm + 1e-6) when that is below 1 (`clip` 0: never). *norm (may be NULL)
** gets the norm before. Gradients are freed. A norm that is not finite: CN_ENOTFINITE names the first bad gradient, and
** nothing has moved; the gradients stay. */
CnErr cn_optimizer_step(CnOptimizer *o, double clip, double *norm);
/* The same without waiting for a GPU: *norm is an f64 scalar on the gradients' device. There a loss (may be NULL) or a
** norm that is not finite is the error of whoever waits for the GPU next, and the step has moved nothing. */
CnErr cn_optimizer_step_late(CnOptimizer *o, const CnTensor *loss, double clip, CnTensor **norm);
void cn_optimizer_zero_grad(CnOptimizer *o); /* frees gradients */

/* State in definition order: "NAME.momentum"; "NAME.mean", "NAME.square" and "NAME.step" (i64 scalar); NULL tensors
** (not used yet) are not visited. _load takes what _visit gave, by name; a wrong name or shape: CN_EDATA. */
typedef CnErr (*CnStateVisit)(void *context, const char *name, CnTensor *tensor);
CnErr cn_optimizer_visit(CnOptimizer *o, CnStateVisit visit, void *context);
CnErr cn_optimizer_load(CnOptimizer *o, const char *name, CnTensor *tensor);

#endif
