// SPDX-License-Identifier: GPL-2.0-only
/*
  Times at which the I/O thread acts by itself: looks at the master keys, uses of them, loads of missing keys. Only the I/O
  thread calls these, without the lock.
*/
#ifndef AKM_SCHEDULE_H
#define AKM_SCHEDULE_H

#include <stdint.h>

struct client;
struct client_io;

/* Plans the first check and the first use of the master keys; neither without a watch_interval_ms. */
void schedule_watch(struct client *client, int64_t now);

/* Plans the next check of the master keys: after nine to eleven tenths of the interval. */
void schedule_next_check(struct client *client, int64_t now);

/* Plans a use of the master keys for about the time of the next check. */
void schedule_use_soon(struct client *client, int64_t now);

/* Plans the next use of the master keys after one that succeeded: a day later, or up to an hour less. */
void schedule_next_use(struct client_io *io, int64_t now);

/* Plans a load of the missing keys after the back-off, which doubles. Does nothing if none are missing or one is planned. */
void schedule_reload(struct client *client);

#endif
