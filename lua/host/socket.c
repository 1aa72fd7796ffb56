/* socket.c - the socket of a running run, by which its owner's other terminals reach it: part of "cnas.console".
**
** It is FOLDER/.attach/socket, mode 0600 in a folder of mode 0700; where the file system of the run has no sockets,
** that folder is $XDG_RUNTIME_DIR/cnas-KEY or /tmp/cnas-UID-KEY, the key being the run's device and inode number. Both
** sides ask the kernel who the other is: nobody but the same user is talked to, not even root. The path that is bound or
** connected to goes by /proc/self/fd, so it is short however long the run's is.
**
** A message is its length (4 bytes, little-endian) and its bytes. Nothing here waits longer than it is told. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "base/progress.h"
#include "lua/bindings/binding.h"
#include "lua/host/host.h"

#define LISTENER "console.Listener"
#define CONNECTION "console.Connection"
#define NAME "socket"      /* of the socket in its folder */
#define BACKLOG 8
#define LONGEST (4 << 20)  /* bytes of a message */
#define TURN 100           /* ms between two looks for a signal */
#define CONNECT_SECONDS 3  /* while BACKLOG others stand at the door */

typedef struct Listener {
  int fd;
  int place;    /* the socket's folder, open */
  char *path;   /* of that folder */
} Listener;

typedef struct Connection {
  int fd;
  char *bytes; /* received and not yet given out */
  size_t used, size;
} Connection;

