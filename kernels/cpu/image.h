/* image.h - what the loader does with bytes of photographs, for each instruction set.
**
** The arithmetic is PIL's to the bit: weights of 22 bits, colours mixed in single precision and cut off, hue in double
** where PIL has double. Pixels are RGB bytes. Buffers that hold pixels need CN_IMAGE_SLACK bytes more at their end. */
#ifndef CN_IMAGE_KERNELS_H
#define CN_IMAGE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define CN_IMAGE_SLACK 64

/* Which input pixels make each output pixel of one direction: number[i] from start[i] on, with most * i weights in
** front of its own, which add up to 2^22. */
typedef struct CnTaps {
  int count;   /* of outputs */
  int columns; /* of inputs */
  int most;    /* weights reserved for each output */
  const int *start, *number;
  const int32_t *weight;
} CnTaps;

typedef struct CnImageKernels {
  /* In each of `rows` rows: `taps->count` pixels of out from the `taps->columns` of in. `scratch`: 16 bytes for each of
  ** these columns. */
  void (*across)(uint8_t *out, ptrdiff_t out_stride, const uint8_t *in, ptrdiff_t stride, int rows, uint8_t *scratch,
                 const CnTaps *taps);
  /* Output row i: `bytes` bytes from rows `stride` bytes apart, the taps' row 0 first. */
  void (*down)(uint8_t *out, const uint8_t *in, ptrdiff_t stride, int bytes, const CnTaps *taps, int i);
  /* The sum of the grey values (ITU-R 601) of `pixels` pixels. */
  int64_t (*grey_sum)(const uint8_t *rgb, int64_t pixels);
  /* Each byte from `other` towards itself and beyond: other + factor (byte - other). */
  void (*blend)(uint8_t *rgb, int64_t bytes, int other, float factor);
  /* The same from the pixel's own grey value. */
  void (*saturate)(uint8_t *rgb, int64_t pixels, float factor);
  /* Turns the hue by `steps` of 256. */
  void (*turn_hue)(uint8_t *rgb, int64_t pixels, uint8_t steps);
} CnImageKernels;

/* Those of the instruction set in use (device/cpu.h). */
const CnImageKernels *cn_image_kernels(void);

#endif
