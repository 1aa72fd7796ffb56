/* scheduler.cpp - runs a grid block by block: the threads of a block are fibers, entered in turn until each waits or
** has returned; then the lanes of a warp that wait for each other go on, and when all threads wait at a barrier, all.
**
** A thread takes a fiber only when it is first entered and gives it back when it returns: threads that never wait share
** one. */
#include "scheduler.h"

#include <cstdarg>
#include <cstdio>
#include <memory>
#include <vector>

#include "fiber.h"

/* Bounds of the section of __shared__ variables, by the linker; NULL when no kernel has any. */
extern "C" {
extern char __start_simt_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_simt_shared[] __attribute__((weak, visibility("hidden")));
}

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace simt {

constexpr unsigned LANES = 32;

enum class State { ready, meets, waits, gone };

struct Thread {
  uint3 index;
  unsigned lane, warp;
  State state;
  Fiber *fiber;
  /* What it waits with, and what it gets. */
  const char *file;
  int line;
  Meeting what;
  unsigned mask, source;
  uint64_t value, result;
};

unsigned lane;
void *dynamic_shared;
static std::vector<Thread> threads; /* of the block that runs */
static Thread *running;

void broken(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fflush(stdout);
  fprintf(stderr, "simt: ");
  vfprintf(stderr, format, arguments);
  fprintf(stderr, " (block %u,%u,%u of %u,%u,%u; %u threads)\n", blockIdx.x, blockIdx.y, blockIdx.z, gridDim.x, gridDim.y,
          gridDim.z, static_cast<unsigned>(threads.size()));
  va_end(arguments);
  abort();
}

static uint64_t wait_as(State state, const char *file, int line) {
  Thread *self = running;
  self->state = state;
  self->file = file;
  self->line = line;
  fiber_leave();
  return self->result;
}

uint64_t meet(Meeting what, unsigned mask, uint64_t value, unsigned source, const char *file, int line) {
  running->what = what;
  running->mask = mask;
  running->value = value;
  running->source = source;
  return wait_as(State::meets, file, line);
}

int barrier(int value, const char *file, int line) {
  running->value = value != 0;
  return static_cast<int>(wait_as(State::waits, file, line));
}

static void enter(Thread *t, const std::function<void()> &body) {
  if (t->fiber == nullptr) t->fiber = fiber_take(&body);
  running = t;
  threadIdx = t->index;
  lane = t->lane;
  if (!fiber_enter(t->fiber)) return;
  t->state = State::gone;
  fiber_give(t->fiber);
}

static bool same_place(const Thread &a, const Thread &b) { return a.file == b.file && a.line == b.line; }

/* True when all lanes that `t` waits for have come. */
static bool complete(const Thread *warp, unsigned lanes, const Thread &t) {
  for (unsigned i = 0; i < LANES; i++) {
    if (!(t.mask >> i & 1)) continue;
    if (i >= lanes) broken("%s:%d: the mask %08x names lanes that the block does not have", t.file, t.line, t.mask);
    const Thread &other = warp[i];
    if (other.state == State::gone)
      broken("%s:%d: lane %u waits for lane %u, which has left the kernel", t.file, t.line, t.lane, i);
    if (other.state != State::meets) return false;
    if (other.mask != t.mask || other.what != t.what || !same_place(other, t)) {
      if (other.mask >> t.lane & 1)
        broken("%s:%d and %s:%d: lanes %u and %u of a warp wait for each other at different places or with other masks",
               t.file, t.line, other.file, other.line, t.lane, i);
      return false;
    }
  }
  return true;
}

/* Lets the lanes of t's mask go on, each with what it came for. */
static void exchange(Thread *warp, const Thread &t) {
  unsigned mask = t.mask;
  uint64_t ballot = 0;
  for (unsigned i = 0; i < LANES; i++)
    if (mask >> i & 1 && warp[i].value) ballot |= uint64_t{ 1 } << i;
  for (unsigned i = 0; i < LANES; i++) {
    if (!(mask >> i & 1)) continue;
    Thread &taker = warp[i];
    taker.result = ballot;
    if (taker.what != Meeting::shuffle) continue;
    if (!(mask >> taker.source & 1))
      broken("%s:%d: lane %u takes the value of lane %u, which the mask %08x does not name", taker.file, taker.line, i,
             taker.source, mask);
    taker.result = warp[taker.source].value;
  }
  for (unsigned i = 0; i < LANES; i++)
    if (mask >> i & 1) warp[i].state = State::ready;
}

/* Runs the lanes of a warp until each waits at a barrier or is gone. */
static void run_warp(Thread *warp, unsigned lanes, const std::function<void()> &body) {
  for (;;) {
    for (unsigned i = 0; i < lanes; i++) {
      Thread &t = warp[options().reversed ? lanes - 1 - i : i];
      if (t.state == State::ready) enter(&t, body);
    }
    Thread *meeting = nullptr;
    bool met = false;
    for (unsigned i = 0; i < lanes; i++) {
      if (warp[i].state != State::meets) continue;
      meeting = &warp[i];
      if (!complete(warp, lanes, warp[i])) continue;
      exchange(warp, warp[i]);
      met = true;
    }
    if (meeting == nullptr) return;
    if (!met)
      broken("%s:%d: lane %u waits for lanes of its warp that wait elsewhere", meeting->file, meeting->line,
             meeting->lane);
  }
}

/* All threads wait at one barrier: lets them go on. False: all are gone. */
static bool pass_barrier() {
  const Thread *first = nullptr;
  size_t gone = 0, votes = 0;
  for (const Thread &t : threads) {
    if (t.state == State::gone) {
      gone++;
      continue;
    }
    if (first == nullptr) first = &t;
    else if (!same_place(*first, t))
      broken("threads of a block wait at different barriers: %s:%d and %s:%d", first->file, first->line, t.file, t.line);
    votes += t.value;
  }
  if (first == nullptr) return false;
  if (gone > 0) broken("%s:%d: a barrier that %zu threads of the block never reach", first->file, first->line, gone);
  for (Thread &t : threads) {
    t.result = votes;
    t.state = State::ready;
  }
  return true;
}

/* Not memset: the sanitizer knows that there is room between variables. */
__attribute__((no_sanitize("address"))) static void fill(char *begin, char *end) {
  for (volatile char *p = begin; p < end; p++) *p = static_cast<char>(0xff);
}

static std::vector<std::pair<char *, char *>> of_users;

void add_shared_variables(char *begin, char *end) {
  if (begin != nullptr) of_users.push_back({ begin, end });
}

static void fill_shared_variables() {
  if (__start_simt_shared != nullptr) fill(__start_simt_shared, __stop_simt_shared);
  for (auto &section : of_users) fill(section.first, section.second);
}

static void run_block(const std::function<void()> &body) {
  unsigned count = static_cast<unsigned>(threads.size()), warps = (count + LANES - 1) / LANES;
  for (Thread &t : threads) {
    t.state = State::ready;
    t.fiber = nullptr;
  }
  do {
    for (unsigned i = 0; i < warps; i++) {
      unsigned warp = options().reversed ? warps - 1 - i : i;
      run_warp(&threads[warp * LANES], std::min(LANES, count - warp * LANES), body);
    }
  } while (pass_barrier());
}

void run_grid(dim3 grid, dim3 block, size_t shared, const std::function<void()> &body) {
  unsigned count = block.x * block.y * block.z;
  std::unique_ptr<char[]> dynamic(shared > 0 ? new char[shared] : nullptr); /* exactly: the sanitizer guards its ends */
  blockDim = block;
  gridDim = grid;
  dynamic_shared = dynamic.get();
  threads.resize(count);
  for (unsigned i = 0; i < count; i++) {
    threads[i].index = { i % block.x, i / block.x % block.y, i / (block.x * block.y) };
    threads[i].lane = i % LANES;
    threads[i].warp = i / LANES;
  }
  uint64_t blocks = uint64_t{ grid.x } * grid.y * grid.z;
  for (uint64_t i = 0; i < blocks; i++) {
    uint64_t b = options().reversed ? blocks - 1 - i : i;
    blockIdx = { static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                  static_cast<unsigned>(b / (uint64_t{ grid.x } * grid.y)) };
    fill_shared_variables();
    if (shared > 0) memset(dynamic.get(), 0xff, shared);
    run_block(body);
  }
}

} // namespace simt
