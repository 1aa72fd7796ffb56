/* heartbeat.c - see heartbeat.h.
**
** Every process has one thread here. Rank 0's accepts the others' connections and keeps a Peer for each rank, itself
** included; the others have a connection to rank 0. All state is under one mutex; main asks and waits for the answer,
** which rank 0's thread gives, or main itself on rank 0. */
#include "dist/heartbeat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/progress.h"

#define TURN 250             /* ms between two looks */
#define ADDRESSES 8          /* of rank 0's machine */
#define CONNECT_SECONDS 5.0  /* to one address */
#define ARRIVE_SECONDS 60.0  /* for all to have come */
#define TOGETHER_SECONDS 0.3 /* after one failed: for the others to fail by themselves */
#define ANSWER_SECONDS 10    /* then main goes on without an answer */
#define LEAVING UINT64_MAX   /* waits for the others to leave */

/* What rank 0 tells the others by broadcast: where it can be reached. */
typedef struct Invitation {
  uint8_t cookie[16]; /* so that nobody else comes */
  uint16_t port;
  uint16_t addresses;
  struct in_addr address[ADDRESSES];
} Invitation;

typedef struct Host {
  char name[64];
  int32_t process;
} Host;

/* What goes over a connection, in the machine's byte order as all else. */
typedef struct Message {
  enum { HELLO = 1, BEAT, FAIL, LEAVE, GRANT, DENY, TOGETHER, END } type;
  int32_t number; /* HELLO: the rank. Others: an exit status; -1 in END: a process was lost */
  union {
    uint8_t cookie[16];
    struct { uint64_t progress, waits; } beat; /* waits: for which exchange, 0: for none */
  };
} Message;

typedef struct Peer {
  int socket; /* -1: none */
  Message incoming;
  size_t received; /* bytes of `incoming` */
  bool arrived;
  bool left;       /* said LEAVE */
  int status;      /* with which */
  double silent;   /* seconds since the last word */
  double still;    /* seconds since it came further: other progress, another exchange */
  uint64_t progress, waits;
} Peer;

