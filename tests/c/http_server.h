/* http_server.h - for tests: an HTTP server on the loopback that serves one body, with ranges, and can break off.
**
** It runs in a thread of the test, answers one request after the other, and counts them. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct HttpServer {
  const char *body;
  size_t length;
  size_t cut_after; /* bytes of body in the first answer before it breaks off; 0: none */
  bool no_ranges;   /* answers range requests with the whole body */
  int status;       /* 200, or what every answer says */
  int requests, ranges;
  int socket;
  char url[64];
  pthread_t thread;
} HttpServer;

static inline void http_answer(HttpServer *s, int connection) {
  char request[4096], head[256];
  size_t have = 0;
  while (have + 1 < sizeof request) {
    ssize_t got = recv(connection, request + have, sizeof request - 1 - have, 0);
    if (got <= 0) return;
    have += (size_t)got;
    request[have] = 0;
    if (strstr(request, "\r\n\r\n")) break;
  }
  size_t from = 0, send_bytes;
  const char *range = strstr(request, "Range: bytes=");
  s->requests++;
  s->ranges += range != NULL;
  if (range && !s->no_ranges) from = strtoul(range + 13, NULL, 10);
  if (s->status != 200) {
    snprintf(head, sizeof head, "HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", s->status);
    send_bytes = 0;
  } else if (from >= s->length) {
    snprintf(head, sizeof head, "HTTP/1.1 416 No\r\nContent-Range: bytes */%zu\r\nContent-Length: 0\r\n"
             "Connection: close\r\n\r\n", s->length);
    send_bytes = 0;
  } else if (from > 0) {
    send_bytes = s->length - from;
    snprintf(head, sizeof head, "HTTP/1.1 206 Part\r\nContent-Length: %zu\r\nContent-Range: bytes %zu-%zu/%zu\r\n"
             "Connection: close\r\n\r\n", send_bytes, from, s->length - 1, s->length);
  } else {
    send_bytes = s->length;
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", send_bytes);
  }
  if (s->cut_after && s->requests == 1 && send_bytes > s->cut_after) send_bytes = s->cut_after;
  send(connection, head, strlen(head), MSG_NOSIGNAL);
  for (size_t sent = 0; sent < send_bytes;) {
    ssize_t put = send(connection, s->body + from + sent, send_bytes - sent, MSG_NOSIGNAL);
    if (put <= 0) return;
    sent += (size_t)put;
  }
}

static inline void *http_run(void *data) {
  HttpServer *s = data;
  for (int connection; (connection = accept(s->socket, NULL, NULL)) >= 0;) {
    http_answer(s, connection);
    shutdown(connection, SHUT_WR);
    close(connection);
  }
  return NULL;
}

/* Starts serving `body`; fields that are not arguments may be set between this and the first request. */
static inline bool http_start(HttpServer *s, const char *body, size_t length) {
  memset(s, 0, sizeof *s);
  s->body = body;
  s->length = length;
  s->status = 200;
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  socklen_t size = sizeof address;
  s->socket = socket(AF_INET, SOCK_STREAM, 0);
  if (s->socket < 0 || bind(s->socket, (struct sockaddr *)&address, size) != 0 || listen(s->socket, 8) != 0 ||
      getsockname(s->socket, (struct sockaddr *)&address, &size) != 0)
    return false;
  snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d/data.tar.gz", ntohs(address.sin_port));
  return pthread_create(&s->thread, NULL, http_run, s) == 0;
}

static inline void http_stop(HttpServer *s) {
  shutdown(s->socket, SHUT_RDWR); /* ends accept */
  pthread_join(s->thread, NULL);
  close(s->socket);
}

#endif
