/* kernel.c - cnas.kernel: kernels that users write in CUDA C, and what there is to know of all kernels.
**
**   local k = cnas.kernel { source = text, name = "swish" }
**   k(grid, block, y, x, n)            k { y, x, n, threads = n }
**
** Every argument is checked against the type that the compiler gave its parameter, before anything is launched. */
#include <stdarg.h>
#include <string.h>

#include "base/memory.h"
#include "bindings/binding.h"
#include "device/cuda.h"
#include "io/file.h"
#include "tensor/autograd.h"

#define KERNEL "cnas.Kernel"
#define BLOCK 256               /* threads, where a launch does not say */
#define MOST_SOURCE (16u << 20) /* bytes */
#define ANY_GPU ((CnDevice){ CN_CUDA, -1 }) /* the one in use */

typedef struct Kernel {
  const CnGpuPrograms *gpu;
  const CnProgram *program; /* never freed */
  CnDevice device;          /* where it runs when no argument is a tensor */
} Kernel;

static Kernel *check_kernel(lua_State *L, int arg) { return luaL_checkudata(L, arg, KERNEL); }

/* ---- making one ---- */

/* The folder of a path, pushed: where the text's #include "…" look. */
static const char *push_folder(lua_State *L, const char *path) {
  const char *slash = strrchr(path, '/');
  if (slash == NULL) return lua_pushliteral(L, ".");
  return lua_pushlstring(L, path, slash == path ? 1 : (size_t)(slash - path));
}

static int push_text(lua_State *L) {
  lua_pushstring(L, lua_touserdata(L, 1));
  return 1;
}

/* The contents of a file, pushed. */
static const char *push_file(lua_State *L, const char *path) {
  char *text = NULL;
  size_t size = 0;
  cnL_result(L, cn_file_read(&text, &size, path, MOST_SOURCE), 0);
  bool whole = strlen(text) == size;
  lua_pushcfunction(L, push_text); /* in a protected call: `text` is to be freed when Lua has no memory for it */
  lua_pushlightuserdata(L, text);
  int status = lua_pcall(L, 1, 1, 0);
  cn_free(text);
  if (status != LUA_OK) lua_error(L);
  if (!whole) luaL_error(L, "kernel: %s has a byte 0, which no text has", path);
  return lua_tostring(L, -1);
}

/* The list in field `options`; its strings stay in a table that is pushed, and the array in a userdata behind it. */
static void read_compiler_options(lua_State *L, CnProgramText *text) {
  if (lua_getfield(L, 1, "options") == LUA_TNIL) return;
  if (!lua_istable(L, -1)) luaL_error(L, "kernel: option 'options' must be a list of the compiler's, got %s",
                                      luaL_typename(L, -1));
  int list = lua_gettop(L), n = (int)lua_rawlen(L, list);
  const char **option = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *option, 0);
  for (int i = 0; i < n; i++) {
    if (lua_rawgeti(L, list, i + 1) != LUA_TSTRING)
      luaL_error(L, "kernel: entry %d of option 'options' must be a string, got %s", i + 1, luaL_typename(L, -1));
    option[i] = lua_tostring(L, -1);
    lua_pop(L, 1); /* the list keeps it */
  }
  text->option = option;
  text->options = n;
}

static const char *required_string(lua_State *L, const char *field, const char *what) {
  const char *value = cnL_optfield_string(L, 1, "kernel", field, NULL);
  if (value == NULL || value[0] == '\0') luaL_error(L, "kernel: option '%s' is missing: %s", field, what);
  return value;
}

