/* genotype_read.h - what the two readers of genotypes share. Input is hostile: everything is counted while it comes. */
#ifndef CN_GENOTYPE_READ_H
#define CN_GENOTYPE_READ_H

#include "nas/genotype.h"

/* The parts of a genotype, as files name them. */
typedef enum CnGenotypePart {
  CN_NORMAL,
  CN_NORMAL_CONCAT,
  CN_REDUCTION,
  CN_REDUCTION_CONCAT,
  CN_NO_PART
} CnGenotypePart;

/* "normal_arch" -> CN_NORMAL and so on for every spelling that was published; CN_NO_PART for another name. */
CnGenotypePart cn_genotype_part(const char *name);
/* Its name here, for messages. */
const char *cn_genotype_part_name(CnGenotypePart part);

/* A genotype while it is read: `seen` has a bit for each part that came. */
typedef struct CnGenotypeReader {
  CnGenotype g;
  unsigned seen;
} CnGenotypeReader;

/* Notes that `part` begins; its second coming is an error. */
CnErr cn_reader_part(CnGenotypeReader *r, CnGenotypePart part);
/* Adds to the part. `to` -1: the node that the position in the list says (published pairs). */
CnErr cn_reader_triple(CnGenotypeReader *r, CnGenotypePart part, const char *op, size_t op_length, int from, int to);
CnErr cn_reader_concat(CnGenotypeReader *r, CnGenotypePart part, int node);
/* Fills in concats that did not come, and checks. */
CnErr cn_reader_finish(CnGenotype *out, CnGenotypeReader *r);

/* The two forms. `length` bytes, no final 0 needed. */
CnErr cn_genotype_parse_json(CnGenotype *out, const char *text, size_t length);
CnErr cn_genotype_parse_python(CnGenotype *out, const char *text, size_t length);

#endif
