/* op.h - an operation is one row of ops.def; this file is how a row is described, applied and found.
**
** cn_apply checks types and devices, makes inputs contiguous where the row needs it, runs the row's shape rule,
** allocates the outputs, runs the kernel of the device's column, and records the application on the tape when a
** gradient may be wanted. Kernels trust their arguments. */
#ifndef CN_OP_H
#define CN_OP_H

#include "base/random.h"
#include "tensor/tensor.h"

#define CN_MAX_INPUTS 16
#define CN_MAX_OUTPUTS 9
#define CN_MAX_ATTRS 12 /* slots */

typedef enum CnOpId {
#define CN_OP(kind, id, inputs, attrs, outputs, types, saves, shape, doc) CN_OP_##id,
#include "tensor/ops.def"
#undef CN_OP
  CN_OPS
} CnOpId;

/* A slot of an attribute; which member counts is said by the row's attribute list. */
typedef union CnAttr {
  int64_t i;
  double f;
} CnAttr;

/* One application: what a shape rule fills in and a kernel works on. */
typedef struct CnCall {
  const struct CnOp *op;
  int nin, nout;
  CnDevice device;
  CnDtype dtype;                    /* of the first input without a type of its own: chooses the kernel */
  CnAttr attr[CN_MAX_ATTRS];        /* slots in the order of the row's attribute list */
  CnSpec in_spec[CN_MAX_INPUTS];    /* of every input that is given; ndim -1 where an optional one is not */
  CnSpec out_spec[CN_MAX_OUTPUTS];  /* written by the shape rule */
  CnTensor *in[CN_MAX_INPUTS];      /* NULL: optional and not given; in backward also: not saved */
  CnTensor *out[CN_MAX_OUTPUTS];    /* in backward NULL where not saved */
  /* Backward only. */
  CnTensor *gout[CN_MAX_OUTPUTS];   /* contiguous; NULL where the output is not float */
  uint32_t reached;                 /* bit i: a gradient came for output i; of the others gout is zeros */
  CnTensor *gin[CN_MAX_INPUTS];     /* contiguous, to be written whole; NULL: not wanted. A kernel may let one go and
                                    ** leave NULL: no gradient, as if the input had not been used */
  /* What gin is still to be multiplied by, (C) along the last dimension; a kernel that has nothing else to do with a
  ** gradient may so hand on a reference to gout. Borrowed; NULL: 1. The same of gout, for outputs marked `~`. */
  CnTensor *gin_factor[CN_MAX_INPUTS], *gout_factor[CN_MAX_OUTPUTS];
  bool add[CN_MAX_INPUTS];          /* gin holds a gradient already, to add to; only for inputs marked `+` */
} CnCall;

typedef enum CnOpKind {
  CN_KERNEL,  /* forward and backward kernels in each device's column */
  CN_FORWARD, /* forward kernel only: not differentiable */
  CN_INPLACE, /* forward kernel that writes its first input; no outputs, no gradient */
  CN_VIEW,    /* no kernel: id_view makes a view, id_view_backward composes the gradient from other rows */
  CN_COMPOSED /* no kernel: id_composed applies other rows, the gradient follows from theirs */
} CnOpKind;

typedef enum CnOpTypes {
  CN_FLOATS,         /* the call's type is f32 or f64 */
  CN_ALL_FLOATS,     /* f32, f64 or bf16 */
  CN_ANY,            /* any type */
  CN_FLOATS_STRIDED, /* the same, and kernels read inputs of any strides */
  CN_ANY_STRIDED
} CnOpTypes;

typedef struct CnOp {
  CnOpId id;
  CnOpKind kind;
  const char *name;
  const char *inputs;  /* "x weight bias?": names; `?` optional, `...` any number; see ops.def */
  const char *attrs;   /* "stride:pair=1 groups:int=1": see attribute kinds in ops.def */
  const char *outputs; /* "y", "y argmax*": `*` hidden, for backward only */
  CnOpTypes types;
  const char *saves;   /* names of the inputs and outputs that backward reads */
  CnErr (*shape)(CnCall *call);
  /* CN_VIEW: forward makes call->out[]; backward makes new call->gin[] where the slot is wanted (see op.c).
  ** CN_COMPOSED: forward makes call->out[]. NULL for kernels. */
  CnErr (*forward)(CnCall *call);
  CnErr (*backward)(CnCall *call);
  const char *doc;
} CnOp;

const CnOp *cn_op(CnOpId id);
const CnOp *cn_op_find(const char *name); /* NULL when there is none */

/* Applies a row. `in` has `nin` entries, NULL where an optional input is not given; `attr` has one entry for each slot
** the row has, or is NULL for all defaults. `out` receives the row's visible outputs (it is NULL for CN_INPLACE). */
CnErr cn_apply(CnTensor **out, CnOpId id, CnTensor *const *in, int nin, const CnAttr *attr);

/* What the text columns of a row say, parsed once. */
typedef enum CnAttrKind {
  CN_INT, CN_FLOAT, CN_BOOL, CN_DTYPE, CN_PAIR, CN_DIM, CN_DIMS, CN_INTS, CN_RNG_SLOTS
} CnAttrKind;

typedef struct CnInputInfo {
  char name[24];
  bool optional, variadic;
  bool adds; /* the gradient kernel can add to what is there */
  int dtype; /* CnDtype, or one of the next two */
} CnInputInfo;

#define CN_CALLS (-1)      /* the call's type */
#define CN_CALLS_REAL (-2) /* the type in which that is computed: cn_dtype_real */

typedef struct CnAttrInfo {
  char name[24];
  CnAttrKind kind;
  int slot, slots;
  bool required; /* no default */
} CnAttrInfo;

typedef struct CnOpInfo {
  int inputs, attrs, outputs, visible;
  CnInputInfo input[8];
  CnAttrInfo attr[8];
  CnAttr defaults[CN_MAX_ATTRS];
  uint32_t takes_factor; /* bit i: backward takes output i's gradient with a factor */
  uint32_t saves_in, saves_out; /* bit i: backward reads input (output) i */
} CnOpInfo;

const CnOpInfo *cn_op_info(CnOpId id);
/* The entry of info->input that describes input i of a call: the last one describes all from it on. */
#define CN_INPUT_INDEX(info, i) ((i) < (info)->inputs ? (i) : (info)->inputs - 1)

/* Writes the three slots of an rng attribute and moves the stream on past `draws` numbers (four to a counter). */
static inline void cn_attr_rng(CnAttr *slots, CnRng *rng, int64_t draws) {
  slots[0].i = (int64_t)rng->seed;
  slots[1].i = (int64_t)rng->stream;
  slots[2].i = (int64_t)rng->counter;
  rng->counter += (uint64_t)((draws + 3) / 4);
}

/* Short forms for C callers, one for each common arity. `attr` as above. */
static inline CnErr cn_apply1(CnTensor **out, CnOpId id, CnTensor *x, const CnAttr *attr) {
  return cn_apply(out, id, &x, 1, attr);
}
static inline CnErr cn_apply2(CnTensor **out, CnOpId id, CnTensor *x, CnTensor *y, const CnAttr *attr) {
  CnTensor *in[2] = { x, y };
  return cn_apply(out, id, in, 2, attr);
}

#endif
