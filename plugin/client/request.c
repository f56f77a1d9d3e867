// SPDX-License-Identifier: GPL-2.0-only
/*
  Requests: queued by callers, who wait for their end; ended by the I/O thread.
*/
#include "client/agent_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* Of src/errors.ts: no key is stored, one would be made, were it known that no data is under it. */
#define CODE_OF_LOOK "KEY_OF_DATA"
#define START_SLACK_MS 500              /* for the I/O thread to say itself that a start took too long */
#define CALLER_SLACK_MS 1000            /* for the agent to say itself that KMS took too long */

/* Needs the lock. Keeps the server from sleeping on a request for ever, should the I/O thread itself hang (a dead NFS). */
static int64_t longest_wait_until(const struct agent *agent, const struct request *request)
{
  const struct agent_limits *limits= &agent->limits;
  if (agent->start_until && request->type == FRAME_LOAD)
    return agent->start_until + TIME_LEFT_MIN_MS + limits->answer_grace + START_SLACK_MS;
  /* A look is not the I/O thread's. */
  int64_t from= agent_is_held(request) ? clock_ms() : request->asked_at;
  return from + request->deadline_ms + limits->patience + limits->welcome + limits->write + 3 * limits->answer_grace;
}

void agent_release(struct request *request)
{
  if (--request->refs == 0)
  {
    pthread_cond_destroy(&request->ready);
    free(request);
  }
}

int agent_cond_init(pthread_cond_t *cond)
{
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  int error= pthread_cond_init(cond, &attr);
  pthread_condattr_destroy(&attr);
  return error;
}

struct request *agent_queue(struct agent *agent, uint8_t type, uint32_t id, uint32_t version, uint32_t deadline_ms)
{
  struct request *request= calloc(1, sizeof *request);
  if (!request)
    return NULL;
  if (agent_cond_init(&request->ready))
  {
    free(request);
    return NULL;
  }
  request->type= type;
  request->id= id;
  request->version= version;
  request->deadline_ms= deadline_ms;
  request->asked_at= clock_ms();
  request->refs= 2;
  struct request **end= &agent->requests;
  while (*end)
    end= &(*end)->next;
  *end= request;
  return request;
}

bool agent_interrupted(struct agent *agent, const struct agent_interrupt *interrupt)
{
  if (!interrupt || !interrupt->is_wanted)
    return false;
  pthread_mutex_unlock(&agent->lock);
  bool wanted= interrupt->is_wanted(interrupt->argument);
  pthread_mutex_lock(&agent->lock);
  return wanted;
}

bool agent_is_held(const struct request *request)
{
  return request->look == LOOK_WANTED || request->look == LOOK_UNDER_WAY;
}

bool agent_hold(struct agent *agent, struct request *request, struct agent_failure *failure)
{
  if (request->type != FRAME_OPEN || request->may_create || request->look != LOOK_NOT_NEEDED ||
      strcmp(failure->code, CODE_OF_LOOK) != 0)
    return false;
  /* What a primary made is there already: an applier that fails stops replication, and keeps nobody from making more. */
  if (agent->config.may_create && !request->by_applier && limit_is_reached(agent, request->id))
  {
    *failure= limit_failure(agent, request->id);
    return false;
  }
  request->forgotten= request->refs == 1;
  if (request->forgotten)
    return false;
  request->look= LOOK_WANTED;
  request->held_at= clock_ms();
  request->sent= false;
  pthread_cond_broadcast(&request->ready);
  return true;
}

/* Since when this caller has waited for a look. */
static int64_t held_from(const struct request *request, const struct agent_wait *wait)
{
  return request->held_at > wait->began_at ? request->held_at : wait->began_at;
}

/* Needs the lock. */
static int64_t caller_until(const struct agent *agent, const struct request *request, const struct agent_wait *wait)
{
  if (wait->limit_ms == 0)
    return INT64_MAX;
  int64_t held= held_from(request, wait);
  if (agent_is_held(request))
    return held + wait->look_ms;
  int64_t from= wait->began_at > request->asked_at ? wait->began_at : request->asked_at;
  int64_t until= from + wait->limit_ms + CALLER_SLACK_MS + (request->sent ? 0 : agent->limits.welcome);
  int64_t latest= wait->until + (request->looked_at > held ? request->looked_at - held : 0);
  return until < latest ? until : latest;
}

/* A look, and what ends it early. */
struct looking
{
  const struct agent_interrupt *interrupt;
  int64_t until;
  enum agent_end end;                   /* ENDED: nothing did */
};

static bool is_over(void *argument)
{
  struct looking *looking= argument;
  const struct agent_interrupt *interrupt= looking->interrupt;
  if (looking->end == ENDED && interrupt && interrupt->is_wanted && interrupt->is_wanted(interrupt->argument))
    looking->end= INTERRUPTED;
  if (looking->end == ENDED && clock_ms() >= looking->until)
    looking->end= LOOKED_TOO_LONG;
  return looking->end != ENDED;
}

