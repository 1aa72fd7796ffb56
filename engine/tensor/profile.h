/* profile.h - how long rows take, how often they run and what memory they use, by who they run for.
**
** While a profile is on, every row of its thread is timed; on a GPU the device is waited for around each. The highest
** count of bytes in use is measured anew for every row, so that cn_memory_stats().bytes_peak says nothing meanwhile:
** the profile's own bytes_peak does. */
#ifndef CN_PROFILE_H
#define CN_PROFILE_H

#include "tensor/watch.h"

typedef struct CnProfileEntry {
  const void *owner; /* see CnWork */
  const CnOp *op;
  bool backward;
  int64_t calls;
  double seconds;
  int64_t bytes_made; /* of its results, summed; in backward 0 */
  int64_t bytes_peak; /* the most that were in use while one of them ran */
} CnProfileEntry;

typedef struct CnProfile {
  CnWatcher watcher;
  int count, room, last; /* entries; where the last one was found */
  CnProfileEntry *entry; /* in the order of their first calls */
  int64_t bytes_peak;    /* of all rows */
} CnProfile;

CnErr cn_profile_begin(CnProfile **out);
void cn_profile_end(CnProfile *p);  /* stops timing; ending it twice is fine */
void cn_profile_free(CnProfile *p); /* ends it too; NULL is allowed */

#endif
