/* composed.h - the rows of ops.def that are made of other rows: their gradient follows from those. */
#ifndef CN_COMPOSED_H
#define CN_COMPOSED_H

#include "tensor/op.h"

CnErr lstm_cell_composed(CnCall *call);

#endif
