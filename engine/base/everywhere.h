/* everywhere.h - small functions written once in a header and compiled for the CPU and for the GPU.
**
** Such a function is of C11 and C++17 at once, and calls nothing but its like: then both devices mean the same by it, to
** the bit. */
#ifndef CN_EVERYWHERE_H
#define CN_EVERYWHERE_H

#ifdef __CUDACC__
#define CN_EVERYWHERE static inline __host__ __device__
#else
#define CN_EVERYWHERE static inline
#endif

#endif
