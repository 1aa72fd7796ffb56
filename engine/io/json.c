/* json.c - see json.h. */
#include "io/json.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

size_t cn_utf8_length(const char *text, const char *end) {
  const unsigned char *u = (const unsigned char *)text;
  size_t left = (size_t)(end - text);
  if (left == 0) return 0;
  if (u[0] < 0x80) return 1;
  size_t length = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
  if (u[0] < 0xc2 || u[0] > 0xf4 || left < length) return 0;
  for (size_t i = 1; i < length; i++)
    if ((u[i] & 0xc0) != 0x80) return 0;
  if (u[0] == 0xe0 && u[1] < 0xa0) return 0; /* longer than need be */
  if (u[0] == 0xed && u[1] > 0x9f) return 0; /* half of a surrogate pair */
  if (u[0] == 0xf0 && u[1] < 0x90) return 0;
  if (u[0] == 0xf4 && u[1] > 0x8f) return 0; /* beyond U+10FFFF */
  return length;
}

/* The text being read. `at` is where a failure is. */
typedef struct Text {
  const char *begin, *at, *end, *what;
} Text;

static CnErr fail_at(const Text *t, const char *reason) {
  long line = 1, column = 1;
  for (const char *c = t->begin; c < t->at && c < t->end; c++) {
    if (*c == '\n') line++, column = 1;
    else if (((unsigned char)*c & 0xc0) != 0x80) column++; /* characters, not bytes */
  }
  return cn_fail(CN_EDATA, "%s, line %ld, column %ld: %s", t->what, line, column, reason);
}

static size_t digits(const Text *t, const char *from) {
  const char *c = from;
  while (c < t->end && *c >= '0' && *c <= '9') c++;
  return (size_t)(c - from);
}

/* From the opening quote to behind the closing one. */
static CnErr check_string(Text *t) {
  for (t->at++; t->at < t->end && *t->at != '"';) {
    size_t length = cn_utf8_length(t->at, t->end);
    if (length == 0) return fail_at(t, "bytes that are not UTF-8");
    if ((unsigned char)*t->at < 0x20) return fail_at(t, "a control character in a string (write \\n, \\t, \\u00XX)");
    if (*t->at == '\\') {
      if (t->end - t->at >= 6 && memcmp(t->at, "\\u0000", 6) == 0)
        return fail_at(t, "\\u0000 in a string is not supported");
      length = 1;
      if (t->end - t->at > 1 && (unsigned char)t->at[1] < 0x80) length = 2;
    }
    t->at += length;
  }
  if (t->at >= t->end) return fail_at(t, "the text ends inside a string");
  t->at++;
  return CN_OK;
}

static CnErr check_number(Text *t, CnJsonNumbers numbers) {
  const char *c = t->at + (*t->at == '-');
  size_t whole = digits(t, c);
  if (whole == 0 || (whole > 1 && *c == '0')) return fail_at(t, "not a number");
  c += whole;
  bool count = *t->at != '-';
  if (c < t->end && *c == '.') {
    size_t fraction = digits(t, c + 1);
    if (fraction == 0) return fail_at(t, "not a number");
    c += 1 + fraction;
    count = false;
  }
  if (c < t->end && (*c == 'e' || *c == 'E')) {
    c++;
    if (c < t->end && (*c == '+' || *c == '-')) c++;
    size_t exponent = digits(t, c);
    if (exponent == 0) return fail_at(t, "not a number");
    c += exponent;
    count = false;
  }
  if (numbers == CN_JSON_COUNTS && !count) return fail_at(t, "expected a whole number from 0 on");
  if (c - t->at > 60) return fail_at(t, "a number of more than 60 characters"); /* cJSON reads 63 */
  char copy[64] = { 0 };
  memcpy(copy, t->at, (size_t)(c - t->at));
  double value = strtod(copy, NULL);
  if (!isfinite(value)) return fail_at(t, "a number too large for a double");
  if (numbers == CN_JSON_COUNTS && (whole > 16 || strtoll(copy, NULL, 10) > (int64_t)1 << 53))
    return fail_at(t, "a whole number beyond 2^53");
  t->at = c;
  return CN_OK;
}

static CnErr check_text(Text *t, CnJsonNumbers numbers) {
  int depth = 0;
  while (t->at < t->end) {
    char c = *t->at;
    if (c == '"') {
      CN_TRY(check_string(t));
    } else if (c == '-' || (c >= '0' && c <= '9')) {
      CN_TRY(check_number(t, numbers));
    } else {
      if ((c == '[' || c == '{') && ++depth > CN_JSON_DEPTH)
        return fail_at(t, "nested too deeply (more than 100 levels)");
      if ((c == ']' || c == '}') && --depth < 0) return fail_at(t, "a closing bracket without its opening one");
      if (!c || !strchr(" \t\r\n[]{},:truefalsn", c)) return fail_at(t, "a character that does not belong here");
      t->at++;
    }
  }
  return depth > 0 ? fail_at(t, "the text ends inside a value") : CN_OK;
}

static int by_key(const void *a, const void *b) {
  return strcmp((*(cJSON *const *)a)->string, (*(cJSON *const *)b)->string);
}

/* The members of an object sorted by key: a new array of borrowed items. */
static CnErr sort_members(cJSON ***out, size_t *count, const cJSON *object) {
  size_t n = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, object) n++;
  cJSON **members = cn_alloc((n + 1) * sizeof *members);
  if (!members) return CN_EMEMORY;
  n = 0;
  cJSON_ArrayForEach(item, object) members[n++] = (cJSON *)item;
  qsort(members, n, sizeof *members, by_key);
  *out = members;
  *count = n;
  return CN_OK;
}

