/* pool.cuh - pooling with a window of any size, for the rows max_pool2d, avg_pool2d and pool_block.
**
** A window is cut at the image's border, so padding is never read: it cannot win a maximum and is not counted in a
** mean. Of equal values the first in row-major order wins, NaN wins over every number and the last NaN over the others.
** A maximum has a byte that says which tap of its window won, the first tap being the one at the window's corner
** whether it is inside the image or not. A thread makes VEC channels of one pixel after another. */
#ifndef CN_CUDA_POOL_CUH
#define CN_CUDA_POOL_CUH

#include "kernels/cuda/image.cuh"

/* Along one direction. */
struct Slide {
  int size, windows, kernel, stride, pad;
  /* The taps begin … end-1 of window i are inside. */
  __device__ int begin(int i) const { return i * stride < pad ? pad - i * stride : 0; }
  __device__ int end(int i) const { return size - i * stride + pad < kernel ? size - i * stride + pad : kernel; }
  /* The windows that hold pixel i: first_window … last_window. */
  __device__ int first_window(int i) const {
    int below = i + pad - kernel + 1;
    return below <= 0 ? 0 : (below + stride - 1) / stride;
  }
  __device__ int last_window(int i) const { return (i + pad) / stride < windows ? (i + pad) / stride : windows - 1; }
};

struct Pool {
  Pixels image, result;
  Slide down, right;
  int channels;
};

/* From the call's input 0, output 0 and first six attributes. */
inline Pool pool_of(const CnCall *call) {
  const int64_t *x = call->in_spec[0].shape, *z = call->out_spec[0].shape;
  const CnAttr *a = call->attr;
  auto slide = [&](int i) {
    return Slide{ static_cast<int>(x[1 + i]), static_cast<int>(z[1 + i]), static_cast<int>(a[i].i),
                  static_cast<int>(a[2 + i].i), static_cast<int>(a[4 + i].i) };
  };
  return { Pixels(x[1], x[2]), Pixels(z[1], z[2]), slide(0), slide(1), static_cast<int>(x[3]) };
}

/* ---------------------------------------------------------------- forward */

template <class T> struct PoolForward {
  Pool pool;
  Reader<Real<T>> reader;
  const T *x;
  T *z;
  uint8_t *argmax; /* NULL: means */
};

template <class T, int V, bool STATISTICS> struct PoolForwardTask : PoolForward<T> {
  static constexpr int VEC = V, SUMS = STATISTICS ? 2 : 0;
  typedef Real<T> R;
  explicit PoolForwardTask(const PoolForward<T> &f) : PoolForward<T>(f) {}
  struct Thread {
    const PoolForwardTask &f;
    int c;
    Reading<R, VEC> reading;
    Moments<R, VEC> moments;
    __device__ Thread(const PoolForwardTask &task, int channel) : f(task), c(channel), reading(task.reader, channel) {}

    __device__ void largest(const T *x, Place at, R (&top)[VEC], uint8_t (&won)[VEC]) const {
      const Pool &v = f.pool;
      int pitch = v.image.width * v.channels;
      bool first = true;
      for (int p = v.down.begin(at.y); p < v.down.end(at.y); p++)
        for (int q = v.right.begin(at.x); q < v.right.end(at.x); q++) {
          R value[VEC];
          load_pack(x + static_cast<int64_t>(p) * pitch + q * v.channels, value);
#pragma unroll
          for (int j = 0; j < VEC; j++) {
            R read = reading.read(j, value[j]);
            if (!first && !(read > top[j] || read != read)) continue;
            top[j] = read;
            won[j] = static_cast<uint8_t>(p * v.right.kernel + q);
          }
          first = false;
        }
    }
    __device__ void mean(const T *x, Place at, R (&sum)[VEC]) const {
      const Pool &v = f.pool;
      int pitch = v.image.width * v.channels;
      int rows = v.down.end(at.y) - v.down.begin(at.y), columns = v.right.end(at.x) - v.right.begin(at.x);
      R share = R(1) / static_cast<R>(rows * columns);
      for (int j = 0; j < VEC; j++) sum[j] = 0;
      for (int p = v.down.begin(at.y); p < v.down.end(at.y); p++)
        for (int q = v.right.begin(at.x); q < v.right.end(at.x); q++) {
          R value[VEC];
          load_pack(x + static_cast<int64_t>(p) * pitch + q * v.channels, value);
#pragma unroll
          for (int j = 0; j < VEC; j++) sum[j] += reading.read(j, value[j]);
        }
      for (int j = 0; j < VEC; j++) sum[j] *= share;
    }
    __device__ void step(int64_t p) {
      const Pool &v = f.pool;
      Place at = v.result.find(p);
      const T *corner = f.x + c + v.image.number(at.image, at.y * v.down.stride - v.down.pad,
                                                 at.x * v.right.stride - v.right.pad) * v.channels;
      int64_t to = p * v.channels + c;
      R value[VEC];
      uint8_t won[VEC] = {};
      if (f.argmax) {
        largest(corner, at, value, won);
        for (int j = 0; j < VEC; j++) f.argmax[to + j] = won[j];
      } else {
        mean(corner, at, value);
      }
      store_pack(f.z + to, value);
      if constexpr (STATISTICS) moments.add(value);
    }
    __device__ void totals(double (&sum)[2][VEC]) const { moments.totals(sum); }
  };
};

