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

/* The members of an object sorted by key: a new array (cn_free) of `*count` borrowed items. */
CnErr cn_json_members(cJSON ***out, size_t *count, const cJSON *object);

/* How many bytes the UTF-8 character at `text` has (1 … 4), or 0 when the bytes before `end` are none. */
size_t cn_utf8_length(const char *text, const char *end);

#endif
