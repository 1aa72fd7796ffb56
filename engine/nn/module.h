/* module.h - modules own parameters and nothing else; calling one leaves no trace in it.
**
** A module is a kind (a table of functions), parameters and buffers by name, children by name, and a training flag.
** Parameter names join with dots as in PyTorch ("cells.0.preprocess1.op.1.weight"), so that state moves between the
** two by name. Modules are counted references like tensors. */
#ifndef CN_MODULE_H
#define CN_MODULE_H

#include "base/random.h"
#include "tensor/op.h"

typedef struct CnModule CnModule;

typedef struct CnModuleKind {
  const char *name; /* "conv2d": for messages and printing */
  /* One output of `x`. Most kinds take one input; `nx` says how many came. */
  CnErr (*forward)(CnModule *self, CnTensor **out, CnTensor *const *x, int nx);
  /* Frees `self->data`; NULL when there is nothing. */
  void (*destroy)(CnModule *self);
  /* A one-line description of the settings ("3x3, 16 -> 32, stride 2") into text; NULL for none. */
  void (*describe)(const CnModule *self, char *text, size_t size);
} CnModuleKind;

typedef struct CnSlot { /* one parameter, buffer or child */
  char *name;
  CnTensor *tensor; /* parameter or buffer */
  CnModule *child;  /* or a module */
  bool buffer;      /* state, but not trained: running statistics */
} CnSlot;

struct CnModule {
  int refs;
  const CnModuleKind *kind;
  bool training; /* set by cn_module_train for the whole tree; starts true */
  int count, capacity;
  CnSlot *slots;
  void *data;    /* the kind's settings */
};

/* For kinds. `data` is taken over on success. */
CnErr cn_module_new(CnModule **out, const CnModuleKind *kind, void *data);
/* Both take a new reference. Adding a parameter marks it requires_grad unless `buffer`. */
CnErr cn_module_add_tensor(CnModule *m, const char *name, CnTensor *t, bool buffer);
CnErr cn_module_add_child(CnModule *m, const char *name, CnModule *child);
CnTensor *cn_module_tensor(const CnModule *m, const char *name); /* NULL when there is none; borrowed */
CnModule *cn_module_child(const CnModule *m, int index);         /* the index-th child; borrowed */
int cn_module_children(const CnModule *m);

CnModule *cn_module_ref(CnModule *m);
void cn_module_unref(CnModule *m);

CnErr cn_module_forward(CnModule *m, CnTensor **out, CnTensor *const *x, int nx);
static inline CnErr cn_module_forward1(CnModule *m, CnTensor **out, CnTensor *x) {
  return cn_module_forward(m, out, &x, 1);
}
void cn_module_train(CnModule *m, bool training);

/* Calls `visit` for each parameter and buffer of the tree in definition order, with its full name. Stops at an error. */
typedef CnErr (*CnVisit)(void *context, const char *name, CnTensor *tensor, bool buffer);
CnErr cn_module_visit(CnModule *m, CnVisit visit, void *context);
int64_t cn_module_parameter_count(CnModule *m); /* elements of parameters, buffers left out */
/* Moves parameters and buffers in place to a type and device. */
CnErr cn_module_to(CnModule *m, CnDtype dtype, CnDevice device);

#endif
