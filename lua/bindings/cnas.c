/* cnas.c - the module "cnas.engine": every binding file adds its part. */
#include "bindings/binding.h"

int luaopen_cnas_engine(lua_State *L) {
  lua_newtable(L);
  cnL_open_tensor(L);
  cnL_open_ops(L);
  cnL_open_custom(L);
  cnL_open_random(L);
  cnL_open_nn(L);
  cnL_open_apply(L);
  cnL_open_optim(L);
  cnL_open_nas(L);
  cnL_open_io(L);
  cnL_open_data(L);
  cnL_open_photo(L);
  cnL_open_trace(L);
  cnL_open_profile(L);
  cnL_open_machine(L);
  cnL_open_kernel(L);
  return 1;
}
