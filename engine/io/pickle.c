/* pickle.c - see pickle.h. One function for each group of opcodes; all work on the machine's stack.
**
** The program is read through a window, so that a file of any size may follow it. Everything that is made lies in
** chunks which are freed together; the stack, the memo and the chunks share one allowance. */
#include "io/pickle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define WINDOW ((size_t)1 << 14)    /* bytes of the file at a time */
#define CHUNK ((size_t)1 << 15)     /* bytes for values; the first chunk has an eighth */
#define MAX_DEPTH 64                /* levels of lists in lists */
#define MAX_UNFOLDED (1u << 22)     /* values, shared ones counted for each place */
#define MAX_NAME 64                 /* bytes of one line of GLOBAL */

enum {
  MARK = '(', STOP = '.', REDUCE = 'R', BUILD = 'b', GLOBAL = 'c', BINPERSID = 'Q', BINPUT = 'q', LONG_BINPUT = 'r',
  BINGET = 'h', LONG_BINGET = 'j', EMPTY_DICT = '}', EMPTY_LIST = ']', EMPTY_TUPLE = ')', TUPLE = 't', TUPLE1 = 0x85,
  TUPLE2 = 0x86, TUPLE3 = 0x87, SETITEM = 's', SETITEMS = 'u', APPEND = 'a', APPENDS = 'e', BINUNICODE = 'X',
  SHORT_BINSTRING = 'U', BININT = 'J', BININT1 = 'K', BININT2 = 'M', LONG1 = 0x8a, BINFLOAT = 'G', NONE = 'N',
  NEWTRUE = 0x88, NEWFALSE = 0x89, PROTO = 0x80
};

/* Names of the opcodes that are refused, for messages. */
static const struct {
  uint8_t code;
  const char *name;
} refused[] = {
  { '0', "POP" }, { '1', "POP_MARK" }, { '2', "DUP" }, { 'F', "FLOAT" }, { 'I', "INT" }, { 'L', "LONG" },
  { 'P', "PERSID" }, { 'S', "STRING" }, { 'T', "BINSTRING" }, { 'V', "UNICODE" }, { 'd', "DICT" }, { 'g', "GET" },
  { 'i', "INST" }, { 'l', "LIST" }, { 'o', "OBJ" }, { 'p', "PUT" }, { 'B', "BINBYTES" }, { 'C', "SHORT_BINBYTES" },
  { 0x81, "NEWOBJ" }, { 0x82, "EXT1" }, { 0x83, "EXT2" }, { 0x84, "EXT4" }, { 0x8b, "LONG4" },
  { 0x8c, "SHORT_BINUNICODE" }, { 0x8d, "BINUNICODE8" }, { 0x8e, "BINBYTES8" }, { 0x8f, "EMPTY_SET" },
  { 0x90, "ADDITEMS" }, { 0x91, "FROZENSET" }, { 0x92, "NEWOBJ_EX" }, { 0x93, "STACK_GLOBAL" }, { 0x94, "MEMOIZE" },
  { 0x95, "FRAME" }, { 0x96, "BYTEARRAY8" }, { 0x97, "NEXT_BUFFER" }, { 0x98, "READONLY_BUFFER" },
};

/* The names that may be called, or stand for themselves. Storages follow: STORAGES + their element. */
enum { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, SIZE, STORAGES };
static const struct {
  const char *module, *name;
} callables[STORAGES] = {
  [ORDERED_DICT] = { "collections", "OrderedDict" },
  [REBUILD_TENSOR] = { "torch._utils", "_rebuild_tensor_v2" },
  [REBUILD_PARAMETER] = { "torch._utils", "_rebuild_parameter" },
  [SIZE] = { "torch", "Size" },
};

typedef struct Chunk {
  struct Chunk *before;
  size_t used, size;
  _Alignas(16) char data[];
} Chunk;

