// SPDX-License-Identifier: GPL-2.0-only
/*
  Failures of the last seconds. A page of a missing key is read again and again: for a second the answer is known without
  asking, and it is logged once in ten seconds. SQL can name any number of keys, so that all of them share a budget of log
  lines. Pure: the clock (ms) is passed in, the caller locks.
*/
#ifndef AKM_RECENT_H
#define AKM_RECENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECENT_SLOTS 64u
#define RECENT_REFUSE_MS 1000
#define RECENT_QUIET_MS 10000
#define RECENT_BUDGET 20u               /* lines in RECENT_QUIET_MS */

struct recent_entry
{
  bool used;
  uint8_t kind;
  uint32_t id;
  uint32_t version;
  uint64_t reason;                      /* hash */
  int64_t failed_at;                    /* ms */
  int64_t quiet_until;                  /* ms */
};

/* The failures. All zero is none. */
struct recent
{
  struct recent_entry entries[RECENT_SLOTS];
  size_t next;
  int64_t budget_until;                 /* ms; end of the window that spent counts in */
  uint32_t spent;
  uint32_t untold;                      /* failures that the budget kept out of the log */
};

/*
  Remembers a failure of (kind, id, version), and returns whether it should be logged. reason is what stays the same when
  the failure repeats: a code rather than a text, which may name the number of a call. Failures of id 0, of no key, are
  outside the budget.
*/
bool recent_add(struct recent *recent, uint8_t kind, uint32_t id, uint32_t version, const char *reason, int64_t now);

/* Returns whether (kind, id, version) failed less than a second ago. */
bool recent_failed(const struct recent *recent, uint8_t kind, uint32_t id, uint32_t version, int64_t now);

/* Forgets that keys failed, so that each is asked for again at once. Logged failures stay remembered. */
void recent_forgive(struct recent *recent);

/*
  Returns how many failures the budget kept out of the log, once its window has ended, and counts from zero again; 0 before.
*/
uint32_t recent_untold(struct recent *recent, int64_t now);

/* Returns the time at which recent_untold() will have a count; INT64_MAX: there is none so far. */
int64_t recent_untold_at(const struct recent *recent);

#endif
