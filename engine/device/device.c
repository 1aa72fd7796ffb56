/* device.c - devices by name, and the module behind each kind. */
#include "device/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/cpu.h"
#include "device/cuda.h"

CnErr cn_device_module(const CnDeviceModule **out, CnDeviceKind kind) {
  const CnGpu *gpu = NULL;
  if (kind == CN_CUDA) {
    CN_TRY(cn_gpu(&gpu));
    *out = &gpu->device;
    return CN_OK;
  }
  *out = cn_cpu_module();
  return CN_OK;
}

CnErr cn_device_parse(CnDevice *out, const char *text) {
  const CnDeviceModule *module = NULL;
  if (!strcmp(text, "cpu")) {
    *out = CN_DEVICE_CPU;
    return CN_OK;
  }
  if (!strcmp(text, "auto")) {
    bool gpu = cn_device_module(&module, CN_CUDA) == CN_OK && module->count > 0 && cn_gpu_lacks(NULL, 0) == 0;
    *out = (CnDevice){ gpu ? CN_CUDA : CN_CPU, 0 };
    return CN_OK;
  }
  int index = 0, used = 0;
  if (strcmp(text, "cuda") && (sscanf(text, "cuda:%3d%n", &index, &used) != 1 || text[used] || index < 0))
    return cn_fail(CN_EUSAGE, "unknown device '%s': expected cpu, cuda, cuda:0 … or auto", text);
  CN_TRY(cn_device_module(&module, CN_CUDA));
  if (index >= module->count) return cn_fail(CN_ENOKERNEL, "no device %s: this machine has %d", text, module->count);
  *out = (CnDevice){ CN_CUDA, (int16_t)index };
  return CN_OK;
}

const char *cn_device_name(CnDevice device, char *text) {
  if (device.kind == CN_CPU) return strcpy(text, "cpu");
  snprintf(text, 16, "cuda:%d", device.index);
  return text;
}

CnErr cn_device_alloc(void **out, CnDevice device, size_t bytes) {
  const CnDeviceModule *module = NULL;
  const CnGpu *gpu = NULL;
  if (cn_device_equal(device, CN_DEVICE_PINNED)) {
    CN_TRY(cn_gpu(&gpu));
    return gpu->alloc_pinned(out, bytes);
  }
  CN_TRY(cn_device_module(&module, device.kind));
  return module->alloc(out, device.index, bytes);
}

void cn_device_free(CnDevice device, void *block) {
  const CnDeviceModule *module = NULL;
  const CnGpu *gpu = NULL;
  if (cn_device_equal(device, CN_DEVICE_PINNED)) {
    if (block && cn_gpu(&gpu) == CN_OK) gpu->free_pinned(block);
  } else if (block && cn_device_module(&module, device.kind) == CN_OK) module->free(device.index, block);
}

/* Between a GPU and anything, the GPU's module does it. */
CnErr cn_device_copy(void *to, CnDevice to_device, const void *from, CnDevice from_device, size_t bytes) {
  const CnDeviceModule *module = NULL;
  CN_TRY(cn_device_module(&module, to_device.kind != CN_CPU ? to_device.kind : from_device.kind));
  return module->copy(to, to_device, from, from_device, bytes);
}

CnErr cn_device_synchronize(CnDevice device) {
  const CnDeviceModule *module = NULL;
  CN_TRY(cn_device_module(&module, device.kind));
  return module->synchronize(device.index);
}