static struct {
  pthread_mutex_t mutex;
  pthread_cond_t answered;
  pthread_t thread;
  bool started;
  int rank, size;
  int listener; /* rank 0 until all have come; else -1 */
  uint8_t cookie[16];
  double patience;
  CnWorldEnd end;
  CnWorldWarn warn;
  Host *host; /* (size) */
  Peer *peer; /* rank 0: (size); else one: rank 0 */
  int peers;
  _Atomic uint64_t waits; /* of this process */
  int answer;             /* a message's type, 0: none yet */
  int reporter;           /* rank 0: who may tell the user; -1: nobody asked */
  int ending;             /* rank 0: the status of the first that failed; 0: none */
  double ending_at;
  bool over;              /* everybody ends, or leaves: no silence means anything now */
} w = { .mutex = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER, .listener = -1 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void cn_heartbeat_waiting(uint64_t number) { atomic_store(&w.waits, number); }

/* ---- words ---- */

/* A message is small and the connection quiet: it never waits. A connection that broke is noticed by reading. */
static void send_to(Peer *p, int type, int number) {
  Message m = { .type = type, .number = number };
  if (p->socket < 0) return;
  if (type == BEAT) {
    m.beat.progress = atomic_load_explicit(&cn_progress, memory_order_relaxed);
    m.beat.waits = atomic_load(&w.waits);
  }
  if (type == HELLO) memcpy(m.cookie, w.cookie, sizeof m.cookie);
  ssize_t unused = send(p->socket, &m, sizeof m, MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)unused;
}

/* An answer to rank `to`; rank 0 takes its own at once. */
static void answer(int to, int type, int number) {
  if (to > 0) send_to(&w.peer[to], type, number);
  else {
    w.answer = type;
    pthread_cond_broadcast(&w.answered);
  }
}

/* Rank 0: ends everybody. Called with the mutex held; does not return. */
static void end_all(const char *message, bool lost, int status) {
  w.over = true;
  for (int r = 1; r < w.size; r++) send_to(&w.peer[r], END, lost ? -1 : status);
  w.end(message, lost, status);
}

static void lose(int rank, const char *how) {
  char message[512];
  snprintf(message, sizeof message, "lost rank %d of %d (process %d on %s): %s", rank, w.size,
           (int)w.host[rank].process, w.host[rank].name, how);
  if (w.rank == 0) end_all(message, true, 0);
  w.over = true;
  w.end(message, true, 0);
}

/* ---- rank 0: what the processes say ---- */

static void let_together(void) {
  for (int r = 0; r < w.size; r++)
    if (!w.peer[r].left && w.peer[r].arrived) return;
  w.over = true;
  for (int r = w.size - 1; r >= 0; r--) answer(r, TOGETHER, 0);
}

static void hear(int from, const Message *m) {
  Peer *p = &w.peer[from];
  p->silent = 0;
  if (m->type == BEAT) {
    if (m->beat.progress != p->progress || m->beat.waits != p->waits) p->still = 0;
    p->progress = m->beat.progress;
    p->waits = m->beat.waits;
  } else if (m->type == FAIL) {
    if (w.reporter < 0) w.reporter = from;
    answer(from, w.reporter == from ? GRANT : DENY, 0);
  } else if (m->type == LEAVE) {
    p->left = true;
    p->status = m->number;
    p->waits = LEAVING;
    if (m->number != 0 && w.ending == 0) {
      w.ending = m->number;
      w.ending_at = now() + TOGETHER_SECONDS;
    }
    let_together();
  }
}

/* ---- the others: what rank 0 says ---- */

static void obey(const Message *m) {
  w.peer[0].silent = 0;
  if (m->type == GRANT || m->type == DENY || m->type == TOGETHER) {
    if (m->type == TOGETHER) w.over = true;
    w.answer = m->type;
    pthread_cond_broadcast(&w.answered);
  } else if (m->type == END) {
    w.over = true;
    w.end(NULL, m->number < 0, m->number);
  }
}

/* ---- reading ---- */

static void gone(int rank, Peer *p) {
  close(p->socket);
  p->socket = -1;
  if (w.over || (p->left && p->status == 0)) return;
  /* The first of those that are left speaks for all: each waits for those before it. */
  if (w.rank > 1) {
    pthread_mutex_unlock(&w.mutex);
    usleep(500000u * (unsigned)(w.rank < 20 ? w.rank - 1 : 20));
    pthread_mutex_lock(&w.mutex);
  }
  if (p->left) end_all(NULL, false, p->status);
  lose(rank, "it ended without a word, killed perhaps");
}

static void read_from(int rank, Peer *p) {
  while (p->socket >= 0) {
    ssize_t n = recv(p->socket, (char *)&p->incoming + p->received, sizeof p->incoming - p->received, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
    if (n <= 0) {
      gone(rank, p);
      return;
    }
    p->received += (size_t)n;
    if (p->received < sizeof p->incoming) continue;
    p->received = 0;
    if (w.rank == 0) hear(rank, &p->incoming);
    else obey(&p->incoming);
  }
}

/* Reads exactly one message within a second from somebody who has just come. */
static bool read_hello(int socket, Message *m) {
  struct timeval second = { .tv_sec = 1 };
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
  size_t received = 0;
  while (received < sizeof *m) {
    ssize_t n = recv(socket, (char *)m + received, sizeof *m - received, 0);
    if (n <= 0) return false;
    received += (size_t)n;
  }
  return m->type == HELLO && memcmp(m->cookie, w.cookie, sizeof w.cookie) == 0;
}

static void set_up_socket(int socket) {
  int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void accept_one(void) {
  Message m;
  int socket = accept4(w.listener, NULL, NULL, SOCK_CLOEXEC);
  if (socket < 0) return;
  set_up_socket(socket);
  if (!read_hello(socket, &m) || m.number < 1 || m.number >= w.size || w.peer[m.number].arrived) {
    close(socket);
    return;
  }
  w.peer[m.number].socket = socket;
  w.peer[m.number].arrived = true;
  w.peer[m.number].silent = w.peer[m.number].still = 0;
}

static void stop_listening(void) {
  close(w.listener);
  w.listener = -1;
  for (int r = 1; r < w.size; r++) {
    char message[256];
    if (w.peer[r].arrived) continue;
    snprintf(message, sizeof message, "rank %d of %d (%s) cannot reach rank 0 (%s) over TCP: if it dies the others may "
             "wait for ever", r, w.size, w.host[r].name, w.host[0].name);
    w.warn(message);
  }
}

/* ---- judging ---- */

/* Rank 0. Waiting alone is no fault: somebody is to blame who does not wait, or, when all do, who is the furthest
** behind. */
static void judge(double seconds) {
  Peer *own = &w.peer[0], *behind = NULL;
  Message beat = { .type = BEAT, .beat = { atomic_load_explicit(&cn_progress, memory_order_relaxed),
                                           own->left ? LEAVING : atomic_load(&w.waits) } };
  hear(0, &beat);
  bool others_wait = false, all_wait = true;
  for (int r = 0; r < w.size; r++) {
    Peer *p = &w.peer[r];
    if (!p->arrived) {
      all_wait = false;
      continue;
    }
    p->still += seconds;
    if (r > 0) p->silent += seconds;
    if (p->silent > w.patience) lose(r, "it has not been heard of: stopped, or its machine is");
    others_wait = others_wait || (p->waits != 0 && p->still > w.patience);
    all_wait = all_wait && p->waits != 0 && p->still > w.patience;
    if (behind == NULL || p->waits < behind->waits) behind = p;
  }
  for (int r = 0; r < w.size && others_wait; r++)
    if (w.peer[r].arrived && w.peer[r].waits == 0 && w.peer[r].still > w.patience)
      lose(r, "it hangs: the others wait for it and it does nothing");
  if (!all_wait) return;
  for (int r = 0; r < w.size; r++)
    if (w.peer[r].left && behind->waits != LEAVING) lose(r, "it has ended and the others wait for it");
  lose((int)(behind - w.peer), "all wait for one another, and it has come the least far");
}

static void listen_to_all(struct pollfd *polled) {
  double last = now(), beat = 0, age = 0;
  pthread_mutex_lock(&w.mutex);
  for (;;) {
    int n = 0;
    for (int r = 0; r < w.peers; r++) polled[n++] = (struct pollfd){ .fd = w.peer[r].socket, .events = POLLIN };
    polled[n++] = (struct pollfd){ .fd = w.listener, .events = POLLIN };
    pthread_mutex_unlock(&w.mutex);
    poll(polled, (nfds_t)n, TURN);
    pthread_mutex_lock(&w.mutex);
    for (int r = 0; r < w.peers; r++)
      if (polled[r].revents && polled[r].fd == w.peer[r].socket) read_from(r, &w.peer[r]);
    if (w.listener >= 0 && polled[n - 1].revents) accept_one();

    double seconds = now() - last;
    last += seconds;
    if (seconds > 1) seconds = 1;
    beat += seconds;
    age += seconds;
    if (beat >= 1) {
      beat = 0;
      for (int r = 0; r < w.peers; r++) send_to(&w.peer[r], BEAT, 0);
    }
    if (w.over) continue;
    if (w.rank == 0) {
      if (w.ending != 0 && now() > w.ending_at) end_all(NULL, false, w.ending);
      judge(seconds);
      bool complete = true;
      for (int r = 1; r < w.size; r++) complete = complete && w.peer[r].arrived;
      if (w.listener >= 0 && (complete || age > ARRIVE_SECONDS)) stop_listening();
    } else if (w.peer[0].socket >= 0) {
      w.peer[0].silent += seconds;
      if (w.peer[0].silent > w.patience + 2) lose(0, "it has not been heard of: stopped, or its machine is");
    }
  }
}

static void *work(void *polled) {
  listen_to_all(polled);
  return NULL;
}

/* ---- starting ---- */

/* Rank 0: a socket that the others can come to; on this machine alone when all are on it. */
static void invite(Invitation *invitation, bool one_machine) {
  struct sockaddr_in address = { .sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(one_machine ? INADDR_LOOPBACK : INADDR_ANY) };
  socklen_t length = sizeof address;
  w.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (w.listener < 0 || bind(w.listener, (struct sockaddr *)&address, sizeof address) != 0 ||
      listen(w.listener, w.size < SOMAXCONN ? w.size : SOMAXCONN) != 0 ||
      getsockname(w.listener, (struct sockaddr *)&address, &length) != 0 ||
      getrandom(invitation->cookie, sizeof invitation->cookie, 0) != sizeof invitation->cookie) return;
  invitation->port = address.sin_port;
  if (one_machine) {
    invitation->address[invitation->addresses++] = address.sin_addr;
    return;
  }
  struct ifaddrs *list = NULL;
  if (getifaddrs(&list) != 0) return;
  for (struct ifaddrs *i = list; i != NULL && invitation->addresses < ADDRESSES; i = i->ifa_next)
    if (i->ifa_addr != NULL && i->ifa_addr->sa_family == AF_INET && (i->ifa_flags & IFF_UP) &&
        !(i->ifa_flags & IFF_LOOPBACK))
      invitation->address[invitation->addresses++] = ((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr;
  freeifaddrs(list);
}

static bool connect_within(int socket, const struct sockaddr_in *address, double seconds) {
  struct pollfd ready = { .fd = socket, .events = POLLOUT };
  int error = 0;
  socklen_t length = sizeof error;
  if (connect(socket, (const struct sockaddr *)address, sizeof *address) == 0) return true;
  if (errno != EINPROGRESS || poll(&ready, 1, (int)(1000 * seconds)) != 1) return false;
  return getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0;
}

/* The others: a connection to rank 0, by the first of its addresses that answers; none: -1. */
static int come(const Invitation *invitation) {
  for (int i = 0; i < invitation->addresses; i++) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = invitation->port,
                                   .sin_addr = invitation->address[i] };
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s >= 0 && connect_within(s, &address, CONNECT_SECONDS)) {
      set_up_socket(s);
      return s;
    }
    if (s >= 0) close(s);
  }
  return -1;
}

static CnErr meet(const CnTransport *transport) {
  Host own = { .process = (int32_t)getpid() };
  Invitation invitation = { .addresses = 0 };
  gethostname(own.name, sizeof own.name - 1);
  CN_TRY(transport->gather(&own, w.host, sizeof own));
  bool one_machine = true;
  for (int r = 1; r < w.size; r++) one_machine = one_machine && strcmp(w.host[r].name, w.host[0].name) == 0;
  if (w.rank == 0) invite(&invitation, one_machine);
  CN_TRY(transport->broadcast(&invitation, sizeof invitation, 0));
  memcpy(w.cookie, invitation.cookie, sizeof w.cookie);
  if (w.rank == 0) {
    w.peer[0].arrived = true;
  } else {
    w.peer[0].socket = come(&invitation);
    w.peer[0].arrived = w.peer[0].socket >= 0;
    send_to(&w.peer[0], HELLO, w.rank);
  }
  return CN_OK;
}

CnErr cn_heartbeat_start(int rank, int size, const CnTransport *transport, CnWorldEnd end, CnWorldWarn warn) {
  const char *patience = getenv("CNAS_PATIENCE");
  w.rank = rank;
  w.size = size;
  w.end = end;
  w.warn = warn;
  w.reporter = -1;
  w.patience = patience != NULL && atof(patience) > 0 ? atof(patience) : 45;
  w.peers = rank == 0 ? size : 1;
  w.host = cn_alloc_zeroed((size_t)size * sizeof *w.host);
  w.peer = cn_alloc_zeroed((size_t)w.peers * sizeof *w.peer);
  struct pollfd *polled = cn_alloc(((size_t)w.peers + 1) * sizeof *polled);
  if (w.host == NULL || w.peer == NULL || polled == NULL) return CN_EMEMORY;
  for (int r = 0; r < w.peers; r++) w.peer[r].socket = -1;
  CN_TRY(meet(transport));
  int failed = pthread_create(&w.thread, NULL, work, polled); /* signals are blocked here */
  if (failed) return cn_fail(CN_EMEMORY, "joining: cannot start a thread (%s)", strerror(failed));
  pthread_detach(w.thread);
  w.started = true;
  return CN_OK;
}

/* ---- what main asks ---- */

/* Says it to rank 0 and waits for the answer, a type; 0: none came. The mutex is held. */
static int ask(int type, int status) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += ANSWER_SECONDS;
  w.answer = 0;
  if (w.rank == 0) hear(0, &(Message){ .type = type, .number = status });
  else send_to(&w.peer[0], type, status);
  while (w.answer == 0 && pthread_cond_timedwait(&w.answered, &w.mutex, &until) == 0) continue;
  return w.answer;
}

static bool watched(void) { return w.started && w.peer[0].arrived; }

bool cn_heartbeat_may_report(int status) {
  if (!watched()) return true;
  pthread_mutex_lock(&w.mutex);
  int said = ask(FAIL, status);
  pthread_mutex_unlock(&w.mutex);
  return said != DENY;
}

bool cn_heartbeat_leave(int status) {
  if (!watched()) return status == 0;
  pthread_mutex_lock(&w.mutex);
  atomic_store(&w.waits, LEAVING);
  int said = TOGETHER;
  if (status != 0) said = ask(LEAVE, status);
  else if (w.rank == 0) hear(0, &(Message){ .type = LEAVE });
  else send_to(&w.peer[0], LEAVE, 0);
  pthread_mutex_unlock(&w.mutex);
  return said == TOGETHER;
}
