/* undone.h - for kernels that may take long, products above all: whether the user does not wait for the rest.
**
** Looked at between two parts of the work. What is then left undone may be left as it is: nobody sees the results of a
** row that was interrupted (tensor/watch.h). Not for rows in place. */
#ifndef CN_UNDONE_H
#define CN_UNDONE_H

#include "base/interrupt.h"

#define CN_LEFT_UNDONE atomic_load_explicit(&cn_interrupt_at_once, memory_order_relaxed)

#endif
