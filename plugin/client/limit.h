// SPDX-License-Identifier: GPL-2.0-only
/* The limit on the number of key versions, from which on statements create no more keys. */
#ifndef AKM_LIMIT_H
#define AKM_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "client/failure.h"

/*
  Key versions for each second of start_timeout, at which statements create no more keys: a start must be able to load them.
  A tenth of what the agent was seen to load from a KMS that takes 100 ms (docs/performance.md).
*/
#define VERSIONS_PER_START_SECOND 100u

struct client;

/* Returns whether the administrator named the key in key_ids; the default, any key, names none. Needs the lock. */
bool limit_lists(const struct client *client, uint32_t id);

/* Returns the number of key versions from which on statements create no more keys. */
uint32_t limit_of_versions(const struct client *client);

/* Returns whether the limit is reached, and the key is none that may be created nevertheless. Needs the lock. */
bool limit_is_reached(const struct client *client, uint32_t id);

/* Makes the failure of a key that is not created because of the limit. */
struct failure limit_failure(const struct client *client, uint32_t id);

/*
  Logs a warning in time when the number nears the limit, once for each five percent. Only for the I/O thread, without the
  lock.
*/
void limit_warn(struct client *client);

#endif
