/* error.h - errors are values: a code that functions return, and a message kept for the calling thread.
**
** A function that can fail returns CnErr; on failure nothing that existed has changed unless its comment says so.
** The engine never prints, jumps or exits. Messages name the function, the argument or file, what was expected, what
** came, and what to do: "conv2d: weight must be (3,3,16,32), got (3,3,8,32)". */
#ifndef CN_ERROR_H
#define CN_ERROR_H

typedef enum CnErr {
  CN_OK = 0,
  CN_EUSAGE,       /* a wrong argument: type, shape, range, name */
  CN_EMEMORY,      /* an allocation failed */
  CN_EDATA,        /* a file's content is wrong, or a file that must be there is not */
  CN_EIO,          /* reading or writing failed: full disk, permission, network */
  CN_EBUSY,        /* a run folder is in use by another process */
  CN_ENOTFINITE,   /* a loss or gradient is NaN or infinite */
  CN_EINTERRUPTED, /* the user asked to stop */
  CN_ENOKERNEL     /* no kernel for this type on this device, or no such device */
} CnErr;

/* Sets this thread's message (cut at 1000 bytes) and returns `code`. */
CnErr cn_fail(CnErr code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts text in front of the present message ("in cells.3: "), for callers that know more; returns `code`. */
CnErr cn_fail_within(CnErr code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The message of this thread's last failure; valid until its next one. Never NULL. */
const char *cn_error_message(void);

/* A short stable name: "usage", "memory", "data", "io", "busy", "not-finite", "interrupted", "no-kernel". */
const char *cn_error_name(CnErr code);

/* Returns from the calling function when `call` fails. */
#define CN_TRY(call) do { CnErr cn_try_ = (call); if (cn_try_ != CN_OK) return cn_try_; } while (0)

#endif
