// SPDX-License-Identifier: GPL-2.0-only
#include "client/waiting.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "client/internal.h"

#define START_SLACK_MS 500              /* for the I/O thread itself to report that a start took too long */
#define CALLER_SLACK_MS 1000            /* for the agent itself to report that KMS took too long */

/*
  Returns the end of any wait, which keeps the server from sleeping on a request for ever, should the I/O thread itself hang
  (a dead NFS). Needs the lock.
*/
static int64_t longest_wait_until(const struct client *client, const struct request *request)
{
  const struct client_limits *limits= &client->limits;
  if (client->start_until && request->type == FRAME_LOAD)
    return client->start_until + TIME_LEFT_MIN_MS + limits->answer_grace + START_SLACK_MS;
  /* The I/O thread is not late while a caller looks. */
  int64_t from= request_is_held(request) ? clock_ms() : request->asked_at;
  return from + request->deadline_ms + limits->patience + limits->welcome + limits->write + 3 * limits->answer_grace;
}

bool waiting_interrupted(struct client *client, const struct interrupt *interrupt)
{
  if (!interrupt || !interrupt->is_wanted)
    return false;
  pthread_mutex_unlock(&client->lock);
  bool wanted= interrupt->is_wanted(interrupt->argument);
  pthread_mutex_lock(&client->lock);
  return wanted;
}

/* Returns since when this caller has waited for a look. */
static int64_t held_from(const struct request *request, const struct waiting *wait)
{
  return request->held_at > wait->began_at ? request->held_at : wait->began_at;
}

/* Returns the end of this caller's wait. Needs the lock. */
static int64_t caller_until(const struct client *client, const struct request *request, const struct waiting *wait)
{
  if (wait->limit_ms == 0)
    return INT64_MAX;
  int64_t held= held_from(request, wait);
  if (request_is_held(request))
    return held + wait->look_ms;
  int64_t from= wait->began_at > request->asked_at ? wait->began_at : request->asked_at;
  int64_t until= from + wait->limit_ms + CALLER_SLACK_MS + (request->sent ? 0 : client->limits.welcome);
  int64_t latest= wait->until + (request->looked_at > held ? request->looked_at - held : 0);
  return until < latest ? until : latest;
}

/* A look, and what ends it early. */
struct looking
{
  struct client *client;
  const struct request *request;
  const struct interrupt *interrupt;
  int64_t until;
  bool is_needless;                     /* its result is of no use any more */
  enum waiting_end end;                 /* ENDED: the caller did not end it early */
};

/*
  Returns whether the request has ended, or soon does, whatever the look finds: a key that was loaded meanwhile is stored, and
  the agent need not make it. Without the lock.
*/
static bool is_needless(struct client *client, const struct request *request)
{
  pthread_mutex_lock(&client->lock);
  bool needless= client->stop || request->done || keytable_latest(client->config.table, request->id) != KEY_VERSION_NONE;
  pthread_mutex_unlock(&client->lock);
  return needless;
}

static bool is_over(void *argument)
{
  struct looking *looking= argument;
  const struct interrupt *interrupt= looking->interrupt;
  if (looking->end == ENDED && interrupt && interrupt->is_wanted && interrupt->is_wanted(interrupt->argument))
    looking->end= INTERRUPTED;
  if (looking->end == ENDED && clock_ms() >= looking->until)
    looking->end= LOOKED_TOO_LONG;
  if (looking->end == ENDED && !looking->is_needless)
    looking->is_needless= is_needless(looking->client, looking->request);
  return looking->end != ENDED || looking->is_needless;
}

/* Ends a look and wakes all who wait to look: the next look may be another key's. Needs the lock. */
static void stop_looking(struct client *client, struct request *request)
{
  client->looking= false;
  pthread_cond_broadcast(&request->ready);
  for (struct request *each= client->requests; each; each= each->next)
    if (each->look == LOOK_WANTED)
      pthread_cond_broadcast(&each->ready);
}

