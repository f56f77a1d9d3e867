// SPDX-License-Identifier: GPL-2.0-only
/*
  Why keys could not be had in the last seconds, for the statement that needed them: the server tells it "Wrong create options"
  or "corrupted". Pure: the clock is passed in, the caller locks.
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

/* All zero is empty. */
struct reasons
{
  struct reason slots[REASON_SLOTS];
  size_t next;
};

void reasons_add(struct reasons *reasons, uint32_t id, uint32_t version, const struct failure *failure, int64_t now);

/* The newest for that key; NULL: none in the last seconds. */
const struct failure *reasons_find(const struct reasons *reasons, uint32_t id, uint32_t version, int64_t now);

/*
  What any user may read of a failure: the cause without accounts, roles, paths or texts of KMS. Never NULL.
*/
const char *reason_for_everybody(const struct failure *failure);

#endif