/* The next look may be another key's. Needs the lock. */
static void stop_looking(struct agent *agent, struct request *request)
{
  agent->looking= false;
  pthread_cond_broadcast(&request->ready);
  for (struct request *each= agent->requests; each; each= each->next)
    if (each->look == LOOK_WANTED)
      pthread_cond_broadcast(&each->ready);
}

enum agent_end agent_look(struct agent *agent, struct request *request, const struct agent_wait *wait)
{
  struct looking looking= {.interrupt= wait->interrupt, .until= caller_until(agent, request, wait), .end= ENDED};
  const struct agent_interrupt interrupt= {.is_wanted= is_over, .argument= &looking};
  agent->looking= true;
  request->look= LOOK_UNDER_WAY;
  pthread_mutex_unlock(&agent->lock);
  struct agent_failure why= agent_plain("");
  bool may_create= agent->config.may_create(request->id, &interrupt, &why);
  pthread_mutex_lock(&agent->lock);
  request->look= looking.end == ENDED ? LOOK_DONE : LOOK_WANTED;
  stop_looking(agent, request);
  if (looking.end != ENDED)
    return looking.end;
  /* Better than what the agent can say: it does not know what was found. */
  if (!may_create && !request->done)
  {
    request->failure= why;
    snprintf(request->failure.code, sizeof request->failure.code, "%s", CODE_OF_LOOK);
  }
  /* Asked again in any case: what the agent says without leave is how the request ends, the key may be stored by now. */
  request->may_create= may_create;
  request->sent_before= false;
  /* A question of its own, with all the time of one. */
  request->asked_at= request->looked_at= clock_ms();
  agent_wake(agent);
  return ENDED;
}

static int64_t earliest(int64_t a, int64_t b, int64_t c)
{
  int64_t least= a < b ? a : b;
  return least < c ? least : c;
}

/* The caller goes. If nobody is left to look, the request is sent once more, and then fails for want of a look. */
static void leave(struct agent *agent, struct request *request)
{
  if (request->look == LOOK_WANTED && request->refs == 2)
  {
    request->look= LOOK_NOT_NEEDED;
    agent_wake(agent);
  }
  agent_release(request);
}

enum agent_end agent_await(struct agent *agent, struct request *request, const struct agent_wait *wait,
                           struct agent_failure *failure, bool *ok)
{
  enum agent_end end= ENDED;
  while (!request->done && end == ENDED)
  {
    if (request->look == LOOK_WANTED && !agent->looking)
    {
      end= agent_look(agent, request, wait);
      continue;
    }
    int64_t now= clock_ms(), until= longest_wait_until(agent, request), mine= caller_until(agent, request, wait);
    int64_t next= wait->interrupt ? now + agent->limits.interrupt_every : until;
    struct timespec limit= clock_timespec(earliest(next, until, mine));
    if (now >= until)
      end= HANGS;
    else if (now >= mine)
      end= agent_is_held(request) ? LOOKED_TOO_LONG : GAVE_UP;
    else if (pthread_cond_timedwait(&request->ready, &agent->lock, &limit) == ETIMEDOUT &&
             agent_interrupted(agent, wait->interrupt))
      end= INTERRUPTED;
  }
  if (request->done)
    end= ENDED;
  *ok= request->done && request->ok;
  if (end == ENDED)
    *failure= request->failure;
  else if (end == HANGS)
  {
    agent->hangs= true;
    *failure= agent_plain("the plugin's connection to the agent does not answer");
  }
  leave(agent, request);
  return end;
}

bool agent_ask(struct agent *agent, uint8_t type, uint32_t id, uint32_t deadline_ms,
               const struct agent_interrupt *interrupt, struct agent_failure *failure)
{
  bool ok= false;
  *failure= agent_plain("out of memory");
  pthread_mutex_lock(&agent->lock);
  struct request *request= agent_queue(agent, type, id, 0, deadline_ms);
  if (request)
  {
    const struct agent_wait wait= {.interrupt= interrupt, .began_at= request->asked_at};
    agent_wake(agent);
    if (agent_await(agent, request, &wait, failure, &ok) == INTERRUPTED)
      *failure= agent_plain("interrupted; the rotation may still succeed, see the error log");
  }
  pthread_mutex_unlock(&agent->lock);
  return ok;
}

bool agent_reason(struct agent *agent, uint32_t id, uint32_t version, struct agent_failure *failure)
{
  pthread_mutex_lock(&agent->lock);
  const struct agent_failure *found= reasons_find(&agent->reasons, id, version, clock_ms());
  if (found)
    *failure= *found;
  pthread_mutex_unlock(&agent->lock);
  return found != NULL;
}

