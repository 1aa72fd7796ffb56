/* internal.h - what the files of this folder share: an optimizer's parameters and their state. */
#ifndef CN_OPTIM_INTERNAL_H
#define CN_OPTIM_INTERNAL_H

#include "optim/optimizer.h"
#include "tensor/op.h"

typedef struct CnParameter {
  char *name;
  int group;
  CnTensor *tensor;
  CnTensor *state[2]; /* SGD: momentum; Adam: mean, square. NULL until the first step that needs them */
  CnTensor *step;     /* Adam: how many steps this parameter took, an i64 scalar on the CPU; NULL: none */
} CnParameter;

struct CnOptimizer {
  CnOptimizerKind kind;
  int groups, group_capacity;
  CnGroup *group;
  int count, capacity;
  CnParameter *parameter;
  bool shared;             /* gradients are averaged over the processes, by */
  struct CnGradients *gradients; /* made at the first step; NULL: not yet, or alone */
};

/* The attributes of sgd_step or adam_step for a group; `step` and `scale` (of the gradient) as in their rows. */
void cn_step_attributes(CnAttr *attr, const CnOptimizer *o, const CnGroup *g, int64_t step, double scale);

/* Whether all parameters that have gradients are of one GPU, which is then *device, in the form that fused.c needs. */
bool cn_fused_can(const CnOptimizer *o, CnDevice *device);
/* The gradients' norm, a new f64 scalar there: see `norm` and `move` of CnGpu. Parameters have their state. */
CnErr cn_fused_norm(CnTensor **norm, const CnOptimizer *o, CnDevice device, const CnTensor *loss, bool reports);
CnErr cn_fused_move(CnOptimizer *o, CnDevice device, CnTensor *norm, double clip);

#endif
