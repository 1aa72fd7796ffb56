/* module.h - modules own parameters and nothing else; calling one leaves no trace in it.
**
** A module is a kind (a table of functions), parameters and buffers by name, children by name, and a training flag.
** Parameter names join with dots as in PyTorch ("cells.0.preprocess1.op.1.weight"), so that state moves between the
** two by name. Modules are counted references like tensors. */
#ifndef CN_MODULE_H
#define CN_MODULE_H

#include "base/random.h"
#include "nn/feature.h"
#include "tensor/op.h"

typedef struct CnModule CnModule;

/* What one pass costs. Multiply-adds as in the literature: convolutions and linear layers count one for each use of a
** weight, nothing else counts. */
typedef struct CnCost {
  int64_t parameters; /* elements */
  int64_t conv_macs, linear_macs;
  /* Unless NULL: told of each module, behind those in it: what it added, and what it gives. */
  void (*report)(void *context, const CnModule *m, const struct CnCost *added, const CnSpec *out);
  void *context;
} CnCost;

typedef struct CnModuleKind {
  const char *name; /* "conv2d": for messages and printing */
  /* One output of `x`. Most kinds take one input; `nx` says how many came. */
  CnErr (*forward)(CnModule *self, CnTensor **out, CnTensor *const *x, int nx);
  /* Frees `self->data`; NULL when there is nothing. */
  void (*destroy)(CnModule *self);
  /* A one-line description of the settings ("3x3, 16 -> 32, stride 2") into text; NULL for none. */
  void (*describe)(const CnModule *self, char *text, size_t size);
  /* Without computing: adds to `cost` what a call on an input like *x would cost (children through cn_module_cost; own
  ** parameters are added by the caller) and makes *x the output's. NULL: costs nothing, same shape. */
  CnErr (*cost)(const CnModule *self, CnCost *cost, CnSpec *x);
  /* The same as forward of one input, for kinds that can read a feature or leave theirs unwritten; NULL: neither. */
  CnErr (*pass)(CnModule *self, CnFeature *out, const CnFeature *x);
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
  void *kept;    /* see cn_module_keep */
  void (*release)(void *kept);
};

/* For kinds. `data` is taken over on success. */
CnErr cn_module_new(CnModule **out, const CnModuleKind *kind, void *data);
/* Both take a new reference. Adding a parameter marks it requires_grad unless `buffer`. */
CnErr cn_module_add_tensor(CnModule *m, const char *name, CnTensor *t, bool buffer);
CnErr cn_module_add_child(CnModule *m, const char *name, CnModule *child);
/* Adds a child just made, whose constructor returned `made` and stored *child: takes over that reference. */
CnErr cn_module_adopt(CnModule *m, const char *name, CnErr made, CnModule **child);
/* `release(kept)` is called when the module goes: for what its settings borrow. At once when it keeps something
** already: CN_EUSAGE. */
CnErr cn_module_keep(CnModule *m, void *kept, void (*release)(void *kept));
CnTensor *cn_module_tensor(const CnModule *m, const char *name); /* NULL when there is none; borrowed */
CnModule *cn_module_child(const CnModule *m, int index);         /* the index-th child; borrowed */
int cn_module_children(const CnModule *m);

CnModule *cn_module_ref(CnModule *m);
void cn_module_unref(CnModule *m); /* NULL is allowed */

CnErr cn_module_forward(CnModule *m, CnTensor **out, CnTensor *const *x, int nx);
static inline CnErr cn_module_forward1(CnModule *m, CnTensor **out, CnTensor *x) {
  return cn_module_forward(m, out, &x, 1);
}
/* A call of one input that takes and leaves an image as a feature: written out where the kind has no use for that. */
CnErr cn_module_pass(CnModule *m, CnFeature *out, const CnFeature *x);
void cn_module_train(CnModule *m, bool training);

/* Calls `visit` for each parameter and buffer of the tree in definition order, with its full name; stops at an error.
** It holds nothing meanwhile: `visit` may leave by a jump. */
typedef CnErr (*CnVisit)(void *context, const char *name, CnTensor *tensor, bool buffer);
CnErr cn_module_visit(CnModule *m, CnVisit visit, void *context);
int64_t cn_module_parameter_count(const CnModule *m); /* elements of parameters, buffers left out */
/* Moves parameters and buffers to a type and device: the tensors stay the same objects. Gradients are freed. */
CnErr cn_module_to(CnModule *m, CnDtype dtype, CnDevice device);

/* Adds the cost of one call on an input like *x, and makes *x the output's. */
CnErr cn_module_cost(const CnModule *m, CnCost *cost, CnSpec *x);

#endif