/* All keys have the time of one, and a little for each: the agent rotates many of them at once. */
static uint32_t rotation_deadline(const struct agent *agent, uint32_t id)
{
  size_t keys= id ? 0 : atomic_load(&agent->config.table->id_count);
  size_t extra= keys * ROTATE_ALL_EACH_MS;
  return agent->limits.request + (uint32_t) (extra < ROTATE_ALL_EXTRA_MAX_MS ? extra : ROTATE_ALL_EXTRA_MAX_MS);
}

bool agent_rotate(struct agent *agent, uint32_t id, const struct agent_interrupt *interrupt,
                  struct agent_failure *failure)
{
  return agent_ask(agent, FRAME_ROTATE, id, rotation_deadline(agent, id), interrupt, failure);
}

/* Refusals that any SQL user can provoke, and that say nothing about the state of the plugin. */
static bool is_refusal(const struct agent_failure *failure)
{
  return strcmp(failure->code, "KEY_NOT_ALLOWED") == 0;
}

/* A failed ROTATE or the first LOAD is told by whoever asked, if he still waits. */
static bool worth_logging(struct agent *agent, const struct request *request, const char *text)
{
  const char *reason= request->failure.code[0] ? request->failure.code : text;
  if (request->type == FRAME_ROTATE)
    return request->refs == 1;
  if (request->type == FRAME_LOAD && !request->internal)
    return false;
  return recent_add(&agent->recent, request->type, request->id, request->version, reason, clock_ms());
}

/* Neither asked KMS in vain: what was fetched is not asked for again, a refusal is the agent's own. A look costs. */
static bool cost_nothing(const struct request *request, const struct agent_failure *failure)
{
  return failure ? is_refusal(failure) && request->look == LOOK_NOT_NEEDED : request->type == FRAME_FETCH;
}

/* Whether the look has said already why the key may not be made, and the agent says no more than that. */
static bool is_explained(const struct request *request, const struct agent_failure *failure)
{
  return request->look == LOOK_DONE && !request->may_create && request->failure.message[0] &&
         strcmp(failure->code, CODE_OF_LOOK) == 0;
}

void agent_end_request(struct agent *agent, struct request *request, const struct agent_failure *failure, bool own)
{
  struct request **at= &agent->requests;
  while (*at != request)
    at= &(*at)->next;
  *at= request->next;
  request->done= true;
  request->ok= !failure;
  request->own= own;
  if (request->charged && cost_nothing(request, failure))
    bucket_give_back(&agent->bucket);
  request->log= !failure && request->type == FRAME_ROTATE && request->refs == 1;
  if (failure)
  {
    char text[AGENT_FAILURE_TEXT];
    if (!is_explained(request, failure))
      request->failure= *failure;
    agent_failure_text(&request->failure, text, sizeof text);
    if (request->type == FRAME_OPEN || request->type == FRAME_FETCH)
      reasons_add(&agent->reasons, request->id, request->version, &request->failure, clock_ms());
    if (!is_refusal(failure) && !request->forgotten)
      agent_note_error(agent, text);
    /* Before the lock is free again: a caller that comes now must not ask once more. */
    request->log= !request->forgotten && worth_logging(agent, request, text);
  }
  pthread_cond_broadcast(&request->ready);
  /* The list's reference moves on to the list of what is to be logged. */
  request->next= agent->io.ended;
  agent->io.ended= request;
}

static void log_ended(const struct agent *agent, const struct request *request)
{
  char text[AGENT_FAILURE_TEXT], subject[64]= "";
  if (request->type == FRAME_ROTATE && request->id)
    snprintf(subject, sizeof subject, "rotation of key %u: ", request->id);
  else if (request->type == FRAME_ROTATE)
    snprintf(subject, sizeof subject, "rotation of all keys: ");
  else if (request->own && request->type == FRAME_OPEN)
    snprintf(subject, sizeof subject, "key %u: ", request->id);
  else if (request->own && request->type == FRAME_FETCH)
    snprintf(subject, sizeof subject, "key %u version %u: ", request->id, request->version);
  agent_failure_text(&request->failure, text, sizeof text);
  if (request->ok)
    agent_logf(agent, SEVERITY_NOTE, "%sdone, after its statement was interrupted", subject);
  else
    agent_logf(agent, request->internal ? SEVERITY_WARNING : SEVERITY_ERROR, "%s%s", subject, text);
}

void agent_log_ended(struct agent *agent)
{
  for (struct request *each= agent->io.ended, *next; each; each= next)
  {
    next= each->next;
    if (each->log)
      log_ended(agent, each);
    if (each->ok)
      limit_warn(agent);
    pthread_mutex_lock(&agent->lock);
    agent_release(each);
    pthread_mutex_unlock(&agent->lock);
  }
  agent->io.ended= NULL;
}

void agent_log_untold(struct agent *agent, int64_t now)
{
  pthread_mutex_lock(&agent->lock);
  uint32_t count= recent_untold(&agent->recent, now);
  pthread_mutex_unlock(&agent->lock);
  if (count)
    agent_logf(agent, SEVERITY_WARNING, "%u more failures of other keys were not logged", count);
}
