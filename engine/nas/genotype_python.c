/* genotype_python.c - reading the Python text of published genotypes. It is data: nothing is ever run.
**
**   text   = [NAME "="] NAME {"." NAME} "(" [arg {"," arg} [","]] ")"
**   arg    = NAME "=" (list | range | "list" "(" range ")" | "None")
**   list   = "[" [item {"," item} [","]] "]"            of tuples, or of integers for a concat
**   tuple  = "(" STRING "," INT ["," INT] ")"           also with brackets
**   range  = "range" "(" INT "," INT ")"
**
** Comments run from # to the end of the line. The grammar does not nest, so neither does the reader. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "nas/genotype_read.h"

#define NAME_SIZE 64

typedef struct Scanner {
  const char *at, *end;
  int line;
} Scanner;

static void skip_blank(Scanner *s) {
  for (; s->at < s->end; s->at++) {
    if (*s->at == '#') {
      while (s->at < s->end && *s->at != '\n') s->at++;
      if (s->at == s->end) return;
    }
    if (*s->at == '\n') s->line++;
    if (!isspace((unsigned char)*s->at)) return;
  }
}

static CnErr fail_at(Scanner *s, const char *expected) {
  skip_blank(s);
  size_t left = (size_t)(s->end - s->at), shown = 0;
  while (shown < left && shown < 20 && isprint((unsigned char)s->at[shown])) shown++;
  if (left == 0) return cn_fail(CN_EDATA, "genotype: line %d: expected %s, but the text ends", s->line, expected);
  return cn_fail(CN_EDATA, "genotype: line %d: expected %s before '%.*s'", s->line, expected, (int)shown, s->at);
}

/* Takes `c` when it comes next. */
static bool take(Scanner *s, char c) {
  skip_blank(s);
  if (s->at == s->end || *s->at != c) return false;
  s->at++;
  return true;
}

static CnErr need(Scanner *s, char c) {
  char expected[] = { '\'', c, '\'', 0 };
  return take(s, c) ? CN_OK : fail_at(s, expected);
}

static CnErr take_name(Scanner *s, char name[NAME_SIZE]) {
  size_t n = 0;
  skip_blank(s);
  while (s->at + n < s->end && (isalnum((unsigned char)s->at[n]) || s->at[n] == '_')) n++;
  if (n == 0 || n >= NAME_SIZE || isdigit((unsigned char)s->at[0])) return fail_at(s, "a name");
  memcpy(name, s->at, n);
  name[n] = 0;
  s->at += n;
  return CN_OK;
}

/* Up to six digits with a sign: more is no node. */
static CnErr take_integer(Scanner *s, int *out) {
  skip_blank(s);
  bool negative = s->at < s->end && *s->at == '-';
  const char *digit = s->at + negative;
  int value = 0, n = 0;
  while (digit < s->end && isdigit((unsigned char)*digit) && n < 7) {
    value = 10 * value + (*digit++ - '0');
    n++;
  }
  if (n == 0 || n == 7) return fail_at(s, "a node's number");
  s->at = digit;
  *out = negative ? -value : value;
  return CN_OK;
}

/* A quoted string without escapes; *out points into the text. */
static CnErr take_string(Scanner *s, const char **out, size_t *length) {
  skip_blank(s);
  if (s->at == s->end || (*s->at != '\'' && *s->at != '"')) return fail_at(s, "an operation's name in quotes");
  const char *first = s->at + 1;
  const char *close = memchr(first, *s->at, (size_t)(s->end - first));
  if (close == NULL || memchr(first, '\n', (size_t)(close - first)) != NULL) return fail_at(s, "a closing quote");
  *out = first;
  *length = (size_t)(close - first);
  s->at = close + 1;
  return CN_OK;
}

static CnErr take_tuple(Scanner *s, CnGenotypeReader *r, CnGenotypePart part) {
  const char *op = NULL;
  size_t length = 0;
  int from = 0, to = -1;
  bool round = take(s, '(');
  if (!round && !take(s, '[')) return fail_at(s, "('operation', from)");
  CN_TRY(take_string(s, &op, &length));
  CN_TRY(need(s, ','));
  CN_TRY(take_integer(s, &from));
  if (take(s, ',')) {
    CN_TRY(take_integer(s, &to));
    if (to < 0) return cn_fail(CN_EDATA, "genotype: line %d: a node's number must be 0 or more, got %d", s->line, to);
  }
  CN_TRY(need(s, round ? ')' : ']'));
  return cn_reader_triple(r, part, op, length, from, to);
}

static CnErr take_list(Scanner *s, CnGenotypeReader *r, CnGenotypePart part) {
  while (!take(s, ']')) {
    if (part == CN_NORMAL || part == CN_REDUCTION) {
      CN_TRY(take_tuple(s, r, part));
    } else {
      int node;
      CN_TRY(take_integer(s, &node));
      CN_TRY(cn_reader_concat(r, part, node));
    }
    if (!take(s, ',')) return need(s, ']');
  }
  return CN_OK;
}

/* After "range": its nodes, one by one, so that a huge range ends at the first node too many. */
static CnErr take_range(Scanner *s, CnGenotypeReader *r, CnGenotypePart part) {
  int first, end;
  CN_TRY(need(s, '('));
  CN_TRY(take_integer(s, &first));
  CN_TRY(need(s, ','));
  CN_TRY(take_integer(s, &end));
  CN_TRY(need(s, ')'));
  for (int node = first; node < end; node++) CN_TRY(cn_reader_concat(r, part, node));
  return CN_OK;
}

static CnErr take_argument(Scanner *s, CnGenotypeReader *r) {
  char name[NAME_SIZE], word[NAME_SIZE];
  CN_TRY(take_name(s, name));
  CnGenotypePart part = cn_genotype_part(name);
  if (part == CN_NO_PART)
    return cn_fail(CN_EDATA, "genotype: line %d: unknown argument '%s' (known: normal, normal_concat, reduce, "
                   "reduce_concat, and CNAS's names for them)", s->line, name);
  CN_TRY(cn_reader_part(r, part));
  CN_TRY(need(s, '='));
  if (take(s, '[')) return take_list(s, r, part);
  if (part == CN_NORMAL || part == CN_REDUCTION) return fail_at(s, "a list of triples");
  CN_TRY(take_name(s, word));
  if (strcmp(word, "range") == 0) return take_range(s, r, part);
  if (strcmp(word, "None") == 0) {
    r->seen &= ~(1u << part);
    return CN_OK;
  }
  if (strcmp(word, "list") != 0) return fail_at(s, "a list or range(first, end)");
  CN_TRY(need(s, '('));
  CN_TRY(take_name(s, word));
  if (strcmp(word, "range") != 0) return fail_at(s, "range(first, end)");
  CN_TRY(take_range(s, r, part));
  return need(s, ')');
}

CnErr cn_genotype_parse_python(CnGenotype *out, const char *text, size_t length) {
  Scanner s = { text, text + length, 1 };
  CnGenotypeReader r = { 0 };
  char name[NAME_SIZE];
  CN_TRY(take_name(&s, name));
  if (take(&s, '=')) CN_TRY(take_name(&s, name));
  while (take(&s, '.')) CN_TRY(take_name(&s, name));
  CN_TRY(need(&s, '('));
  while (!take(&s, ')')) {
    CN_TRY(take_argument(&s, &r));
    if (!take(&s, ',')) {
      CN_TRY(need(&s, ')'));
      break;
    }
  }
  skip_blank(&s);
  if (s.at != s.end) return fail_at(&s, "the end of the text");
  return cn_reader_finish(out, &r);
}
