/* backbone.h - what the supernet and the evaluation network share: stem, cells, pool and classifier.
**
** A backbone is the front of a module's data. Its slots stand in the order of published checkpoints: stem (or stem0,
** stem1), cells, the auxiliary head where there is one, classifier last. */
#ifndef CN_BACKBONE_H
#define CN_BACKBONE_H

#include "nas/cell.h"
#include "nas/network.h"

typedef struct CnBackbone {
  int stems;            /* 1, or 2 for ImageNet */
  int layers;           /* cells */
  int tap;              /* the cell (from 0) whose output the auxiliary head takes: the second reduction */
  int64_t tap_channels; /* of that output */
  int64_t in_channels;  /* of the images */
  CnDtype precision;    /* CN_BF16: images between the stem and the last pool are kept in it */
} CnBackbone;

typedef struct CnBackboneOptions {
  const CnSpace *space;
  const CnGenotype *genotype; /* NULL: a supernet's */
  int64_t nodes, channels, layers, classes, in_channels;
  bool imagenet, auxiliary;
  CnDtype precision;
} CnBackboneOptions;

/* Adds the parts to `m`, filling in *b. */
CnErr cn_backbone_build(CnModule *m, CnBackbone *b, const CnBackboneOptions *options, CnRng *rng);

/* images -> logits. `call` for normal and for reduction cells. `tapped`, unless NULL, receives the tap's output. */
CnErr cn_backbone_forward(CnModule *m, const CnBackbone *b, CnTensor **logits, CnTensor **tapped, CnTensor *images,
                          const CnCellCall call[2]);

/* Adds one image of height x width. */
CnErr cn_backbone_cost(const CnModule *m, const CnBackbone *b, CnCost *cost, int64_t height, int64_t width,
                       const CnCellCall call[2]);

/* auxiliary.c: a small classifier on features half way up, for training. */
CnErr cn_auxiliary_new(CnModule **out, int64_t channels, int64_t classes, bool imagenet, CnRng *rng);

#endif
