/* published.c - cells from the literature, as their authors published them. */
#include <string.h>

#include "nas/genotype.h"

#define NODES4 .concat_count = 4, .concat = { 2, 3, 4, 5 }
#define NODES5 .concat_count = 5, .concat = { 2, 3, 4, 5, 6 }

typedef struct Published {
  const char *name;
  CnGenotype genotype;
} Published;

static const Published published[] = {
  /* Guo et al., "Breaking the Curse of Space Explosion: Towards Efficient NAS with Curriculum Search", ICML 2020. */
  { "CNAS",
    { .normal = { 8,
                  { { "dil_conv_3x3", 1, 2 }, { "sep_conv_3x3", 0, 2 }, { "sep_conv_3x3", 0, 3 },
                    { "skip_connect", 1, 3 }, { "sep_conv_3x3", 1, 4 }, { "max_pool_3x3", 3, 4 },
                    { "sep_conv_3x3", 2, 5 }, { "sep_conv_3x3", 4, 5 } },
                  NODES4 },
      .reduction = { 8,
                     { { "sep_conv_3x3", 0, 2 }, { "skip_connect", 1, 2 }, { "dil_conv_5x5", 2, 3 },
                       { "skip_connect", 1, 3 }, { "dil_conv_3x3", 2, 4 }, { "sep_conv_3x3", 1, 4 },
                       { "sep_conv_5x5", 0, 5 }, { "sep_conv_3x3", 3, 5 } },
                     NODES4 } } },
  /* Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019: first and second order. */
  { "DARTS_V1",
    { .normal = { 8,
                  { { "sep_conv_3x3", 1, 2 }, { "sep_conv_3x3", 0, 2 }, { "skip_connect", 0, 3 },
                    { "sep_conv_3x3", 1, 3 }, { "skip_connect", 0, 4 }, { "sep_conv_3x3", 1, 4 },
                    { "sep_conv_3x3", 0, 5 }, { "skip_connect", 2, 5 } },
                  NODES4 },
      .reduction = { 8,
                     { { "max_pool_3x3", 0, 2 }, { "max_pool_3x3", 1, 2 }, { "skip_connect", 2, 3 },
                       { "max_pool_3x3", 0, 3 }, { "max_pool_3x3", 0, 4 }, { "skip_connect", 2, 4 },
                       { "skip_connect", 2, 5 }, { "avg_pool_3x3", 0, 5 } },
                     NODES4 } } },
  { "DARTS_V2",
    { .normal = { 8,
                  { { "sep_conv_3x3", 0, 2 }, { "sep_conv_3x3", 1, 2 }, { "sep_conv_3x3", 0, 3 },
                    { "sep_conv_3x3", 1, 3 }, { "sep_conv_3x3", 1, 4 }, { "skip_connect", 0, 4 },
                    { "skip_connect", 0, 5 }, { "dil_conv_3x3", 2, 5 } },
                  NODES4 },
      .reduction = { 8,
                     { { "max_pool_3x3", 0, 2 }, { "max_pool_3x3", 1, 2 }, { "skip_connect", 2, 3 },
                       { "max_pool_3x3", 1, 3 }, { "max_pool_3x3", 0, 4 }, { "skip_connect", 2, 4 },
                       { "skip_connect", 2, 5 }, { "max_pool_3x3", 1, 5 } },
                     NODES4 } } },
  /* Xu et al., "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search", ICLR 2020. */
  { "PC_DARTS_cifar",
    { .normal = { 8,
                  { { "sep_conv_3x3", 1, 2 }, { "skip_connect", 0, 2 }, { "sep_conv_3x3", 0, 3 },
                    { "dil_conv_3x3", 1, 3 }, { "sep_conv_5x5", 0, 4 }, { "sep_conv_3x3", 1, 4 },
                    { "avg_pool_3x3", 0, 5 }, { "dil_conv_3x3", 1, 5 } },
                  NODES4 },
      .reduction = { 8,
                     { { "sep_conv_5x5", 1, 2 }, { "max_pool_3x3", 0, 2 }, { "sep_conv_5x5", 1, 3 },
                       { "sep_conv_5x5", 2, 3 }, { "sep_conv_3x3", 0, 4 }, { "sep_conv_3x3", 3, 4 },
                       { "sep_conv_3x3", 1, 5 }, { "sep_conv_3x3", 2, 5 } },
                     NODES4 } } },
  { "PC_DARTS_image",
    { .normal = { 8,
                  { { "skip_connect", 1, 2 }, { "sep_conv_3x3", 0, 2 }, { "sep_conv_3x3", 0, 3 },
                    { "skip_connect", 1, 3 }, { "sep_conv_3x3", 1, 4 }, { "sep_conv_3x3", 3, 4 },
                    { "sep_conv_3x3", 1, 5 }, { "dil_conv_5x5", 4, 5 } },
                  NODES4 },
      .reduction = { 8,
                     { { "sep_conv_3x3", 0, 2 }, { "skip_connect", 1, 2 }, { "dil_conv_5x5", 2, 3 },
                       { "max_pool_3x3", 1, 3 }, { "sep_conv_3x3", 2, 4 }, { "sep_conv_3x3", 1, 4 },
                       { "sep_conv_5x5", 0, 5 }, { "sep_conv_3x3", 3, 5 } },
                     NODES4 } } },
  /* Chen et al., "Progressive Differentiable Architecture Search", ICCV 2019. */
  { "PDARTS",
    { .normal = { 8,
                  { { "skip_connect", 0, 2 }, { "dil_conv_3x3", 1, 2 }, { "skip_connect", 0, 3 },
                    { "sep_conv_3x3", 1, 3 }, { "sep_conv_3x3", 1, 4 }, { "sep_conv_3x3", 3, 4 },
                    { "sep_conv_3x3", 0, 5 }, { "dil_conv_5x5", 4, 5 } },
                  NODES4 },
      .reduction = { 8,
                     { { "avg_pool_3x3", 0, 2 }, { "sep_conv_5x5", 1, 2 }, { "sep_conv_3x3", 0, 3 },
                       { "dil_conv_5x5", 2, 3 }, { "max_pool_3x3", 0, 4 }, { "dil_conv_3x3", 1, 4 },
                       { "dil_conv_3x3", 1, 5 }, { "dil_conv_5x5", 3, 5 } },
                     NODES4 } } },
  /* Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", CVPR 2018; as DARTS runs it. */
  { "NASNet",
    { .normal = { 10,
                  { { "sep_conv_5x5", 1, 2 }, { "sep_conv_3x3", 0, 2 }, { "sep_conv_5x5", 0, 3 },
                    { "sep_conv_3x3", 0, 3 }, { "avg_pool_3x3", 1, 4 }, { "skip_connect", 0, 4 },
                    { "avg_pool_3x3", 0, 5 }, { "avg_pool_3x3", 0, 5 }, { "sep_conv_3x3", 1, 6 },
                    { "skip_connect", 1, 6 } },
                  NODES5 },
      .reduction = { 10,
                     { { "sep_conv_5x5", 1, 2 }, { "sep_conv_7x7", 0, 2 }, { "max_pool_3x3", 1, 3 },
                       { "sep_conv_7x7", 0, 3 }, { "avg_pool_3x3", 1, 4 }, { "sep_conv_5x5", 0, 4 },
                       { "skip_connect", 3, 5 }, { "avg_pool_3x3", 2, 5 }, { "sep_conv_3x3", 2, 6 },
                       { "max_pool_3x3", 1, 6 } },
                     .concat_count = 3, .concat = { 4, 5, 6 } } } },
  /* Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019; as DARTS runs it. */
  { "AmoebaNet",
    { .normal = { 10,
                  { { "avg_pool_3x3", 0, 2 }, { "max_pool_3x3", 1, 2 }, { "sep_conv_3x3", 0, 3 },
                    { "sep_conv_5x5", 2, 3 }, { "sep_conv_3x3", 0, 4 }, { "avg_pool_3x3", 3, 4 },
                    { "sep_conv_3x3", 1, 5 }, { "skip_connect", 1, 5 }, { "skip_connect", 0, 6 },
                    { "avg_pool_3x3", 1, 6 } },
                  .concat_count = 3, .concat = { 4, 5, 6 } },
      .reduction = { 10,
                     { { "avg_pool_3x3", 0, 2 }, { "sep_conv_3x3", 1, 2 }, { "max_pool_3x3", 0, 3 },
                       { "sep_conv_7x7", 2, 3 }, { "sep_conv_7x7", 0, 4 }, { "avg_pool_3x3", 1, 4 },
                       { "max_pool_3x3", 0, 5 }, { "max_pool_3x3", 1, 5 }, { "conv_7x1_1x7", 0, 6 },
                       { "sep_conv_3x3", 5, 6 } },
                     .concat_count = 3, .concat = { 3, 4, 6 } } } },
  /* Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018; as in NAT
  ** (Guo et al., NeurIPS 2019). */
  { "ENAS",
    { .normal = { 10,
                  { { "sep_conv_3x3", 1, 2 }, { "skip_connect", 1, 2 }, { "skip_connect", 0, 3 },
                    { "sep_conv_5x5", 1, 3 }, { "avg_pool_3x3", 0, 4 }, { "sep_conv_3x3", 1, 4 },
                    { "sep_conv_3x3", 0, 5 }, { "avg_pool_3x3", 1, 5 }, { "avg_pool_3x3", 0, 6 },
                    { "sep_conv_5x5", 1, 6 } },
                  NODES5 },
      .reduction = { 10,
                     { { "sep_conv_5x5", 0, 2 }, { "avg_pool_3x3", 1, 2 }, { "sep_conv_3x3", 1, 3 },
                       { "avg_pool_3x3", 1, 3 }, { "avg_pool_3x3", 1, 4 }, { "sep_conv_3x3", 1, 4 },
                       { "avg_pool_3x3", 1, 5 }, { "sep_conv_5x5", 4, 5 }, { "sep_conv_5x5", 0, 6 },
                       { "sep_conv_3x3", 5, 6 } },
                     .concat_count = 3, .concat = { 2, 3, 6 } } } },
};

#define PUBLISHED ((int)(sizeof published / sizeof *published))

const CnGenotype *cn_genotype_named(const char *name) {
  for (int i = 0; i < PUBLISHED; i++)
    if (strcmp(published[i].name, name) == 0) return &published[i].genotype;
  return NULL;
}

const char *cn_genotype_published(int index) {
  return index >= 0 && index < PUBLISHED ? published[index].name : NULL;
}
