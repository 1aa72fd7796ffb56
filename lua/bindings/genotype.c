/* genotype.c - genotypes in Lua: plain tables { normal = { { "op", from, to }, … }, normal_concat = { … },
** reduction = …, reduction_concat = … } with a metatable for printing and methods. A published name may stand for a
** table everywhere. */
#include <string.h>

#include "base/memory.h"
#include "bindings/modules.h"
#include "nas/genotype_read.h"

#define CNL_GENOTYPE "cnas.Genotype"

/* ---- Lua to C ---- */

static int integer_at(lua_State *L, int list, int i, const char *cell, int number) {
  int whole;
  lua_rawgeti(L, list, i);
  lua_Integer value = lua_tointegerx(L, -1, &whole);
  lua_pop(L, 1);
  if (!whole || value < -1000000 || value > 1000000)
    luaL_error(L, "genotype: %s: entry %d: node numbers must be whole numbers", cell, number);
  return (int)value;
}

static void read_triples(lua_State *L, CnGenotypeReader *r, CnGenotypePart part, const char *cell) {
  int list = lua_gettop(L);
  for (int i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
    size_t length;
    if (!lua_istable(L, -1)) luaL_error(L, "genotype: %s: triple %d must be {operation, from, to}", cell, i);
    int triple = lua_gettop(L);
    if (lua_rawgeti(L, triple, 1) != LUA_TSTRING)
      luaL_error(L, "genotype: %s: triple %d: the operation must be a string, got %s", cell, i, luaL_typename(L, -1));
    const char *op = lua_tolstring(L, -1, &length);
    int from = integer_at(L, triple, 2, cell, i), to = integer_at(L, triple, 3, cell, i);
    if (to < 0) luaL_error(L, "genotype: %s: triple %d (%s, %d, %d): to must be 2 or more", cell, i, op, from, to);
    cnL_result(L, cn_reader_triple(r, part, op, length, from, to), 0);
    lua_settop(L, list);
  }
  lua_settop(L, list);
}

static void read_part(lua_State *L, int arg, CnGenotypeReader *r, CnGenotypePart part, const char *name) {
  int type = lua_getfield(L, arg, name), list = lua_gettop(L);
  if (type != LUA_TNIL) {
    if (type != LUA_TTABLE) luaL_error(L, "genotype: %s must be a list, got %s", name, luaL_typename(L, -1));
    cnL_result(L, cn_reader_part(r, part), 0);
    if (part == CN_NORMAL || part == CN_REDUCTION) read_triples(L, r, part, name);
    else
      for (int i = 1; i <= (int)lua_rawlen(L, list); i++)
        cnL_result(L, cn_reader_concat(r, part, integer_at(L, list, i, name, i)), 0);
  }
  lua_settop(L, list - 1);
}

void cnL_checkgenotype(lua_State *L, int arg, CnGenotype *out) {
  CnGenotypeReader r = { 0 };
  if (lua_type(L, arg) == LUA_TSTRING) {
    const CnGenotype *published = cn_genotype_named(lua_tostring(L, arg));
    if (published == NULL) luaL_error(L, "genotype: none was published as '%s'", lua_tostring(L, arg));
    *out = *published;
    return;
  }
  if (!lua_istable(L, arg)) luaL_typeerror(L, arg, "genotype (a table, or a published name)");
  read_part(L, arg, &r, CN_NORMAL, "normal");
  read_part(L, arg, &r, CN_NORMAL_CONCAT, "normal_concat");
  read_part(L, arg, &r, CN_REDUCTION, "reduction");
  read_part(L, arg, &r, CN_REDUCTION_CONCAT, "reduction_concat");
  cnL_result(L, cn_reader_finish(out, &r), 0);
}

/* ---- C to Lua ---- */

