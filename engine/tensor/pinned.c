/* pinned.c - see pinned.h. Pinned memory is a device of its own (CN_DEVICE_PINNED), which kernels know nothing of. */
#include "tensor/pinned.h"

#include "device/cuda.h"

CnErr cn_tensor_new_pinned(CnTensor **out, CnDtype dtype, int ndim, const int64_t *shape) {
  return cn_tensor_new(out, dtype, CN_DEVICE_PINNED, ndim, shape);
}

CnErr cn_tensor_send(CnTensor **out, const CnTensor *pinned, CnDevice device) {
  const CnGpu *gpu;
  CnTensor *t;
  CN_TRY(cn_gpu(&gpu));
  CN_TRY(cn_tensor_new(&t, pinned->dtype, device, pinned->ndim, pinned->shape));
  CnErr e = gpu->send(cn_tensor_data(t), device, cn_tensor_data(pinned), cn_tensor_bytes(pinned));
  if (e == CN_OK) *out = t;
  else cn_tensor_unref(t);
  return e;
}
