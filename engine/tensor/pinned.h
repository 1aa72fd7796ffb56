/* pinned.h - tensors in pinned memory: on the CPU, of which a GPU copies while both go on with something else. */
#ifndef CN_PINNED_H
#define CN_PINNED_H

#include "tensor/tensor.h"

/* A new contiguous one. To get such memory takes long: keep it. */
CnErr cn_tensor_new_pinned(CnTensor **out, CnDtype dtype, int ndim, const int64_t *shape);
/* A new tensor on a GPU with the values of a contiguous pinned one, which the GPU will read some time: till then they
** must stay (`mark` and `passed` of device/cuda.h tell). */
CnErr cn_tensor_send(CnTensor **out, const CnTensor *pinned, CnDevice gpu);

#endif
