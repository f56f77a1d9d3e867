// SPDX-License-Identifier: GPL-2.0-only
/*
  Output to the agent. Only the I/O thread calls these, without the lock.
*/
#ifndef AKM_OUTPUT_H
#define AKM_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;
struct client_io;

/*
  Puts into the output what the agent does not know yet: names of keys, settings, then requests. Returns false if there is no
  room for the rest yet.
*/
bool output_queue(struct client *client);

/* Asks for the missing keys on the connection that is up. */
void output_queue_reload(struct client *client);

/* Asks whether the master keys are usable. Nobody waits: what is found goes to the log and the status. */
void output_queue_check(struct client *client);

/* Has each master key used. Nobody waits: what is refused goes to the log. */
void output_queue_use(struct client *client);

/* Writes what can be written. */
void output_write(struct client_io *io);

/* A request number of this connection, not 0. */
uint32_t output_new_number(struct client_io *io);

/* Room for one frame of at most size bytes at the end of what is to be written; NULL: write first. */
uint8_t *output_space(struct client_io *io, size_t size);

#endif
