/* internal.h - what the files of this folder share: an optimizer's parameters and their state. */
#ifndef CN_OPTIM_INTERNAL_H
#define CN_OPTIM_INTERNAL_H

#include "optim/optimizer.h"

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

#endif
