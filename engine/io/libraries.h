/* libraries.h - the libraries that this program is made of, with the versions it runs on: for reports of faults. */
#ifndef CN_LIBRARIES_H
#define CN_LIBRARIES_H

#define CN_LIBRARIES_MOST 16

typedef struct CnLibrary {
  const char *name, *serves; /* what it is there for */
  char version[64];          /* "": left out of this build */
} CnLibrary;

/* Fills `out`; returns how many. */
int cn_libraries(CnLibrary out[CN_LIBRARIES_MOST]);

#endif
