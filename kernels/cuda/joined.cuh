/* joined.cuh - pixels of several images, joined along their channels and read through scale, shift and ReLU, as a
** factor of a product (product.cuh), and the gradient's way back into them; results that are several images. Under
** pointwise_block, pointwise_blocks, reduce_block, separable_block and 1x1 convolutions.
**
** A reduction reads its pixels from two grids of every other one: pixel (i,j) of the result owns the 2x2 pixels of the
** sources from (2i-odd, 2j-odd) on, odd being 1 in a direction whose size is odd. Grid 0 has the upper left one, grid 1
** the lower right one, none the other two. Pixels in front of the image are zeros, after the ReLU. */
#ifndef CN_CUDA_JOINED_CUH
#define CN_CUDA_JOINED_CUH

#include "kernels/cuda/product.cuh"

constexpr int MOST_SOURCES = CN_MAX_INPUTS - 3;

/* One of the images; its channels are first … first+channels-1 of all. */
template <class T> struct Source {
  const T *x;
  T *gx; /* NULL: not wanted */
  int channels, first;
  bool add;
};

template <class T> struct Sources {
  int count, inputs; /* images, channels of all */
  Source<T> source[MOST_SOURCES];
  Reader<Real<T>> reader;
  int64_t pixels; /* of the result */
  bool packed, spaced;
  Pixels image, result;
  __device__ int find(int channel) const {
    int i = 0;
    while (i + 1 < count && channel >= source[i + 1].first) i++;
    return i;
  }
  /* The number of the source pixel of result pixel p on a grid, -1 outside; `aside`: of that of no grid beside it. */
  __device__ int64_t pixel(int64_t p, int grid, int aside = 0) const {
    if (!spaced) return p;
    Place at = result.find(p);
    int y = 2 * at.y - image.height % 2 + grid, x = 2 * at.x - image.width % 2 + (aside ? 1 - grid : grid);
    return image.inside(y, x) ? image.number(at.image, y, x) : -1;
  }
};

/* ---------------------------------------------------------------- reading */

template <class T> struct JoinedImages : Sources<T> {
  typedef ::Real<T> Real;
  typedef int64_t Row; /* a source pixel, or -1 */
  struct Column {
    int k, source; /* source -1: none */
    Reading<Real, 4> reading;
  };
  explicit JoinedImages(const Sources<T> &s) : Sources<T>(s) {}
  __device__ Row row(int64_t p, int z) const { return p < this->pixels ? this->pixel(p, z) : -1; }
  __device__ Column column(int k, int) const {
    bool any = k < this->inputs;
    return { k, any ? this->find(k) : -1, Reading<Real, 4>(any && this->packed ? this->reader : Reader<Real>{}, k) };
  }
  __device__ void load(Row row, const Column &c, Real (&v)[4]) const {
    for (int j = 0; j < 4; j++) v[j] = 0;
    if (row < 0 || c.source < 0) return;
    if (this->packed) {
      const Source<T> &s = this->source[c.source];
      load_pack(s.x + row * s.channels + (c.k - s.first), v);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        Real read = v[j] * c.reading.scale[j] + c.reading.shift[j];
        v[j] = this->reader.relu && read < 0 ? Real(0) : read;
      }
      return;
    }
    for (int j = 0; j < 4 && c.k + j < this->inputs; j++) {
      const Source<T> &s = this->source[this->find(c.k + j)];
      v[j] = Reading<Real, 1>(this->reader, c.k + j).read(0, real_of(s.x[row * s.channels + c.k + j - s.first]));
    }
  }
};

/* ---------------------------------------------------------------- the gradient's way back */

