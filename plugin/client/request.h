// SPDX-License-Identifier: GPL-2.0-only
/*
  Requests: callers queue them, the I/O thread sends and ends them. The lock guards those that have not ended and their
  list.
*/
#ifndef AKM_REQUEST_H
#define AKM_REQUEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/failure.h"

struct client;

#define TIME_LEFT_MIN_MS 1000u          /* given to a request whose time is over when it is sent */
/*
  A code of src/errors.ts: no key is made because data is under its id. An agent of protocol 1 fails OPEN with it where a later
  one asks; in protocol 2 only the plugin uses it.
*/
#define CODE_OF_LOOK "KEY_OF_DATA"

/*
  At the data, whether a key may be made. It costs much, and only the agent knows whether there is a key already, or none may
  be made anyway: so the agent asks when nothing else is in the way, and one of the callers that wait looks.
*/
enum look
{
  LOOK_NOT_NEEDED,
  LOOK_WANTED,
  LOOK_UNDER_WAY,
  LOOK_DONE
};

struct request
{
  struct request *next;
  uint8_t type;                         /* enum frame_type */
  uint32_t id;
  uint32_t version;
  uint32_t deadline_ms;
  int64_t asked_at;
  unsigned refs;                        /* callers waiting, and the list that holds it */
  bool internal;                        /* LOAD, CHECK or USE that the I/O thread itself asked for */
  bool may_create;                      /* OPEN: without a question; then the answer to it */
  bool questioned;                      /* the connected agent asked whether the key may be made; sent: it was answered */
  bool by_applier;                      /* one waits for it, too */
  enum look look;
  int64_t held_at;                      /* since when it has needed a look */
  int64_t looked_at;                    /* when the look was done; 0: not yet */
  bool charged;                         /* holds a token of the bucket */
  bool forgotten;                       /* failed for want of a look when nobody waited for it any more */
  bool sent;
  bool sent_before;                     /* sent to an agent that ended without doing it */
  bool done;
  bool ok;
  bool log;                             /* to be logged when it has ended */
  bool spoilt;                          /* a key contradicted one in memory: it fails, with failure, when answered */
  uint32_t number;                      /* request number while sent */
  int64_t give_up_at;
  pthread_cond_t ready;
  struct failure failure;
};

/*
  Adds a request to the end of the list. The list and the caller each hold a reference. NULL: out of memory. Needs the lock.
*/
struct request *request_queue(struct client *client, uint8_t type, uint32_t id, uint32_t version, uint32_t deadline_ms);

/* Gives a reference back, and frees the request with the last one. Needs the lock. */
void request_release(struct request *request);

/* Ends a request that is in the list. failure NULL: success. Needs the lock; request_log_ended() is due after it. */
void request_end(struct client *client, struct request *request, const struct failure *failure);

/* Whether a look has to end before anything of it is sent. Needs the lock. */
bool request_is_held(const struct request *request);

/*
  The agent asks whether the key of an OPEN may be made. The answer is sent when one of the callers has looked; it is no, and
  sent at once, when none waits any more or statements may create no more keys. Needs the lock.
*/
void request_question(struct client *client, struct request *request);

/* The agent made no key after the answer no. Needs the lock; request_log_ended() is due after it. */
void request_denied(struct client *client, struct request *request);

/*
  An agent of protocol 1 failed a request: the failure may stand for a question. Returns false if it does not, or if the
  answer is no: *failure then says why, if the plugin knows better. Needs the lock.
*/
bool request_hold(struct client *client, struct request *request, struct failure *failure);

/* Interrupts the sleep of the I/O thread. With or without the lock. */
void request_wake(const struct client *client);

/*
  Logs the requests that have ended if nobody else reports them, and gives their references back. Only for the I/O thread,
  without the lock.
*/
void request_log_ended(struct client *client);

#endif
