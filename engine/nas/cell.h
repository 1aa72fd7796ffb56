/* cell.h - one cell, of a supernet or of a fixed network: the only place that knows edges and nodes.
**
** The same forward serves both. A fixed cell has one operation for each triple of its own ("_ops.<triple>"); one of a
** supernet has every operation of the space on every edge ("_ops.<edge>._ops.<operation>"), and the triples come with
** the call. */
#ifndef CN_CELL_H
#define CN_CELL_H

#include "nas/space.h"

/* The edge from node f to inner node t (f < t) among all edges. */
static inline int cn_edge(int from, int to) { return (to - 2) * (to + 1) / 2 + from; }

typedef struct CnCellOptions {
  const CnSpace *space;
  int nodes;                                 /* inner */
  int64_t channels_before_last, channels_last; /* of the two inputs */
  int64_t channels;                          /* inside */
  bool reduction, after_reduction;
  CnDtype precision;                         /* CN_BF16: images are kept in it; else in their own type */
  const CnCellArch *arch;                    /* NULL: a supernet's cell */
} CnCellOptions;

/* BN: affine and tracked in a fixed cell, neither in a supernet's. */
CnErr cn_cell_new(CnModule **out, CnCellOptions options, CnRng *rng);
int64_t cn_cell_channels(const CnModule *cell); /* of the output */

/* How a cell is called. */
typedef struct CnCellCall {
  /* A supernet's cell needs the path, a fixed one ignores it. */
  const CnCellArch *path;
  int operation[2 * CN_MAX_NODES]; /* the number, in the space, of each triple's operation */
  double drop_path;                /* probability for each image and operation but identity; 0: none */
  CnRng *noise;                    /* moved on when drop_path is above 0 */
} CnCellCall;

/* Preprocesses y, an earlier cell's output, for n (1 … 3) readers: as input inputs[i] (0: y is of the cell before last,
** 1: of the last) of cells[i], into out[i]. On failure nothing is left there and *failed is the reader. */
CnErr cn_cell_bring(const CnModule *const *cells, const int *inputs, int n, CnFeature *out, const CnFeature *y,
                    int *failed);

/* Both inputs, brought, which are taken over in any case -> (N,H,W,channels of the output), the cell's nodes joined. */
CnErr cn_cell_forward(CnModule *cell, CnFeature *out, CnFeature brought[2], const CnCellCall *call);
/* Adds the cost of such a call on inputs like *s0 and *s1; *s1 becomes the output's. */
CnErr cn_cell_cost(const CnModule *cell, CnCost *cost, const CnSpec *s0, CnSpec *s1, const CnCellCall *call);
bool cn_cell_is_reduction(const CnModule *cell);

#endif
