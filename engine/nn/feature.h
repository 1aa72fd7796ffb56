/* feature.h - an image between two layers, not yet written down.
**
** What a layer hands on may be a raw result with the scale and shift of the batch normalisation after it, or several
** images whose channels count as joined. A layer that can read such a thing does (cn_module_pass); for any other it is
** written out first. On the tape there are only the rows that run: a feature is a way to call them, nothing more. */
#ifndef CN_FEATURE_H
#define CN_FEATURE_H

#include "tensor/op.h"

#define CN_MAX_JOINED 12

typedef struct CnFeature {
  int count;                   /* images (N,H,W,Ci) joined along their channels: 1 … CN_MAX_JOINED; 0: nothing yet */
  CnTensor *x[CN_MAX_JOINED];  /* owned, as all below */
  CnTensor *scale, *shift;     /* (C): the image is x * scale + shift. Only with one image; NULL: without */
  CnTensor *mean, *var;        /* (C): of x over the batch, where its block gave them; else NULL */
} CnFeature;

CnFeature cn_feature_of(CnTensor *x); /* takes a new reference */
CnFeature cn_feature_copy(const CnFeature *f); /* new references */
void cn_feature_clear(CnFeature *f);           /* lets go what it owns; an empty one may be cleared again */

/* The feature as one tensor, for rows that are no blocks: f32 where its images are bf16. A new reference. */
CnErr cn_feature_write(const CnFeature *f, CnTensor **out);

/* Converts the images, raw as they are; scale and shift stay. Nothing happens where they are of that type. */
CnErr cn_feature_to(CnFeature *f, CnDtype dtype);

/* Type and shape, channels joined. */
CnSpec cn_feature_spec(const CnFeature *f);
CnDevice cn_feature_device(const CnFeature *f);

/* *out = x * x_keep + y * y_keep, written out; y may be empty (count 0). keep (N): a factor for each image, NULL: 1. */
CnErr cn_feature_add(CnFeature *out, const CnFeature *x, const CnFeature *y, CnTensor *x_keep, CnTensor *y_keep);

/* Whether layers make features that are not written down: the device has kernels for the blocks and nobody has turned
** them off. Off, every layer runs its own row and writes its result: what the blocks are compared with. */
bool cn_blocks_wanted(const CnFeature *f);
bool cn_blocks_enable(bool on); /* the setting before; starts true */

#endif
