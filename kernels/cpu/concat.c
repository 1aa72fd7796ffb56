/* concat.c - arrays joined along a dimension. Kernels: concat_forward of any type, concat_backward of floats.
**
** Seen as rows: each input has (outer) rows of its own length, and a row of the output is one row of each in turn.
** Forward and backward are the same walk, copying one way or the other. */
#include "pieces.h"

typedef struct Concat {
  int parts;
  STORED *whole;
  STORED *part[CN_MAX_INPUTS];    /* NULL: not wanted */
  int64_t row[CN_MAX_INPUTS];   /* elements */
  int64_t start[CN_MAX_INPUTS]; /* of the part in a row of the whole */
  int64_t whole_row;
  bool split; /* from the whole to the parts */
} Concat;

static void copy_part(const Concat *c, int i, int64_t outer, int64_t begin, int64_t end) {
  if (begin >= end || !c->part[i]) return;
  STORED *whole = c->whole + outer * c->whole_row + c->start[i] + begin, *part = c->part[i] + outer * c->row[i] + begin;
  memcpy(c->split ? part : whole, c->split ? whole : part, (size_t)(end - begin) * sizeof(STORED));
}

/* Elements begin … end-1 of the whole. */
static void copy_pieces(void *context, int64_t begin, int64_t end) {
  const Concat *c = context;
  for (int64_t at = begin; at < end;) {
    int64_t outer = at / c->whole_row, from = at % c->whole_row, to = CN_MIN(c->whole_row, from + end - at);
    for (int i = 0; i < c->parts; i++)
      copy_part(c, i, outer, CN_MAX(0, from - c->start[i]), CN_MIN(c->row[i], to - c->start[i]));
    at += to - from;
  }
}

static CnErr concat(CnCall *call, CnTensor *const *part, CnTensor *whole, bool split) {
  Concat c = { .parts = call->nin, .whole = DATA(STORED, whole), .split = split };
  int dim = (int)call->attr[0].i;
  for (int i = 0; i < call->nin; i++) {
    c.part[i] = part[i] ? DATA(STORED, part[i]) : NULL;
    c.row[i] = count_between(&call->in_spec[i], dim, call->in_spec[i].ndim);
    c.start[i] = c.whole_row;
    c.whole_row += c.row[i];
  }
  in_pieces(count_of(&call->out_spec[0]), GRAIN, copy_pieces, &c);
  return CN_OK;
}

CnErr FN(concat_forward)(CnCall *call) { return concat(call, call->in, call->out[0], false); }

#if CN_REAL_IS_FLOAT
CnErr FN(concat_backward)(CnCall *call) { return concat(call, call->gin, call->gout[0], true); }
#endif
