/* operations.h - the built-in candidate operations, and the block that cells also need for themselves. */
#ifndef CN_OPERATIONS_H
#define CN_OPERATIONS_H

#include "nas/space.h"

/* The candidate of a built-in operation by name into *out; false: there is none. */
bool cn_operation_find(const char *name, CnCandidate *out);

/* ReLU, kernel x kernel convolution, BN: the chain "op". */
CnErr cn_relu_conv_bn_new(CnModule **out, int64_t inp, int64_t kernel, const CnOpSettings *settings);

#endif
