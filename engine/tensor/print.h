/* print.h - a tensor as text for people. */
#ifndef CN_PRINT_H
#define CN_PRINT_H

#include "tensor/tensor.h"

/* A new string (cn_free): a first line with type, shape, device, range, mean and what is not finite, then the values by
** rows, elided in the middle where a dimension is long. Waits for the device. */
CnErr cn_tensor_format(char **out, const CnTensor *t);

#endif
