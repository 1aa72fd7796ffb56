/* serve.c - for Lua specs: serve FILE URL_FILE [CUT_AFTER] serves the file on the loopback until its input ends. The
** address is written to URL_FILE; the first answer breaks off after CUT_AFTER bytes. At the end it prints how many
** requests came, and how many asked for a range. */
#include "http_server.h"

static char *read_whole(const char *path, size_t *size) {
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END) != 0) return NULL;
  *size = (size_t)ftell(f);
  rewind(f);
  char *data = malloc(*size + 1);
  if (fread(data, 1, *size, f) != *size) return NULL;
  fclose(f);
  return data;
}

/* Written under another name first: whoever waits for URL_FILE finds all of it. */
static int write_url(const char *path, const char *url) {
  char temporary[4096];
  snprintf(temporary, sizeof temporary, "%s.new", path);
  FILE *f = fopen(temporary, "w");
  return f && fputs(url, f) >= 0 && fclose(f) == 0 && rename(temporary, path) == 0;
}

int main(int argc, char **argv) {
  HttpServer server;
  size_t size = 0;
  char *body = argc >= 3 ? read_whole(argv[1], &size) : NULL;
  if (!body || !http_start(&server, body, size)) return 1;
  if (argc > 3) server.cut_after = strtoul(argv[3], NULL, 10);
  if (!write_url(argv[2], server.url)) return 1;
  while (getchar() != EOF) continue;
  printf("%d requests, %d ranges\n", server.requests, server.ranges);
  http_stop(&server);
  free(body);
  return 0;
}