/* kernel { source = | file =, name =, options = {}, device = "cuda" } -> kernel */
static int kernel_new(lua_State *L) {
  lua_remove(L, 1); /* the table cnas.kernel, which is called */
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  cnL_checkoptions(L, 1, "kernel", "source file name options device");
  CnProgramText text = { .source = cnL_optfield_string(L, 1, "kernel", "source", NULL) };
  text.kernel = required_string(L, "name", "that of a __global__ function of the source");
  text.file = cnL_optfield_string(L, 1, "kernel", "file", NULL);
  if (text.source == NULL && text.file == NULL)
    return luaL_error(L, "kernel: give the text as 'source', or its 'file'");
  if (text.source != NULL) {
    lua_getfield(L, 1, "source");
    if (strlen(text.source) != lua_rawlen(L, -1))
      return luaL_error(L, "kernel: the source has a byte 0, which no text has");
  } else {
    text.source = push_file(L, text.file);
    text.folder = push_folder(L, text.file);
  }
  if (text.file == NULL) text.file = lua_pushfstring(L, "%s.cu", text.kernel);
  read_compiler_options(L, &text);
  CnDevice device = ANY_GPU;
  const CnGpu *gpu = NULL;
  const char *wish = cnL_optfield_string(L, 1, "kernel", "device", NULL);
  if (wish != NULL) cnL_result(L, cn_device_parse(&device, wish), 0);
  if (device.kind != CN_CUDA) return luaL_error(L, "kernel: option 'device' must be a GPU: cuda, cuda:0 …");
  cnL_result(L, cn_gpu(&gpu), 0);
  Kernel *k = lua_newuserdatauv(L, sizeof *k, 0);
  *k = (Kernel){ gpu->programs, NULL, device };
  cnL_result(L, gpu->programs->program(&k->program, device.index, &text), 0);
  luaL_setmetatable(L, KERNEL);
  return 1;
}

static void push_parameters(lua_State *L, const CnProgram *p) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (int i = 0; i < p->parameters; i++) {
    if (i > 0) luaL_addstring(&b, ", ");
    luaL_addstring(&b, p->parameter[i].shown);
  }
  luaL_pushresult(&b);
}

static int kernel_tostring(lua_State *L) {
  Kernel *k = check_kernel(L, 1);
  push_parameters(L, k->program);
  lua_pushfstring(L, "cnas.Kernel: %s(%s)", k->program->kernel, lua_tostring(L, -1));
  return 1;
}

/* ---- arguments ---- */

typedef union Value {
  void *pointer;
  float f;
  double d;
  int8_t i1;
  int16_t i2;
  int32_t i4;
  int64_t i8;
} Value;

typedef struct Arguments {
  const CnProgram *program;
  CnDevice device; /* of the tensors so far; a CPU: there was none */
  CnTensor *written[CN_MAX_PARAMETERS];
  int writes;
  Value value[CN_MAX_PARAMETERS];
  void *address[CN_MAX_PARAMETERS + 1];
} Arguments;

/* "kernel 'swish': argument 2 (const float *) " and what is wrong with it; the value is at `arg`. */
static int wrong(lua_State *L, const Arguments *a, int i, const char *format, ...) {
  va_list list;
  va_start(list, format);
  const char *problem = lua_pushvfstring(L, format, list);
  va_end(list);
  return luaL_error(L, "kernel '%s': argument %d (%s) %s", a->program->kernel, i + 1, a->program->parameter[i].shown,
                    problem);
}

/* What the value at `arg` is, pushed: "number", "cnas.Tensor" … */
static const char *push_kind(lua_State *L, int arg) {
  if (luaL_getmetafield(L, arg, "__name") == LUA_TSTRING) return lua_tostring(L, -1);
  return lua_pushstring(L, luaL_typename(L, arg));
}

