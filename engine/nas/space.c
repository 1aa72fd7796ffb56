/* space.c - an ordered list of candidates with unique names, and the nearest name for one that is not there. */
#include "nas/space.h"

#include <string.h>

#include "base/memory.h"
#include "nas/operations.h"

CnErr cn_space_new(CnSpace **out) {
  CnSpace *s = cn_alloc_zeroed(sizeof *s);
  if (s == NULL) return CN_EMEMORY;
  s->refs = 1;
  *out = s;
  return CN_OK;
}

CnSpace *cn_space_ref(CnSpace *s) {
  s->refs++;
  return s;
}

static void release(const CnCandidate *c) {
  if (c->release != NULL) c->release(c->data);
}

void cn_space_unref(CnSpace *s) {
  if (s == NULL || --s->refs > 0) return;
  for (int i = 0; i < s->count; i++) release(&s->candidate[i]);
  cn_free(s->candidate);
  cn_free(s);
}

int cn_space_find(const CnSpace *s, const char *name) {
  for (int i = 0; i < s->count; i++)
    if (strcmp(s->candidate[i].name, name) == 0) return i;
  return -1;
}

static CnErr append(CnSpace *s, const CnCandidate *c) {
  if (!cn_op_name_ok(c->name))
    return cn_fail(CN_EUSAGE, "space: an operation's name is made of up to %d letters, digits and _, got '%.*s'",
                   CN_OP_NAME - 1, CN_OP_NAME - 1, c->name);
  if (cn_space_find(s, c->name) >= 0) return cn_fail(CN_EUSAGE, "space: '%s' is in it already", c->name);
  CnCandidate *larger = cn_alloc((size_t)(s->count + 1) * sizeof *larger);
  if (larger == NULL) return CN_EMEMORY;
  if (s->count > 0) memcpy(larger, s->candidate, (size_t)s->count * sizeof *larger);
  larger[s->count++] = *c;
  cn_free(s->candidate);
  s->candidate = larger;
  return CN_OK;
}

CnErr cn_space_define(CnSpace *s, CnCandidate candidate) {
  CnErr e = append(s, &candidate);
  if (e != CN_OK) release(&candidate);
  return e;
}

/* ---- names ---- */

/* Edits (insert, delete, replace) from a to b; both shorter than CN_OP_NAME. */
static int distance(const char *a, const char *b) {
  int row[CN_OP_NAME + 1], n = (int)strlen(b);
  for (int j = 0; j <= n; j++) row[j] = j;
  for (int i = 0; a[i] != 0; i++) {
    int diagonal = row[0];
    row[0] = i + 1;
    for (int j = 0; j < n; j++) {
      int replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      int other = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
      row[j + 1] = replaced < other ? replaced : other;
    }
  }
  return row[n];
}

/* Keeps `candidate` in *best when it is nearer to `name`; up to a third of the name may differ. */
static void nearer(const char *name, const char *candidate, const char **best, int *least) {
  int d = distance(name, candidate);
  if (d < *least && d <= ((int)strlen(name) + 2) / 3) {
    *least = d;
    *best = candidate;
  }
}

const char *cn_space_nearest(const CnSpace *s, const char *name) {
  const char *best = NULL;
  int least = CN_OP_NAME;
  if (strnlen(name, CN_OP_NAME) == CN_OP_NAME) return NULL;
  for (int i = 0; i < s->count; i++) nearer(name, s->candidate[i].name, &best, &least);
  return best;
}

CnErr cn_space_add(CnSpace *s, const char *name) {
  CnCandidate c;
  if (cn_operation_find(name, &c)) return cn_space_define(s, c);
  const char *best = NULL;
  int least = CN_OP_NAME;
  if (strnlen(name, CN_OP_NAME) < CN_OP_NAME)
    for (int i = 0; cn_space_builtin(i) != NULL; i++) nearer(name, cn_space_builtin(i), &best, &least);
  if (best == NULL) return cn_fail(CN_EUSAGE, "space: there is no built-in operation '%.60s'", name);
  return cn_fail(CN_EUSAGE, "space: there is no built-in operation '%.60s' (did you mean '%s'?)", name, best);
}

CnErr cn_space_build(CnModule **out, const CnSpace *s, int index, const CnOpSettings *settings) {
  const CnCandidate *c = &s->candidate[index];
  CnErr e = c->build(c->data, out, settings);
  return e == CN_OK ? e : cn_fail_within(e, "operation '%s': ", c->name);
}
