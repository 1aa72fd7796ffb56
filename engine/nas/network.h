/* network.h - the networks made of cells: the weight-sharing supernet, and the evaluation network of one genotype.
**
** Both are modules. A supernet is called with images and a genotype (cn_supernet_forward): only that path runs.
** Parameter names are those of published CNAS checkpoints: stem.0.weight, cells.3.preprocess0.op.1.weight,
** cells.3._ops.5… (network: triple number; supernet: edge number, then _ops.<operation>), classifier.weight. */
#ifndef CN_NETWORK_H
#define CN_NETWORK_H

#include "nas/space.h"

typedef struct CnSupernetOptions {
  CnSpace *space;
  int64_t channels, layers, nodes, classes; /* C, L, n, labels */
  int64_t in_channels;                      /* of the images; 0 means 3 */
} CnSupernetOptions;

CnErr cn_supernet_new(CnModule **out, CnSupernetOptions options, CnRng *rng);
/* images (N,H,W,in) -> logits (N,classes). Nodes beyond the genotype's (a curriculum that has opened fewer) are zeros. */
CnErr cn_supernet_forward(CnModule *m, CnTensor **logits, CnTensor *images, const CnGenotype *path);

typedef struct CnNetworkOptions {
  CnSpace *space;
  const CnGenotype *genotype;
  int64_t channels, layers, classes;
  bool imagenet;  /* two stems of stride 2, else one 3x3 stem */
  bool auxiliary; /* auxiliary head on the second reduction cell's output */
  double drop_path;   /* probability, can be changed by cn_network_set_drop_path */
  CnRng *noise;       /* stream for drop-path; borrowed; NULL: no drop-path */
} CnNetworkOptions;

CnErr cn_network_new(CnModule **out, CnNetworkOptions options, CnRng *rng);
/* `auxiliary` may be NULL; it receives NULL without an auxiliary head or when not training. */
CnErr cn_network_forward(CnModule *m, CnTensor **logits, CnTensor **auxiliary, CnTensor *images);
void cn_network_set_drop_path(CnModule *m, double probability);

/* cost.c - counted by running the module once with shapes; batch 1. Multiply-adds as in the literature: convolutions
** and linear layers count one for each weight use, nothing else counts. */
typedef struct CnCost {
  int64_t parameters;      /* auxiliary head left out */
  int64_t conv_macs, linear_macs;
} CnCost;
CnErr cn_network_cost(CnCost *out, CnNetworkOptions options, int64_t height, int64_t width);
/* The same for one path of a supernet: parameters of that path, shared ones counted once. */
CnErr cn_supernet_cost(CnCost *out, CnSupernetOptions options, const CnGenotype *path, int64_t height, int64_t width);

#endif
