/* draw.c - cnas.draw: pictures of cells. */
#include "base/memory.h"
#include "bindings/io.h"
#include "io/draw.h"

#include <stdio.h>
#include <string.h>

/* Triple number i (from 1) of the list at `arg`. */
static void check_triple(lua_State *L, int arg, int i, CnTriple *out) {
  lua_rawgeti(L, arg, i);
  if (!lua_istable(L, -1)) luaL_error(L, "draw: triple %d must be {operation, from, to}", i);
  int ok[2];
  lua_rawgeti(L, -1, 1);
  lua_rawgeti(L, -2, 2);
  lua_rawgeti(L, -3, 3);
  size_t size = 0;
  const char *op = lua_type(L, -3) == LUA_TSTRING ? lua_tolstring(L, -3, &size) : NULL;
  lua_Integer from = lua_tointegerx(L, -2, &ok[0]), to = lua_tointegerx(L, -1, &ok[1]);
  if (!op || size >= CN_OP_NAME || !ok[0] || !ok[1] || from < 0 || to <= from || to > CN_MAX_NODES + 1)
    luaL_error(L, "draw: triple %d must be {operation, from, to} with 0 <= from < to", i);
  snprintf(out->op, sizeof out->op, "%s", op);
  out->from = (int)from;
  out->to = (int)to;
  lua_pop(L, 4);
}

/* The list of nodes at the top of the stack, or, when that is nil, all inner nodes. Pops it. */
static void take_concat(lua_State *L, CnCellArch *cell) {
  int nodes = cell->count / 2, list = lua_gettop(L);
  bool given = !lua_isnil(L, list);
  if (given && !lua_istable(L, list)) luaL_error(L, "draw: concat must be a list of nodes");
  lua_Unsigned n = given ? lua_rawlen(L, list) : (lua_Unsigned)nodes;
  if (n > (lua_Unsigned)nodes) luaL_error(L, "draw: concat names more nodes than the cell has");
  for (int i = 0; i < (int)n; i++) {
    if (given) lua_rawgeti(L, list, i + 1);
    else lua_pushinteger(L, i + 2);
    int ok;
    lua_Integer node = lua_tointegerx(L, -1, &ok);
    if (!ok || node < 2 || node > nodes + 1) luaL_error(L, "draw: concat must name inner nodes, 2 to %d", nodes + 1);
    cell->concat[i] = (int)node;
    lua_pop(L, 1);
  }
  cell->concat_count = (int)n;
  lua_settop(L, list - 1);
}

/* What both functions take: (genotype, "normal" or "reduction", options) or (list of triples, options). Returns where
** the options are. */
static int check_cell(lua_State *L, CnCellArch *cell) {
  static const char *const which[] = { "normal", "reduction", NULL };
  static const char *const concat[] = { "normal_concat", "reduction_concat" };
  luaL_checktype(L, 1, LUA_TTABLE);
  int chosen = -1, options = 2;
  if (lua_type(L, 2) == LUA_TSTRING) {
    chosen = luaL_checkoption(L, 2, NULL, which);
    options = 3;
  }
  lua_settop(L, options);
  if (chosen >= 0) lua_getfield(L, 1, which[chosen]);
  else lua_pushvalue(L, 1);
  lua_Unsigned n = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
  bool fits = n > 0 && n <= 2 * CN_MAX_NODES && n % 2 == 0;
  luaL_argcheck(L, fits, 1, "two triples for each of at most 12 nodes expected");
  memset(cell, 0, sizeof *cell);
  for (; cell->count < (int)n; cell->count++)
    check_triple(L, options + 1, cell->count + 1, &cell->triple[cell->count]);
  lua_getfield(L, 1, chosen >= 0 ? concat[chosen] : "concat");
  take_concat(L, cell);
  return options;
}

/* The options title and down of the table at `options`. */
static CnDrawing check_drawing(lua_State *L, int options, const char *who) {
  return (CnDrawing){ .title = cnL_optfield_string(L, options, who, "title", NULL),
                      .down = cnL_optfield_boolean(L, options, who, "down", false) };
}

/* cell(genotype, "normal" or "reduction", {svg=, png=, title=, down=}), cell(triples, {svg=, …}) */
static int draw_cell(lua_State *L) {
  CnCellArch cell;
  int options = check_cell(L, &cell);
  cnL_checkoptions(L, options, "draw.cell", "svg png title down");
  const char *svg = cnL_optfield_string(L, options, "draw.cell", "svg", NULL);
  const char *png = cnL_optfield_string(L, options, "draw.cell", "png", NULL);
  CnDrawing drawing = check_drawing(L, options, "draw.cell");
  return cnL_result(L, cn_draw_cell(&cell, &drawing, svg, png), 0);
}

/* svg and dot: (genotype, "normal" or "reduction", {title=, down=}), (triples, {title=, down=}) -> text */
static int draw_text(lua_State *L, const char *who, CnErr (*make)(char **, const CnCellArch *, const CnDrawing *)) {
  CnCellArch cell;
  int options = check_cell(L, &cell);
  cnL_checkoptions(L, options, who, "title down");
  CnDrawing drawing = check_drawing(L, options, who);
  char **text = cnL_newblock(L);
  cnL_result(L, make(text, &cell, &drawing), 0);
  lua_pushstring(L, *text);
  return 1;
}

static int draw_svg(lua_State *L) { return draw_text(L, "draw.svg", cn_draw_svg); }
static int draw_dot(lua_State *L) { return draw_text(L, "draw.dot", cn_draw_dot); }

/* raster {svg=, png=, width=, height=, scale=} */
static int draw_raster(lua_State *L) {
  cnL_checkoptions(L, 1, "draw.raster", "svg png width height scale");
  const char *svg = cnL_optfield_string(L, 1, "draw.raster", "svg", NULL);
  const char *png = cnL_optfield_string(L, 1, "draw.raster", "png", NULL);
  luaL_argcheck(L, svg && png, 1, "draw.raster: svg and png must be paths");
  double width = cnL_optfield_number(L, 1, "draw.raster", "width", 0);
  double height = cnL_optfield_number(L, 1, "draw.raster", "height", 0);
  double scale = cnL_optfield_number(L, 1, "draw.raster", "scale", 1);
  return cnL_result(L, cn_draw_raster(png, svg, width, height, scale), 0);
}

void cnL_open_draw(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "cell", draw_cell }, { "svg", draw_svg }, { "dot", draw_dot }, { "raster", draw_raster }, { NULL, NULL },
  };
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "draw");
}
