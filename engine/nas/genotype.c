/* genotype.c - what a genotype must be, and how it is written.
**
** Everything that is read (genotype_json.c, genotype_python.c) passes cn_genotype_check before anyone sees it, so the
** rest of the engine may count on names, order and ranges. */
#include "nas/genotype.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "nas/space.h"

bool cn_op_name_ok(const char *name) {
  size_t n = strnlen(name, CN_OP_NAME);
  if (n == 0 || n == CN_OP_NAME) return false;
  return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == n;
}

/* Fails naming the cell and its triple `i` (from 0). */
static CnErr fail_triple(const char *cell, const CnCellArch *c, int i, const char *what) {
  const CnTriple *t = &c->triple[i];
  return cn_fail(CN_EDATA, "genotype: %s: triple %d (%.*s, %d, %d): %s", cell, i + 1, CN_OP_NAME - 1, t->op, t->from,
                 t->to, what);
}

static CnErr check_triple(const char *cell, const CnCellArch *c, int i, const CnSpace *space) {
  const CnTriple *t = &c->triple[i];
  char what[200];
  if (!cn_op_name_ok(t->op)) return fail_triple(cell, c, i, "an operation's name is made of letters, digits and _");
  if (t->from < 0) return fail_triple(cell, c, i, "from must be 0 or more");
  if (t->from >= t->to) return fail_triple(cell, c, i, "from must be less than to: a cell has no cycles");
  if (t->to != i / 2 + 2) {
    snprintf(what, sizeof what, "to must be %d here: each inner node takes two triples, node 2 first", i / 2 + 2);
    return fail_triple(cell, c, i, what);
  }
  if (space != NULL && cn_space_find(space, t->op) < 0) {
    const char *near = cn_space_nearest(space, t->op);
    snprintf(what, sizeof what, "the space has no such operation%s%s%s", near ? " (did you mean '" : "",
             near ? near : "", near ? "'?)" : "");
    return fail_triple(cell, c, i, what);
  }
  return CN_OK;
}

static CnErr check_cell(const char *cell, const CnCellArch *c, const CnSpace *space) {
  int count = c->count, nodes = cn_cell_nodes(c);
  if (count < 2 || count > 2 * CN_MAX_NODES || count % 2 != 0)
    return cn_fail(CN_EDATA, "genotype: %s: has %d triples, must have two for each of 1 to %d inner nodes", cell, count,
                   CN_MAX_NODES);
  for (int i = 0; i < count; i++) CN_TRY(check_triple(cell, c, i, space));
  if (c->concat_count < 1 || c->concat_count > nodes)
    return cn_fail(CN_EDATA, "genotype: %s: concat has %d nodes, must have 1 to %d", cell, c->concat_count, nodes);
  for (int i = 0; i < c->concat_count; i++) {
    int least = i > 0 ? c->concat[i - 1] + 1 : 2;
    if (c->concat[i] < least || c->concat[i] > nodes + 1)
      return cn_fail(CN_EDATA, "genotype: %s: concat entry %d is node %d, must be one of %d to %d in rising order",
                     cell, i + 1, c->concat[i], least, nodes + 1);
  }
  return CN_OK;
}

CnErr cn_genotype_check(const CnGenotype *g, const CnSpace *space) {
  CN_TRY(check_cell("normal", &g->normal, space));
  CN_TRY(check_cell("reduction", &g->reduction, space));
  if (g->normal.count == g->reduction.count) return CN_OK;
  return cn_fail(CN_EDATA, "genotype: reduction: has %d triples, but normal has %d; both cells have the same nodes",
                 g->reduction.count, g->normal.count);
}

/* ---- writing: a checked genotype of CN_MAX_NODES nodes fits into TEXT_SIZE bytes ---- */

#define TEXT_SIZE 8192

typedef struct Text {
  size_t used;
  char bytes[TEXT_SIZE];
} Text;

static void put(Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(Text *t, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(t->bytes + t->used, TEXT_SIZE - t->used, format, args);
  va_end(args);
  t->used = n < 0 || (size_t)n >= TEXT_SIZE - t->used ? TEXT_SIZE - 1 : t->used + (size_t)n;
}

static void put_concat(Text *t, const CnCellArch *c, const char *between) {
  put(t, "[");
  for (int i = 0; i < c->concat_count; i++) put(t, "%s%d", i > 0 ? between : "", c->concat[i]);
  put(t, "]");
}

static void put_json_cell(Text *t, const char *name, const CnCellArch *c) {
  put(t, "\"%s\":[", name);
  for (int i = 0; i < c->count; i++)
    put(t, "%s[\"%s\",%d,%d]", i > 0 ? "," : "", c->triple[i].op, c->triple[i].from, c->triple[i].to);
  put(t, "],\"%s_concat\":", name);
  put_concat(t, c, ",");
}

CnErr cn_genotype_json(char **out, const CnGenotype *g) {
  Text t = { 0 };
  CN_TRY(cn_genotype_check(g, NULL));
  put(&t, "{");
  put_json_cell(&t, "normal", &g->normal);
  put(&t, ",");
  put_json_cell(&t, "reduction", &g->reduction);
  put(&t, "}");
  *out = cn_strdup(t.bytes);
  return *out != NULL ? CN_OK : CN_EMEMORY;
}

static void put_python_cell(Text *t, const char *name, const CnCellArch *c, bool pairs) {
  put(t, "%s=[", name);
  for (int i = 0; i < c->count; i++) {
    put(t, "%s('%s', %d", i > 0 ? ", " : "", c->triple[i].op, c->triple[i].from);
    if (!pairs) put(t, ", %d", c->triple[i].to);
    put(t, ")");
  }
  put(t, "]");
}

CnErr cn_genotype_text(char **out, const CnGenotype *g, bool darts) {
  Text t = { 0 };
  CN_TRY(cn_genotype_check(g, NULL));
  put(&t, darts ? "Genotype(" : "Genotype.from_arch(");
  put_python_cell(&t, darts ? "normal" : "normal_arch", &g->normal, darts);
  put(&t, ", normal_concat=");
  put_concat(&t, &g->normal, ", ");
  put(&t, ", ");
  put_python_cell(&t, darts ? "reduce" : "reduced_arch", &g->reduction, darts);
  put(&t, darts ? ", reduce_concat=" : ", reduced_concat=");
  put_concat(&t, &g->reduction, ", ");
  put(&t, ")");
  *out = cn_strdup(t.bytes);
  return *out != NULL ? CN_OK : CN_EMEMORY;
}
