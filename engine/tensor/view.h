/* view.h - the rows of ops.def that only look at their input in another way: no kernel, on any device. */
#ifndef CN_VIEW_H
#define CN_VIEW_H

#include "tensor/op.h"

/* NAME_view makes call->out[0]; NAME_view_backward makes call->gin[0] from call->gout[0]. */
#define CN_DECLARE_VIEW(name)            \
  CnErr name##_view(CnCall *call);       \
  CnErr name##_view_backward(CnCall *call);
CN_DECLARE_VIEW(reshape)
CN_DECLARE_VIEW(transpose)
CN_DECLARE_VIEW(permute)
CN_DECLARE_VIEW(narrow)
CN_DECLARE_VIEW(select)
CN_DECLARE_VIEW(expand)
CN_DECLARE_VIEW(squeeze)
CN_DECLARE_VIEW(unsqueeze)
#undef CN_DECLARE_VIEW

#endif
