/* signals.c - Ctrl-C, SIGTERM, and SIGUSR1, by which batch systems and mpirun pass a wish on.
**
** A signal is a wish (base/interrupt.h). A run that looks for it between batches stops in good order and is left alone.
** A program that does not look within the grace (longer for one whose looks have been far apart), or that gets a second
** signal, is interrupted by an error raised from a debug hook, or by the kernel that runs; a third signal ends the
** process as it would without us. While text runs that came over a socket (cnas attach), the kernel tells by SIGIO that
** something comes from there: that interrupts the text and is no wish about the run.
** A hook belongs to one coroutine, so the handler must know which one is running: resume and wrap tell. */
#include <errno.h>
#include <fcntl.h>
#include <lualib.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "lua/bindings/binding.h"
#include "lua/host/host.h"

#define HOOK_MASK (LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT)
#define HOOK_EVERY 1000 /* instructions */

static lua_State *main_state;
static lua_State *volatile running; /* the coroutine that runs, or the main state */
static pthread_t main_thread;
static double grace = 2.0; /* seconds */
static volatile sig_atomic_t guest = -1;  /* the socket whose text runs */
static volatile sig_atomic_t limited;     /* a time limit is set */
static volatile sig_atomic_t guest_wish;  /* something came from it, or the time is over */

static void hook(lua_State *L, lua_Debug *unused) {
  (void)unused;
  CnInterrupt now = cn_interrupt_state();
  double patience = grace > 0 ? grace + 3 * now.patience : 0;
  bool ripe = now.count >= 2 || guest_wish || (now.count == 1 && !now.seen && now.seconds >= patience);
  if (now.count == 1 && !now.seen && !ripe) return; /* not yet: stay */
  lua_sethook(L, NULL, 0, 0);
  if (!ripe) return;
  int signal = guest_wish ? 0 : cn_interrupt_requested(); /* seen from here on: an error is under way */
  guest_wish = 0;
  atomic_store(&cn_interrupt_at_once, false);
  cnL_raise(L, CN_EINTERRUPTED, signal == SIGTERM ? "interrupted by SIGTERM" : "interrupted");
}

/* lua_sethook may be called from a handler, on the thread that runs Lua. */
static void set_hooks(void) {
  lua_sethook(running, hook, HOOK_MASK, HOOK_EVERY);
  if (running != main_state) lua_sethook(main_state, hook, HOOK_MASK, HOOK_EVERY);
}

static void on_signal(int signal_number) {
  int saved = errno;
  if (!pthread_equal(pthread_self(), main_thread)) {
    pthread_kill(main_thread, signal_number);
  } else {
    int count = cn_interrupt_note(signal_number);
    if (count > 2) {
      signal(signal_number, SIG_DFL);
      raise(signal_number);
    }
    if (count == 2 || grace == 0) atomic_store(&cn_interrupt_at_once, true);
    set_hooks();
  }
  errno = saved;
}

static void on_guest(int signal_number) {
  int saved = errno;
  if (!pthread_equal(pthread_self(), main_thread)) {
    pthread_kill(main_thread, signal_number);
  } else if (guest >= 0 || limited) {
    guest_wish = 1;
    atomic_store(&cn_interrupt_at_once, true);
    set_hooks();
  }
  errno = saved;
}

/* What came too late for the code that it was meant for. */
static void forget_guest(void) {
  if (guest_wish) atomic_store(&cn_interrupt_at_once, cn_interrupt_state().count >= 2);
  guest_wish = 0;
}

void host_signals_limit(double seconds) {
  static timer_t timer;
  static bool made;
  struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGIO };
  struct itimerspec when = { .it_value.tv_sec = (time_t)seconds };
  when.it_value.tv_nsec = (long)((seconds - (double)when.it_value.tv_sec) * 1e9);
  if (!made && seconds > 0) made = timer_create(CLOCK_MONOTONIC, &event, &timer) == 0;
  limited = seconds > 0;
  if (made) timer_settime(timer, 0, &when, NULL);
  if (!limited && guest < 0) forget_guest();
}

void host_signals_guest(int fd) {
  int before = guest;
  if (before >= 0) fcntl(before, F_SETFL, fcntl(before, F_GETFL) & ~O_ASYNC);
  guest = fd;
  forget_guest();
  if (fd < 0) return;
  fcntl(fd, F_SETOWN, getpid());
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC);
  struct pollfd came = { fd, POLLIN, 0 };
  if (poll(&came, 1, 0) > 0) on_guest(SIGIO); /* in front of the first signal */
}

double host_signals_grace(double seconds) {
  double before = grace;
  grace = seconds;
  return before;
}

void host_signals_install(lua_State *L) {
  struct sigaction action;
  main_state = running = L;
  main_thread = pthread_self();
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART; /* files being written are not disturbed */
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGINT);
  sigaddset(&action.sa_mask, SIGTERM);
  sigaddset(&action.sa_mask, SIGUSR1);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGUSR1, &action, NULL);
  action.sa_handler = on_guest;
  sigaction(SIGIO, &action, NULL);
}

/* Makes `co` the running one until the return value is given back to leave. */
static lua_State *enter(lua_State *co) {
  lua_State *before = running;
  if (cn_interrupt_state().count > 0) lua_sethook(co, hook, HOOK_MASK, HOOK_EVERY);
  running = co;
  return before;
}

static void leave(lua_State *before) { running = before; }

/* coroutine.resume(co, ...): the library's own, upvalue 1, between enter and leave. It does not raise for a coroutine.
** */
static int resume(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  luaL_argexpected(L, co, 1, "coroutine");
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_State *before = enter(co);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  leave(before);
  return lua_gettop(L);
}

/* What coroutine.wrap returns: upvalue 1 the coroutine, upvalue 2 resume above. Errors go on to the caller. */
static int wrapped(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 2);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  if (lua_toboolean(L, 1)) return lua_gettop(L) - 1;
  lua_State *co = lua_tothread(L, lua_upvalueindex(1));
  int status = lua_status(co);
  if (status != LUA_OK && status != LUA_YIELD) { /* failed inside: run its pending __close, which may fail anew */
    if (lua_resetthread(co) != LUA_OK) {
      lua_settop(L, 1);
      lua_xmove(co, L, 1);
    }
  }
  lua_settop(L, 2);
  return lua_error(L);
}

/* coroutine.wrap(f): upvalue 1 coroutine.create, upvalue 2 resume. */
static int wrap(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, 1, 1);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_pushcclosure(L, wrapped, 2);
  return 1;
}

void host_signals_coroutines(lua_State *L) {
  lua_getglobal(L, LUA_COLIBNAME);
  lua_getfield(L, -1, "create");
  lua_getfield(L, -2, "resume");
  lua_pushcclosure(L, resume, 1);
  lua_pushvalue(L, -1);
  lua_setfield(L, -4, "resume");
  lua_pushcclosure(L, wrap, 2);
  lua_setfield(L, -2, "wrap");
  lua_pop(L, 1);
}