static CnErr check_keys(const cJSON *tree, const char *what) {
  if (cJSON_IsObject(tree)) {
    cJSON **members;
    size_t n;
    CN_TRY(sort_members(&members, &n, tree));
    CnErr e = CN_OK;
    for (size_t i = 1; i < n && e == CN_OK; i++)
      if (strcmp(members[i - 1]->string, members[i]->string) == 0)
        e = cn_fail(CN_EDATA, "%s: an object has the key '%s' twice", what, members[i]->string);
    cn_free(members);
    if (e != CN_OK) return e;
  }
  const cJSON *item;
  cJSON_ArrayForEach(item, tree) if (item->child) CN_TRY(check_keys(item, what));
  return CN_OK;
}

static size_t blanks(const Text *t, const char *from) { /* leading blanks of [from, end) */
  const char *c = from;
  while (c < t->end && strchr(" \t\r\n", *c) && *c) c++;
  return (size_t)(c - from);
}

CnErr cn_json_parse(cJSON **out, const char *text, size_t length, const char *what, CnJsonNumbers numbers) {
  Text t = { text, text, text + length, what };
  CN_TRY(check_text(&t, numbers));
  t.at = text + blanks(&t, text);
  if (t.at == t.end) return fail_at(&t, "no JSON value, the text is empty");
  const char *stop = t.at;
  cJSON *tree = cJSON_ParseWithLengthOpts(t.at, (size_t)(t.end - t.at), &stop, false);
  t.at = stop;
  if (!tree) return fail_at(&t, "not JSON");
  t.at += blanks(&t, t.at);
  CnErr e = t.at < t.end ? fail_at(&t, "more text after the value") : check_keys(tree, what);
  if (e == CN_OK) *out = tree;
  else cJSON_Delete(tree);
  return e;
}

/* ---- walking ---- */

static CnErr fail_walk(const CnJsonWalk *w, const char *reason) {
  return fail_at(&(Text){ w->begin, w->at, w->end, w->what }, reason);
}

static void skip_blanks(CnJsonWalk *w) {
  w->at += blanks(&(Text){ w->begin, w->at, w->end, w->what }, w->at);
}

/* From the opening quote to behind the closing one, which the check has seen. */
static void skip_string(CnJsonWalk *w) {
  for (w->at++; w->at < w->end && *w->at != '"'; w->at++) w->at += *w->at == '\\';
  w->at++;
}

/* Over any value; the check has counted its brackets. */
static void skip_value(CnJsonWalk *w) {
  for (int depth = 0; w->at < w->end;) {
    char c = *w->at;
    if (depth == 0 && strchr(",:}] \t\r\n", c)) return;
    if (c == '"') skip_string(w);
    else w->at++;
    depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    if (depth == 0 && strchr("\"}]", c)) return;
  }
}

CnErr cn_json_walk(CnJsonWalk *out, char *text, size_t length, const char *what, CnJsonNumbers numbers) {
  Text t = { text, text, text + length, what };
  CN_TRY(check_text(&t, numbers));
  *out = (CnJsonWalk){ text, text, text + length, what, true };
  skip_blanks(out);
  if (out->at == out->end || *out->at != '{') return fail_walk(out, "expected an object");
  out->at++;
  return CN_OK;
}

size_t cn_json_members(const CnJsonWalk *walk) {
  size_t count = 1;
  CnJsonWalk w = *walk;
  for (int depth = 0; w.at < w.end;) {
    char c = *w.at;
    if (c == '"') skip_string(&w);
    else w.at++;
    depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    count += depth == 0 && c == ',';
  }
  return count;
}

CnErr cn_json_string(char **out, const CnJsonMember *member, const char *what) {
  *out = NULL;
  if (member->length < 2 || member->value[0] != '"') return CN_OK;
  cJSON *string;
  CN_TRY(cn_json_parse(&string, member->value, member->length, what, CN_JSON_ANY_NUMBER));
  *out = memcpy(member->value, string->valuestring, strlen(string->valuestring) + 1); /* two quotes shorter */
  cJSON_Delete(string);
  return CN_OK;
}

CnErr cn_json_next(CnJsonWalk *w, CnJsonMember *out) {
  *out = (CnJsonMember){ 0 };
  skip_blanks(w);
  if (w->at < w->end && *w->at == '}') {
    w->at++;
    skip_blanks(w);
    return w->at == w->end ? CN_OK : fail_walk(w, "more text after the value");
  }
  if (!w->first) {
    if (w->at == w->end || *w->at != ',') return fail_walk(w, "expected a comma or the object's end");
    w->at++;
    skip_blanks(w);
  }
  w->first = false;
  CnJsonMember key = { .value = w->at };
  if (w->at == w->end || *w->at != '"') return fail_walk(w, "expected a key in quotes");
  skip_string(w);
  key.length = (size_t)(w->at - key.value);
  skip_blanks(w);
  if (w->at == w->end || *w->at != ':') return fail_walk(w, "expected a colon");
  w->at++;
  skip_blanks(w);
  CnJsonMember member = { .value = w->at };
  skip_value(w);
  member.length = (size_t)(w->at - member.value);
  if (member.length == 0) return fail_walk(w, "expected a value");
  CN_TRY(cn_json_string(&member.key, &key, w->what));
  *out = member;
  return CN_OK;
}
