/* libraries.h - the libraries that this program is made of, with the versions it runs on: for reports of faults. */
#ifndef CN_LIBRARIES_H
#define CN_LIBRARIES_H

#include <stdbool.h>

#define CN_LIBRARIES_MOST 16
#define CN_LIBRARIES_GPU 4

typedef struct CnLibrary {
  const char *name, *serves; /* what it is there for */
  char version[64];          /* "": left out of this build; outside: not found */
  bool outside;              /* no part of the program: looked for on this machine */
} CnLibrary;

/* Fills `out`; returns how many. */
int cn_libraries(CnLibrary out[CN_LIBRARIES_MOST]);

/* NVIDIA's, on this machine. */
int cn_libraries_gpu(CnLibrary out[CN_LIBRARIES_GPU]);

#endif