struct CnPickle {
  Chunk *chunk; /* the newest */
  CnPickleStorage *storages;
  CnPickleValue value;
  size_t bytes;
};

typedef struct Machine {
  CnPickle *p;
  CnReader *file;
  const char *what;
  size_t limit;
  char *window;
  uint64_t start, at, end;     /* of the pickle; of the next byte; where it must have ended */
  uint64_t window_at;          /* of the window's first byte */
  size_t window_size;
  uint64_t op_at;              /* of the opcode that is being done */
  CnPickleValue *stack, *memo; /* a memo's empty places are NAME -1 */
  size_t stack_count, stack_room, memo_count, memo_room;
  uint32_t *mark; /* heights of the stack */
  size_t mark_count, mark_room;
} Machine;

static CnErr fail(const Machine *m, const char *reason) {
  return cn_fail(CN_EDATA, "%s: the pickle is not valid at byte %" PRIu64 ": %s", m->what, m->op_at - m->start, reason);
}

/* ---- memory ---- */

static CnErr spend(Machine *m, size_t bytes) {
  if (bytes > m->limit - m->p->bytes)
    return cn_fail(CN_EDATA, "%s: the pickle needs more than %zu bytes of memory at byte %" PRIu64 ": too many values "
                   "for a file of this size", m->what, m->limit, m->op_at - m->start);
  m->p->bytes += bytes;
  return CN_OK;
}

/* `bytes` in a chunk, aligned for any value; they live as long as the pickle. */
static CnErr take(Machine *m, void *out, size_t bytes) {
  Chunk *c = m->p->chunk;
  bytes = (bytes + 15) / 16 * 16;
  if (!c || c->size - c->used < bytes) {
    size_t size = c ? CHUNK : CHUNK / 8;
    if (size < bytes) size = bytes;
    CN_TRY(spend(m, sizeof *c + size));
    if (!(c = cn_alloc(sizeof *c + size))) return CN_EMEMORY;
    *c = (Chunk){ .before = m->p->chunk, .size = size };
    m->p->chunk = c;
  }
  *(void **)out = c->data + c->used;
  c->used += bytes;
  return CN_OK;
}

/* Room for one element more in an array of its own. */
static CnErr reserve(Machine *m, void *array, size_t *room, size_t count, size_t size) {
  if (count < *room) return CN_OK;
  size_t more = *room ? 2 * *room : 64;
  CN_TRY(spend(m, more * size));
  char *grown = cn_alloc(more * size);
  if (!grown) return CN_EMEMORY;
  if (count) memcpy(grown, *(void **)array, count * size);
  cn_free(*(void **)array);
  m->p->bytes -= *room * size;
  *(void **)array = grown;
  *room = more;
  return CN_OK;
}

static CnErr push(Machine *m, CnPickleValue v) {
  CN_TRY(reserve(m, &m->stack, &m->stack_room, m->stack_count, sizeof v));
  m->stack[m->stack_count++] = v;
  return CN_OK;
}

static CnErr new_list(Machine *m, CnPickleValue *out, CnPickleKind kind, uint32_t capacity) {
  CnPickleList *list;
  CN_TRY(take(m, &list, sizeof *list));
  *list = (CnPickleList){ .capacity = capacity };
  if (capacity) CN_TRY(take(m, &list->item, capacity * sizeof *list->item));
  *out = (CnPickleValue){ .kind = kind, .as.list = list };
  return CN_OK;
}

/* Adds the top `count` values of the stack to the list, and takes them away. */
static CnErr extend(Machine *m, CnPickleList *list, size_t count) {
  if (count > UINT32_MAX / 2 - list->count) return fail(m, "a list is too long");
  uint32_t needed = list->count + (uint32_t)count;
  if (needed > list->capacity) {
    uint32_t capacity = needed > 2 * list->capacity ? needed : 2 * list->capacity;
    CnPickleValue *grown;
    CN_TRY(take(m, &grown, capacity * sizeof *grown));
    if (list->count) memcpy(grown, list->item, list->count * sizeof *grown);
    list->item = grown;
    list->capacity = capacity;
  }
  if (count) memcpy(list->item + list->count, m->stack + m->stack_count - count, count * sizeof *list->item);
  list->count = needed;
  m->stack_count -= count;
  return CN_OK;
}

