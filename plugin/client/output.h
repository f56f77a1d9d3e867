// SPDX-License-Identifier: GPL-2.0-only
/* Output to the agent. Only for the I/O thread, without the lock. */
#ifndef AKM_OUTPUT_H
#define AKM_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;
struct client_io;

/*
  Queues frames that the agent has not got yet: names of keys, settings, then requests. Returns false if there is no room
  for all of them.
*/
bool output_queue(struct client *client);

/* Queues LOAD for the missing keys, for the connection that is up. Does nothing if a LOAD is pending; likewise below. */
void output_queue_reload(struct client *client);

/* Queues CHECK, whether the master keys are usable. Nobody waits: the result goes to log and status. */
void output_queue_check(struct client *client);

/* Queues USE of each master key. Nobody waits: a refusal goes to the log. */
void output_queue_use(struct client *client);

/* Writes as much as the socket takes. */
void output_write(struct client_io *io);

/* Returns a new request number of this connection, not 0. */
uint32_t output_new_number(struct client_io *io);

/* Returns room for one frame of at most size bytes at the end of the output; NULL: there is none before more was written. */
uint8_t *output_space(struct client_io *io, size_t size);

#endif
