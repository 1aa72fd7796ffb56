/* communicator.c - a process alone, and the thread that talks for one of many.
**
** The communication thread owns the transport: it joins, does one exchange after the other in the order in which they
** were started, and leaves. So the library of messages sees one thread, the order is the same on all ranks as soon as
** the main threads start exchanges in the same order, and an exchange goes on while main computes. */
#include "dist/communicator.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dist/transport.h"
#include "dist/heartbeat.h"

static CnWorld world; /* size 0: not joined yet */

static struct {
  pthread_mutex_t mutex;
  pthread_cond_t started, ended;
  pthread_t thread;
  bool running;           /* the thread takes exchanges */
  CnErr error;            /* of joining; then `message` tells it */
  char message[512];
  CnExchange *first, *last; /* not yet taken */
  uint64_t number;        /* of the exchange started last */
  atomic_int waiting;     /* main waits */
  atomic_int abandoned;   /* 0, or the status with which this process gives the others up */
  CnWorldEnd end;
  CnWorldWarn warn;
} c = { .mutex = PTHREAD_MUTEX_INITIALIZER, .started = PTHREAD_COND_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER };

#ifdef CN_WITH_MPI
static const CnTransport *const transport = &cn_mpi_transport;
#else
static const CnTransport *const transport = NULL;
#endif

bool cn_world_has_mpi(void) { return transport != NULL; }

/* How many processes the launcher says there are: Open MPI, MPICH and Intel MPI, MVAPICH, Slurm's own plugins. 1: no
** launcher. */
static int launched_size(void) {
  static const char *const names[] = { "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE",
                                       "SLURM_STEP_NUM_TASKS" };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const char *value = getenv(names[i]);
    if (value != NULL && atoi(value) > 0) return atoi(value);
  }
  return 1;
}

bool cn_world_launched(void) { return launched_size() > 1; }

void cn_world_listen(CnWorldEnd end, CnWorldWarn warn) {
  c.end = end;
  c.warn = warn;
}

/* ---- the communication thread ---- */

void cn_transport_rest(int *turns) {
  int status = atomic_load(&c.abandoned);
  if (status) transport->abandon(status);
  struct timespec t = { .tv_nsec = 100000 };
  ++*turns;
  if (!atomic_load_explicit(&c.waiting, memory_order_relaxed)) nanosleep(&t, NULL);
  else if (*turns < 2000) sched_yield();
  else {
    t.tv_nsec = 20000;
    nanosleep(&t, NULL);
  }
}

/* Joins; the world's rank and size as the transport tells them. */
static CnErr meet(void) {
  CnWorld joined = { 0, 0, 0 };
  CN_TRY(transport->join(&joined.rank, &joined.size));
  if (joined.size != launched_size())
    return cn_fail(CN_EUSAGE, "the launcher started %d processes, but %s finds %d: use the launcher that belongs to it "
                   "(its own mpirun, or srun --mpi=pmix)", launched_size(), transport->name, joined.size);
  joined.share = 1.0 / joined.size;
  if (c.end) CN_TRY(cn_heartbeat_start(joined.rank, joined.size, transport, c.end, c.warn));
  world = joined;
  return CN_OK;
}

static CnErr perform(CnExchange *x) {
  switch (x->kind) {
  case CN_BARRIER: return transport->barrier();
  case CN_BROADCAST: return transport->broadcast(x->data, x->bytes, x->root);
  case CN_GATHER: return transport->gather(x->own, x->data, x->bytes);
  case CN_SUM: return transport->sum(x->data, x->count, x->dtype);
  case CN_LEAVE: break;
  }
  transport->leave();
  return CN_OK;
}

/* When a process is lost the library may fail first. The watch knows better why, and ends this process. */
static void let_the_watch_speak(void) { sleep(3); }

static void *talk(void *unused) {
  CnErr e = meet();
  pthread_mutex_lock(&c.mutex);
  c.error = e;
  if (e != CN_OK) snprintf(c.message, sizeof c.message, "%s", cn_error_message());
  c.running = e == CN_OK;
  pthread_cond_broadcast(&c.ended);
  while (c.running) {
    while (c.first == NULL) pthread_cond_wait(&c.started, &c.mutex);
    CnExchange *x = c.first;
    if ((c.first = x->next) == NULL) c.last = NULL;
    pthread_mutex_unlock(&c.mutex);
    x->error = perform(x);
    if (x->error != CN_OK) {
      snprintf(x->message, sizeof x->message, "%s", cn_error_message());
      let_the_watch_speak();
    }
    pthread_mutex_lock(&c.mutex);
    c.running = x->kind != CN_LEAVE;
    atomic_store(&x->done, true);
    pthread_cond_broadcast(&c.ended);
  }
  pthread_mutex_unlock(&c.mutex);
  return unused;
}

/* ---- what main does ---- */

static CnErr start(CnExchange *x) {
  x->next = NULL;
  x->error = CN_OK;
  atomic_store(&x->done, false);
  pthread_mutex_lock(&c.mutex);
  x->number = ++c.number;
  if (c.last) c.last->next = x;
  else c.first = x;
  c.last = x;
  pthread_cond_signal(&c.started);
  pthread_mutex_unlock(&c.mutex);
  return CN_OK;
}

