// SPDX-License-Identifier: GPL-2.0-only
/*
  The I/O thread of a client.
*/
#ifndef AKM_IO_H
#define AKM_IO_H

#include <stdbool.h>

struct client;

void *io_thread(void *client);

/* What the I/O thread does again and again. Returns false once it was the last time. */
bool io_round(struct client *client);

#endif