/* ---- the program's bytes ---- */

static CnErr fill_window(Machine *m) {
  size_t size = m->end - m->at < WINDOW ? (size_t)(m->end - m->at) : WINDOW;
  m->window_at = m->at;
  m->window_size = size;
  return cn_reader_get(m->file, m->window, m->at, size);
}

static CnErr get(Machine *m, void *to, size_t size) {
  if (size > m->end - m->at) return fail(m, "it is cut");
  for (char *out = to; size > 0;) {
    if (m->at - m->window_at >= m->window_size) CN_TRY(fill_window(m));
    size_t from = (size_t)(m->at - m->window_at), n = m->window_size - from;
    if (n > size) n = size;
    memcpy(out, m->window + from, n);
    out += n;
    m->at += n;
    size -= n;
  }
  return CN_OK;
}

static CnErr get_number(Machine *m, uint64_t *out, int bytes) {
  unsigned char b[8];
  CN_TRY(get(m, b, (size_t)bytes));
  *out = 0;
  for (int i = bytes - 1; i >= 0; i--) *out = *out << 8 | b[i];
  return CN_OK;
}

/* ---- numbers and texts ---- */

static CnErr push_integer(Machine *m, int bytes) {
  uint64_t n;
  CN_TRY(get_number(m, &n, bytes));
  return push(m, (CnPickleValue){ .kind = CN_PK_INT, .as.integer = bytes == 4 ? (int32_t)(uint32_t)n : (int64_t)n });
}

/* A count of bytes, then those of the number, the lowest first, in two's complement. */
static CnErr push_long(Machine *m) {
  uint64_t size;
  unsigned char b[255] = { 0 };
  CN_TRY(get_number(m, &size, 1));
  CN_TRY(get(m, b, size));
  bool negative = size > 0 && b[size - 1] >= 128;
  if (size > 8) { /* beyond 64 bits: to the nearest float, or nearly */
    double value = 0;
    for (size_t i = size; i-- > 0;) value = value * 256 + (negative ? 255 - b[i] : b[i]);
    return push(m, (CnPickleValue){ .kind = CN_PK_FLOAT, .as.number = negative ? -value - 1 : value });
  }
  uint64_t n = negative ? UINT64_MAX : 0;
  for (size_t i = size; i-- > 0;) n = n << 8 | b[i];
  return push(m, (CnPickleValue){ .kind = CN_PK_INT, .as.integer = (int64_t)n });
}

static CnErr push_float(Machine *m) {
  unsigned char b[8];
  uint64_t bits = 0;
  CnPickleValue v = { .kind = CN_PK_FLOAT };
  CN_TRY(get(m, b, 8));
  for (int i = 0; i < 8; i++) bits = bits << 8 | b[i];
  memcpy(&v.as.number, &bits, sizeof bits);
  return push(m, v);
}

static CnErr push_text(Machine *m, int length_bytes) {
  uint64_t length;
  char *text;
  CN_TRY(get_number(m, &length, length_bytes));
  if (length > m->end - m->at) return fail(m, "a text is longer than the file");
  CN_TRY(take(m, &text, (size_t)length + 1));
  CN_TRY(get(m, text, (size_t)length));
  text[length] = 0;
  return push(m, (CnPickleValue){ .kind = CN_PK_TEXT, .length = (uint32_t)length, .as.text = text });
}

/* ---- the stack ---- */

