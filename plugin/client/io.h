// SPDX-License-Identifier: GPL-2.0-only
/* The I/O thread of a client: it sends requests, reads answers and keeps the time of both. */
#ifndef AKM_IO_H
#define AKM_IO_H

#include <stdbool.h>

struct client;

/* Runs until the client is stopped: the start routine of the thread. Returns NULL. */
void *io_thread(void *client);

/* Does one round of the thread: sends, waits, reads. Returns false once the thread has to end. Without the lock. */
bool io_round(struct client *client);

#endif
