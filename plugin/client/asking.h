// SPDX-License-Identifier: GPL-2.0-only
/* Callers that ask for a key which the server does not have. */
#ifndef AKM_ASKING_H
#define AKM_ASKING_H

#include <stdbool.h>
#include <stdint.h>

struct client;

/*
  Asks for the key id (FRAME_OPEN, version 0) or the key version (FRAME_FETCH). Returns true once it is in the key table; a
  failure was logged and noted. Waits as client_open() and client_fetch() say. Without the lock.
*/
bool asking_for_key(struct client *client, uint8_t type, uint32_t id, uint32_t version);

#endif