/* Stores the gradient of what JoinedImages reads into the sources, with the sums for scale and shift. */
template <class T, bool FACTORS> struct JoinedGradient : Sources<T> {
  static constexpr int SUMS = FACTORS ? 2 : 0;
  static constexpr bool JOINT = true;
  typedef Real<T> R;
  explicit JoinedGradient(const Sources<T> &s) : Sources<T>(s) {}
  __device__ Outgoing<T> outgoing(const Source<T> &s) const {
    bool plain = !FACTORS && !this->reader.scale && !this->reader.relu;
    Reader<R> own = this->reader;
    if (own.scale) own = { own.scale + s.first, own.shift + s.first, own.relu };
    return { own, plain ? NULL : s.x, s.gx, s.add };
  }
  struct Thread {
    const JoinedGradient &s;
    int column, grid;
    const Source<T> *source;  /* where packed */
    Leaving<T, 4> leaving;    /* where packed */
    FactorSums<R, 4> sums;    /* where not */
    __device__ static const Source<T> *source_of(const JoinedGradient &s, int column) {
      return s.packed && column < s.inputs ? &s.source[s.find(column)] : NULL;
    }
    __device__ Thread(const JoinedGradient &store, int c, int z)
        : s(store), column(c), grid(z), source(source_of(store, c)),
          leaving(source ? store.outgoing(*source) : Outgoing<T>{}, source ? c - source->first : 0) {}
    __device__ void put(int64_t p, R (&v)[4]) {
      int64_t to = s.pixel(p, grid), beside = s.spaced ? s.pixel(p, grid, 1) : -1;
      if (source) {
        if (to >= 0) leaving.write(to * source->channels, v);
        R none[4] = {};
        if (beside >= 0 && leaving.gx && !leaving.add) store_pack(leaving.gx + beside * source->channels, none);
        return;
      }
      R x[4] = {}, g[4] = {};
      for (int j = 0; j < 4 && column + j < s.inputs; j++) {
        const Source<T> &one = s.source[s.find(column + j)];
        int c = column + j - one.first;
        if (beside >= 0 && one.gx && !one.add) one.gx[beside * one.channels + c] = stored_of<T>(R(0));
        if (to < 0) continue;
        Leaving<T, 1> back(s.outgoing(one), c);
        R value[1] = { v[j] };
        if (back.x) {
          x[j] = real_of(back.x[to * one.channels]);
          g[j] = back.reading.back(0, x[j], v[j]);
        }
        back.write(to * one.channels, value);
      }
      if (to >= 0) sums.add(g, x);
    }
    __device__ void totals(double (&sum)[2][4]) const {
      if (source) leaving.sums.totals(sum);
      else sums.totals(sum);
    }
  };
};

/* ---------------------------------------------------------------- results */

/* Images z[i], columns first[i] … first[i+1]-1 of all; part `z` of a product has columns z * columns and on. */
template <class T> struct Results {
  int count, columns;
  int first[4];
  T *z[3];
  const Real<T> *bias; /* NULL: none; with one image */
  bool packed;
};

template <class T, bool STATISTICS> struct ResultStore : Results<T> {
  static constexpr int SUMS = STATISTICS ? 2 : 0;
  static constexpr bool JOINT = false;
  typedef Real<T> R;
  explicit ResultStore(const Results<T> &r) : Results<T>(r) {}
  struct Thread {
    T *to[4];
    int pitch[4];
    R bias[4];
    int count;
    bool packed;
    Moments<R, 4> moments;
    __device__ Thread(const ResultStore &s, int column, int part) : count(s.columns - column), packed(s.packed) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        int c = part * s.columns + column + (j < count ? j : 0), i = 0;
        while (i + 1 < s.count && c >= s.first[i + 1]) i++;
        to[j] = s.z[i] + (c - s.first[i]);
        pitch[j] = s.first[i + 1] - s.first[i];
        bias[j] = s.bias && j < count ? s.bias[c] : R(0);
      }
    }
    __device__ void put(int64_t p, R (&v)[4]) {
#pragma unroll
      for (int j = 0; j < 4; j++) v[j] += bias[j];
      if (packed && count >= 4) {
        store_pack(to[0] + p * pitch[0], v);
      } else {
#pragma unroll
        for (int j = 0; j < 4; j++)
          if (j < count) to[j][p * pitch[j]] = stored_of<T>(v[j]);
      }
      if constexpr (STATISTICS) moments.add(v);
    }
    __device__ void totals(double (&sum)[2][4]) const { moments.totals(sum); }
  };
};

/* The gradient that arrives at such results, as a loader. */
template <class T> struct ArrivingImages {
  typedef ::Real<T> Real;
  typedef int64_t Row; /* -1: none */
  struct Column {
    int column, count, pitch;
    Arriving<T, 4> arriving; /* where packed */
  };
  int count, columns;
  int first[4];
  Incoming<T> incoming[3];
  int64_t pixels;
  bool packed;
  __device__ int find(int c) const {
    int i = 0;
    while (i + 1 < count && c >= first[i + 1]) i++;
    return i;
  }
  __device__ Row row(int64_t p, int) const { return p < pixels ? p : -1; }
  __device__ Column column(int k, int z) const {
    int left = columns - k, c = z * columns + k;
    if (!packed || left <= 0) return { c, left < 0 ? 0 : left < 4 ? left : 4, 0, Arriving<T, 4>(Incoming<T>{}, 0) };
    int i = find(c);
    return { c, 4, first[i + 1] - first[i], Arriving<T, 4>(incoming[i], c - first[i]) };
  }
  __device__ void load(Row row, const Column &c, Real (&v)[4]) const {
    for (int j = 0; j < 4; j++) v[j] = 0;
    if (row < 0 || c.count == 0) return;
    if (packed) {
      c.arriving.read(row * c.pitch, v);
      return;
    }
    for (int j = 0; j < c.count; j++) {
      Real one[1];
      int i = find(c.column + j);
      Arriving<T, 1>(incoming[i], c.column + j - first[i]).read(row * (first[i + 1] - first[i]), one);
      v[j] = one[0];
    }
  }
};

#endif
