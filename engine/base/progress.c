/* progress.c - see progress.h. */
#include "base/progress.h"

_Atomic uint64_t cn_progress;
