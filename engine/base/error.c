/* error.c - the message of each thread's last failure. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[1001];

CnErr cn_fail(CnErr code, const char *format, ...) {
  char text[sizeof message]; /* arguments may point into the present message */
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  memcpy(message, text, sizeof text);
  return code;
}

CnErr cn_fail_within(CnErr code, const char *format, ...) {
  char text[sizeof message];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (n >= 0 && (size_t)n < sizeof text) snprintf(text + n, sizeof text - (size_t)n, "%s", message);
  memcpy(message, text, sizeof text);
  return code;
}

const char *cn_error_message(void) { return message; }

const char *cn_error_name(CnErr code) {
  static const char *const names[] = {
    [CN_OK] = "ok", [CN_EUSAGE] = "usage", [CN_EMEMORY] = "memory", [CN_EDATA] = "data", [CN_EIO] = "io",
    [CN_EBUSY] = "busy", [CN_ENOTFINITE] = "not-finite", [CN_EINTERRUPTED] = "interrupted", [CN_ENOKERNEL] = "no-kernel"
  };
  return names[code];
}
