/* block_norm.cu - row norm_factors: the scale and shift that normalise a block's result. A handful of numbers, a thread
** for each. */
#include "kernels/cuda/image.cuh"

namespace {

template <class T> struct Factors {
  int channels;
  bool training;
  double n, momentum, eps;
  const T *mean, *var, *weight, *bias; /* weight, bias: NULL where they are not given */
  T *running_mean, *running_var;       /* NULL: without */
  T *scale, *shift;
  const T *gscale, *gshift; /* backward, as the next */
  T *gmean, *gvar, *gweight, *gbias;
};

template <class T> __global__ void make_factors(Factors<T> f) {
  int c = static_cast<int>(thread_number());
  if (c >= f.channels) return;
  double m = static_cast<double>((f.training ? f.mean : f.running_mean)[c]);
  double v = static_cast<double>((f.training ? f.var : f.running_var)[c]);
  double factor = (f.weight ? static_cast<double>(f.weight[c]) : 1) / sqrt(v + f.eps);
  f.scale[c] = static_cast<T>(factor);
  f.shift[c] = static_cast<T>((f.bias ? static_cast<double>(f.bias[c]) : 0) - m * factor);
  if (!f.training || !f.running_mean) return;
  f.running_mean[c] += static_cast<T>(f.momentum * (m - static_cast<double>(f.running_mean[c])));
  double unbiased = v * f.n / (f.n - 1);
  f.running_var[c] += static_cast<T>(f.momentum * (unbiased - static_cast<double>(f.running_var[c])));
}

/* With r = 1/sqrt(var + eps) and h = gscale - mean * gshift: gmean = -weight * r * gshift,
** gvar = -weight * r^3 * h / 2, gweight = r * h, gbias = gshift. */
template <class T> __global__ void factors_back(Factors<T> f) {
  int c = static_cast<int>(thread_number());
  if (c >= f.channels) return;
  double mean = static_cast<double>((f.training ? f.mean : f.running_mean)[c]);
  double var = static_cast<double>((f.training ? f.var : f.running_var)[c]);
  double r = 1 / sqrt(var + f.eps), w = f.weight ? static_cast<double>(f.weight[c]) : 1;
  double shift = static_cast<double>(f.gshift[c]), h = static_cast<double>(f.gscale[c]) - mean * shift;
  if (f.gmean) f.gmean[c] = f.training ? static_cast<T>(-w * r * shift) : T(0);
  if (f.gvar) f.gvar[c] = f.training ? static_cast<T>(-w * r * r * r * h / 2) : T(0);
  if (f.gweight) f.gweight[c] = static_cast<T>(r * h);
  if (f.gbias) f.gbias[c] = static_cast<T>(shift);
}

template <class T> Factors<T> factors_of(const CnCall *call) {
  Factors<T> f = {};
  f.channels = static_cast<int>(call->in_spec[0].shape[0]);
  f.training = call->attr[1].i != 0;
  f.n = static_cast<double>(call->attr[0].i), f.momentum = call->attr[2].f, f.eps = call->attr[3].f;
  f.mean = given<T>(call, 0), f.var = given<T>(call, 1), f.weight = given<T>(call, 2), f.bias = given<T>(call, 3);
  f.running_mean = const_cast<T *>(given<T>(call, 4));
  f.running_var = const_cast<T *>(given<T>(call, 5));
  return f;
}

template <class T> CnErr norm_factors_forward(CnCall *call) {
  Factors<T> f = factors_of<T>(call);
  f.scale = data<T>(call->out[0]);
  f.shift = data<T>(call->out[1]);
  return launch(call, make_factors<T>, blocks_for(f.channels), THREADS, 0, f);
}

template <class T> CnErr norm_factors_backward(CnCall *call) {
  Factors<T> f = factors_of<T>(call);
  for (int i = 4; i < 6 && i < call->nin; i++) { /* statistics that run have no gradient */
    cn_cuda_unref(call->gin[i]);
    call->gin[i] = NULL;
  }
  f.gscale = data<T>(call->gout[0]), f.gshift = data<T>(call->gout[1]);
  f.gmean = wanted<T>(call, 0), f.gvar = wanted<T>(call, 1);
  f.gweight = wanted<T>(call, 2), f.gbias = wanted<T>(call, 3);
  return launch(call, factors_back<T>, blocks_for(f.channels), THREADS, 0, f);
}

} // namespace

KERNEL_FLOATS(norm_factors_forward)
KERNEL_FLOATS(norm_factors_backward)
