/* json.h - strict parsing of JSON from anywhere into a cJSON tree.
**
** cJSON does the syntax; a pass before it refuses what cJSON lets through or cannot hold: bytes that are not UTF-8,
** control characters and \u0000 in strings, numbers like 01 or beyond a double, nesting deeper than CN_JSON_DEPTH; and
** a pass after it refuses an object with the same key twice. */
#ifndef CN_JSON_H
#define CN_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define CN_JSON_DEPTH 100

typedef enum CnJsonNumbers {
  CN_JSON_ANY_NUMBER,
  CN_JSON_COUNTS /* only 0 … 2^53, written as integers */
} CnJsonNumbers;

/* The tree of `text`, to be freed with cJSON_Delete. Failures (CN_EDATA) begin "<what>, line 3, column 14: …". */
CnErr cn_json_parse(cJSON **out, const char *text, size_t length, const char *what, CnJsonNumbers numbers);

/* A walk over the members of an object in a text, for objects too large to make a tree of: each value is handed out as
** a piece of the text, to be parsed or walked by itself. The text is changed on the way: keys are unescaped in place.
** That a key is there twice is for the caller to see. */
typedef struct CnJsonWalk {
  char *begin, *at, *end;
  const char *what;
  bool first;
} CnJsonWalk;

typedef struct CnJsonMember {
  char *key; /* ends with a 0 byte; NULL behind the last member */
  char *value;
  size_t length;
} CnJsonMember;

/* Checks all of the text as cn_json_parse does, but for the syntax of values, and that it is an object. `text` has room
** for one byte more. */
CnErr cn_json_walk(CnJsonWalk *out, char *text, size_t length, const char *what, CnJsonNumbers numbers);
/* How many members there are at most; before the first cn_json_next. */
size_t cn_json_members(const CnJsonWalk *walk);
CnErr cn_json_next(CnJsonWalk *walk, CnJsonMember *out);
/* A value that is a string, unescaped in place, with a 0 byte behind it; *out is NULL when it is another. */
CnErr cn_json_string(char **out, const CnJsonMember *member, const char *what);

/* How many bytes the UTF-8 character at `text` has (1 … 4), or 0 when the bytes before `end` are none. */
size_t cn_utf8_length(const char *text, const char *end);

#endif
