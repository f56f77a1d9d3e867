// SPDX-License-Identifier: GPL-2.0-only
/*
  Failures of keys in the last seconds, for the statements that needed them: the server itself only tells them "Wrong create
  options" or "corrupted". Pure: the clock (ms) is passed in, the caller locks.
*/
#ifndef AKM_REASONS_H
#define AKM_REASONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/failure.h"

#define REASON_SLOTS 16u
#define REASON_KEPT_MS 10000

struct reason
{
  uint32_t id;                          /* 0: free */
  uint32_t version;                     /* 0: the key id as such */
  int64_t at;                           /* ms */
  struct failure failure;
};

/* The failures. All zero is none. */
struct reasons
{
  struct reason slots[REASON_SLOTS];
  size_t next;
};

/* Remembers a failure, in the place of the oldest. */
void reasons_add(struct reasons *reasons, uint32_t id, uint32_t version, const struct failure *failure, int64_t now);

/* Returns the newest failure of that key, until the next reasons_add(); NULL: none in the last seconds. */
const struct failure *reasons_find(const struct reasons *reasons, uint32_t id, uint32_t version, int64_t now);

/* Returns what any user may read of a failure: the cause, without accounts, roles, paths or texts of KMS. Never NULL. */
const char *reason_for_everybody(const struct failure *failure);

#endif
