/* user.h - what stands in front of a user's kernels: the language of kernels, and how a shared object shows them. */
#ifndef SIMT_USER_H
#define SIMT_USER_H

#define SIMT_FLOAT_SUMS true
#include "simt.h"

#ifdef SIMT_PLAIN_SHARED /* variables of templates cannot be in a section of their own */
#undef __shared__
#define __shared__ static
#endif

/* Names of glibc that mean other things on a GPU. */
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __fdividef(x, y) ((x) / (y))

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline float2 make_float2(float x, float y) { return { x, y }; }
inline float4 make_float4(float x, float y, float z, float w) { return { x, y, z, w }; }

/* A kernel: its address, and how to take copies of its arguments for one launch. */
struct simtKernel {
  const void *address;
  std::function<void()> (*bind)(void **arguments);
};

/* All of an object's kernels that were asked for by name, and where its shared variables lie. */
struct simtObject {
  const simtKernel *kernel;
  int kernels;
  char *begin, *end;
};

namespace simt {

template <auto Kernel> struct Shown;
template <class... Parameters, void (*Kernel)(Parameters...)> struct Shown<Kernel> {
  template <size_t... I> static std::function<void()> bind_all(void **arguments, std::index_sequence<I...>) {
    (void)arguments;
    std::tuple<Parameters...> values(*static_cast<Parameters *>(arguments[I])...);
    return [values] { std::apply(Kernel, values); };
  }
  static std::function<void()> bind(void **arguments) {
    return bind_all(arguments, std::index_sequence_for<Parameters...>());
  }
};

template <auto Kernel> simtKernel shown() { return { reinterpret_cast<const void *>(Kernel), Shown<Kernel>::bind }; }

} // namespace simt

#endif
