// SPDX-License-Identifier: GPL-2.0-only
/*
  Requests: queued by callers, who wait for their end; ended by the I/O thread.
*/
#include "agent_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

/* Of src/errors.ts: no key is stored, one would be made, were it known that no data is under it. */
#define CODE_OF_LOOK "KEY_OF_DATA"
#define START_SLACK_MS 500              /* for the I/O thread to say itself that a start took too long */

/* Needs the lock. Keeps the server from sleeping on a request for ever, should the I/O thread itself hang (a dead NFS). */
static int64_t longest_wait_until(const struct agent *agent, const struct request *request)
{
  const struct agent_limits *limits= &agent->limits;
  if (agent->start_until && request->type == FRAME_LOAD)
    return agent->start_until + TIME_LEFT_MIN_MS + limits->answer_grace + START_SLACK_MS;
  /* A look is not the I/O thread's. */
  int64_t from= request->look == LOOK_UNDER_WAY ? clock_ms() : request->asked_at;
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

/* Needs the lock, but not while it asks. */
static bool interrupted(struct agent *agent, const struct agent_interrupt *interrupt)
{
  if (!interrupt)
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

bool agent_hold(struct request *request, const struct agent_failure *failure)
{
  if (request->type != FRAME_OPEN || request->may_create || request->look != LOOK_NOT_NEEDED ||
      strcmp(failure->code, CODE_OF_LOOK) != 0)
    return false;
  request->look= LOOK_WANTED;
  request->sent= false;
  pthread_cond_broadcast(&request->ready);
  return true;
}

void agent_look(struct agent *agent, struct request *request)
{
  request->look= LOOK_UNDER_WAY;
  pthread_mutex_unlock(&agent->lock);
  struct agent_failure why= agent_plain("");
  bool may_create= agent->config.may_create(request->id, &why);
  pthread_mutex_lock(&agent->lock);
  request->look= LOOK_DONE;
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
  request->asked_at= clock_ms();
  agent_wake(agent);
}

/* Waits until the request has ended. Needs the lock, and has it again afterwards. */
static bool await(struct agent *agent, struct request *request, const struct agent_interrupt *interrupt,
                  struct agent_failure *failure)
{
  bool stopped= false;
  while (!request->done && !stopped)
  {
    if (request->look == LOOK_WANTED)
    {
      agent_look(agent, request);
      continue;
    }
    int64_t now= clock_ms(), until= longest_wait_until(agent, request);
    int64_t next= interrupt ? now + agent->limits.interrupt_every : until;
    struct timespec limit= clock_timespec(next < until ? next : until);
    if (now >= until)
      break;
    if (pthread_cond_timedwait(&request->ready, &agent->lock, &limit) == ETIMEDOUT)
      stopped= interrupted(agent, interrupt);
  }
  bool ok= request->done && request->ok;
  if (request->done)
    *failure= request->failure;
  else if (stopped)
    *failure= agent_plain("interrupted; the rotation may still succeed, see the error log");
  else
  {
    agent->hangs= true;
    *failure= agent_plain("the plugin's connection to the agent does not answer");
  }
  agent_release(request);
  return ok;
}

static bool loaded(const struct agent *agent, uint8_t type, uint32_t id, uint32_t version)
{
  return type == FRAME_OPEN ? keytable_latest(agent->config.table, id) != KEY_VERSION_NONE
                            : keytable_has(agent->config.table, id, version);
}

static struct request *in_flight(const struct agent *agent, uint8_t type, uint32_t id, uint32_t version)
{
  for (struct request *each= agent->requests; each; each= each->next)
    if (each->type == type && each->id == id && each->version == version)
      return each;
  return NULL;
}

/* Needs the lock. Returns NULL, and sets *is_refused if too much was asked for. */
static struct request *charge(struct agent *agent, uint8_t type, uint32_t id, uint32_t version, bool *is_refused)
{
  *is_refused= !bucket_take(&agent->bucket, clock_ms());
  if (*is_refused)
    return NULL;
  struct request *request= agent_queue(agent, type, id, version, agent->limits.request);
  if (request)
    request->charged= true;
  else
    bucket_give_back(&agent->bucket);
  return request;
}

/* Once in a while, whatever the ids: not to be a way to fill the log. */
static void log_refused(struct agent *agent, uint32_t id)
{
  pthread_mutex_lock(&agent->lock);
  bool log= recent_add(&agent->recent, FRAME_OPEN, 0, 0, "bucket", clock_ms());
  pthread_mutex_unlock(&agent->lock);
  if (log)
    agent_logf(agent, SEVERITY_ERROR,
               "key %u is not loaded and was not asked for: SQL statements name too many keys that the server does not "
               "have; it asks for %d at once and then one each %d ms; aws_key_management_key_ids limits which keys "
               "statements may create", id, BUCKET_SIZE, BUCKET_EVERY_MS);
}

/* Needs the lock. Not when the answer is known, or there is nobody to ask. */
static bool is_worth_asking(struct agent *agent, uint8_t type, uint32_t id, uint32_t version)
{
  return !agent->stop && !recent_failed(&agent->recent, type, id, version, clock_ms());
}

/* OPEN or FETCH: asks once however many threads want it. */
static bool ask_for_key(struct agent *agent, uint8_t type, uint32_t id, uint32_t version)
{
  struct agent_failure failure;
  bool ok= false, is_refused= false;
  pthread_mutex_lock(&agent->lock);
  if (loaded(agent, type, id, version))
    ok= true;
  else if (is_worth_asking(agent, type, id, version))
  {
    struct request *request= in_flight(agent, type, id, version);
    if (request)
      request->refs++;
    else if ((request= charge(agent, type, id, version, &is_refused)))
    {
      request->may_create= !agent->config.may_create;
      agent_wake(agent);
    }
    if (request)
      ok= await(agent, request, NULL, &failure);
  }
  pthread_mutex_unlock(&agent->lock);
  if (is_refused)
    log_refused(agent, id);
  return ok;
}

bool agent_open(struct agent *agent, uint32_t id)
{
  return ask_for_key(agent, FRAME_OPEN, id, 0);
}

bool agent_fetch(struct agent *agent, uint32_t id, uint32_t version)
{
  return ask_for_key(agent, FRAME_FETCH, id, version);
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
    agent_wake(agent);
    ok= await(agent, request, interrupt, failure);
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
    if (!is_refusal(failure))
      agent_note_error(agent, text);
    /* Before the lock is free again: a caller that comes now must not ask once more. */
    request->log= worth_logging(agent, request, text);
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
