/* genotype_read.c - collecting a genotype part by part, whatever the form it is written in. */
#include "nas/genotype_read.h"

#include <stdio.h>
#include <string.h>

#define MAX_TEXT (1 << 20) /* bytes; a genotype is a few hundred */

static const char *const part_name[] = { "normal", "normal_concat", "reduction", "reduction_concat" };

const char *cn_genotype_part_name(CnGenotypePart part) {
  return part_name[part];
}

CnGenotypePart cn_genotype_part(const char *name) {
  static const struct { const char *name; CnGenotypePart part; } spelling[] = {
    { "normal", CN_NORMAL },                     /* here and DARTS */
    { "normal_arch", CN_NORMAL },                /* CNAS, source */
    { "named_normal_arch", CN_NORMAL },          /* CNAS, records */
    { "normal_concat", CN_NORMAL_CONCAT },
    { "reduction", CN_REDUCTION },               /* here */
    { "reduction_concat", CN_REDUCTION_CONCAT },
    { "reduce", CN_REDUCTION },                  /* DARTS */
    { "reduce_concat", CN_REDUCTION_CONCAT },
    { "reduced", CN_REDUCTION },                 /* CNAS */
    { "reduced_arch", CN_REDUCTION },
    { "named_reduced_arch", CN_REDUCTION },
    { "reduced_concat", CN_REDUCTION_CONCAT },
  };
  for (size_t i = 0; i < sizeof spelling / sizeof *spelling; i++)
    if (strcmp(spelling[i].name, name) == 0) return spelling[i].part;
  return CN_NO_PART;
}

static CnCellArch *cell_of(CnGenotypeReader *r, CnGenotypePart part) {
  return part == CN_NORMAL || part == CN_NORMAL_CONCAT ? &r->g.normal : &r->g.reduction;
}

CnErr cn_reader_part(CnGenotypeReader *r, CnGenotypePart part) {
  if (r->seen & 1u << part) return cn_fail(CN_EDATA, "genotype: %s is given twice", part_name[part]);
  r->seen |= 1u << part;
  return CN_OK;
}

CnErr cn_reader_triple(CnGenotypeReader *r, CnGenotypePart part, const char *op, size_t op_length, int from, int to) {
  CnCellArch *c = cell_of(r, part);
  if (c->count == 2 * CN_MAX_NODES)
    return cn_fail(CN_EDATA, "genotype: %s: has more than %d triples (%d inner nodes are the most)", part_name[part],
                   2 * CN_MAX_NODES, CN_MAX_NODES);
  if (op_length >= CN_OP_NAME)
    return cn_fail(CN_EDATA, "genotype: %s: triple %d (%.*s…): an operation's name has at most %d bytes",
                   part_name[part], c->count + 1, CN_OP_NAME - 1, op, CN_OP_NAME - 1);
  if (memchr(op, 0, op_length) != NULL)
    return cn_fail(CN_EDATA, "genotype: %s: triple %d (%s…): an operation's name is made of letters, digits and _",
                   part_name[part], c->count + 1, op);
  CnTriple *t = &c->triple[c->count];
  memset(t->op, 0, sizeof t->op);
  memcpy(t->op, op, op_length);
  t->from = from;
  t->to = to >= 0 ? to : c->count / 2 + 2;
  c->count++;
  return CN_OK;
}

CnErr cn_reader_concat(CnGenotypeReader *r, CnGenotypePart part, int node) {
  CnCellArch *c = cell_of(r, part);
  if (c->concat_count == CN_MAX_NODES)
    return cn_fail(CN_EDATA, "genotype: %s has more than %d nodes", part_name[part], CN_MAX_NODES);
  c->concat[c->concat_count++] = node;
  return CN_OK;
}

static void fill_concat(CnCellArch *c) {
  c->concat_count = cn_cell_nodes(c);
  for (int i = 0; i < c->concat_count; i++) c->concat[i] = i + 2;
}

CnErr cn_reader_finish(CnGenotype *out, CnGenotypeReader *r) {
  for (int part = CN_NORMAL; part <= CN_REDUCTION; part += CN_REDUCTION)
    if (!(r->seen & 1u << part)) return cn_fail(CN_EDATA, "genotype: the %s cell is missing", part_name[part]);
  if (!(r->seen & 1u << CN_NORMAL_CONCAT)) fill_concat(&r->g.normal);
  if (!(r->seen & 1u << CN_REDUCTION_CONCAT)) fill_concat(&r->g.reduction);
  CN_TRY(cn_genotype_check(&r->g, NULL));
  *out = r->g;
  return CN_OK;
}

CnErr cn_genotype_parse(CnGenotype *out, const char *text, size_t length) {
  size_t start = 0;
  if (length > MAX_TEXT) return cn_fail(CN_EDATA, "genotype: %zu bytes is too long for a genotype", length);
  while (start < length && memchr(" \t\r\n", text[start], 4) != NULL) start++;
  if (start == length) return cn_fail(CN_EDATA, "genotype: the text is empty");
  if (text[start] == '{') return cn_genotype_parse_json(out, text, length);
  return cn_genotype_parse_python(out, text, length);
}
