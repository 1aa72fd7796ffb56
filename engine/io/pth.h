/* pth.h - PyTorch's files: state_dicts and checkpoints of torch.save, in the zip format and the one before 1.6.
**
** Nothing in a file is run (pickle.h) and nothing in it is believed: sizes are compared with the file's before memory
** is taken, and every entry of a zip file with its CRC-32, which PyTorch itself does not do. The older format has no
** checksums. Types are converted as element.h says. Tensors that share a storage in the file share it here. */
#ifndef CN_PTH_H
#define CN_PTH_H

#include "io/pickle.h"

typedef struct CnPth CnPth;

/* Reads and checks everything but the tensors' numbers. */
CnErr cn_pth_open(CnPth **out, const char *path);
/* The same on bytes in memory, borrowed until close; `name` is used in messages. */
CnErr cn_pth_open_memory(CnPth **out, const void *data, size_t size, const char *name);
void cn_pth_close(CnPth *pth); /* NULL is allowed. Tensors that were given out stay */

/* What was saved; borrowed, as all in it. */
const CnPickleValue *cn_pth_value(const CnPth *pth);

/* Reads the numbers of all tensors, once, and compares all checksums. */
CnErr cn_pth_load(CnPth *pth);
/* A tensor in the value, as a new view of its storage on the CPU. After cn_pth_load. */
CnErr cn_pth_tensor(CnTensor **out, CnPth *pth, const CnPickleTensor *tensor);

#endif
