/* fuzz_json.c - any bytes as JSON: a tree or a message, never both, never neither. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "io/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  for (int numbers = CN_JSON_ANY_NUMBER; numbers <= CN_JSON_COUNTS; numbers++) {
    cJSON *tree = NULL;
    CnErr e = cn_json_parse(&tree, (const char *)data, size, "input", (CnJsonNumbers)numbers);
    if ((e == CN_OK) != (tree != NULL) || (e != CN_OK && e != CN_EDATA && e != CN_EMEMORY)) abort();
    char *text = tree ? cJSON_PrintUnformatted(tree) : NULL;
    cJSON *again = NULL; /* what was accepted is accepted again once written */
    if (text && cn_json_parse(&again, text, strlen(text), "again", CN_JSON_ANY_NUMBER) != CN_OK) abort();
    cJSON_free(text);
    cJSON_Delete(again);
    cJSON_Delete(tree);
  }
  return 0;
}
