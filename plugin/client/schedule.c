// SPDX-License-Identifier: GPL-2.0-only
#include "client/schedule.h"

#include <time.h>

#include "base/clock.h"
#include "client/internal.h"

#define USE_EVERY_MS (24 * 3600 * INT64_C(1000))
#define USE_SPREAD_MS (3600 * INT64_C(1000))

/* Returns three digits that servers which were started together do not have in common. */
static int64_t thousandths(void)
{
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_nsec / 1000 % 1000;
}

/* Returns nine to eleven tenths of the interval, so that such servers do not check together for ever. */
static int64_t watch_pause(int64_t interval)
{
  return interval - interval / 10 + interval / 5 * thousandths() / 1000;
}

void schedule_next_check(struct client *client, int64_t now)
{
  client->io.watch_at= now + watch_pause(client->config.watch_interval_ms);
}

void schedule_use_soon(struct client *client, int64_t now)
{
  int64_t interval= client->config.watch_interval_ms;
  client->io.use_at= now + watch_pause(interval < USE_EVERY_MS ? interval : USE_EVERY_MS);
}

void schedule_watch(struct client *client, int64_t now)
{
  client->io.watch_at= client->io.use_at= 0;
  if (!client->config.watch_interval_ms)
    return;
  schedule_next_check(client, now);
  schedule_use_soon(client, now);
}

/* A day, or up to an hour less. */
void schedule_next_use(struct client_io *io, int64_t now)
{
  io->use_at= now + USE_EVERY_MS - USE_SPREAD_MS * thousandths() / 1000;
}

void schedule_reload(struct client *client)
{
  struct client_io *io= &client->io;
  if (!client->config.allow_missing_keys || atomic_load(&client->missing) == 0 || io->reload_at)
    return;
  if (io->backoff_ms == 0)
    io->backoff_ms= client->limits.start_again;
  io->reload_at= clock_ms() + io->backoff_ms;
  io->backoff_ms= io->backoff_ms > client->limits.backoff_max / 2 ? client->limits.backoff_max : io->backoff_ms * 2;
}
