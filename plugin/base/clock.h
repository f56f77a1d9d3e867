// SPDX-License-Identifier: GPL-2.0-only
/*
  The clock of every deadline: monotonic, in milliseconds.
*/
#ifndef AKM_CLOCK_H
#define AKM_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* Returns milliseconds of the monotonic clock: deadlines must not move when the operator sets the time. */
static inline int64_t clock_ms(void)
{
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Converts a time of clock_ms() for functions that wait until then. */
static inline struct timespec clock_timespec(int64_t ms)
{
  return (struct timespec) {.tv_sec= (time_t) (ms / 1000), .tv_nsec= (long) (ms % 1000) * 1000000};
}

/* Makes a condition whose timed waits go by clock_ms(). Returns 0 or an errno. */
static inline int clock_cond_init(pthread_cond_t *cond)
{
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  int error= pthread_cond_init(cond, &attr);
  pthread_condattr_destroy(&attr);
  return error;
}

#endif
