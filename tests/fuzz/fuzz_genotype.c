/* fuzz_genotype.c - any bytes as a genotype, JSON or Python: what is accepted is valid, and written and read again the
** same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "nas/genotype.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  CnGenotype g, again;
  CnErr e = cn_genotype_parse(&g, (const char *)data, size);
  if (e == CN_EDATA || e == CN_EMEMORY) return 0;
  if (e != CN_OK || cn_genotype_check(&g, NULL) != CN_OK) abort();
  for (int form = 0; form < 3; form++) {
    char *text;
    if ((form == 0 ? cn_genotype_json(&text, &g) : cn_genotype_text(&text, &g, form == 2)) != CN_OK) abort();
    if (cn_genotype_parse(&again, text, strlen(text)) != CN_OK || memcmp(&again, &g, sizeof g) != 0) abort();
    cn_free(text);
  }
  return 0;
}
