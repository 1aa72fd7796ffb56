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
  CnDtype precision;                        /* as for CnNetworkOptions */
} CnSupernetOptions;

CnErr cn_supernet_new(CnModule **out, CnSupernetOptions options, CnRng *rng);
bool cn_supernet_is(const CnModule *m);
/* images (N,H,W,in) -> logits (N,classes). Nodes beyond the genotype's (a curriculum that has opened fewer) are zeros;
** its concats do not count. */
CnErr cn_supernet_forward(CnModule *m, CnTensor **logits, CnTensor *images, const CnGenotype *path);

typedef struct CnNetworkOptions {
  CnSpace *space;             /* where operations are looked up; NULL: the built-in ones */
  const CnGenotype *genotype; /* copied */
  int64_t channels, layers, classes;
  int64_t in_channels; /* of the images; 0 means 3 */
  bool imagenet;       /* two stems of stride 2, else one 3x3 stem */
  bool auxiliary;      /* auxiliary head on the second reduction cell's output */
  CnDtype precision;   /* CN_F32, or CN_BF16: images within cells are kept in bf16, weights and sums stay f32 */
  double drop_path;    /* probability in training, can be changed by cn_network_set_drop_path */
  CnRng *noise;        /* stream for drop-path; borrowed and moved on; NULL: no drop-path */
} CnNetworkOptions;

CnErr cn_network_new(CnModule **out, CnNetworkOptions options, CnRng *rng);
bool cn_network_is(const CnModule *m);
/* `auxiliary` may be NULL; it receives NULL without an auxiliary head or when not training. */
CnErr cn_network_forward(CnModule *m, CnTensor **logits, CnTensor **auxiliary, CnTensor *images);
CnErr cn_network_set_drop_path(CnModule *m, double probability);
double cn_network_drop_path(const CnModule *m);

/* Adds to *out what one image of height x width costs, found from the modules' shapes alone. The auxiliary head is left
** out. */
CnErr cn_network_cost(CnCost *out, CnModule *network, int64_t height, int64_t width);
/* The same for one path of a supernet: the parameters of that path, an operation chosen twice on an edge once. */
CnErr cn_supernet_cost(CnCost *out, CnModule *supernet, const CnGenotype *path, int64_t height, int64_t width);

#endif
