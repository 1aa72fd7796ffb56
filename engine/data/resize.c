/* resize.c - see resize.h. */
#include "data/resize.h"

#include <math.h>
#include <string.h>

#define ONE (1 << 22) /* a weight of 1 */

static double larger(double a, double b) { return a > b ? a : b; }

/* The input pixels of output i: from the first whose middle lies within `reach` of the output's, in pixels. */
static int stretch(const CnAxis *axis, int i, double scale, double reach, int *start) {
  double middle = axis->from + (i + 0.5) * scale;
  int low = (int)(middle - reach + 0.5), high = (int)(middle + reach + 0.5);
  *start = low < 0 ? 0 : low;
  return (high > axis->size ? axis->size : high) - *start;
}

/* Weights of the pixels of output i: a triangle around its middle, with the sum 1, then rounded. */
static void weigh(int32_t *weight, const CnAxis *axis, int i, double scale, double reach, int start, int number) {
  double middle = axis->from + (i + 0.5) * scale, sum = 0, slope = 1.0 / reach;
  for (int pass = 0; pass < 2; pass++)
    for (int k = 0; k < number; k++) {
      double distance = fabs((k + start - middle + 0.5) * slope), w = distance < 1.0 ? 1.0 - distance : 0.0;
      if (pass == 0) sum += w;
      else weight[k] = (int32_t)(0.5 + (sum != 0.0 ? w / sum : w) * ONE);
    }
}

/* Taps in one block of the buffer. Their starts count from the first input pixel that is used, which goes to *low;
** *high is behind the last. */
static CnErr make_taps(CnTaps *taps, CnBuffer *buffer, const CnAxis *axis, int *low, int *high) {
  double scale = (axis->to - axis->from) / axis->result, reach = larger(scale, 1.0);
  if (axis->size < 1 || !(scale > 0) || axis->first < 0 || axis->count < 1 || axis->count > axis->result - axis->first)
    return cn_fail(CN_EUSAGE, "resize: expected %d … %d of %d pixels from some of %d", axis->first,
                   axis->first + axis->count, axis->result, axis->size);
  int most = (int)ceil(reach) * 2 + 1;
  if (most > axis->size + 1) most = axis->size + 1;
  size_t count = (size_t)axis->count;
  CN_TRY(cn_buffer_room(buffer, count * (2 + (size_t)most) * sizeof(int32_t)));
  int *start = buffer->data, *number = start + count;
  int32_t *weight = number + count;
  *low = axis->size;
  *high = 0;
  for (int i = 0; i < axis->count; i++, weight += most) {
    number[i] = stretch(axis, axis->first + i, scale, reach, &start[i]);
    weigh(weight, axis, axis->first + i, scale, reach, start[i], number[i]);
    while (number[i] > 1 && weight[number[i] - 1] == 0) number[i]--; /* the triangle's foot */
    if (start[i] < *low) *low = start[i];
    if (start[i] + number[i] > *high) *high = start[i] + number[i];
  }
  for (int i = 0; i < axis->count; i++) start[i] -= *low;
  *taps = (CnTaps){ axis->count, *high - *low, most, start, number, number + count };
  return CN_OK;
}

/* Bytes of a shortened row. */
static size_t row_bytes(const CnResize *r) { return 3 * (size_t)r->across.count; }

CnErr cn_resize_begin(CnResize *r, const CnAxis *x, const CnAxis *y) {
  CN_TRY(make_taps(&r->across, &r->weights_across, x, &r->left, &r->right));
  CN_TRY(cn_buffer_room(&r->scratch, 16 * (size_t)r->across.columns));
  CN_TRY(make_taps(&r->down, &r->weights_down, y, &r->top, &r->bottom));
  return cn_buffer_room(&r->rows, row_bytes(r) * (size_t)(r->bottom - r->top) + CN_IMAGE_SLACK);
}

void cn_resize_rows(CnResize *r, const uint8_t *rows, ptrdiff_t stride, int y, int count) {
  uint8_t *to = (uint8_t *)r->rows.data + row_bytes(r) * (size_t)y;
  cn_image_kernels()->across(to, (ptrdiff_t)row_bytes(r), rows, stride, count, r->scratch.data,
                             &r->across);
}

void cn_resize_end(CnResize *r, uint8_t *out) {
  const CnImageKernels *kernels = cn_image_kernels();
  for (int i = 0; i < r->down.count; i++)
    kernels->down(out + row_bytes(r) * (size_t)i, r->rows.data, (ptrdiff_t)row_bytes(r), (int)row_bytes(r), &r->down,
                  i);
}

void cn_resize_free(CnResize *r) {
  cn_buffer_free(&r->weights_across);
  cn_buffer_free(&r->weights_down);
  cn_buffer_free(&r->rows);
  cn_buffer_free(&r->scratch);
}
