/* block_add.cu - row add_block: two images added, each through its own scale and shift; the sum of a node's two edges.
**
** The gradient of a term is that of the sum times the term's scale: mostly it is handed on so, with nothing written. */
#include "kernels/cuda/image.cuh"

namespace {

/* One term: x, or (x * scale + shift) * keep[image]. */
template <class T> struct Term {
  typedef Real<T> R;
  const T *x;                       /* NULL: there is none */
  const R *scale, *shift, *keep; /* NULL: without; scale and shift go each by itself */
  T *gx;
  bool add, factors; /* factors: sums for scale and shift are wanted */
};

template <class T> struct Terms {
  Term<T> term[2];
  int channels;
  Divider pixels; /* of an image */
  __device__ Real<T> keep(int i, int64_t p) const {
    int64_t rest;
    return term[i].keep ? term[i].keep[pixels.divide(p, &rest)] : Real<T>(1);
  }
};

template <class T, int V> struct Add : Terms<T> {
  static constexpr int VEC = V, SUMS = 0;
  typedef Real<T> R;
  T *z;
  Add(const Terms<T> &terms, T *to) : Terms<T>(terms), z(to) {}
  struct Thread {
    const Add &a;
    int c;
    R scale[2][VEC], shift[2][VEC];
    __device__ Thread(const Add &task, int channel) : a(task), c(channel) {
      for (int i = 0; i < 2; i++) {
        load_factors(a.term[i].scale, c, R(1), scale[i]);
        load_factors(a.term[i].shift, c, R(0), shift[i]);
      }
    }
    __device__ void step(int64_t p) {
      R sum[VEC] = {};
#pragma unroll
      for (int i = 0; i < 2; i++) {
        if (!a.term[i].x) continue;
        R v[VEC], keep = a.keep(i, p);
        load_pack(a.term[i].x + p * a.channels + c, v);
#pragma unroll
        for (int j = 0; j < VEC; j++) sum[j] += (v[j] * scale[i][j] + shift[i][j]) * keep;
      }
      store_pack(a.z + p * a.channels + c, sum);
    }
  };
};

/* The sums are those of x_scale, x_shift, y_scale, y_shift. */
template <class T, int V, bool FACTORS> struct AddBack : Terms<T> {
  static constexpr int VEC = V, SUMS = FACTORS ? 4 : 0;
  typedef Real<T> R;
  const T *g;
  AddBack(const Terms<T> &terms, const T *from) : Terms<T>(terms), g(from) {}
  struct Thread {
    const AddBack &a;
    int c;
    R scale[2][VEC];
    FactorSums<R, VEC> sums[2];
    __device__ Thread(const AddBack &task, int channel) : a(task), c(channel) {
      for (int i = 0; i < 2; i++) load_factors(a.term[i].scale, c, R(1), scale[i]);
    }
    __device__ void step(int64_t p) {
      int64_t at = p * a.channels + c;
      R g[VEC];
      load_pack(a.g + at, g);
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const Term<T> &t = a.term[i];
        R v[VEC], kept[VEC], keep = a.keep(i, p);
        for (int j = 0; j < VEC; j++) kept[j] = g[j] * keep;
        if (FACTORS && t.factors) {
          load_pack(t.x + at, v);
          sums[i].add(kept, v);
        }
        if (!t.gx) continue;
        for (int j = 0; j < VEC; j++) kept[j] *= scale[i][j];
        if (t.add) {
          load_pack(t.gx + at, v);
          for (int j = 0; j < VEC; j++) kept[j] += v[j];
        }
        store_pack(t.gx + at, kept);
      }
    }
    __device__ void totals(double (&sum)[4][VEC]) const {
      for (int i = 0; i < 2; i++) {
        double pair[2][VEC];
        sums[i].totals(pair);
        for (int j = 0; j < VEC; j++) sum[2 * i][j] = pair[0][j], sum[2 * i + 1][j] = pair[1][j];
      }
    }
  };
};

template <class T> Terms<T> terms_of(const CnCall *call) {
  typedef Real<T> R;
  const int64_t *shape = call->in_spec[0].shape;
  Terms<T> s = {};
  s.channels = static_cast<int>(shape[3]);
  s.pixels.set(shape[1] * shape[2] > 0 ? shape[1] * shape[2] : 1);
  for (int i = 0; i < 2; i++)
    s.term[i] = { given<T>(call, i), given<R>(call, 2 + 2 * i), given<R>(call, 3 + 2 * i), given<R>(call, 6 + i), NULL,
                  false, false };
  return s;
}

template <class T> CnErr add_block_forward(CnCall *call) {
  Terms<T> s = terms_of<T>(call);
  T *z = data<T>(call->out[0]);
  int64_t pixels = count_between(&call->out_spec[0], 0, 3);
  CN_TRY(images_fit(call, &call->out_spec[0]));
  if (all_packed(s.channels, s.term[0].x, s.term[1].x, z))
    return channel_pass(call, pixels, s.channels, Add<T, 4>(s, z), NULL);
  return channel_pass(call, pixels, s.channels, Add<T, 1>(s, z), NULL);
}

template <class T, bool FACTORS> CnErr add_back(const CnCall *call, const Terms<T> &s, Partial *partial) {
  const T *g = data<T>(call->gout[0]);
  const Term<T> &a = s.term[0], &b = s.term[1];
  int64_t pixels = count_between(&call->out_spec[0], 0, 3);
  CN_TRY(images_fit(call, &call->out_spec[0]));
  if (all_packed(s.channels, g, a.x, b.x, a.gx, b.gx))
    return channel_pass(call, pixels, s.channels, AddBack<T, 4, FACTORS>(s, g), partial);
  return channel_pass(call, pixels, s.channels, AddBack<T, 1, FACTORS>(s, g), partial);
}

template <class T> CnErr add_block_backward(CnCall *call) {
  typedef Real<T> R;
  Terms<T> s = terms_of<T>(call);
  for (int i = 6; i < 8 && i < call->nin; i++) { /* keep has none, as if it had not been used */
    cn_cuda_unref(call->gin[i]);
    call->gin[i] = NULL;
  }
  for (int i = 0; i < 2; i++) {
    Term<T> *t = &s.term[i];
    t->gx = wanted<T>(call, i);
    t->add = call->add[i];
    t->factors = wanted<R>(call, 2 + 2 * i) || wanted<R>(call, 3 + 2 * i);
    if (!t->gx || t->add || t->keep) continue;
    cn_cuda_unref(call->gin[i]); /* nothing to write: it is that of z, but for the scale */
    call->gin[i] = cn_cuda_ref(call->gout[0]);
    call->gin_factor[i] = 2 + 2 * i < call->nin ? call->in[2 + 2 * i] : NULL;
    t->gx = NULL;
  }
  Partial partial(call);
  if (!s.term[0].factors && !s.term[1].factors)
    return s.term[0].gx || s.term[1].gx ? add_back<T, false>(call, s, NULL) : CN_OK;
  CN_TRY((add_back<T, true>(call, s, &partial)));
  return finish_factors(call, s.channels, partial, FactorsOut<R>{ { wanted<R>(call, 2), wanted<R>(call, 4) },
                                                                  { wanted<R>(call, 3), wanted<R>(call, 5) } });
}

} // namespace

KERNEL_ALL_FLOATS(add_block_forward)
KERNEL_ALL_FLOATS(add_block_backward)
