/* binding.h - what every binding file uses. A binding checks its arguments, makes its box, calls the engine, and
** raises last.
**
** Each file of this folder registers one userdata type (and the functions about it) in cnL_open_<noun>, which adds to
** the table on top of the stack: the module "cnas.engine". lua/cnas/init.lua builds the module "cnas" on it. */
#ifndef CNL_BINDING_H
#define CNL_BINDING_H

#include <lauxlib.h>
#include <lua.h>

#include "base/error.h"
#include "base/random.h"
#include "nas/genotype.h"
#include "nn/module.h"
#include "tensor/tensor.h"

/* Names of the userdata types, as tostring and error messages show them. */
#define CNL_TENSOR "cnas.Tensor"
#define CNL_RNG "cnas.Rng"
#define CNL_MODULE "cnas.Module"
#define CNL_OPTIMIZER "cnas.Optimizer"
#define CNL_SPACE "cnas.Space"
#define CNL_DATASET "cnas.Dataset"
#define CNL_LOADER "cnas.Loader"

/* Raises the engine's last message when `e` is not CN_OK; else returns n. Errors that a program may want to tell apart
** (data, io, busy, not-finite, interrupted) are raised as a table { code = "data", message = … } that prints as its
** message and has string methods; the others as plain strings with the caller's position. */
int cnL_result(lua_State *L, CnErr e, int n);
/* Raises `message` as such a table at once. */
int cnL_raise(lua_State *L, CnErr code, const char *message);

/* A new userdata type: `methods` into __index, `meta` into the metatable (either may be NULL), `free` as __gc and
** __close. Leaves the stack as it was. */
void cnL_type(lua_State *L, const char *name, const luaL_Reg *methods, const luaL_Reg *meta, lua_CFunction free);
/* A box for one pointer, NULL yet, with `uservalues` user values; the box is pushed. */
void *cnL_box(lua_State *L, const char *name, int uservalues);
/* The pointer in the box at `arg`; raises when it is another type or was closed. */
void *cnL_check(lua_State *L, int arg, const char *name);
void *cnL_test(lua_State *L, int arg, const char *name); /* NULL when it is another type */

/* Tensors. A new box also presses the collector, which cannot see tensor memory. */
CnTensor **cnL_newtensor(lua_State *L);
CnTensor *cnL_handed(CnTensor *t); /* counts the bytes of a tensor that was made for Lua; returns it */
CnTensor *cnL_checktensor(lua_State *L, int arg);
CnTensor *cnL_opttensor(lua_State *L, int arg); /* NULL for nil or none */

CnRng *cnL_checkrng(lua_State *L, int arg);     /* the stream itself: drawing moves it on */
CnModule **cnL_newmodule(lua_State *L);
CnModule *cnL_checkmodule(lua_State *L, int arg);

CnDtype cnL_optdtype(lua_State *L, int arg, CnDtype otherwise);
CnDevice cnL_optdevice(lua_State *L, int arg);
/* {2,3} or the integers from `arg` on: sizes into shape; returns how many. */
int cnL_checkshape(lua_State *L, int arg, int64_t shape[CN_MAX_DIMS]);

/* Genotypes are plain tables in Lua: { normal = {{"op", from, to}, …}, normal_concat = {…}, reduction = …,
** reduction_concat = … }, with the metatable "cnas.Genotype". */
void cnL_checkgenotype(lua_State *L, int arg, CnGenotype *out);
void cnL_pushgenotype(lua_State *L, const CnGenotype *g);

/* Named options: the table at `arg` (nil or none: empty). `known` lists the legal keys by spaces; another key raises
** "<who>: unknown option 'strid' (did you mean 'stride'?)". */
void cnL_checkoptions(lua_State *L, int arg, const char *who, const char *known);
/* One field of it, with its type checked by name; `otherwise` when absent. */
lua_Integer cnL_optfield_integer(lua_State *L, int arg, const char *who, const char *field, lua_Integer otherwise);
lua_Integer cnL_field_integer(lua_State *L, int arg, const char *who, const char *field); /* required */
lua_Number cnL_optfield_number(lua_State *L, int arg, const char *who, const char *field, lua_Number otherwise);
int cnL_optfield_boolean(lua_State *L, int arg, const char *who, const char *field, int otherwise);
/* Borrowed from the table, which keeps it alive. NULL when absent and `otherwise` is NULL. */
const char *cnL_optfield_string(lua_State *L, int arg, const char *who, const char *field, const char *otherwise);

/* Openers, one for each file; called in order by luaopen_cnas_engine. */
void cnL_open_tensor(lua_State *L);
void cnL_open_ops(lua_State *L);
void cnL_open_custom(lua_State *L);
void cnL_open_random(lua_State *L);
void cnL_open_nn(lua_State *L);
void cnL_open_apply(lua_State *L); /* adds to what nn opened */
void cnL_open_optim(lua_State *L);
void cnL_open_nas(lua_State *L);
void cnL_open_data(lua_State *L);
void cnL_open_photo(lua_State *L); /* adds to what image and data opened */
void cnL_open_io(lua_State *L);
void cnL_open_dist(lua_State *L);
void cnL_open_trace(lua_State *L);
void cnL_open_profile(lua_State *L);
void cnL_open_machine(lua_State *L);
void cnL_open_kernel(lua_State *L);
void cnL_open_host(lua_State *L); /* called by the program, which knows these things */
int luaopen_cnas_engine(lua_State *L);

#endif
