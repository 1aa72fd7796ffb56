/* signature.c - the parameters of a user's kernel, from the mangled name by which the compiler tells them.
**
** "void cnas_parameters<void (*)(float*, float const*, long)>()" is what it means. A parameter is a number, or a
** pointer to the elements of a tensor, whose type says which tensors fit. Types that are not known here, structs, are
** what the user knows about: any tensor fits a pointer to them.
**
** Names of parameters, which only messages show, are not in it: they are looked for in the text, and done without where
** it hides them from so simple a reader. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/compiler.h"
#include "kernels/cuda/host.h"
#include "tensor/tensor.h"

/* Of the C++ library, which the module has inside: malloc's, NULL when it is no mangled name. */
char *__cxa_demangle(const char *mangled, char *buffer, size_t *length, int *status);

#define NONE (-2) /* no tensor has such elements */
#define ANY (-1)

static const struct {
  const char *name;
  int kind;  /* CnKernelParameterKind as a number; CN_POINTER: cannot be passed as a number */
  int size;  /* bytes */
  int dtype; /* of tensors with such elements */
} types[] = {
  { "float", CN_REAL, 4, CN_F32 },
  { "double", CN_REAL, 8, CN_F64 },
  { "bool", CN_UNSIGNED, 1, CN_U8 },
  { "char", CN_SIGNED, 1, CN_U8 },
  { "signed char", CN_SIGNED, 1, CN_U8 },
  { "unsigned char", CN_UNSIGNED, 1, CN_U8 },
  { "short", CN_SIGNED, 2, NONE },
  { "unsigned short", CN_UNSIGNED, 2, CN_BF16 },
  { "int", CN_SIGNED, 4, NONE },
  { "unsigned int", CN_UNSIGNED, 4, NONE },
  { "long", CN_SIGNED, 8, CN_I64 },
  { "unsigned long", CN_UNSIGNED, 8, CN_I64 },
  { "long long", CN_SIGNED, 8, CN_I64 },
  { "unsigned long long", CN_UNSIGNED, 8, CN_I64 },
  { "__nv_bfloat16", CN_POINTER, 2, CN_BF16 },
  { "__nv_bfloat162", CN_POINTER, 4, CN_BF16 },
  { "__half", CN_POINTER, 2, NONE },
  { "float2", CN_POINTER, 8, CN_F32 },
  { "float4", CN_POINTER, 16, CN_F32 },
  { "double2", CN_POINTER, 16, CN_F64 },
  { "longlong2", CN_POINTER, 16, CN_I64 },
  { "uchar4", CN_POINTER, 4, CN_U8 },
};

static int find(const char *name, size_t length) {
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strlen(types[i].name) == length && !memcmp(types[i].name, name, length)) return (int)i;
  return -1;
}

/* Takes `end` off the end of a type. */
static bool take(const char *type, size_t *length, const char *end) {
  size_t n = strlen(end);
  if (*length < n || memcmp(type + *length - n, end, n) != 0) return false;
  *length -= n;
  return true;
}

/* One parameter from its type's name. `room` takes the name as C has it and moves on. */
static CnErr read_type(CnKernelParameter *out, const char *kernel, int number, const char *type, size_t length,
                       char **room) {
  size_t whole = length;
  bool pointer = take(type, &length, "*"), constant = false;
  if (pointer) {
    take(type, &length, " volatile");
    constant = take(type, &length, " const");
  }
  int known = find(type, length), dtype = known >= 0 ? types[known].dtype : ANY;
  bool number_like = known >= 0 && types[known].kind != CN_POINTER;
  bool elements = length > 0 && type[length - 1] != '*' && type[length - 1] != '&' && type[length - 1] != ')';
  if (pointer ? !elements : !number_like)
    return cn_cuda_fail(CN_EUSAGE, "kernel '%s': parameter %d is of type %.*s: a kernel can be given numbers, and "
                        "pointers to the elements of tensors", kernel, number, (int)whole, type);
  if (pointer && dtype == NONE)
    return cn_cuda_fail(CN_EUSAGE, "kernel '%s': parameter %d is of type %.*s, but no tensor has such elements: float, "
                        "double, long long, unsigned char, __nv_bfloat16 are f32, f64, i64, u8, bf16; void is any",
                        kernel, number, (int)whole, type);
  *out = (CnKernelParameter){ *room, *room, pointer ? CN_POINTER : (CnKernelParameterKind)types[known].kind,
                        known >= 0 ? types[known].size : 1, dtype, pointer && !constant };
  *room += 1 + sprintf(*room, "%s%.*s%s", constant ? "const " : "", (int)length, type, pointer ? " *" : "");
  return CN_OK;
}