/* Takes the top value off. One below the last mark belongs to somebody else. */
static CnErr pop(Machine *m, CnPickleValue *out) {
  if (m->stack_count == (m->mark_count ? m->mark[m->mark_count - 1] : 0)) return fail(m, "its stack is empty");
  *out = m->stack[--m->stack_count];
  return CN_OK;
}

static CnErr push_mark(Machine *m) {
  CN_TRY(reserve(m, &m->mark, &m->mark_room, m->mark_count, sizeof *m->mark));
  m->mark[m->mark_count++] = (uint32_t)m->stack_count;
  return CN_OK;
}

/* How many values lie above the last mark, which is taken away. */
static CnErr pop_mark(Machine *m, size_t *count) {
  if (!m->mark_count) return fail(m, "there is no mark");
  *count = m->stack_count - m->mark[--m->mark_count];
  return CN_OK;
}

static CnErr make_tuple(Machine *m, size_t count) {
  CnPickleValue v;
  size_t floor = m->mark_count ? m->mark[m->mark_count - 1] : 0;
  if (m->stack_count - floor < count) return fail(m, "its stack is empty");
  if (count > UINT32_MAX / 2) return fail(m, "a tuple is too long");
  CN_TRY(new_list(m, &v, CN_PK_TUPLE, (uint32_t)count));
  CN_TRY(extend(m, v.as.list, count));
  return push(m, v);
}

/* The values above the mark into the list or dict below it. `step`: 2 for keys and values. */
static CnErr add_items(Machine *m, CnPickleKind kind, size_t count, size_t step) {
  size_t floor = m->mark_count ? m->mark[m->mark_count - 1] : 0;
  if (m->stack_count - floor <= count) return fail(m, "its stack is empty");
  CnPickleValue *to = &m->stack[m->stack_count - count - 1];
  if (to->kind != kind || count % step)
    return fail(m, kind == CN_PK_DICT ? "something that is not a dict gets entries, or a key has no value"
                                      : "something that is not a list gets entries");
  return extend(m, to->as.list, count);
}

static CnErr add_marked(Machine *m, CnPickleKind kind, size_t step) {
  size_t count = 0;
  CN_TRY(pop_mark(m, &count));
  return add_items(m, kind, count, step);
}

static CnErr push_empty(Machine *m, CnPickleKind kind) {
  CnPickleValue v;
  CN_TRY(new_list(m, &v, kind, 0));
  return push(m, v);
}

/* ---- the memo ---- */

/* Places come in turn; the writers of Python 2 leave out the first. */
static CnErr put_memo(Machine *m, uint64_t at) {
  if (m->stack_count == (m->mark_count ? m->mark[m->mark_count - 1] : 0)) return fail(m, "its stack is empty");
  if (at > m->memo_count + 1) return fail(m, "a place of the memo is left out");
  while (m->memo_count <= at) {
    CN_TRY(reserve(m, &m->memo, &m->memo_room, m->memo_count, sizeof *m->memo));
    m->memo[m->memo_count++] = (CnPickleValue){ .kind = CN_PK_NAME, .as.name = -1 };
  }
  m->memo[at] = m->stack[m->stack_count - 1];
  return CN_OK;
}

static CnErr get_memo(Machine *m, uint64_t at) {
  if (at >= m->memo_count || (m->memo[at].kind == CN_PK_NAME && m->memo[at].as.name < 0))
    return fail(m, "a place of the memo is read before it is written");
  return push(m, m->memo[at]);
}

static CnErr use_memo(Machine *m, CnErr (*use)(Machine *, uint64_t), int bytes) {
  uint64_t at;
  CN_TRY(get_number(m, &at, bytes));
  return use(m, at);
}

/* ---- names and calls ---- */

static CnErr get_line(Machine *m, char line[MAX_NAME + 1]) {
  for (int n = 0; n <= MAX_NAME; n++) {
    CN_TRY(get(m, line + n, 1));
    if (line[n] == '\n') {
      line[n] = 0;
      return CN_OK;
    }
    if (line[n] < 32 || line[n] > 126) line[n] = '?'; /* as no allowed name has; for the message */
  }
  line[MAX_NAME] = 0;
  return CN_OK;
}