static void read_tensor(lua_State *L, Arguments *a, int i, int arg) {
  const CnKernelParameter *p = &a->program->parameter[i];
  if (luaL_testudata(L, arg, CNL_TENSOR) == NULL) wrong(L, a, i, "must be a tensor, got %s", push_kind(L, arg));
  CnTensor *t = cnL_checktensor(L, arg);
  CnDevice device = cn_tensor_device(t);
  char here[16], there[16];
  if (device.kind != CN_CUDA) wrong(L, a, i, "is on the CPU: take it to the GPU with :to(\"cuda\")");
  if (a->device.kind == CN_CUDA && !cn_device_equal(device, a->device))
    wrong(L, a, i, "is on %s, the tensors in front of it are on %s", cn_device_name(device, here),
          cn_device_name(a->device, there));
  if (p->dtype >= 0 && t->dtype != (CnDtype)p->dtype)
    wrong(L, a, i, "must be %s, got %s", cn_dtype_name((CnDtype)p->dtype), cn_dtype_name(t->dtype));
  if (!cn_tensor_is_contiguous(t)) wrong(L, a, i, "must be contiguous: give it as x:contiguous()");
  if (cn_grad_enabled() && cn_tensor_tracked(t))
    wrong(L, a, i, "takes part in a gradient, of which a kernel knows nothing: launch it in cnas.no_grad, or in the "
          "forward and backward of a cnas.op");
  void *data = cn_tensor_data(t);
  if (p->size > 0 && (uintptr_t)data % (unsigned)p->size != 0)
    wrong(L, a, i, "must begin at a multiple of %d bytes", p->size);
  a->device = device;
  if (p->written) a->written[a->writes++] = t;
  a->value[i].pointer = data;
}

static void read_whole(lua_State *L, Arguments *a, int i, int arg) {
  const CnKernelParameter *p = &a->program->parameter[i];
  int whole = 0, bits = 8 * p->size;
  lua_Integer value = lua_type(L, arg) == LUA_TNUMBER ? lua_tointegerx(L, arg, &whole) : 0;
  if (lua_isboolean(L, arg) && !strcmp(p->type, "bool")) {
    value = lua_toboolean(L, arg);
    whole = 1;
  }
  if (!whole) wrong(L, a, i, "must be a whole number, got %s", luaL_tolstring(L, arg, NULL));
  bool is_signed = p->kind == CN_SIGNED;
  lua_Integer most = bits == 64 ? LUA_MAXINTEGER : ((lua_Integer)1 << (bits - is_signed)) - 1;
  lua_Integer least = !is_signed ? 0 : bits == 64 ? LUA_MININTEGER : -most - 1;
  if (!strcmp(p->type, "bool")) most = 1;
  if (value < least || value > most) wrong(L, a, i, "must be from %I to %I, got %I", least, most, value);
  switch (p->size) {
    case 1: a->value[i].i1 = (int8_t)value; break;
    case 2: a->value[i].i2 = (int16_t)value; break;
    case 4: a->value[i].i4 = (int32_t)value; break;
    default: a->value[i].i8 = value; break;
  }
}

/* The arguments at `first` and behind, `count` of them. */
static void read_arguments(lua_State *L, Arguments *a, int first, int count) {
  if (count != a->program->parameters) {
    push_parameters(L, a->program);
    luaL_error(L, "kernel '%s' takes %d arguments (%s), got %d", a->program->kernel, a->program->parameters,
               lua_tostring(L, -1), count);
  }
  for (int i = 0; i < count; i++) {
    const CnKernelParameter *p = &a->program->parameter[i];
    int arg = first + i;
    a->address[i] = &a->value[i];
    if (p->kind == CN_POINTER) read_tensor(L, a, i, arg);
    else if (p->kind != CN_REAL) read_whole(L, a, i, arg);
    else if (lua_type(L, arg) != LUA_TNUMBER) wrong(L, a, i, "must be a number, got %s", push_kind(L, arg));
    else if (p->size == 4) a->value[i].f = (float)lua_tonumber(L, arg);
    else a->value[i].d = lua_tonumber(L, arg);
  }
}

/* ---- launching ---- */

