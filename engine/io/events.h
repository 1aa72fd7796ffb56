/* events.h - TensorBoard event files: scalars and images by tag and step.
**
** One writer for a folder and its own file for each writer. A writer that resumes at step s says so first, and readers
** then drop what an earlier file holds from s on. */
#ifndef CN_EVENTS_H
#define CN_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct CnEvents CnEvents;

/* A new file in `folder`, made when missing. `resume_step`: the first step that will be written again, or -1. */
CnErr cn_events_open(CnEvents **out, const char *folder, int64_t resume_step);
CnErr cn_events_scalar(CnEvents *ev, const char *tag, double value, int64_t step);
/* `png`: a whole PNG file, whose size in pixels and colours are taken from its header. */
CnErr cn_events_image(CnEvents *ev, const char *tag, const void *png, size_t bytes, int64_t step);
CnErr cn_events_flush(CnEvents *ev); /* returns when everything is on the disk */
const char *cn_events_path(const CnEvents *ev);
CnErr cn_events_close(CnEvents *ev); /* frees, also when it fails; NULL is allowed */

/* CRC-32C (Castagnoli), going on from `crc`; and the masked form that records hold. */
uint32_t cn_crc32c(uint32_t crc, const void *data, size_t size);
uint32_t cn_crc32c_masked(const void *data, size_t size);

#endif
