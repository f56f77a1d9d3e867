// SPDX-License-Identifier: GPL-2.0-only
/*
  Times at which the I/O thread acts by itself: checks of the master keys, uses of them, loads of missing keys. Only for the
  I/O thread, without the lock; now: clock_ms().
*/
#ifndef AKM_SCHEDULE_H
#define AKM_SCHEDULE_H

#include <stdint.h>

struct client;
struct client_io;

/* Plans the first check and the first use of the master keys; neither if watch_interval_ms is 0. */
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
