/* genotype_read.c - collecting a genotype part by part, and reading the JSON form. */
#include "nas/genotype_read.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#define MAX_TEXT (1 << 20) /* bytes; a genotype is a few hundred */

static const char *const part_name[] = { "normal", "normal_concat", "reduction", "reduction_concat" };

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

/* ---- JSON ---- */

/* A whole number of moderate size; others are told apart from every node by being out of range. */
static bool json_integer(const cJSON *item, int *out) {
  if (!cJSON_IsNumber(item) || !(item->valuedouble > -1e6 && item->valuedouble < 1e6)) return false;
  *out = (int)item->valuedouble;
  return (double)*out == item->valuedouble;
}

static CnErr json_triple(CnGenotypeReader *r, CnGenotypePart part, const cJSON *item, int number) {
  int from, to = -1, size = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : 0;
  const cJSON *op = size > 0 ? cJSON_GetArrayItem(item, 0) : NULL;
  bool good = (size == 2 || size == 3) && cJSON_IsString(op) && json_integer(cJSON_GetArrayItem(item, 1), &from);
  if (good && size == 3) good = json_integer(cJSON_GetArrayItem(item, 2), &to) && to >= 0;
  if (!good)
    return cn_fail(CN_EDATA, "genotype: %s: triple %d must be [\"operation\", from, to]", part_name[part], number);
  return cn_reader_triple(r, part, op->valuestring, strlen(op->valuestring), from, to);
}

static CnErr json_part(CnGenotypeReader *r, CnGenotypePart part, const cJSON *value) {
  const cJSON *item;
  int number = 0;
  if (!cJSON_IsArray(value)) return cn_fail(CN_EDATA, "genotype: %s must be a list", part_name[part]);
  cJSON_ArrayForEach(item, value) {
    number++;
    if (part == CN_NORMAL || part == CN_REDUCTION) {
      CN_TRY(json_triple(r, part, item, number));
    } else {
      int node;
      if (!json_integer(item, &node))
        return cn_fail(CN_EDATA, "genotype: %s: entry %d must be a node's number", part_name[part], number);
      CN_TRY(cn_reader_concat(r, part, node));
    }
  }
  return CN_OK;
}

static CnErr json_object(CnGenotype *out, const cJSON *root) {
  CnGenotypeReader r = { 0 };
  const cJSON *item;
  if (!cJSON_IsObject(root)) return cn_fail(CN_EDATA, "genotype: the JSON must be an object");
  cJSON_ArrayForEach(item, root) {
    CnGenotypePart part = cn_genotype_part(item->string);
    /* CNAS records write null for a concat they leave open. */
    if (part == CN_NO_PART || cJSON_IsNull(item)) continue;
    CN_TRY(cn_reader_part(&r, part));
    CN_TRY(json_part(&r, part, item));
  }
  return cn_reader_finish(out, &r);
}

CnErr cn_genotype_parse_json(CnGenotype *out, const char *text, size_t length) {
  const char *end = text;
  cJSON *root = cJSON_ParseWithLengthOpts(text, length, &end, false);
  if (root == NULL)
    return cn_fail(CN_EDATA, "genotype: the JSON is wrong at byte %zu", (size_t)(end - text) + 1);
  CnErr e = json_object(out, root);
  while (e == CN_OK && end < text + length) {
    if (memchr(" \t\r\n", *end, 4) == NULL)
      e = cn_fail(CN_EDATA, "genotype: unexpected text after the JSON, at byte %zu", (size_t)(end - text) + 1);
    end++;
  }
  cJSON_Delete(root);
  return e;
}