static CnErr push_name(Machine *m) {
  char module[MAX_NAME + 1], name[MAX_NAME + 1];
  CnPickleValue v = { .kind = CN_PK_NAME, .as.name = -1 };
  CN_TRY(get_line(m, module));
  CN_TRY(get_line(m, name));
  for (int i = 0; i < STORAGES; i++)
    if (strcmp(module, callables[i].module) == 0 && strcmp(name, callables[i].name) == 0) v.as.name = i;
  for (int i = 0; i < CN_ELEMENTS; i++)
    if (strcmp(module, "torch") == 0 && strcmp(name, cn_element_storage((CnElement)i)) == 0) v.as.name = STORAGES + i;
  if (v.as.name < 0)
    return cn_fail(CN_EDATA, "%s: opcode GLOBAL at byte %" PRIu64 " names '%s %s', which is not read: save the model's "
                   "state_dict() alone, with tensors and plain values", m->what, m->op_at - m->start, module, name);
  return push(m, v);
}

static bool is_count(const CnPickleValue *v) { return v->kind == CN_PK_INT && v->as.integer >= 0; }

/* Of ('storage', type, key, place, count [, view]): the storage; its numbers lie elsewhere in the file. */
static CnErr push_storage(Machine *m) {
  CnPickleValue id = { 0 };
  CnPickleStorage *s;
  CN_TRY(pop(m, &id));
  const CnPickleList *list = id.kind == CN_PK_TUPLE ? id.as.list : NULL;
  const CnPickleValue *v = list ? list->item : NULL;
  bool counted = list && (list->count == 5 || list->count == 6);
  if (!counted || v[0].kind != CN_PK_TEXT || strcmp(v[0].as.text, "storage") != 0)
    return fail(m, "a persistent id is not that of a storage");
  if (v[1].kind != CN_PK_NAME || v[1].as.name < STORAGES || v[2].kind != CN_PK_TEXT || v[3].kind != CN_PK_TEXT ||
      !is_count(&v[4]) || strlen(v[2].as.text) != v[2].length)
    return fail(m, "a storage's type, key, place or size is of the wrong kind");
  if (list->count == 6 && v[5].kind != CN_PK_NONE) return fail(m, "a storage is a view of another one");
  CN_TRY(take(m, &s, sizeof *s));
  *s = (CnPickleStorage){ .key = v[2].as.text, .element = (CnElement)(v[1].as.name - STORAGES),
                          .count = v[4].as.integer, .next = m->p->storages, .at = m->op_at - m->start };
  m->p->storages = s;
  return push(m, (CnPickleValue){ .kind = CN_PK_STORAGE, .as.storage = s });
}

/* Whole numbers, not negative, as many as a tensor may have sizes. */
static CnErr read_sizes(Machine *m, const CnPickleValue *v, int64_t sizes[CN_MAX_DIMS], int *count) {
  if (v->kind != CN_PK_TUPLE) return fail(m, "a tensor's shape or strides are not a tuple");
  if (v->as.list->count > CN_MAX_DIMS) return fail(m, "a tensor has more than 6 dimensions");
  *count = (int)v->as.list->count;
  for (int i = 0; i < *count; i++) {
    if (!is_count(&v->as.list->item[i])) return fail(m, "a tensor's sizes and strides must be whole and not negative");
    sizes[i] = v->as.list->item[i].as.integer;
  }
  return CN_OK;
}

