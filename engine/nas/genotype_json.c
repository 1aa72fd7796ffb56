/* genotype_json.c - reading the JSON form. Syntax, depth and keys given twice are the business of io/json.c. */
#include <string.h>

#include "io/json.h"
#include "nas/genotype_read.h"

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
    return cn_fail(CN_EDATA, "genotype: %s: triple %d must be [\"operation\", from, to]", cn_genotype_part_name(part),
                   number);
  return cn_reader_triple(r, part, op->valuestring, strlen(op->valuestring), from, to);
}

static CnErr json_part(CnGenotypeReader *r, CnGenotypePart part, const cJSON *value) {
  const cJSON *item;
  int number = 0;
  if (!cJSON_IsArray(value)) return cn_fail(CN_EDATA, "genotype: %s must be a list", cn_genotype_part_name(part));
  cJSON_ArrayForEach(item, value) {
    number++;
    if (part == CN_NORMAL || part == CN_REDUCTION) {
      CN_TRY(json_triple(r, part, item, number));
    } else {
      int node;
      if (!json_integer(item, &node))
        return cn_fail(CN_EDATA, "genotype: %s: entry %d must be a node's number", cn_genotype_part_name(part), number);
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
  cJSON *root;
  CN_TRY(cn_json_parse(&root, text, length, "genotype", CN_JSON_ANY_NUMBER));
  CnErr e = json_object(out, root);
  cJSON_Delete(root);
  return e;
}
