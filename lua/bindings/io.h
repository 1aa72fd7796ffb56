/* io.h - the openers that cnL_open_io calls, one for each subject; and a box that frees what the engine handed out. */
#ifndef CNL_IO_H
#define CNL_IO_H

#include "bindings/binding.h"

void cnL_open_file(lua_State *L);
void cnL_open_download(lua_State *L); /* after file */
void cnL_open_json(lua_State *L);
void cnL_open_image(lua_State *L);
void cnL_open_draw(lua_State *L);
void cnL_open_pth(lua_State *L); /* after json */
void cnL_open_onnx(lua_State *L);

/* A pushed box for one block of cn_alloc, so that a Lua error on the way does not lose it. */
char **cnL_newblock(lua_State *L);
/* A string argument without a 0 byte inside: a path, a name. */
const char *cnL_checktext(lua_State *L, int arg);

#endif