/* Every element lies inside the storage, and there are no more of them than of the storage's own. */
static CnErr check_view(Machine *m, CnPickleTensor *t) {
  int64_t last = t->offset, count = 8; /* bytes, with every size 0 taken for 1 */
  bool empty = false, over = false;
  for (int i = 0; i < t->ndim; i++) {
    int64_t step;
    over |= t->shape[i] != 0 && __builtin_mul_overflow(count, t->shape[i], &count);
    empty |= t->shape[i] == 0;
    if (empty) continue;
    over |= __builtin_mul_overflow(t->shape[i] - 1, t->stride[i], &step) || __builtin_add_overflow(last, step, &last);
  }
  if (over) return fail(m, "a tensor is too large");
  if (empty) { /* of nothing, nothing can lie outside */
    t->offset = 0;
    for (int i = 0; i < t->ndim; i++) t->stride[i] = 0;
    return CN_OK;
  }
  if (last >= t->storage->count) return fail(m, "a tensor reaches beyond its storage");
  if (count / 8 > t->storage->count)
    return fail(m, "a tensor has more elements than its storage (an expanded one must be saved as contiguous())");
  return CN_OK;
}

/* (storage, offset, size, stride, requires_grad, backward_hooks [, metadata]) */
static CnErr rebuild_tensor(Machine *m, const CnPickleList *list, CnPickleValue *out) {
  const CnPickleValue *v = list->item;
  CnPickleTensor *t;
  int strides;
  bool plain = list->count == 6 || (list->count == 7 && (v[6].kind == CN_PK_NONE ||
                                                         (v[6].kind == CN_PK_DICT && v[6].as.list->count == 0)));
  if (!plain || v[0].kind != CN_PK_STORAGE || !is_count(&v[1]))
    return fail(m, "a tensor is not made of a storage, an offset, sizes and strides");
  CN_TRY(take(m, &t, sizeof *t));
  *t = (CnPickleTensor){ .storage = v[0].as.storage, .offset = v[1].as.integer };
  CN_TRY(read_sizes(m, &v[2], t->shape, &t->ndim));
  CN_TRY(read_sizes(m, &v[3], t->stride, &strides));
  if (strides != t->ndim) return fail(m, "a tensor has not as many strides as sizes");
  *out = (CnPickleValue){ .kind = CN_PK_TENSOR, .as.tensor = t };
  return check_view(m, t);
}

/* OrderedDict(), or of a list of pairs, as Python 2 writes it. */
static CnErr ordered_dict(Machine *m, const CnPickleList *list, CnPickleValue *out) {
  if (list->count > 1 || (list->count == 1 && list->item[0].kind != CN_PK_LIST))
    return fail(m, "an OrderedDict is made of something else than a list of pairs");
  const CnPickleList *pairs = list->count ? list->item[0].as.list : NULL;
  uint32_t count = pairs ? pairs->count : 0;
  CN_TRY(new_list(m, out, CN_PK_DICT, 2 * count));
  for (uint32_t i = 0; i < count; i++) {
    const CnPickleValue *pair = &pairs->item[i];
    if ((pair->kind != CN_PK_LIST && pair->kind != CN_PK_TUPLE) || pair->as.list->count != 2)
      return fail(m, "an OrderedDict is made of something else than a list of pairs");
    memcpy(out->as.list->item + 2 * i, pair->as.list->item, 2 * sizeof *pair);
  }
  out->as.list->count = 2 * count;
  return CN_OK;
}

static CnErr reduce(Machine *m) {
  CnPickleValue arguments = { 0 }, callable = { 0 }, made = { 0 };
  CN_TRY(pop(m, &arguments));
  CN_TRY(pop(m, &callable));
  if (callable.kind != CN_PK_NAME || callable.as.name >= STORAGES || arguments.kind != CN_PK_TUPLE)
    return fail(m, "something is called that is no function, or not with a tuple");
  const CnPickleList *list = arguments.as.list;
  switch (callable.as.name) {
    case ORDERED_DICT: CN_TRY(ordered_dict(m, list, &made)); break;
    case REBUILD_TENSOR: CN_TRY(rebuild_tensor(m, list, &made)); break;
    case REBUILD_PARAMETER:
      if (list->count != 3 || list->item[0].kind != CN_PK_TENSOR) return fail(m, "a parameter is not made of a tensor");
      made = list->item[0];
      break;
    default: /* SIZE */
      if (list->count != 1 || list->item[0].kind != CN_PK_TUPLE) return fail(m, "a Size is not made of a tuple");
      made = list->item[0];
  }
  return push(m, made);
}