/* A number, or up to three of them in a list, at `arg`. */
static void read_sizes(lua_State *L, int arg, const CnProgram *p, const char *what, unsigned size[3],
                       lua_Integer least) {
  static const lua_Integer most[] = { INT32_MAX, 65535, 65535 };
  size[0] = size[1] = size[2] = 1;
  bool list = lua_istable(L, arg);
  int n = list ? (int)lua_rawlen(L, arg) : 1;
  if (n < 1 || n > 3) luaL_error(L, "kernel '%s': %s must be a number or {x, y, z}", p->kernel, what);
  for (int d = 0; d < n; d++) {
    int whole = 0;
    if (list) lua_rawgeti(L, arg, d + 1);
    else lua_pushvalue(L, arg);
    lua_Integer value = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : 0;
    if (!whole) luaL_error(L, "kernel '%s': %s must be a whole number or {x, y, z} of them, got %s", p->kernel, what,
                           luaL_tolstring(L, -1, NULL));
    if (value < least || value > most[d])
      luaL_error(L, "kernel '%s': %s is %I, but must be from %I to %I", p->kernel, what, value, least, most[d]);
    size[d] = (unsigned)value;
    lua_pop(L, 1);
  }
}

static void read_block(lua_State *L, int arg, const CnProgram *p, CnKernelLaunch *l) {
  read_sizes(L, arg, p, "block", l->block, 1);
  int64_t threads = (int64_t)l->block[0] * l->block[1];
  if (threads <= 1024) threads *= l->block[2];
  if (threads > 1024) luaL_error(L, "kernel '%s': a block has at most 1024 threads", p->kernel);
}

/* { arguments…, threads = | grid =, block = 256, shared = 0 } at argument 2: leaves the arguments behind it, and
** returns how many. */
static int read_named(lua_State *L, const CnProgram *p, CnKernelLaunch *l) {
  cnL_checkoptions(L, 2, "kernel", "threads grid block shared");
  if (lua_getfield(L, 2, "block") == LUA_TNIL) l->block[0] = BLOCK, l->block[1] = l->block[2] = 1;
  else read_block(L, 3, p, l);
  lua_settop(L, 2);
  bool grid = lua_getfield(L, 2, "grid") != LUA_TNIL, threads = lua_getfield(L, 2, "threads") != LUA_TNIL;
  if (grid == threads) luaL_error(L, "kernel '%s': give either 'threads' or 'grid'", p->kernel);
  if (grid) read_sizes(L, 3, p, "grid", l->grid, 0);
  lua_settop(L, 2);
  if (threads) {
    lua_Integer n = cnL_optfield_integer(L, 2, "kernel", "threads", 0);
    if (l->block[1] != 1 || l->block[2] != 1)
      luaL_error(L, "kernel '%s': 'threads' is for blocks of one dimension: give 'grid'", p->kernel);
    lua_Integer most = (lua_Integer)INT32_MAX * l->block[0];
    if (n < 0 || n > most) luaL_error(L, "kernel '%s': threads must be from 0 to %I, got %I", p->kernel, most, n);
    l->grid[0] = (unsigned)((n + l->block[0] - 1) / l->block[0]);
    l->grid[1] = l->grid[2] = 1;
  }
  lua_Integer shared = cnL_optfield_integer(L, 2, "kernel", "shared", 0);
  if (shared < 0 || shared > INT32_MAX) luaL_error(L, "kernel '%s': shared must be bytes, got %I", p->kernel, shared);
  l->shared = (size_t)shared;
  int count = (int)lua_rawlen(L, 2);
  luaL_checkstack(L, count + 8, "too many arguments");
  for (int i = 1; i <= count; i++) lua_rawgeti(L, 2, i);
  return count;
}

