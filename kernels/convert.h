/* convert.h - one number as an integer: floats are cut toward zero, everything is limited to the range of the type it
** goes to, NaN gives 0. */
#ifndef CN_CONVERT_H
#define CN_CONVERT_H

#include <stdint.h>

#include "base/everywhere.h"

CN_EVERYWHERE int64_t i64_of_double(double x) {
  if (!(x > -0x1p63)) return x != x ? 0 : INT64_MIN;
  return x >= 0x1p63 ? INT64_MAX : (int64_t)x;
}
CN_EVERYWHERE int64_t i64_of_i64(int64_t x) { return x; }
CN_EVERYWHERE uint8_t u8_of_double(double x) { return x > 0 ? x < 255 ? (uint8_t)x : 255 : 0; }
CN_EVERYWHERE uint8_t u8_of_i64(int64_t x) { return x > 0 ? x < 255 ? (uint8_t)x : 255 : 0; }

#endif