/* The attributes of a dict are its format's versions: not read. */
static CnErr build(Machine *m) {
  CnPickleValue state = { 0 }, object = { 0 };
  CN_TRY(pop(m, &state));
  CN_TRY(pop(m, &object));
  if (object.kind != CN_PK_DICT || state.kind != CN_PK_DICT)
    return fail(m, "something that is not an OrderedDict gets attributes");
  return push(m, object);
}

/* ---- running ---- */

static CnErr refuse(const Machine *m, unsigned char op) {
  const char *name = "unknown";
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
    if (refused[i].code == op) name = refused[i].name;
  return cn_fail(CN_EDATA, "%s: opcode %s (0x%02x) at byte %" PRIu64 " of the pickle is not one that is read: only "
                 "state_dicts and plain values are, saved with PyTorch's own pickle protocol 2", m->what, name, op,
                 m->op_at - m->start);
}

static CnErr check_protocol(Machine *m) {
  uint64_t version;
  CN_TRY(get_number(m, &version, 1));
  return version == 2 ? CN_OK : fail(m, "its protocol is not 2");
}

static CnErr tuple_of_marked(Machine *m) {
  size_t count = 0;
  CN_TRY(pop_mark(m, &count));
  return make_tuple(m, count);
}

static CnErr perform(Machine *m, unsigned char op) {
  switch (op) {
    case PROTO: return check_protocol(m);
    case MARK: return push_mark(m);
    case NONE: return push(m, (CnPickleValue){ .kind = CN_PK_NONE });
    case NEWTRUE: return push(m, (CnPickleValue){ .kind = CN_PK_BOOL, .as.boolean = true });
    case NEWFALSE: return push(m, (CnPickleValue){ .kind = CN_PK_BOOL });
    case BININT: return push_integer(m, 4);
    case BININT1: return push_integer(m, 1);
    case BININT2: return push_integer(m, 2);
    case LONG1: return push_long(m);
    case BINFLOAT: return push_float(m);
    case BINUNICODE: return push_text(m, 4);
    case SHORT_BINSTRING: return push_text(m, 1);
    case EMPTY_DICT: return push_empty(m, CN_PK_DICT);
    case EMPTY_LIST: return push_empty(m, CN_PK_LIST);
    case EMPTY_TUPLE: return make_tuple(m, 0);
    case TUPLE: return tuple_of_marked(m);
    case TUPLE1: return make_tuple(m, 1);
    case TUPLE2: return make_tuple(m, 2);
    case TUPLE3: return make_tuple(m, 3);
    case SETITEM: return add_items(m, CN_PK_DICT, 2, 2);
    case SETITEMS: return add_marked(m, CN_PK_DICT, 2);
    case APPEND: return add_items(m, CN_PK_LIST, 1, 1);
    case APPENDS: return add_marked(m, CN_PK_LIST, 1);
    case BINPUT: return use_memo(m, put_memo, 1);
    case LONG_BINPUT: return use_memo(m, put_memo, 4);
    case BINGET: return use_memo(m, get_memo, 1);
    case LONG_BINGET: return use_memo(m, get_memo, 4);
    case GLOBAL: return push_name(m);
    case BINPERSID: return push_storage(m);
    case REDUCE: return reduce(m);
    case BUILD: return build(m);
    default: return refuse(m, op);
  }
}

