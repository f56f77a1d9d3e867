// SPDX-License-Identifier: GPL-2.0-only
/* Callers that wait for a request, and look at the data for it. */
#ifndef AKM_WAITING_H
#define AKM_WAITING_H

#include <stdbool.h>
#include <stdint.h>

#include "client/config.h"
#include "client/request.h"

enum waiting_end
{
  ENDED,                                /* the request has ended, well or not */
  INTERRUPTED,
  GAVE_UP,                              /* the caller's time is over, the request goes on */
  LOOKED_TOO_LONG,                      /* likewise, while the data was being looked at */
  HANGS                                 /* the I/O thread did not even report that it is late */
};

/* The time limits of one caller, in milliseconds of clock_ms(). */
struct waiting
{
  const struct interrupt *interrupt;    /* may be NULL */
  int64_t began_at;
  int64_t limit_ms;                     /* once the agent is there; 0: as long as the request takes */
  int64_t until;                        /* end of all waiting but a look; only with limit_ms */
  int64_t look_ms;                      /* longest look; only with limit_ms */
};

/*
  Looks at the data for a request that needs it. Returns ENDED, or why the caller must go: then nothing was found out, and
  another caller that waits for the key has to look. Needs the lock, but not while it looks; the caller holds a reference.
*/
enum waiting_end waiting_look(struct client *client, struct request *request, const struct waiting *wait);

/*
  Waits until the request has ended, or the caller does not wait any longer, and gives its reference back. *ok: whether it
  ended well. *failure is set when it has ended badly, and when the connection hangs. Needs the lock, but not while it
  waits.
*/
enum waiting_end waiting_wait(struct client *client, struct request *request, const struct waiting *wait,
                              struct failure *failure, bool *ok);

/* Returns whether the caller has lost interest. Needs the lock, but not while it asks. */
bool waiting_interrupted(struct client *client, const struct interrupt *interrupt);

/*
  Queues a request and waits until it has ended. Returns whether it ended well, or false with the reason in *failure.
  interrupt may be NULL. Without the lock.
*/
bool waiting_ask(struct client *client, uint8_t type, uint32_t id, uint32_t deadline_ms,
                 const struct interrupt *interrupt, struct failure *failure);

#endif
