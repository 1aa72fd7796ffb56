/* rows.h - what softmax and its losses take from a contiguous row, in LANES independent strands so that it vectorises;
** short rows, such as a classifier's ten, in a plain loop.
**
** A NaN in the row makes the sum of exponentials NaN; the largest value may then be any. */
#ifndef CN_ROWS_H
#define CN_ROWS_H

#include "pieces.h"
#include "real_math.h"

#define LANES 16
#define SHORT (4 * LANES)

/* The largest of x[0 … n-1], n >= 1. */
static inline REAL row_largest(const REAL *x, int64_t n) {
  REAL lane[LANES], top = x[0];
  if (n < SHORT) {
    for (int64_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
  }
  for (int l = 0; l < LANES; l++) lane[l] = x[l];
  int64_t i = LANES;
  for (; i + LANES <= n; i += LANES)
    for (int l = 0; l < LANES; l++) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
  for (; i < n; i++) lane[0] = x[i] > lane[0] ? x[i] : lane[0];
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int l = 0; l < width; l++) lane[l] = lane[l + width] > lane[l] ? lane[l + width] : lane[l];
  return lane[0];
}

static inline double row_total(const REAL *x, int64_t n) {
  double lane[LANES] = { 0 }, total = 0;
  int64_t i = 0;
  if (n < SHORT) {
    for (; i < n; i++) total += (double)x[i];
    return total;
  }
  for (; i + LANES <= n; i += LANES)
    for (int l = 0; l < LANES; l++) lane[l] += (double)x[i + l];
  for (; i < n; i++) total += (double)x[i];
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int l = 0; l < width; l++) lane[l] += lane[l + width];
  return total + lane[0];
}

/* The sum of e^(x - shift). */
static inline double row_exp_total(const REAL *x, int64_t n, REAL shift) {
  REAL part[16 * LANES];
  double total = 0;
  for (int64_t from = 0; from < n; from += 16 * LANES) {
    int64_t count = CN_MIN(16 * LANES, n - from);
    for (int64_t i = 0; i < count; i++) part[i] = M(exp)(x[from + i] - shift);
    total += row_total(part, count);
  }
  return total;
}

#endif
