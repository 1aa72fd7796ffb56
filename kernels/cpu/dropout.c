/* dropout.c - noise that zeroes elements or whole images. Kernels: dropout, drop_path, _forward and _backward.
**
** The mask is a function of the stream: element (image) i is kept when word i % 4 of block counter + i / 4, as a number
** in [0, 1), is at least p. So backward draws the mask again instead of keeping it. Forward and backward are one
** function: y = mask / (1 - p) * x, gx = mask / (1 - p) * gy. */
#include "words.h"

typedef struct Mask {
  CnRng rng;
  float p;
  REAL factor;
  int64_t image; /* elements of one; drop_path alone */
  REAL *out;
  const REAL *x;
} Mask;

static inline bool kept(uint32_t word, float p) { return cn_u32_to_unit(word) >= p; }

/* Elements begin … end-1; begin is a multiple of 4. */
static void drop_elements(void *context, int64_t begin, int64_t end) {
  const Mask *m = context;
  float p = m->p;
  REAL factor = m->factor;
  for (int64_t from = begin; from < end; from += WORDS) {
    int64_t n = CN_MIN(WORDS, end - from);
    uint32_t word[WORDS];
    draw_words(word, m->rng, from / 4);
    REAL *restrict out = m->out + from;
    const REAL *restrict x = m->x + from;
    for (int64_t i = 0; i < n; i++) {
      REAL value = x[i] * factor;
      out[i] = kept(word[i], p) ? value : 0;
    }
  }
}

/* Images begin … end-1. */
static void drop_images(void *context, int64_t begin, int64_t end) {
  const Mask *m = context;
  for (int64_t i = begin; i < end; i++) {
    uint32_t word[4];
    cn_philox(word, m->rng.seed, m->rng.stream, m->rng.counter + (uint64_t)(i / 4));
    REAL *restrict out = m->out + i * m->image;
    const REAL *restrict x = m->x + i * m->image;
    if (!kept(word[i % 4], m->p)) {
      memset(out, 0, (size_t)m->image * sizeof(REAL));
    } else {
      REAL factor = m->factor;
      for (int64_t k = 0; k < m->image; k++) out[k] = x[k] * factor;
    }
  }
}

/* Attributes: p, and a stream of three slots. */
static Mask mask_make(const CnCall *call, CnTensor *out, const CnTensor *x) {
  double p = call->attr[0].f;
  return (Mask){ .rng = { (uint64_t)call->attr[1].i, (uint64_t)call->attr[2].i, (uint64_t)call->attr[3].i },
                 .p = (float)p, .factor = (REAL)(1 / (1 - p)), .out = DATA(REAL, out), .x = DATA(REAL, x) };
}

static CnErr dropout(const CnCall *call, CnTensor *out, const CnTensor *x) {
  if (!out) return CN_OK;
  Mask m = mask_make(call, out, x);
  in_pieces(count_of(&call->in_spec[0]), GRAIN, drop_elements, &m);
  return CN_OK;
}

static CnErr drop_path(const CnCall *call, CnTensor *out, const CnTensor *x) {
  if (!out) return CN_OK;
  Mask m = mask_make(call, out, x);
  const CnSpec *spec = &call->in_spec[0];
  m.image = count_between(spec, 1, spec->ndim);
  in_pieces(count_between(spec, 0, CN_MIN(1, spec->ndim)), rows_in_piece(m.image), drop_images, &m);
  return CN_OK;
}

CnErr FN(dropout_forward)(CnCall *call) { return dropout(call, call->out[0], call->in[0]); }
CnErr FN(dropout_backward)(CnCall *call) { return dropout(call, call->gin[0], call->gout[0]); }
CnErr FN(drop_path_forward)(CnCall *call) { return drop_path(call, call->out[0], call->in[0]); }
CnErr FN(drop_path_backward)(CnCall *call) { return drop_path(call, call->gin[0], call->gout[0]); }
