/* buffer.h - memory that is kept from one piece of work to the next and grows when one needs more. */
#ifndef CN_BUFFER_H
#define CN_BUFFER_H

#include <stddef.h>

#include "base/error.h"

typedef struct CnBuffer { /* all zeros: empty */
  void *data;
  size_t room; /* bytes */
} CnBuffer;

/* Room for `bytes`; what was in it is lost when it has to grow. A buffer that is more than four times too large and
** above CN_BUFFER_KEPT gives the rest back, so that one giant does not stay. */
CnErr cn_buffer_room(CnBuffer *buffer, size_t bytes);
void cn_buffer_free(CnBuffer *buffer); /* empties it */

#define CN_BUFFER_KEPT (8u << 20)

#endif
