/* fiber.cpp - fibers switched in a few instructions, on x86-64 and aarch64; by ucontext elsewhere, ten times slower. */
#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(SIMT_UCONTEXT)
#define SIMT_UCONTEXT
#endif
#ifdef SIMT_UCONTEXT
#include <ucontext.h>
#endif

namespace simt {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t STACK = 256 << 10; /* bytes */
#else
constexpr size_t STACK = 64 << 10;
#endif
constexpr size_t GUARD = 64 << 10; /* below the stack, not to be touched */

struct Fiber {
  char *stack; /* STACK bytes; NULL: the scheduler's own */
  const std::function<void()> *body;
  bool returned;
#ifdef SIMT_UCONTEXT
  ucontext_t context;
#else
  void *top; /* the stack pointer while it does not run */
#endif
  /* The address sanitizer's. */
  void *fake;
  const void *bottom;
  size_t size;
};

static Fiber scheduler;
static Fiber *running;
static std::vector<Fiber *> resting;

#ifndef SIMT_UCONTEXT
/* Pushes what a function must keep, leaves the stack pointer in *save, takes `to`, pops the same. */
extern "C" void simt_switch(void **save, void *to);
#if defined(__x86_64__)
constexpr int WORDS = 8, RETURN = 6; /* of a frame; which of them is where to go */
asm(R"(
.text
.globl simt_switch
.hidden simt_switch
.type simt_switch, @function
simt_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size simt_switch, . - simt_switch
)");
#else
constexpr int WORDS = 20, RETURN = 11;
asm(R"(
.text
.globl simt_switch
.hidden simt_switch
.type simt_switch, %function
simt_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x2, sp
  str x2, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size simt_switch, . - simt_switch
)");
#endif
#endif

static void arrived(Fiber *here) {
#if defined(__SANITIZE_ADDRESS__)
  bool from_scheduler = here != &scheduler;
  __sanitizer_finish_switch_fiber(here->fake, from_scheduler ? &scheduler.bottom : nullptr,
                                  from_scheduler ? &scheduler.size : nullptr);
#else
  (void)here;
#endif
}

static void change(Fiber *from, Fiber *to) {
  running = to;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&from->fake, to->bottom, to->size);
#endif
#ifdef SIMT_UCONTEXT
  swapcontext(&from->context, &to->context);
#else
  simt_switch(&from->top, to->top);
#endif
  arrived(from);
}

/* Where a fiber begins; it never returns, but is entered again with another body. */
static void first() {
  Fiber *self = running;
  arrived(self);
  for (;;) {
    (*self->body)();
    self->returned = true;
    change(self, &scheduler);
  }
}

static Fiber *fiber_new() {
  Fiber *f = new Fiber();
  void *memory = mmap(nullptr, GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, GUARD, PROT_NONE) != 0) {
    fprintf(stderr, "simt: no memory for the stack of a thread\n");
    abort();
  }
  f->stack = static_cast<char *>(memory) + GUARD;
  f->bottom = f->stack;
  f->size = STACK;
#ifdef SIMT_UCONTEXT
  getcontext(&f->context);
  f->context.uc_stack.ss_sp = f->stack;
  f->context.uc_stack.ss_size = STACK;
  makecontext(&f->context, first, 0);
#else
  uintptr_t *frame = reinterpret_cast<uintptr_t *>(f->stack + STACK) - WORDS; /* zeros */
  frame[RETURN] = reinterpret_cast<uintptr_t>(first);
  f->top = frame;
#endif
  return f;
}

Fiber *fiber_take(const std::function<void()> *body) {
  if (resting.empty()) resting.push_back(fiber_new());
  Fiber *f = resting.back();
  resting.pop_back();
  f->body = body;
  f->returned = false;
  return f;
}

void fiber_give(Fiber *fiber) { resting.push_back(fiber); }

bool fiber_enter(Fiber *fiber) {
  change(&scheduler, fiber);
  return fiber->returned;
}

void fiber_leave() { change(running, &scheduler); }

} // namespace simt
