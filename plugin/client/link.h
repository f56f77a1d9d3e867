// SPDX-License-Identifier: GPL-2.0-only
/* The connection to one agent. Only for the I/O thread, without the lock. */
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

/* Tries to connect to an agent that has to listen, if it is time to. */
void link_try_connect(struct client *client, int64_t now);

/* Ends a connection. why NULL: the agent closed it; otherwise the client does, and kills the agent. */
void link_drop(struct client *client, const struct failure *why);

/* Ends a connection whose HELLO the agent answered with this failure. */
void link_refused(struct client *client, const struct failure *failure);

/* Closes the socket and forgets what was half read or written. The child stays to be reaped. */
void link_close(struct client *client);

/* Waits for the child, whose connection was closed, to end, and kills it if it does not. */
void link_reap(struct client *client);

/* Keeps a killed child that has not ended yet, to reap it later. */
void link_reap_later(struct client_io *io, pid_t child);

/* Reaps the kept children that have ended since. Returns whether some have not. */
bool link_reap_unreaped(struct client_io *io);

#endif