/* partial NULL: no sums. */
template <class T> inline CnErr pool_forward(const CnCall *call, const PoolForward<T> &f, Partial *partial) {
  int64_t pixels = count_between(&call->out_spec[0], 0, 3), channels = f.pool.channels;
  CN_TRY(images_fit(call, &call->in_spec[0]));
  bool packed = all_packed(channels, f.x, f.z);
  if (partial && packed) return channel_pass(call, pixels, channels, PoolForwardTask<T, 4, true>(f), partial);
  if (partial) return channel_pass(call, pixels, channels, PoolForwardTask<T, 1, true>(f), partial);
  if (packed) return channel_pass(call, pixels, channels, PoolForwardTask<T, 4, false>(f), NULL);
  return channel_pass(call, pixels, channels, PoolForwardTask<T, 1, false>(f), NULL);
}

/* ---------------------------------------------------------------- backward */

template <class T> struct PoolBackward {
  Pool pool;
  Incoming<T> incoming;
  const uint8_t *argmax; /* NULL: means */
  Outgoing<T> outgoing;
};

template <class T, int V, bool FACTORS> struct PoolBackwardTask : PoolBackward<T> {
  static constexpr int VEC = V, SUMS = FACTORS ? 2 : 0;
  typedef Real<T> R;
  explicit PoolBackwardTask(const PoolBackward<T> &b) : PoolBackward<T>(b) {}
  struct Thread {
    const PoolBackwardTask &b;
    int c;
    Arriving<T, VEC> arriving;
    Leaving<T, VEC> leaving;
    __device__ Thread(const PoolBackwardTask &task, int channel)
        : b(task), c(channel), arriving(task.incoming, channel), leaving(task.outgoing, channel) {}
    /* The windows that hold the pixel give it what they have: all, if it won, or its share. */
    __device__ void step(int64_t p) {
      const Pool &v = b.pool;
      Place at = v.image.find(p);
      R sum[VEC] = {};
      for (int i = v.down.first_window(at.y); i <= v.down.last_window(at.y); i++)
        for (int j = v.right.first_window(at.x); j <= v.right.last_window(at.x); j++) {
          int64_t from = v.result.number(at.image, i, j) * v.channels;
          R g[VEC];
          arriving.read(from, g);
          if (b.argmax) {
            int p_tap = at.y + v.down.pad - i * v.down.stride, q_tap = at.x + v.right.pad - j * v.right.stride;
            int mine = p_tap * v.right.kernel + q_tap;
            for (int k = 0; k < VEC; k++) sum[k] += b.argmax[from + c + k] == mine ? g[k] : R(0);
          } else {
            R share = R(1) / static_cast<R>((v.down.end(i) - v.down.begin(i)) * (v.right.end(j) - v.right.begin(j)));
            for (int k = 0; k < VEC; k++) sum[k] += g[k] * share;
          }
        }
      leaving.write(p * v.channels, sum);
    }
    __device__ void totals(double (&sum)[2][VEC]) const { leaving.sums.totals(sum); }
  };
};

template <class T> inline CnErr pool_backward(const CnCall *call, const PoolBackward<T> &b, Partial *partial) {
  int64_t pixels = count_between(&call->in_spec[0], 0, 3), channels = b.pool.channels;
  CN_TRY(images_fit(call, &call->in_spec[0]));
  bool packed = all_packed(channels, b.incoming.g, b.incoming.z, b.outgoing.x, b.outgoing.gx);
  if (partial && packed) return channel_pass(call, pixels, channels, PoolBackwardTask<T, 4, true>(b), partial);
  if (partial) return channel_pass(call, pixels, channels, PoolBackwardTask<T, 1, true>(b), partial);
  if (packed) return channel_pass(call, pixels, channels, PoolBackwardTask<T, 4, false>(b), NULL);
  return channel_pass(call, pixels, channels, PoolBackwardTask<T, 1, false>(b), NULL);
}

#endif
