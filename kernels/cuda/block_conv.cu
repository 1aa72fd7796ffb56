/* block_conv.cu - row conv_block: a convolution with its statistics, taken in a pass of their own; for stems and other
** convolutions that are no block by themselves. */
#include "kernels/cuda/conv2d.cuh"
#include "kernels/cuda/image.cuh"

namespace {

template <class T, int V> struct Statistics {
  static constexpr int VEC = V, SUMS = 2;
  const T *z;
  int channels;
  struct Thread {
    const T *z;
    int channels;
    Moments<T, VEC> moments;
    __device__ Thread(const Statistics &s, int c) : z(s.z + c), channels(s.channels) {}
    __device__ void step(int64_t p) {
      T v[VEC];
      load_pack(z + p * channels, v);
      moments.add(v);
    }
    __device__ void totals(double (&sum)[2][VEC]) const { moments.totals(sum); }
  };
};

/* Writes the gradient that arrives at z. */
template <class T, int V> struct Arrivals {
  static constexpr int VEC = V, SUMS = 0;
  Incoming<T> incoming;
  T *to;
  int channels;
  struct Thread {
    Arriving<T, VEC> arriving;
    T *to;
    int channels;
    __device__ Thread(const Arrivals &a, int c) : arriving(a.incoming, c), to(a.to + c), channels(a.channels) {}
    __device__ void step(int64_t p) {
      T v[VEC];
      arriving.read(p * channels, v);
      store_pack(to + p * channels, v);
    }
  };
};

template <class T> CnErr conv_block_forward(CnCall *call) {
  Conv<T> v = conv_of<T>(call);
  v.y = data<T>(call->out[0]);
  int64_t pixels = v.n * v.oh * v.ow;
  int channels = static_cast<int>(v.o);
  Partial partial(call);
  CN_TRY(conv_forward(call, v));
  if (all_packed(v.o, v.y)) CN_TRY(channel_pass(call, pixels, v.o, Statistics<T, 4>{ v.y, channels }, &partial));
  else CN_TRY(channel_pass(call, pixels, v.o, Statistics<T, 1>{ v.y, channels }, &partial));
  return finish_statistics(call, pixels, partial, statistics_out<T>(call, 0));
}

template <class T> CnErr conv_block_backward(CnCall *call) {
  Conv<T> v = conv_of<T>(call);
  v.gx = wanted<T>(call, 0);
  v.gweight = wanted<T>(call, 1);
  if (!v.gx && !v.gweight) return CN_OK;
  int64_t pixels = v.n * v.oh * v.ow;
  int channels = static_cast<int>(v.o);
  Incoming<T> incoming = incoming_of<T>(call, 0);
  Scratch<T> gradient(call);
  CN_TRY(gradient.take(pixels * v.o));
  T *gy = gradient.data();
  if (all_packed(v.o, incoming.g, incoming.z, gy))
    CN_TRY(channel_pass(call, pixels, v.o, Arrivals<T, 4>{ incoming, gy, channels }, NULL));
  else CN_TRY(channel_pass(call, pixels, v.o, Arrivals<T, 1>{ incoming, gy, channels }, NULL));
  v.gy = gy;
  return conv_backward(call, v);
}

} // namespace

KERNEL_FLOATS(conv_block_forward)
KERNEL_FLOATS(conv_block_backward)