static void close_one(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* ---- where the socket is ---- */

/* Pushes the path of the socket's folder: in the run's folder, or (`elsewhere`) outside. False when that is unknown. */
static bool push_place(lua_State *L, const char *folder, bool elsewhere) {
  struct stat about;
  const char *runtime = getenv("XDG_RUNTIME_DIR");
  if (!elsewhere) {
    lua_pushfstring(L, "%s/.attach", folder);
    return true;
  }
  if (stat(folder, &about) != 0) return false;
  char key[64];
  snprintf(key, sizeof key, "%llx-%llx", (unsigned long long)about.st_dev, (unsigned long long)about.st_ino);
  if (runtime != NULL && runtime[0] == '/') lua_pushfstring(L, "%s/cnas", runtime);
  else lua_pushfstring(L, "/tmp/cnas-%d", (int)geteuid());
  lua_pushfstring(L, "%s-%s", lua_tostring(L, -1), key);
  lua_remove(L, -2);
  return true;
}

/* Opens the folder at `path`, made when `make`; -1 and errno, EPERM when it is another's or open to others. */
static int open_place(const char *path, bool make) {
  struct stat about;
  if (make && mkdir(path, 0700) != 0 && errno != EEXIST) return -1;
  int place = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (place < 0) return -1;
  if (fstat(place, &about) == 0 && about.st_uid == geteuid() && (about.st_mode & 077) == 0) return place;
  close(place);
  errno = EPERM;
  return -1;
}

static struct sockaddr_un address_in(int place) {
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" NAME, place);
  return address;
}

static bool same_user(int fd) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

/* ---- listening ---- */

static void close_listener(Listener *l) {
  if (l->fd >= 0) unlinkat(l->place, NAME, 0);
  if (l->place >= 0) rmdir(l->path);
  close_one(&l->fd);
  close_one(&l->place);
  free(l->path);
  l->path = NULL;
}

/* A socket in the folder at `path`. One that a killed run has left is replaced: whoever calls holds the run's lock. */
static bool listen_in(Listener *l, const char *path) {
  l->path = strdup(path);
  l->place = l->path != NULL ? open_place(path, true) : -1;
  int fd = l->place >= 0 ? socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
  struct sockaddr_un address = address_in(l->place);
  bool good = fd >= 0 && (unlinkat(l->place, NAME, 0) == 0 || errno == ENOENT) && fchmod(fd, 0600) == 0 &&
              bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
  if (good) l->fd = fd; /* from here on there is a file to remove */
  if (good && listen(fd, BACKLOG) == 0) return true;
  int why = errno;
  if (!good) close_one(&fd);
  close_listener(l);
  errno = why;
  return false;
}

/* listen(folder) -> listener, or nil and why there can be none. */
static int start_listening(lua_State *L) {
  const char *folder = luaL_checkstring(L, 1);
  Listener *l = lua_newuserdatauv(L, sizeof *l, 0);
  *l = (Listener){ .fd = -1, .place = -1 };
  luaL_setmetatable(L, LISTENER);
  for (int elsewhere = 0; elsewhere < 2; elsewhere++) {
    if (!push_place(L, folder, elsewhere)) break;
    bool good = listen_in(l, lua_tostring(L, -1));
    lua_pop(L, 1);
    if (good) return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, strerror(errno));
  return 2;
}

static Connection *new_connection(lua_State *L, int fd) {
  Connection *c = lua_newuserdatauv(L, sizeof *c, 0);
  *c = (Connection){ .fd = fd };
  luaL_setmetatable(L, CONNECTION);
  return c;
}

/* listener:accept() -> the next who has come, or nil. */
static int accept_one(lua_State *L) {
  Listener *l = luaL_checkudata(L, 1, LISTENER);
  Connection *c = new_connection(L, -1);
  while (l->fd >= 0 && c->fd < 0) {
    c->fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (c->fd < 0 && errno != EINTR && errno != ECONNABORTED) break;
    if (c->fd >= 0 && !same_user(c->fd)) close_one(&c->fd);
  }
  if (c->fd < 0) lua_pushnil(L);
  return 1;
}

static int free_listener(lua_State *L) { /* also listener:close() */
  close_listener(luaL_checkudata(L, 1, LISTENER));
  return 0;
}

/* ---- connecting ---- */

/* connect(folder) -> connection, or nil and "none" (nobody listens), "stale" (who listened is gone), "foreign" (it is
** another user's), "busy" (too many stand at the door), or what else went wrong. */
static int start_connection(lua_State *L) {
  const char *folder = luaL_checkstring(L, 1), *why = "none";
  Connection *c = new_connection(L, -1);
  for (int elsewhere = 0; elsewhere < 2; elsewhere++) {
    if (!push_place(L, folder, elsewhere)) break;
    int place = open_place(lua_tostring(L, -1), false), error = errno;
    lua_pop(L, 1);
    if (place < 0) {
      if (error == EPERM || error == EACCES) why = "foreign";
      continue;
    }
    struct sockaddr_un address = address_in(place);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = { .tv_sec = CONNECT_SECONDS };
    bool good = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
                connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    error = errno;
    close(place);
    if (good && same_user(fd)) {
      fcntl(fd, F_SETFL, O_NONBLOCK);
      c->fd = fd;
      return 1;
    }
    close_one(&fd);
    if (good || error == EACCES || error == EPERM) why = "foreign";
    else if (error == ECONNREFUSED) why = "stale";
    else if (error == EAGAIN) why = "busy";
    else if (error != ENOENT) why = lua_pushstring(L, strerror(error));
  }
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

/* ---- messages ---- */

static void close_connection(Connection *c) {
  close_one(&c->fd);
  free(c->bytes);
  c->bytes = NULL;
  c->used = c->size = 0;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Milliseconds to wait in one turn until `end`; 0 when it is over. */
static int turn(double end) {
  double left = (end - now()) * 1000;
  return left <= 0 ? 0 : left < TURN ? (int)left + 1 : TURN;
}

/* Takes what has come; false when the other side is gone or lies about lengths. */
static bool fill(Connection *c) {
  for (;;) {
    if (c->size - c->used < 4096) {
      char *bytes = realloc(c->bytes, c->size + 65536);
      if (bytes == NULL) return false;
      c->bytes = bytes;
      c->size += 65536;
    }
    ssize_t n = recv(c->fd, c->bytes + c->used, c->size - c->used, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    if (n == 0) return false;
    c->used += (size_t)n;
    if (c->used > LONGEST + 4) return true; /* a whole message is there, or none will be */
  }
}

/* Pushes the first whole message; 0: there is none, -1: there never will be. */
static int push_message(lua_State *L, Connection *c) {
  if (c->used < 4) return 0;
  const unsigned char *b = (const unsigned char *)c->bytes;
  size_t length = b[0] | (size_t)b[1] << 8 | (size_t)b[2] << 16 | (size_t)b[3] << 24;
  if (length > LONGEST) return -1;
  if (c->used < length + 4) return 0;
  lua_pushlstring(L, c->bytes + 4, length);
  c->used -= length + 4;
  memmove(c->bytes, c->bytes + length + 4, c->used);
  return 1;
}

/* connection:receive(seconds) -> a message, or nil and "nothing" (none came in time), "interrupted" or "gone". */
static int receive(lua_State *L) {
  Connection *c = luaL_checkudata(L, 1, CONNECTION);
  double seconds = luaL_checknumber(L, 2), end = seconds > 0 ? now() + seconds : 0;
  const char *why = "gone";
  while (c->fd >= 0) {
    bool open = fill(c);
    int pushed = push_message(L, c);
    if (pushed > 0) return 1;
    if (!open || pushed < 0) {
      close_connection(c);
      break;
    }
    why = cn_interrupt_state().count > 0 ? "interrupted" : "nothing";
    int wait = seconds > 0 ? turn(end) : 0;
    if (wait == 0 || why[0] == 'i') break;
    struct pollfd input = { c->fd, POLLIN, 0 };
    poll(&input, 1, wait);
    why = "gone";
  }
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

static bool send_all(int fd, const char *bytes, size_t size, double end) {
  while (size > 0) {
    ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      bytes += n;
      size -= (size_t)n;
      continue;
    }
    if (n < 0 && errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK) return false;
    int wait = turn(end);
    if (wait == 0) return false;
    struct pollfd output = { fd, POLLOUT, 0 };
    poll(&output, 1, wait);
  }
  return true;
}

/* connection:send(message, seconds) -> whether the other side has taken it; if not, the connection is closed. */
static int send_message(lua_State *L) {
  Connection *c = luaL_checkudata(L, 1, CONNECTION);
  size_t size;
  const char *message = luaL_checklstring(L, 2, &size);
  double end = now() + luaL_checknumber(L, 3);
  luaL_argcheck(L, size <= LONGEST, 2, "message too long");
  char head[4] = { (char)size, (char)(size >> 8), (char)(size >> 16), (char)(size >> 24) };
  bool good = c->fd >= 0 && send_all(c->fd, head, sizeof head, end) && send_all(c->fd, message, size, end);
  if (!good) close_connection(c);
  lua_pushboolean(L, good);
  return 1;
}

/* connection:rules(whether): from now on what comes from the other side interrupts the Lua code that runs. */
static int rules(lua_State *L) {
  Connection *c = luaL_checkudata(L, 1, CONNECTION);
  host_signals_guest(lua_toboolean(L, 2) ? c->fd : -1);
  return 0;
}

static int free_connection(lua_State *L) { /* also connection:close() */
  close_connection(luaL_checkudata(L, 1, CONNECTION));
  return 0;
}

/* wait(list of listeners and connections, seconds): until something comes for one of them, or a signal. The process is
** noted to be alive: others of the run wait for it. */
static int wait_for_any(lua_State *L) {
  struct pollfd any[64];
  int count = 0;
  luaL_checktype(L, 1, LUA_TTABLE);
  double end = now() + luaL_checknumber(L, 2);
  for (int i = 1; count < 64 && lua_rawgeti(L, 1, i) != LUA_TNIL; i++) {
    Listener *l = luaL_testudata(L, -1, LISTENER);
    Connection *c = luaL_testudata(L, -1, CONNECTION);
    any[count++] = (struct pollfd){ l != NULL ? l->fd : c != NULL ? c->fd : -1, POLLIN, 0 };
    lua_pop(L, 1);
  }
  for (int wait; (wait = turn(end)) > 0 && cn_interrupt_state().count == 0;) {
    cn_progress_note();
    if (poll(any, (nfds_t)count, wait) > 0) break;
  }
  return 0;
}

void host_open_socket(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "listen", start_listening }, { "connect", start_connection }, { "wait", wait_for_any }, { NULL, NULL },
  };
  static const luaL_Reg listener[] = { { "accept", accept_one }, { "close", free_listener }, { NULL, NULL } };
  static const luaL_Reg connection[] = {
    { "receive", receive }, { "send", send_message }, { "rules", rules }, { "close", free_connection }, { NULL, NULL },
  };
  cnL_type(L, LISTENER, listener, NULL, free_listener);
  cnL_type(L, CONNECTION, connection, NULL, free_connection);
  luaL_setfuncs(L, functions, 0);
}