static void push_cell(lua_State *L, const CnCellArch *c, const char *name, const char *concat_name) {
  lua_createtable(L, c->count, 0);
  for (int i = 0; i < c->count; i++) {
    lua_createtable(L, 3, 0);
    lua_pushstring(L, c->triple[i].op);
    lua_rawseti(L, -2, 1);
    lua_pushinteger(L, c->triple[i].from);
    lua_rawseti(L, -2, 2);
    lua_pushinteger(L, c->triple[i].to);
    lua_rawseti(L, -2, 3);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, name);
  lua_createtable(L, c->concat_count, 0);
  for (int i = 0; i < c->concat_count; i++) {
    lua_pushinteger(L, c->concat[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, concat_name);
}

void cnL_pushgenotype(lua_State *L, const CnGenotype *g) {
  lua_createtable(L, 0, 4);
  push_cell(L, &g->normal, "normal", "normal_concat");
  push_cell(L, &g->reduction, "reduction", "reduction_concat");
  luaL_setmetatable(L, CNL_GENOTYPE);
}

/* Pushes a string of the engine's and frees it. If Lua has no memory for it, it waits in a box for the collector. */
static int free_text(lua_State *L) {
  char **text = lua_touserdata(L, 1);
  cn_free(*text);
  *text = NULL;
  return 0;
}

static char **text_box(lua_State *L) {
  char **text = lua_newuserdatauv(L, sizeof *text, 0);
  *text = NULL;
  if (luaL_newmetatable(L, "cnas.Text")) {
    lua_pushcfunction(L, free_text);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return text;
}

static int push_text(lua_State *L, char **text) {
  lua_pushstring(L, *text);
  cn_free(*text);
  *text = NULL;
  return 1;
}

/* ---- cnas.genotype ---- */

/* parse(text): JSON, or the Python text of published genotypes */
static int genotype_parse(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  CnGenotype g;
  cnL_result(L, cn_genotype_parse(&g, text, length), 0);
  cnL_pushgenotype(L, &g);
  return 1;
}

/* new(table): checked and copied, concats filled in */
static int genotype_new(lua_State *L) {
  CnGenotype g;
  cnL_checkgenotype(L, 1, &g);
  cnL_pushgenotype(L, &g);
  return 1;
}

/* named("CNAS") */
static int genotype_named(lua_State *L) {
  luaL_checkstring(L, 1);
  return genotype_new(L);
}

/* published() -> list of names */
static int genotype_published(lua_State *L) {
  lua_newtable(L);
  for (int i = 0; cn_genotype_published(i) != NULL; i++) {
    lua_pushstring(L, cn_genotype_published(i));
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

static int genotype_json(lua_State *L) {
  CnGenotype g;
  cnL_checkgenotype(L, 1, &g);
  char **text = text_box(L);
  cnL_result(L, cn_genotype_json(text, &g), 0);
  return push_text(L, text);
}

/* text(g, { style = "cnas" | "darts" }) */
static int genotype_text(lua_State *L) {
  CnGenotype g;
  cnL_checkgenotype(L, 1, &g);
  lua_settop(L, 2);
  cnL_checkoptions(L, 2, "genotype.text", "style");
  const char *style = cnL_optfield_string(L, 2, "genotype.text", "style", "cnas");
  bool darts = strcmp(style, "darts") == 0;
  if (!darts && strcmp(style, "cnas") != 0)
    return luaL_error(L, "genotype.text: option 'style' must be cnas or darts, got '%s'", style);
  char **text = text_box(L);
  cnL_result(L, cn_genotype_text(text, &g, darts), 0);
  return push_text(L, text);
}

/* check(g, [space]) -> g */
static int genotype_check(lua_State *L) {
  CnGenotype g;
  lua_settop(L, 2);
  cnL_checkgenotype(L, 1, &g);
  CnSpace *space = lua_isnil(L, 2) ? NULL : cnL_checkspace(L, 2);
  cnL_result(L, cn_genotype_check(&g, space), 0);
  lua_settop(L, 1);
  return 1;
}

/* tostring never fails: a table that was spoiled prints as such. */
static int genotype_tostring(lua_State *L) {
  lua_settop(L, 1);
  lua_pushcfunction(L, genotype_text);
  lua_pushvalue(L, 1);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) lua_pushfstring(L, "genotype (not valid): %s", luaL_tolstring(L, -1, NULL));
  return 1;
}

/* Equal when all triples and concats are. */
static int genotype_eq(lua_State *L) {
  CnGenotype g[2];
  cnL_checkgenotype(L, 1, &g[0]);
  cnL_checkgenotype(L, 2, &g[1]);
  /* Both were zeroed before they were filled, names to their last byte. */
  lua_pushboolean(L, memcmp(&g[0], &g[1], sizeof g[0]) == 0);
  return 1;
}

void cnL_open_genotype(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "parse", genotype_parse }, { "new", genotype_new },   { "named", genotype_named },
    { "json", genotype_json },   { "text", genotype_text }, { "published", genotype_published },
    { "check", genotype_check }, { NULL, NULL },
  };
  static const luaL_Reg methods[] = { { "json", genotype_json }, { "text", genotype_text }, { "check", genotype_check },
                                      { NULL, NULL } };
  static const luaL_Reg meta[] = { { "__tostring", genotype_tostring }, { "__eq", genotype_eq }, { NULL, NULL } };
  cnL_type(L, CNL_GENOTYPE, methods, meta, NULL);
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "genotype");
}
