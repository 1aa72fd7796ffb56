/* weights.h - how layers make their parameters. For the files of this folder. */
#ifndef CN_WEIGHTS_H
#define CN_WEIGHTS_H

#include "nn/module.h"

/* Each adds a new f32 tensor on the CPU to `m` under `name`; random ones move `rng` on, NULL `rng` leaves zeros. */
CnErr cn_weight_uniform(CnModule *m, const char *name, int ndim, const int64_t *shape, double bound, CnRng *rng);
CnErr cn_weight_normal(CnModule *m, const char *name, int ndim, const int64_t *shape, double deviation, CnRng *rng);
CnErr cn_weight_constant(CnModule *m, const char *name, int64_t size, double value, bool buffer);

/* A module whose settings are the `size` bytes at `data`, copied; freed by cn_module_free_data. */
CnErr cn_module_new_copy(CnModule **out, const CnModuleKind *kind, const void *data, size_t size);
void cn_module_free_data(CnModule *m);

/* An argument that must be at least `least`: CN_EUSAGE naming it. */
CnErr cn_check_least(const char *who, const char *name, int64_t value, int64_t least);

/* For cost functions: that *x is an image of `channels` (0: any number). */
CnErr cn_check_image(const char *who, const CnSpec *x, int64_t channels);

#endif
