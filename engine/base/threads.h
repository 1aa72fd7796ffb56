/* threads.h - how many threads the kernels use, and how work is cut so that results do not depend on it.
**
** A kernel cuts its work into pieces by the shapes alone, never by the number of threads; a piece writes only what is
** its own; partial sums are kept by piece and added in the order of the pieces. */
#ifndef CN_THREADS_H
#define CN_THREADS_H

#include <stdint.h>

int cn_threads(void);       /* at least 1; first value: CNAS_THREADS, else the processors this process may use */
void cn_threads_set(int n); /* n < 1 means 1 */

#define CN_PRAGMA_(text) _Pragma(#text)
/* In front of a `for` over pieces. */
#define CN_PARALLEL_FOR CN_PRAGMA_(omp parallel for schedule(dynamic, 1) num_threads(cn_threads()))
/* The same for work that may be small: below CN_WORTH_SHARING elementary steps the caller does it alone, which is
** quicker than waking the others. */
#define CN_PARALLEL_FOR_IF_WORTH(steps) \
  CN_PRAGMA_(omp parallel for schedule(dynamic, 1) num_threads(cn_threads()) if ((steps) > CN_WORTH_SHARING))
#define CN_WORTH_SHARING 65536

#endif
