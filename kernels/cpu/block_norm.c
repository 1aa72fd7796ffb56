/* block_norm.c - row norm_factors: the scale and shift that normalise a block's result. A handful of numbers. */
#include "kernels/cpu/block.h"

CnErr FN(norm_factors_forward)(CnCall *call) {
  int64_t channels = call->in_spec[0].shape[0];
  double n = (double)call->attr[0].i, momentum = call->attr[2].f, eps = call->attr[3].f;
  bool training = call->attr[1].i != 0;
  const REAL *mean = block_input(call, 0), *var = block_input(call, 1);
  const REAL *weight = block_input(call, 2), *bias = block_input(call, 3);
  REAL *running_mean = (REAL *)block_input(call, 4), *running_var = (REAL *)block_input(call, 5);
  REAL *scale = DATA(REAL, call->out[0]), *shift = DATA(REAL, call->out[1]);
  for (int64_t c = 0; c < channels; c++) {
    double m = (double)(training ? mean : running_mean)[c], v = (double)(training ? var : running_var)[c];
    double factor = (weight != NULL ? (double)weight[c] : 1) / sqrt(v + eps);
    scale[c] = (REAL)factor;
    shift[c] = (REAL)((bias != NULL ? (double)bias[c] : 0) - m * factor);
    if (!training || running_mean == NULL) continue;
    running_mean[c] += (REAL)(momentum * (m - (double)running_mean[c]));
    running_var[c] += (REAL)(momentum * (v * n / (n - 1) - (double)running_var[c]));
  }
  return CN_OK;
}

/* With r = 1/sqrt(var + eps) and h = gscale - mean * gshift: gmean = -weight * r * gshift, gvar = -weight * r^3 * h / 2,
** gweight = r * h, gbias = gshift. */
CnErr FN(norm_factors_backward)(CnCall *call) {
  int64_t channels = call->in_spec[0].shape[0];
  double eps = call->attr[3].f;
  bool training = call->attr[1].i != 0;
  const REAL *mean = block_input(call, training ? 0 : 4), *var = block_input(call, training ? 1 : 5);
  const REAL *weight = block_input(call, 2);
  const REAL *gscale = DATA(REAL, call->gout[0]), *gshift = DATA(REAL, call->gout[1]);
  REAL *gmean = block_wanted(call, 0), *gvar = block_wanted(call, 1);
  REAL *gweight = block_wanted(call, 2), *gbias = block_wanted(call, 3);
  for (int i = 4; i < 6; i++) /* statistics that run have no gradient */
    if (block_wanted(call, i) != NULL) memset(block_wanted(call, i), 0, (size_t)channels * sizeof(REAL));
  for (int64_t c = 0; c < channels; c++) {
    double r = 1 / sqrt((double)var[c] + eps), w = weight != NULL ? (double)weight[c] : 1;
    double shift = (double)gshift[c], h = (double)gscale[c] - (double)mean[c] * shift;
    if (gmean != NULL) gmean[c] = training ? (REAL)(-w * r * shift) : 0;
    if (gvar != NULL) gvar[c] = training ? (REAL)(-w * r * r * r * h / 2) : 0;
    if (gweight != NULL) gweight[c] = (REAL)(r * h);
    if (gbias != NULL) gbias[c] = (REAL)shift;
  }
  return CN_OK;
}