bool cn_exchange_done(const CnExchange *x) { return atomic_load(&x->done); }

CnErr cn_exchange_wait(CnExchange *x) {
  if (!cn_exchange_done(x)) {
    cn_heartbeat_waiting(x->number);
    atomic_store(&c.waiting, 1);
    pthread_mutex_lock(&c.mutex);
    while (!cn_exchange_done(x)) pthread_cond_wait(&c.ended, &c.mutex);
    pthread_mutex_unlock(&c.mutex);
    atomic_store(&c.waiting, 0);
    cn_heartbeat_waiting(0);
  }
  return x->error == CN_OK ? CN_OK : cn_fail(x->error, "%s", x->message);
}

/* At the process's end. A process that fails while the others work ends them. */
static void leave(int status, void *unused) {
  static CnExchange x = { .kind = CN_LEAVE };
  (void)unused;
  if (!c.running) return;
  fflush(NULL); /* the watch may end the process before exit() does it */
  if (cn_heartbeat_leave(status)) {
    start(&x);
    if (status == 0) cn_exchange_wait(&x); /* else not for ever */
    for (int i = 0; i < 100 && !cn_exchange_done(&x); i++) usleep(50000);
  } else {
    atomic_store(&c.abandoned, status);
    start(&(CnExchange){ .kind = CN_BARRIER }); /* wakes the thread, which then abandons */
    sleep(5);
  }
}

static CnErr join_many(void) {
  if (transport == NULL)
    return cn_fail(CN_EUSAGE, "this process is one of %d, but this build has no MPI: configure with CNAS_MPI=ON",
                   launched_size());
  sigset_t all, old; /* signals are the main thread's business */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int failed = pthread_create(&c.thread, NULL, talk, NULL);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (!failed) pthread_detach(c.thread);
  if (failed) return cn_fail(CN_EMEMORY, "joining: cannot start a thread (%s)", strerror(failed));
  pthread_mutex_lock(&c.mutex);
  while (!c.running && c.error == CN_OK) pthread_cond_wait(&c.ended, &c.mutex);
  pthread_mutex_unlock(&c.mutex);
  if (c.error != CN_OK) return cn_fail(c.error, "%s", c.message);
  on_exit(leave, NULL);
  return CN_OK;
}

static CnErr join(void) {
  if (world.size > 0) return CN_OK;
  if (launched_size() > 1) return join_many();
  world = (CnWorld){ 0, 1, 1 };
  return CN_OK;
}

CnErr cn_world(const CnWorld **out) {
  CN_TRY(join());
  *out = &world;
  return CN_OK;
}

bool cn_world_is_joined(void) { return world.size > 1; }

void cn_world_weigh(double share) { world.share = share; }

bool cn_world_may_report(int status) { return world.size < 2 || cn_heartbeat_may_report(status); }

/* ---- exchanges ---- */

/* Alone there is nothing to do. */
static CnErr start_among_many(CnExchange *x) {
  if (world.size > 1) return start(x);
  x->error = CN_OK;
  atomic_store(&x->done, true);
  return CN_OK;
}

CnErr cn_world_barrier(void) {
  CnExchange x = { .kind = CN_BARRIER };
  CN_TRY(join());
  CN_TRY(start_among_many(&x));
  return cn_exchange_wait(&x);
}

CnErr cn_world_broadcast(void *data, size_t bytes, int root) {
  CnExchange x = { .kind = CN_BROADCAST, .data = data, .bytes = bytes, .root = root };
  CN_TRY(join());
  if (root < 0 || root >= world.size)
    return cn_fail(CN_EUSAGE, "broadcast: root must be in 0 ... %d, got %d", world.size - 1, root);
  CN_TRY(start_among_many(&x));
  return cn_exchange_wait(&x);
}

CnErr cn_world_start_gather(CnExchange *x, const void *own, void *all, size_t bytes) {
  CN_TRY(join());
  x->kind = CN_GATHER;
  x->own = own;
  x->data = all;
  x->bytes = bytes;
  if (world.size == 1 && bytes > 0) memcpy(all, own, bytes);
  return start_among_many(x);
}

CnErr cn_world_gather(const void *own, void *all, size_t bytes) {
  CnExchange x;
  CN_TRY(cn_world_start_gather(&x, own, all, bytes));
  return cn_exchange_wait(&x);
}

CnErr cn_world_start_sum(CnExchange *x, void *data, int64_t count, CnDtype dtype) {
  CN_TRY(join());
  if (!cn_dtype_is_real(dtype))
    return cn_fail(CN_EUSAGE, "allreduce: must be f32 or f64, got %s", cn_dtype_name(dtype));
  x->kind = CN_SUM;
  x->data = data;
  x->count = count;
  x->dtype = dtype;
  return start_among_many(x);
}

CnErr cn_world_sum(void *data, int64_t count, CnDtype dtype) {
  CnExchange x;
  CN_TRY(cn_world_start_sum(&x, data, count, dtype));
  return cn_exchange_wait(&x);
}
