// SPDX-License-Identifier: GPL-2.0-only
/*
  The client of the agent. Callers queue a request and sleep on it; one I/O thread owns the connection, starts the agent
  when a request needs it, and puts the keys that arrive into the key table before the request that asked for them ends.
  The lock in here is never held while anything is read, written, started, waited for or logged.
*/
#ifndef AKM_CLIENT_H
#define AKM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "client/config.h"
#include "client/failure.h"
#include "client/settings.h"
#include "client/status.h"

struct client;

/* NULL: out of memory, the target is not one, or the server's user cannot be looked up. Nothing is started yet. */
struct client *client_create(const struct client_config *config, struct failure *failure);

/* Sets the value of a setting that setting_check() accepted; a connected agent is told before the next request. */
bool client_set(struct client *client, enum setting setting, const char *value);

/*
  Starts the I/O thread, then the agent, and loads all stored keys. Returns a few seconds after start_timeout_ms at the
  latest. On failure the agent must still be destroyed.
*/
bool client_start(struct client *client, struct failure *failure);

/*
  Ends the thread and the agent, frees everything. No request may be waiting. NULL is allowed. Returns false if the
  thread hangs in the operating system (a dead NFS): the agent, its key table and the code must then stay in memory.
*/
bool client_destroy(struct client *client);

/*
  OPEN: returns true once the key id has a latest version in the key table. Failures were logged. A statement waits for a few
  seconds in all, an applier for its patience; each ends when it is interrupted, and the request goes on without it.
*/
bool client_open(struct client *client, uint32_t id);

/* FETCH: returns true once the key version is in the key table. Likewise; an applier waits no longer than a statement. */
bool client_fetch(struct client *client, uint32_t id, uint32_t version);

/*
  ROTATE of one id, or of every stored key with 0. Waits up to about half a minute, for all keys 50 ms more for each. A
  rotation that was interrupted goes on; if it then fails the log is told.
*/
bool client_rotate(struct client *client, uint32_t id, const struct interrupt *interrupt,
                   struct failure *failure);

/*
  Why the key could not be had a moment ago, for the one who asked. version 0: the key id as such. Returns false if that is
  not known.
*/
bool client_reason(struct client *client, uint32_t id, uint32_t version, struct failure *failure);

void client_get_status(struct client *client, struct client_status *status);

#endif
