// SPDX-License-Identifier: GPL-2.0-only
/*
  The client of the agent. Callers queue a request and sleep on it; one I/O thread owns the connection, starts the agent
  when a request needs it, and puts the keys that arrive into the key table before the request that asked for them ends. The
  client's lock is never held while anything is read, written, started, waited for or logged: these functions may be called
  from any thread, without locks.
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

/*
  Makes a client, and starts nothing yet. The config's target and table must stay valid; the target is copied. Returns NULL
  with the reason in *failure: no memory, a target that is not one, or the server's user cannot be looked up.
*/
struct client *client_create(const struct client_config *config, struct failure *failure);

/*
  Sets a value that setting_check() accepted, and copies it. A connected agent is told before the next request. Returns
  false if there is no memory; the old value stays.
*/
bool client_set(struct client *client, enum setting setting, const char *value);

/*
  Starts the I/O thread, then the agent, and loads all stored keys. Returns a few seconds after start_timeout_ms at the
  latest. On failure the client must still be destroyed.
*/
bool client_start(struct client *client, struct failure *failure);

/*
  Ends the thread and the agent, frees everything. No request may be waiting. NULL is allowed. Returns false if the thread
  hangs in the operating system (a dead NFS): the client, its key table and the code must then stay in memory.
*/
bool client_destroy(struct client *client);

/*
  Sends OPEN: returns true once the key id has a latest version in the key table. Failures were logged. A statement waits
  for a few seconds in all, an applier for its patience; each ends when it is interrupted, and the request goes on without
  it.
*/
bool client_open(struct client *client, uint32_t id);

/*
  Sends FETCH: returns true once the key version is in the key table. Otherwise as client_open(), but an applier waits no
  longer than a statement.
*/
bool client_fetch(struct client *client, uint32_t id, uint32_t version);

/*
  Sends ROTATE of one id, or of every stored key with 0. Waits up to about half a minute, for all keys 50 ms more for each.
  A rotation that was interrupted goes on, and its end is logged. Returns false with the reason in *failure, which the caller
  logs with client_log_rotation().
*/
bool client_rotate(struct client *client, uint32_t id, const struct interrupt *interrupt,
                   struct failure *failure);

/* Logs that a rotation failed; the same failure of the same id, or of 0, is logged once in ten seconds. */
void client_log_rotation(struct client *client, uint32_t id, const struct failure *failure);

/*
  Copies the failure of the last seconds for this key into *failure. version 0: of the key id as such. Returns false if none
  is known.
*/
bool client_reason(struct client *client, uint32_t id, uint32_t version, struct failure *failure);

/* Copies the status. */
void client_get_status(struct client *client, struct client_status *status);

#endif
