// SPDX-License-Identifier: GPL-2.0-only
/*
  Failures of the last seconds. A page of a missing key is read again and again: for a second the answer is known
  without asking, and the log is told once in ten seconds. Pure: the clock is passed in, the caller locks.
*/
#ifndef AKM_RECENT_H
#define AKM_RECENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECENT_SLOTS 64u
#define RECENT_REFUSE_MS 1000
#define RECENT_QUIET_MS 10000

struct recent_entry
{
  bool used;
  uint8_t kind;
  uint32_t id;
  uint32_t version;
  uint64_t message;                     /* hash of what was said */
  int64_t failed_at;                    /* ms */
  int64_t logged_at;                    /* ms */
};

/* All zero is empty. */
struct recent
{
  struct recent_entry entries[RECENT_SLOTS];
  size_t next;
};

/* Remembers a failure of (kind, id, version). Returns whether it should be logged. */
bool recent_add(struct recent *recent, uint8_t kind, uint32_t id, uint32_t version, const char *message, int64_t now);

/* Whether (kind, id, version) failed less than a second ago. */
bool recent_failed(const struct recent *recent, uint8_t kind, uint32_t id, uint32_t version, int64_t now);

/* The next request of each key is asked again; what was logged stays remembered. */
void recent_forgive(struct recent *recent);

#endif
