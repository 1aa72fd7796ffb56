/* composed.c - operations that are made of others. */
#include "tensor/composed.h"

/* Hochreiter and Schmidhuber, 1997, with forget gates: gates = x·Wx + bias + h·Wh. */
CnErr lstm_cell_composed(CnCall *call) {
  CnTensor *x = call->in[0], *h = call->in[1], *c = call->in[2];
  CnTensor *weight_ih = call->in[3], *weight_hh = call->in[4], *bias = call->in[5];
  CnTensor *from_input = NULL, *from_state = NULL, *gates = NULL;
  CnErr e = cn_apply(&from_input, CN_OP_linear, (CnTensor *[]){ x, weight_ih, bias }, 3, NULL);
  if (e == CN_OK) e = cn_apply2(&from_state, CN_OP_linear, h, weight_hh, NULL);
  if (e == CN_OK) e = cn_apply2(&gates, CN_OP_add, from_input, from_state, NULL);
  if (e == CN_OK) e = cn_apply2(call->out, CN_OP_lstm_gates, gates, c, NULL);
  cn_tensor_unref(from_input);
  cn_tensor_unref(from_state);
  cn_tensor_unref(gates);
  return e;
}
