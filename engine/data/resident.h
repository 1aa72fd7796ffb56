/* resident.h - images in memory that live on a GPU too: a batch is then a launch, without a copy or a wait.
**
** The bytes, labels and the values of bytes after normalisation are sent once, when the first loader wants them on a GPU,
** and go with the images; the order of a pass is sent when it begins. A batch is what the CPU's loader makes, to the
** bit. */
#ifndef CN_RESIDENT_H
#define CN_RESIDENT_H

#include "data/augment.h"
#include "device/cuda.h"
#include "tensor/tensor.h"

typedef struct CnResident CnResident;

void cn_resident_free(CnResident *resident); /* NULL is allowed */

/* A pass over `count` images of a dataset in memory on a GPU: positions order[0 … count-1] of it, NULL: 0 … count-1. */
CnErr cn_resident_pass(CnGpuImages *out, CnDataset *dataset, const int64_t *order, int64_t count, CnDevice gpu);
/* The images at positions first … first+count-1 of the pass, and their labels: new references on the GPU. `from` has
** augment, draws and pass set. */
CnErr cn_resident_batch(CnTensor **x, CnTensor **y, CnGpuImages *from, int64_t first, int64_t count);
void cn_resident_end(CnGpuImages *pass); /* one of zeros is allowed */

#endif
