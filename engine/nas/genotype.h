/* genotype.h - a found cell as data: triples (operation, from, to) for the normal and the reduction cell.
**
** Nodes count from 0: 0 and 1 are the cell's inputs (the cell before last, the last cell), 2 … n+1 the inner nodes.
** Each inner node takes exactly two triples. A genotype is a plain value; operations are names, so that it means the
** same in every space. */
#ifndef CN_GENOTYPE_H
#define CN_GENOTYPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define CN_MAX_NODES 12   /* inner nodes */
#define CN_OP_NAME 32     /* bytes of an operation's name, the final 0 included */

typedef struct CnTriple {
  char op[CN_OP_NAME];
  int from, to;
} CnTriple;

typedef struct CnCellArch {
  int count;                         /* triples: twice the inner nodes */
  CnTriple triple[2 * CN_MAX_NODES];
  int concat_count;
  int concat[CN_MAX_NODES];          /* nodes whose channels make the output, rising */
} CnCellArch;

typedef struct CnGenotype {
  CnCellArch normal, reduction;
} CnGenotype;

static inline int cn_cell_nodes(const CnCellArch *cell) { return cell->count / 2; } /* inner nodes */

struct CnSpace;
/* Checks shape, order (the two triples of node 2 first, then those of node 3, …) and, unless `space` is NULL, operation
** names. The message names the cell and the triple, which count from 1:
** "genotype: normal: triple 3 (sep_conv_3x3, 4, 3): from must be less than to: a cell has no cycles". CN_EDATA. */
CnErr cn_genotype_check(const CnGenotype *g, const struct CnSpace *space);

/* An operation's name may go into files and parameter names: letters, digits and _, 1 … CN_OP_NAME-1 of them. */
bool cn_op_name_ok(const char *name);

/* JSON {"normal":[["op",from,to],…],"normal_concat":[…],"reduction":…,"reduction_concat":…} (other keys are ignored, so
** that a record with its accuracies may be given whole; the keys of published CNAS records are known too), or the
** Python text of published genotypes: DARTS's pairs (op, from), CNAS's triples. Without a concat all inner nodes are in
** it. Checked before it is returned. */
CnErr cn_genotype_parse(CnGenotype *out, const char *text, size_t length);
/* A new string (cn_free): JSON in one line; Python text as published by CNAS (triples), or by DARTS (pairs). */
CnErr cn_genotype_json(char **out, const CnGenotype *g);
CnErr cn_genotype_text(char **out, const CnGenotype *g, bool darts);

/* A published genotype by name ("CNAS", "DARTS_V2", …), or NULL. cn_genotype_published(i): the i-th name, or NULL. */
const CnGenotype *cn_genotype_named(const char *name);
const char *cn_genotype_published(int index);

#endif
