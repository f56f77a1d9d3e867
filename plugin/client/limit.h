// SPDX-License-Identifier: GPL-2.0-only
/*
  The limit to the number of key versions, beyond which statements create no more keys.
*/
#ifndef AKM_LIMIT_H
#define AKM_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "client/failure.h"

/*
  Statements create no key once the server has so many key versions for each second of its start_timeout: a start must be
  able to load them. A tenth of what the agent was seen to load from a KMS that takes 100 ms (docs/performance.md).
*/
#define VERSIONS_PER_START_SECOND 100u

struct client;

/* Whether the administrator named the key in key_ids; the default, any key, names none. Needs the lock. */
bool limit_lists(const struct client *client, uint32_t id);

/* With so many key versions statements create no more keys. */
uint32_t limit_of_versions(const struct client *client);

/* Whether they are there, and the key is none that may be created all the same. Needs the lock. */
bool limit_is_reached(const struct client *client, uint32_t id);

/* Why a key is not created then. */
struct failure limit_failure(const struct client *client, uint32_t id);

/* Tells the log in time that the limit comes near. Of the I/O thread, without the lock. */
void limit_warn(struct client *client);

#endif
