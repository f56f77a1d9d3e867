// SPDX-License-Identifier: GPL-2.0-only
/*
  A key version that came with other bytes than the server has in memory. Only the I/O thread calls this, without the lock.
*/
#ifndef AKM_CONFLICT_H
#define AKM_CONFLICT_H

#include <stdint.h>

struct client;

/*
  Tells log and status of it, with the cure, and spoils the requests that must not succeed after it: they fail when they are
  answered.
*/
void conflict_tell(struct client *client, uint32_t id, uint32_t version);

#endif