/* To STOP, which must find one value. */
static CnErr run(Machine *m) {
  for (;;) {
    unsigned char op;
    m->op_at = m->at;
    CN_TRY(get(m, &op, 1));
    if (m->op_at == m->start && op != PROTO) return fail(m, "it does not begin with its protocol");
    if (op == STOP) break;
    CN_TRY(perform(m, op));
  }
  if (m->stack_count != 1 || m->mark_count) return fail(m, "it does not end with one value");
  m->p->value = m->stack[0];
  return CN_OK;
}

/* ---- the last check ---- */

enum { NEW, OPEN, DONE };

/* What lies in the list, if anything: how deep, and how much. A list that is met while it is open contains itself. */
static CnErr measure(Machine *m, const CnPickleValue *v, int level) {
  if (v->kind != CN_PK_TUPLE && v->kind != CN_PK_LIST && v->kind != CN_PK_DICT) return CN_OK;
  CnPickleList *list = v->as.list;
  if (list->visit == OPEN) return fail(m, "a list contains itself");
  if (level > MAX_DEPTH || (list->visit == DONE && level + list->depth > MAX_DEPTH))
    return fail(m, "its values are nested more than 64 deep");
  if (list->visit == DONE) return CN_OK;
  uint64_t unfolded = 1;
  list->visit = OPEN;
  for (uint32_t i = 0; i < list->count; i++) {
    const CnPickleValue *item = &list->item[i];
    bool nested = item->kind == CN_PK_TUPLE || item->kind == CN_PK_LIST || item->kind == CN_PK_DICT;
    CN_TRY(measure(m, item, level + 1));
    unfolded += nested ? item->as.list->unfolded : 1;
    if (nested && item->as.list->depth >= list->depth) list->depth = (uint8_t)(item->as.list->depth + 1);
    if (unfolded > MAX_UNFOLDED) return fail(m, "its values, shared ones written out, are more than four million");
  }
  list->unfolded = (uint32_t)unfolded;
  list->visit = DONE;
  return CN_OK;
}

CnErr cn_pickle_read(CnPickle **out, CnReader *file, uint64_t *offset, uint64_t end, const char *what, size_t limit) {
  CnPickle *p = cn_alloc_zeroed(sizeof *p);
  Machine m = { .p = p, .file = file, .what = what, .limit = limit, .start = *offset, .at = *offset, .end = end,
                .op_at = *offset };
  if (!p) return CN_EMEMORY;
  m.window = cn_alloc(end - *offset < WINDOW ? (size_t)(end - *offset) : WINDOW);
  CnErr e = m.window ? run(&m) : CN_EMEMORY;
  if (e == CN_OK) e = measure(&m, &p->value, 1);
  cn_free(m.window);
  cn_free(m.stack);
  cn_free(m.memo);
  cn_free(m.mark);
  p->bytes -= m.stack_room * sizeof *m.stack + m.memo_room * sizeof *m.memo + m.mark_room * sizeof *m.mark;
  if (e != CN_OK) {
    cn_pickle_free(p);
    return e;
  }
  *offset = m.at;
  *out = p;
  return CN_OK;
}

void cn_pickle_free(CnPickle *p) {
  if (!p) return;
  while (p->chunk) {
    Chunk *c = p->chunk;
    p->chunk = c->before;
    cn_free(c);
  }
  cn_free(p);
}

const CnPickleValue *cn_pickle_value(const CnPickle *p) { return &p->value; }
CnPickleStorage *cn_pickle_storages(const CnPickle *p) { return p->storages; }
size_t cn_pickle_bytes(const CnPickle *p) { return p->bytes; }

const CnPickleValue *cn_pickle_find(const CnPickleValue *dict, const char *key) {
  const CnPickleList *list = dict->kind == CN_PK_DICT ? dict->as.list : NULL;
  for (uint32_t i = list ? list->count : 0; i > 0; i -= 2)
    if (list->item[i - 2].kind == CN_PK_TEXT && strcmp(list->item[i - 2].as.text, key) == 0) return &list->item[i - 1];
  return NULL;
}
