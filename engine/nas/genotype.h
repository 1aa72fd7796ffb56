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

struct CnSpace;
/* Checks shape, order and, unless `space` is NULL, operation names. The message names the cell and the triple:
** "normal: triple 3 (sep_conv_3x3, 4, 3): from must be less than to". CN_EDATA. */
CnErr cn_genotype_check(const CnGenotype *g, const struct CnSpace *space);

/* JSON {"normal":[["op",from,to],…],"normal_concat":[…],"reduction":…,"reduction_concat":…}, or the Python text of
** published genotypes (DARTS: pairs (op, from), `reduce`; CNAS: triples, `reduced`). Checked before it is returned. */
CnErr cn_genotype_parse(CnGenotype *out, const char *text, size_t length);
/* A new string (cn_free): JSON, or the text in triples (`darts` false) or pairs (`darts` true). */
CnErr cn_genotype_json(char **out, const CnGenotype *g);
CnErr cn_genotype_text(char **out, const CnGenotype *g, bool darts);

/* A published genotype by name ("CNAS", "DARTS_V2", …), or NULL. cn_genotype_published(i): the i-th name, or NULL. */
const CnGenotype *cn_genotype_named(const char *name);
const char *cn_genotype_published(int index);

#endif
