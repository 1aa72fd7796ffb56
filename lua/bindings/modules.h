/* modules.h - what the bindings of modules (nn.c) and of networks (nas.c) share. */
#ifndef CNL_MODULES_H
#define CNL_MODULES_H

#include "bindings/binding.h"
#include "nas/space.h"

/* The random stream in a field: the stream itself, which drawing moves on. `rng = false` gives NULL (zeros, for a
** module that will be loaded); absent is the interpreter's own stream (seed 0, "weights"). */
CnRng *cnL_optfield_rng(lua_State *L, int arg, const char *who, const char *field);
/* The stream in a field, or NULL when it is absent. Pushes it (or nil), so that it can be kept alive. */
CnRng *cnL_push_stream(lua_State *L, int arg, const char *who, const char *field);
/* Makes `m` keep the Lua value on top of the stack alive, and pops it. */
void cnL_keep(lua_State *L, CnModule *m);

/* A space given to a function: userdata of cnas.space. */
CnSpace *cnL_checkspace(lua_State *L, int arg);

/* trace.c: pushes the table of the full names of `m` (NULL: empty) and of all modules in it, by their addresses as light
** userdata; the name of `m` itself is "". */
void cnL_push_paths(lua_State *L, CnModule *m);

/* genotype.c: adds `genotype` to the module on top of the stack. */
void cnL_open_genotype(lua_State *L);

#endif
