/* concat.cu - arrays joined along a dimension. Kernels: concat_forward of any type, concat_backward of floats.
**
** Seen as rows: each input has (outer) rows of its own length, and a row of the whole is one row of each in turn.
** Forward and backward are the same walk, copying one way or the other: one launch for all parts. */
#include "kernels/cuda/elementwise.cuh"

namespace {

template <class T> struct Parts {
  int count;
  T *part[CN_MAX_INPUTS];        /* NULL: not wanted */
  int64_t row[CN_MAX_INPUTS];    /* elements */
  int64_t start[CN_MAX_INPUTS];  /* of the part in a row of the whole */
};

/* N: elements that a thread copies, neighbours in a row of one part. */
template <int N, class T> __global__ void copy_parts(int64_t n, WideDivider whole_row, Parts<T> p, T *whole, bool split) {
  int64_t i = N * thread_number(), within;
  if (i >= n) return;
  int64_t outer = whole_row.divide(i, &within);
  int k = 0;
  while (k + 1 < p.count && within >= p.start[k + 1]) k++;
  if (p.part[k] == NULL) return;
  T *part = p.part[k] + outer * p.row[k] + within - p.start[k];
  typedef Pack<T, N> Some;
  if (split) *reinterpret_cast<Some *>(part) = *reinterpret_cast<const Some *>(whole + i);
  else *reinterpret_cast<Some *>(whole + i) = *reinterpret_cast<const Some *>(part);
}

template <class T> CnErr concat(CnCall *call, CnTensor *const *part, CnTensor *whole, bool split) {
  Parts<T> p = {};
  int dim = static_cast<int>(call->attr[0].i);
  int64_t n = count_of(&call->out_spec[0]), whole_row = 0;
  bool packed = is_packed<4>(data<T>(whole));
  p.count = call->nin;
  for (int i = 0; i < call->nin; i++) {
    p.part[i] = data<T>(part[i]);
    p.row[i] = count_between(&call->in_spec[i], dim, call->in_spec[i].ndim);
    p.start[i] = whole_row;
    whole_row += p.row[i];
    packed = packed && p.row[i] % 4 == 0 && is_packed<4>(p.part[i]);
  }
  WideDivider row;
  row.set(whole_row);
  if (packed)
    return launch(call, copy_parts<4, T>, blocks_for(n / 4), THREADS, 0, n, row, p, data<T>(whole), split);
  return launch(call, copy_parts<1, T>, blocks_for(n), THREADS, 0, n, row, p, data<T>(whole), split);
}

template <class T> CnErr concat_forward(CnCall *call) { return concat<T>(call, call->in, call->out[0], false); }
template <class T> CnErr concat_backward(CnCall *call) { return concat<T>(call, call->gin, call->gout[0], true); }

} // namespace

KERNEL_ANY(concat_forward)
KERNEL_ALL_FLOATS(concat_backward)
