/* scheduler.h - what the scheduler and the runtime share. */
#ifndef SIMT_SCHEDULER_H
#define SIMT_SCHEDULER_H

#include "simt.h"

namespace simt {

/* Words of CNAS_SIMT. */
struct Options {
  bool reversed; /* blocks, warps and lanes run from the last to the first */
  bool lazy;     /* work is done only when something waits for it */
  int driver;    /* the version of CUDA that it supports; 0: there is none (`driverless`), less than ours (`outdated`) */
  int gpus;      /* 0: a driver without a GPU (`absent`) */
};
const Options &options();

/* Ends the program: a kernel broke a rule. */
[[noreturn]] void broken(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Runs a grid, block by block. One caller at a time. */
void run_grid(dim3 grid, dim3 block, size_t shared, const std::function<void()> &body);

/* Shared variables of one more object with kernels lie from `begin` to `end`. */
void add_shared_variables(char *begin, char *end);

/* Puts work on the calling thread's stream. */
void enqueue(std::function<void()> work);

} // namespace simt

#endif
