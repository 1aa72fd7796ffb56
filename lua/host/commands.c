/* commands.c - the words that the program knows besides recipes: each is run from lua/cnas/command/<word>.lua.
**
** A word means its command whatever lies in the working folder: what `cnas info` does must not depend on where it is
** said. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "lua/host/host.h"

static const struct {
  const char *word, *about;
} commands[] = {
  { "attach", "looks into a run that is at work, and changes it, from another terminal" },
  { "diff", "what differs between two runs: options, machine, recipe, changes by hand, numbers, results" },
  { "info", "machine, devices, libraries, versions and settings, for a report of a fault" },
  { "new", "makes a folder with a recipe of your own that runs at once" },
};

#define COMMANDS (sizeof commands / sizeof commands[0])

bool host_is_command(const char *word) {
  for (size_t i = 0; i < COMMANDS; i++)
    if (strcmp(word, commands[i].word) == 0) return true;
  return false;
}

void host_list_commands(FILE *out) {
  for (size_t i = 0; i < COMMANDS; i++) fprintf(out, "  %-9s  %s\n", commands[i].word, commands[i].about);
}

const char *host_push_command(lua_State *L, const char *word) {
  lua_getfield(L, LUA_REGISTRYINDEX, "cnas.home");
  const char *path = lua_pushfstring(L, "%s/lua/cnas/command/%s.lua", lua_tostring(L, -1), word);
  lua_remove(L, -2);
  return path;
}

/* The last component of a path without its ".lua", into `stem`; "" when it is too long to be a misspelt name. */
static const char *stem_of(char stem[NEAR_LONGEST + 1], const char *path) {
  const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
  size_t length = strlen(name);
  if (length > 4 && strcmp(name + length - 4, ".lua") == 0) length -= 4;
  if (length > NEAR_LONGEST) length = 0;
  memcpy(stem, name, length);
  stem[length] = '\0';
  return stem;
}

/* The recipe of the library whose name is, or nearly is, that of the file; as "recipes/NAME.lua". */
static void consider_recipes(lua_State *L, Nearest *nearest) {
  char wanted[NEAR_LONGEST + 1], stem[NEAR_LONGEST + 1];
  Nearest recipe = host_nearest(stem_of(wanted, nearest->wanted));
  lua_getfield(L, LUA_REGISTRYINDEX, "cnas.home");
  DIR *folder = opendir(lua_pushfstring(L, "%s/recipes", lua_tostring(L, -1)));
  lua_pop(L, 2);
  if (folder == NULL) return;
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    if (strcmp(stem_of(stem, entry->d_name), wanted) == 0) strcpy(recipe.name, stem);
    else host_consider(&recipe, stem);
    if (strcmp(recipe.name, wanted) == 0) break;
  }
  closedir(folder);
  if (recipe.name[0] != '\0') snprintf(nearest->name, sizeof nearest->name, "recipes/%.50s.lua", recipe.name);
}

Nearest host_nearest_recipe(lua_State *L, const char *file) {
  Nearest nearest = host_nearest(file);
  for (size_t i = 0; i < COMMANDS; i++) host_consider(&nearest, commands[i].word);
  if (nearest.name[0] == '\0') consider_recipes(L, &nearest);
  return nearest;
}