/* The end of a parameter's type: the next comma, or closing bracket, that is not within brackets. */
static const char *end_of_type(const char *p) {
  for (int depth = 0; *p != '\0'; p++) {
    if (depth == 0 && (*p == ',' || *p == ')')) break;
    if (strchr("<([", *p)) depth++;
    if (strchr(">)]", *p)) depth--;
  }
  return p;
}

static CnErr read_types(CnProgram *program, const char *list, char *room) {
  program->parameters = 0;
  while (*list != ')' && *list != '\0') {
    const char *end = end_of_type(list);
    int n = program->parameters;
    if (n == CN_MAX_PARAMETERS)
      return cn_cuda_fail(CN_EUSAGE, "kernel '%s' has more than %d parameters", program->kernel, CN_MAX_PARAMETERS);
    CN_TRY(read_type(&program->parameter[n], program->kernel, n + 1, list, (size_t)(end - list), &room));
    program->parameters++;
    list = *end == ',' ? end + 1 : end;
    while (*list == ' ') list++;
  }
  return CN_OK;
}

/* ---- names ---- */

static bool in_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* The word by which the text defines a kernel: "turn" of "images::turn<float>". */
static const char *word_of(const char *kernel, size_t *length) {
  const char *word = kernel, *end = kernel + strcspn(kernel, "<");
  for (const char *p = kernel; p < end; p++)
    if (!in_word(*p)) word = p + 1;
  *length = (size_t)(end - word);
  return word;
}

/* Where names stand in a list of so many parameters; false when it is no such list, or one without names. */
static bool find_names(const char *list, int count, const char *first[], int length[]) {
  for (int i = 0; i < count; i++) {
    const char *end = end_of_type(list), *last = end, *type = list;
    while (last > list && isspace((unsigned char)last[-1])) last--;
    first[i] = last;
    while (first[i] > list && in_word(first[i][-1])) first[i]--;
    length[i] = (int)(last - first[i]);
    while (type < first[i] && !in_word(*type)) type++;
    if (length[i] == 0 || type == first[i] || find(first[i], (size_t)length[i]) >= 0) return false;
    if (*end != (i + 1 < count ? ',' : ')')) return false;
    list = end + 1;
  }
  return true;
}

/* Shows parameters with their names, where the source says them. `room` is for as much text again as the source has. */
static void read_names(CnProgram *program, const char *source, char *room) {
  const char *first[CN_MAX_PARAMETERS];
  int length[CN_MAX_PARAMETERS];
  size_t n = 0;
  const char *word = word_of(program->kernel, &n), *end = source + strlen(source);
  for (const char *p = source; n > 0 && (p = memmem(p, (size_t)(end - p), word, n)) != NULL; p++) {
    const char *list = p + n;
    while (isspace((unsigned char)*list)) list++;
    if (*list != '(' || (p > source && in_word(p[-1]))) continue;
    if (!find_names(list + 1, program->parameters, first, length)) continue;
    for (int i = 0; i < program->parameters; i++) {
      CnKernelParameter *it = &program->parameter[i];
      it->shown = room;
      room += 1 + sprintf(room, "%s%s%.*s", it->type, it->kind == CN_POINTER ? "" : " ", length[i], first[i]);
    }
    return;
  }
}

CnErr cn_cuda_signature(CnProgram *program, char **text, const char *signature, const char *source) {
  int status = 0;
  char *demangled = __cxa_demangle(signature, NULL, NULL, &status);
  const char *list = demangled != NULL ? strstr(demangled, "(*)(") : NULL;
  CnErr e = CN_OK;
  size_t room = demangled != NULL ? 2 * strlen(demangled) + 16 : 0; /* bytes: no type doubles its length */
  *text = demangled != NULL ? malloc(2 * room + strlen(source) + CN_MAX_PARAMETERS) : NULL;
  if (list == NULL)
    e = cn_cuda_fail(CN_EUSAGE, "kernel '%s': its parameters cannot be told from '%s'", program->kernel, signature);
  else if (*text == NULL)
    e = cn_cuda_fail(CN_EMEMORY, "kernel: out of memory");
  else
    e = read_types(program, list + 4, *text);
  free(demangled);
  if (e == CN_OK) read_names(program, source, *text + room);
  if (e == CN_OK) return CN_OK;
  free(*text);
  *text = NULL;
  return e;
}