/* k(grid, block, arguments…) or k { arguments…, threads = n } */
static int kernel_call(lua_State *L) {
  Kernel *k = check_kernel(L, 1);
  Arguments a = { .program = k->program, .device = CN_DEVICE_CPU };
  CnKernelLaunch l = { .argument = a.address };
  if (lua_gettop(L) == 2 && lua_istable(L, 2)) {
    int count = read_named(L, k->program, &l);
    read_arguments(L, &a, 3, count);
  } else {
    if (lua_gettop(L) < 3)
      return luaL_error(L, "kernel '%s': launch it as k(grid, block, arguments…) or k { arguments…, threads = n }",
                        k->program->kernel);
    read_sizes(L, 2, k->program, "grid", l.grid, 0);
    read_block(L, 3, k->program, &l);
    read_arguments(L, &a, 4, lua_gettop(L) - 3);
  }
  CnErr e = k->gpu->launch(k->program, a.device.kind == CN_CUDA ? a.device.index : k->device.index, &l);
  for (int i = 0; i < a.writes && e == CN_OK; i++) a.written[i]->storage->version++;
  return cnL_result(L, e, 0);
}

/* ---- facts ---- */

static void set_integer(lua_State *L, const char *key, int64_t value) {
  if (value < 0) return;
  lua_pushinteger(L, value);
  lua_setfield(L, -2, key);
}

static void set_number(lua_State *L, const char *key, double value) {
  if (value < 0) return;
  lua_pushnumber(L, value);
  lua_setfield(L, -2, key);
}

static void set_text(lua_State *L, const char *key, const char *text) {
  if (text == NULL) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, key);
}

static void push_facts(lua_State *L, const CnKernelFacts *f) {
  lua_createtable(L, 0, 12);
  set_text(L, "name", f->name);
  set_text(L, "row", f->row);
  set_text(L, "file", f->file);
  set_integer(L, "registers", f->registers);
  set_integer(L, "shared_memory", f->shared);
  set_integer(L, "local_memory", f->local);
  set_integer(L, "block", f->block);
  set_integer(L, "dynamic_memory", f->dynamic);
  set_number(L, "occupancy", f->occupancy);
  set_integer(L, "launches", f->launches);
  if (f->timed > 0) set_integer(L, "timed", f->timed);
  set_number(L, "seconds", f->seconds);
}

/* k:facts() -> { name, file, parameters, log, registers, … } */
static int kernel_facts(lua_State *L) {
  Kernel *k = check_kernel(L, 1);
  CnKernelFacts facts;
  cnL_result(L, k->gpu->facts(&facts, k->device.index, k->program), 0);
  push_facts(L, &facts);
  set_text(L, "log", k->program->log);
  lua_createtable(L, k->program->parameters, 0);
  for (int i = 0; i < k->program->parameters; i++) {
    lua_pushstring(L, k->program->parameter[i].shown);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "parameters");
  return 1;
}

/* Calls the function at argument 1 with launches timed. */
static void time_function(lua_State *L, const CnGpuPrograms *gpu) {
  cnL_result(L, gpu->timing(true), 0);
  lua_pushvalue(L, 1);
  int status = lua_pcall(L, 0, 0, 0);
  CnErr e = gpu->timing(false);
  if (status != LUA_OK) lua_error(L);
  cnL_result(L, e, 0);
}

/* list([f]) -> { { name, row, registers, … }, … }: every kernel that is known. f() is called first, with launches
** timed. */
static int list(lua_State *L) {
  const CnGpu *gpu = NULL;
  lua_settop(L, 1);
  cnL_result(L, cn_gpu(&gpu), 0);
  if (!lua_isnil(L, 1)) time_function(L, gpu->programs);
  CnKernelFacts facts;
  lua_newtable(L);
  for (int i = 0; gpu->programs->census(&facts, ANY_GPU.index, i); i++) {
    push_facts(L, &facts);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

void cnL_open_kernel(lua_State *L) {
  static const luaL_Reg methods[] = { { "facts", kernel_facts }, { NULL, NULL } };
  static const luaL_Reg meta[] = { { "__call", kernel_call }, { "__tostring", kernel_tostring }, { NULL, NULL } };
  static const luaL_Reg functions[] = { { "list", list }, { NULL, NULL } };
  cnL_type(L, KERNEL, methods, meta, NULL);
  luaL_newlib(L, functions);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, kernel_new);
  lua_setfield(L, -2, "__call");
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "kernel");
}
