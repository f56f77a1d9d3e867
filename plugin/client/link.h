// SPDX-License-Identifier: GPL-2.0-only
/*
  The connection to one agent. Only the I/O thread calls these, without the lock.
*/
#ifndef AKM_LINK_H
#define AKM_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/failure.h"

struct client;
struct client_io;

/* Starts the agent, or begins to wait for one that listens. */
void link_begin(struct client *client);

/* While waiting for somebody to listen: tries to connect if it is time to. */
void link_try_connect(struct client *client, int64_t now);

/* The connection is over. why NULL: the agent closed it; otherwise we do, and end the agent. */
void link_drop(struct client *client, const struct failure *why);

/* The agent answered HELLO with failure. */
void link_refused(struct client *client, const struct failure *failure);

/* Closes the socket and forgets what was half read or written. The child stays to be reaped. */
void link_close(struct client *client);

/* Waits for the child, whose connection was closed, to end, and kills it if it does not. */
void link_reap(struct client *client);

/* A killed child that has not ended yet: reaped by and by. */
void link_reap_later(struct client_io *io, pid_t child);

/* Reaps what has ended since. Returns whether some child has not. */
bool link_reap_unreaped(struct client_io *io);

#endif
