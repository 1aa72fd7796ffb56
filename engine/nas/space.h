/* space.h - candidate operations: how each is built, by name. Recipes add their own.
**
** A space is an ordered list of candidates; its order is the numbering of weights in a supernet and of the controller's
** choices. Operations of the literature are built in (see cn_space_builtin). */
#ifndef CN_SPACE_H
#define CN_SPACE_H

#include "nas/genotype.h"
#include "nn/layers.h"

typedef struct CnOpSettings { /* what a candidate is built for */
  int64_t channels;
  int64_t stride;  /* 1, or 2 on an edge from a reduction cell's input */
  bool affine;     /* BN with weight and bias: evaluation network */
  bool track;      /* BN with running statistics: evaluation network */
  bool supernet;   /* a pool is followed by BN */
  CnRng *rng;      /* NULL: zeros */
} CnOpSettings;

typedef CnErr (*CnBuild)(void *data, CnModule **out, const CnOpSettings *settings);

typedef struct CnCandidate {
  char name[CN_OP_NAME];
  CnBuild build;
  void *data;
  void (*release)(void *data); /* NULL: nothing to release */
} CnCandidate;

typedef struct CnSpace {
  int refs;
  int count;
  CnCandidate *candidate;
} CnSpace;

CnErr cn_space_new(CnSpace **out);                            /* empty */
CnErr cn_space_darts(CnSpace **out);                          /* the eight of DARTS, in its order */
CnErr cn_space_add(CnSpace *s, const char *name);             /* a built-in by name; unknown: suggests the nearest */
CnErr cn_space_define(CnSpace *s, CnCandidate candidate);     /* takes over `data`, also on failure */
int cn_space_find(const CnSpace *s, const char *name);        /* index, or -1 */
const char *cn_space_nearest(const CnSpace *s, const char *name); /* a name it may have been meant for, or NULL */
const char *cn_space_builtin(int index);                      /* the index-th built-in name, or NULL */
CnErr cn_space_build(CnModule **out, const CnSpace *s, int index, const CnOpSettings *settings);
CnSpace *cn_space_ref(CnSpace *s);
void cn_space_unref(CnSpace *s);

#endif
