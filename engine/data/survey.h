/* survey.h - every file of a dataset of class folders, looked at and decoded whole, by several threads. */
#ifndef CN_SURVEY_H
#define CN_SURVEY_H

#include "data/dataset.h"
#include "io/picture.h"

typedef struct CnSurvey { /* of one file */
  CnPictureInfo info;  /* of a bad file: its format alone */
  int orientation;     /* that EXIF says, 1 … 8 */
  int64_t warnings;    /* faults that decoding went on after, as PIL does */
  char *bad;           /* why it cannot be decoded, or NULL; owned by who asked (cn_free) */
} CnSurvey;

/* Images `first` … first+count-1. On failure nothing is left to be freed. */
CnErr cn_survey(CnSurvey *out, const CnDataset *dataset, int64_t first, int64_t count);

#endif
