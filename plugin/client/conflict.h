// SPDX-License-Identifier: GPL-2.0-only
/* A key version that came with other bytes than the server has in memory. The memory stays as it is. */
#ifndef AKM_CONFLICT_H
#define AKM_CONFLICT_H

#include <stdint.h>

struct client;

/*
  Reports the conflict with its cure in log and status, and spoils the requests that must not succeed after it: they fail
  when they are answered. Only for the I/O thread, without the lock.
*/
void conflict_tell(struct client *client, uint32_t id, uint32_t version);

#endif
