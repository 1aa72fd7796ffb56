/* pickle.h - what PyTorch writes into its files as pickles, read as plain values.
**
** A pickle is a program for a small stack machine that could call anything. Here nothing is called: the opcodes that
** build plain data are done, the few names that a state_dict needs (tensors, storages, OrderedDict, Size) become values
** of their own kind, and everything else is refused with its name and place. Memory is limited by the size of the file
** the pickle is in; values may be shared, but nothing may contain itself, lie deeper than 64 levels, or unfold to more
** than four million values. */
#ifndef CN_PICKLE_H
#define CN_PICKLE_H

#include "io/element.h"

typedef enum CnPickleKind {
  CN_PK_NONE, CN_PK_BOOL, CN_PK_INT, CN_PK_FLOAT, CN_PK_TEXT, CN_PK_TUPLE, CN_PK_LIST,
  CN_PK_DICT, /* dict and OrderedDict: keys and values in turn */
  CN_PK_TENSOR,
  CN_PK_STORAGE,
  CN_PK_NAME /* one of the names that are allowed */
} CnPickleKind;

typedef struct CnPickleValue {
  CnPickleKind kind;
  uint32_t length; /* of a text, in bytes, without the 0 byte behind it */
  union {
    bool boolean;
    int64_t integer; /* larger ones are floats */
    double number;
    const char *text;
    struct CnPickleList *list; /* tuple, list, dict; shared by all values that are the same object */
    struct CnPickleTensor *tensor;
    struct CnPickleStorage *storage;
    int name;
  } as;
} CnPickleValue;

typedef struct CnPickleList {
  uint32_t count, capacity;
  CnPickleValue *item;
  uint8_t depth;    /* of what is in it; set by the last check */
  uint8_t visit;    /* for that check */
  uint32_t unfolded; /* values in it, those of shared ones counted for each place */
} CnPickleList;

/* A run of numbers outside the pickle, by its key. */
typedef struct CnPickleStorage {
  const char *key;
  CnElement element;
  int64_t count; /* elements */
  struct CnPickleStorage *next; /* of all that were named, also twice */
  uint64_t at;   /* where it was named, for messages */
  int index;     /* for the reader of the file */
} CnPickleStorage;

/* A view of a storage; inside of it, checked. */
typedef struct CnPickleTensor {
  const CnPickleStorage *storage;
  int ndim;
  int64_t offset, shape[CN_MAX_DIMS], stride[CN_MAX_DIMS]; /* in elements */
} CnPickleTensor;

typedef struct CnPickle CnPickle;

/* Reads one pickle that begins at *offset of the file and ends before `end`; *offset becomes the place behind it.
** `what` names it in messages. At most `limit` bytes of memory are used. */
CnErr cn_pickle_read(CnPickle **out, CnReader *file, uint64_t *offset, uint64_t end, const char *what, size_t limit);
void cn_pickle_free(CnPickle *p); /* NULL is allowed */

const CnPickleValue *cn_pickle_value(const CnPickle *p); /* what it was the program of; borrowed, as all in it */
CnPickleStorage *cn_pickle_storages(const CnPickle *p);  /* the first of the chain; the last one named */
size_t cn_pickle_bytes(const CnPickle *p);               /* of memory */

/* The value of a dict's text key; NULL when there is none. */
const CnPickleValue *cn_pickle_find(const CnPickleValue *dict, const char *key);

#endif