enum waiting_end waiting_look(struct client *client, struct request *request, const struct waiting *wait)
{
  struct looking looking= {
    .client= client, .request= request, .interrupt= wait->interrupt, .until= caller_until(client, request, wait), .end= ENDED,
  };
  const struct interrupt interrupt= {.is_wanted= is_over, .argument= &looking};
  client->looking= true;
  request->look= LOOK_UNDER_WAY;
  pthread_mutex_unlock(&client->lock);
  struct failure why= failure_plain("");
  bool may_create= client->config.may_create(request->id, &interrupt, &why) && !looking.is_needless;
  pthread_mutex_lock(&client->lock);
  request->look= looking.end == ENDED ? LOOK_DONE : LOOK_WANTED;
  stop_looking(client, request);
  if (looking.end != ENDED)
    return looking.end;
  /* The reason of the look is better than the agent's, which does not know what was found. */
  if (!may_create && !looking.is_needless && !request->done)
  {
    request->failure= why;
    snprintf(request->failure.code, sizeof request->failure.code, "%s", CODE_OF_LOOK);
  }
  /* The agent is told in any case, and how the request ends is what it then says: the key may be stored by now. */
  request->may_create= may_create;
  request->sent_before= false;
  /* With all the time of a request. */
  request->asked_at= request->looked_at= clock_ms();
  request_wake(client);
  return ENDED;
}

static int64_t earliest(int64_t a, int64_t b, int64_t c)
{
  int64_t least= a < b ? a : b;
  return least < c ? least : c;
}

/*
  The caller goes. If nobody is left to look, the answer is no; an agent of protocol 1 is asked once more, and fails it. It has
  all the time of a request, and so has a caller that comes before its end.
*/
static void leave(struct client *client, struct request *request)
{
  if (request->look == LOOK_WANTED && request->refs == 2)
  {
    request->look= LOOK_NOT_NEEDED;
    request->asked_at= clock_ms();
    request_wake(client);
  }
  request_release(request);
}

enum waiting_end waiting_wait(struct client *client, struct request *request, const struct waiting *wait,
                              struct failure *failure, bool *ok)
{
  enum waiting_end end= ENDED;
  while (!request->done && end == ENDED)
  {
    if (request->look == LOOK_WANTED && !client->looking)
    {
      end= waiting_look(client, request, wait);
      continue;
    }
    int64_t now= clock_ms(), until= longest_wait_until(client, request), mine= caller_until(client, request, wait);
    int64_t next= wait->interrupt ? now + client->limits.interrupt_every : until;
    struct timespec limit= clock_timespec(earliest(next, until, mine));
    if (now >= until)
      end= HANGS;
    else if (now >= mine)
      end= request_is_held(request) ? LOOKED_TOO_LONG : GAVE_UP;
    else if (pthread_cond_timedwait(&request->ready, &client->lock, &limit) == ETIMEDOUT &&
             waiting_interrupted(client, wait->interrupt))
      end= INTERRUPTED;
  }
  if (request->done)
    end= ENDED;
  *ok= request->done && request->ok;
  if (end == ENDED)
    *failure= request->failure;
  else if (end == HANGS)
  {
    client->hangs= true;
    *failure= failure_plain("the plugin's connection to the agent does not answer");
  }
  leave(client, request);
  return end;
}

bool waiting_ask(struct client *client, uint8_t type, uint32_t id, uint32_t deadline_ms,
                 const struct interrupt *interrupt, struct failure *failure)
{
  bool ok= false;
  *failure= failure_plain("out of memory");
  pthread_mutex_lock(&client->lock);
  struct request *request= request_queue(client, type, id, 0, deadline_ms);
  if (request)
  {
    const struct waiting wait= {.interrupt= interrupt, .began_at= request->asked_at};
    request_wake(client);
    if (waiting_wait(client, request, &wait, failure, &ok) == INTERRUPTED)
      *failure= failure_plain("interrupted; the rotation may still succeed, see the error log");
  }
  pthread_mutex_unlock(&client->lock);
  return ok;
}
