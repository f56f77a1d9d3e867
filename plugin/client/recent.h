// SPDX-License-Identifier: GPL-2.0-only
/*
  Failures of the last seconds. A page of a missing key is read again and again: for a second the answer is known
  without asking, and the log is told once in ten seconds. Any SQL user can name any number of keys: over all of them,
  the log has a budget. Pure: the clock is passed in, the caller locks.
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

/* All zero is empty. */
struct recent
{
  struct recent_entry entries[RECENT_SLOTS];
  size_t next;
  int64_t budget_until;                 /* ms; end of the window that spent counts in */
  uint32_t spent;
  uint32_t untold;                      /* failures that the budget kept out of the log */
};

/*
  Remembers a failure of (kind, id, version). reason is what stays the same when it happens again: a code rather than a
  text, which may name the number of a call. Returns whether it should be logged. Failures of id 0, of no key, are
  outside the budget.
*/
bool recent_add(struct recent *recent, uint8_t kind, uint32_t id, uint32_t version, const char *reason, int64_t now);

/* Whether (kind, id, version) failed less than a second ago. */
bool recent_failed(const struct recent *recent, uint8_t kind, uint32_t id, uint32_t version, int64_t now);

/* The next request of each key is asked again; what was logged stays remembered. */
void recent_forgive(struct recent *recent);

/* How many failures the budget kept out of the log, once its window has ended; each is counted once. */
uint32_t recent_untold(struct recent *recent, int64_t now);

/* When recent_untold() will have something to say; INT64_MAX: nothing so far. */
int64_t recent_untold_at(const struct recent *recent);

#endif
