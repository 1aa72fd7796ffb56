/* subsample.cu - row subsample2d: pixel (stride*i + offset) of the image, zero outside it. */
#include "kernels/cuda/image.cuh"

namespace {

/* Each pixel of `to` is a pixel of `from` or zero. Forward, pixel i is number i * step + offset; backward, it is that
** which it came from, (i - offset) / step. */
template <class T, int V, bool BACKWARD> struct Subsample {
  static constexpr int VEC = V, SUMS = 0;
  const T *from;
  T *to;
  int channels, step, down, right;
  Pixels source, target;
  struct Thread {
    const Subsample &s;
    int c;
    __device__ Thread(const Subsample &task, int channel) : s(task), c(channel) {}
    __device__ static int place(int i, int step, int offset) {
      if (!BACKWARD) return i * step + offset;
      return i - offset >= 0 && (i - offset) % step == 0 ? (i - offset) / step : -1;
    }
    __device__ void step(int64_t p) {
      Place at = s.target.find(p);
      int y = place(at.y, s.step, s.down), x = place(at.x, s.step, s.right);
      T v[VEC] = {};
      if (s.source.inside(y, x)) load_pack(s.from + s.source.number(at.image, y, x) * s.channels + c, v);
      store_pack(s.to + p * s.channels + c, v);
    }
  };
};

template <class T, bool BACKWARD> CnErr subsample(const CnCall *call, const T *from, T *to) {
  const CnSpec *x = &call->in_spec[0], *y = &call->out_spec[0], *target = BACKWARD ? x : y;
  if (!to) return CN_OK;
  CN_TRY(images_fit(call, x));
  int64_t channels = x->shape[3], pixels = count_between(target, 0, 3);
  Pixels image(x->shape[1], x->shape[2]), thinned(y->shape[1], y->shape[2]);
  auto with = [&](auto task) {
    task = { from, to, static_cast<int>(channels), static_cast<int>(call->attr[0].i), static_cast<int>(call->attr[1].i),
             static_cast<int>(call->attr[2].i), BACKWARD ? thinned : image, BACKWARD ? image : thinned };
    return channel_pass(call, pixels, channels, task, NULL);
  };
  if (all_packed(channels, from, to)) return with(Subsample<T, 4, BACKWARD>{});
  return with(Subsample<T, 1, BACKWARD>{});
}

template <class T> CnErr subsample2d_forward(CnCall *call) {
  return subsample<T, false>(call, data<T>(call->in[0]), data<T>(call->out[0]));
}
template <class T> CnErr subsample2d_backward(CnCall *call) {
  return subsample<T, true>(call, data<T>(call->gout[0]), data<T>(call->gin[0]));
}

} // namespace

KERNEL_FLOATS(subsample2d_forward)
KERNEL_FLOATS(subsample2d_backward)
