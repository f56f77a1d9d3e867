// SPDX-License-Identifier: GPL-2.0-only
#include "client/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/internal.h"
#include "client/limit.h"
#include "client/report.h"

void request_release(struct request *request)
{
  if (--request->refs == 0)
  {
    pthread_cond_destroy(&request->ready);
    free(request);
  }
}

struct request *request_queue(struct client *client, uint8_t type, uint32_t id, uint32_t version, uint32_t deadline_ms)
{
  struct request *request= calloc(1, sizeof *request);
  if (!request)
    return NULL;
  if (clock_cond_init(&request->ready))
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
  struct request **end= &client->requests;
  while (*end)
    end= &(*end)->next;
  *end= request;
  return request;
}

void request_wake(const struct client *client)
{
  uint64_t one= 1;
  while (write(client->wake_fd, &one, sizeof one) == -1 && errno == EINTR)
    ;
}

bool request_is_held(const struct request *request)
{
  return request->look == LOOK_WANTED || request->look == LOOK_UNDER_WAY;
}

/* Returns whether a caller is to look; otherwise the answer is no, or was given. */
static bool want_look(struct client *client, struct request *request)
{
  if (request->look == LOOK_DONE || request->spoilt)
    return false;
  /* The primary has made its key already: a refusal here stops replication, and keeps nobody from making more keys. */
  if (client->config.may_create && !request->by_applier && limit_is_reached(client, request->id))
  {
    request->failure= limit_failure(client, request->id);
    return false;
  }
  request->forgotten= request->refs == 1;
  if (request->forgotten)
    return false;
  request->look= LOOK_WANTED;
  request->held_at= clock_ms();
  pthread_cond_broadcast(&request->ready);
  return true;
}

void request_question(struct client *client, struct request *request)
{
  request->questioned= true;
  request->sent= false;
  (void) want_look(client, request);
}

void request_denied(struct client *client, struct request *request)
{
  struct failure failure= request->failure;
  bool nobody_looked= request->look == LOOK_NOT_NEEDED && !failure.message[0];
  if (nobody_looked && request->refs > 1)
  {
    /* Somebody came after the last one that could have looked had gone. */
    request->sent= request->questioned= request->forgotten= false;
    request->asked_at= clock_ms();
    return;
  }
  request->forgotten= nobody_looked;
  if (!failure.message[0])
  {
    snprintf(failure.code, sizeof failure.code, "%s", CODE_OF_LOOK);
    snprintf(failure.message, sizeof failure.message, "key %u is not created: data may be encrypted with it", request->id);
  }
  request_end(client, request, &failure);
}

bool request_hold(struct client *client, struct request *request, struct failure *failure)
{
  if (request->type != FRAME_OPEN || request->may_create || request->look != LOOK_NOT_NEEDED ||
      strcmp(failure->code, CODE_OF_LOOK) != 0)
    return false;
  if (want_look(client, request))
  {
    request->sent= false;
    return true;
  }
  if (request->failure.message[0])
    *failure= request->failure;
  return false;
}

/* Refusals that any SQL user can provoke, and that say nothing about the state of the plugin. */
static bool is_refusal(const struct failure *failure)
{
  return strcmp(failure->code, "KEY_NOT_ALLOWED") == 0;
}

/*
  Returns whether a failure should be logged. A failed ROTATE or the first LOAD is reported by its caller, if that still
  waits.
*/
static bool worth_logging(struct client *client, const struct request *request, const char *text)
{
  const char *reason= request->failure.code[0] ? request->failure.code : text;
  if (request->type == FRAME_ROTATE)
    return request->refs == 1;
  if (request->type == FRAME_LOAD && !request->internal)
    return false;
  return recent_add(&client->recent, request->type, request->id, request->version, reason, clock_ms());
}

/*
  Returns whether the request gives its token back: a fetched version is not asked for again, and a refusal is the agent's
  own; neither asked KMS in vain. A look costs.
*/
static bool cost_nothing(const struct request *request, const struct failure *failure)
{
  return failure ? is_refusal(failure) && request->look == LOOK_NOT_NEEDED : request->type == FRAME_FETCH;
}

/* Returns whether a look has said already why the key may not be made, and the agent says no more than that. */
static bool is_explained(const struct request *request, const struct failure *failure)
{
  return request->look == LOOK_DONE && !request->may_create && request->failure.message[0] &&
         strcmp(failure->code, CODE_OF_LOOK) == 0;
}

void request_end(struct client *client, struct request *request, const struct failure *failure)
{
  struct request **at= &client->requests;
  while (*at != request)
    at= &(*at)->next;
  *at= request->next;
  request->done= true;
  request->ok= !failure;
  if (request->charged && cost_nothing(request, failure))
    bucket_give_back(&client->bucket);
  request->log= !failure && request->type == FRAME_ROTATE && request->refs == 1;
  if (failure)
  {
    char text[FAILURE_TEXT_MAX];
    if (!is_explained(request, failure))
      request->failure= *failure;
    failure_text(&request->failure, text, sizeof text);
    if (request->type == FRAME_OPEN || request->type == FRAME_FETCH)
      reasons_add(&client->reasons, request->id, request->version, &request->failure, clock_ms());
    if (!is_refusal(failure) && !request->forgotten)
      report_note_error(client, text);
    /* The failure is remembered before the lock is free again: a caller that comes now must not ask once more. */
    request->log= !request->forgotten && worth_logging(client, request, text);
  }
  pthread_cond_broadcast(&request->ready);
  /* The reference of the list moves on to the list of ended requests. */
  request->next= client->io.ended;
  client->io.ended= request;
}

/* Returns whether a text has "key ID". */
static bool names_key(const char *text, uint32_t id)
{
  char name[32];
  int size= snprintf(name, sizeof name, "key %u", id);
  for (const char *at= strstr(text, name); at; at= strstr(at + 1, name))
    if (at[size] < '0' || at[size] > '9')
      return true;
  return false;
}

static void log_ended(const struct client *client, const struct request *request)
{
  char text[FAILURE_TEXT_MAX], subject[64]= "";
  if (request->type == FRAME_ROTATE)
  {
    report_rotation(client, request->id, request->ok ? NULL : &request->failure);
    return;
  }
  failure_text(&request->failure, text, sizeof text);
  /* Not every failure is of the key alone: of the directory of all keys, for example, or of the agent. */
  if (request->type == FRAME_OPEN && !names_key(text, request->id))
    snprintf(subject, sizeof subject, "key %u: ", request->id);
  else if (request->type == FRAME_FETCH && !names_key(text, request->id))
    snprintf(subject, sizeof subject, "key %u version %u: ", request->id, request->version);
  report_logf(client, request->internal ? SEVERITY_WARNING : SEVERITY_ERROR, "%s%s", subject, text);
}

void request_log_ended(struct client *client)
{
  for (struct request *each= client->io.ended, *next; each; each= next)
  {
    next= each->next;
    if (each->log)
      log_ended(client, each);
    if (each->ok)
      limit_warn(client);
    pthread_mutex_lock(&client->lock);
    request_release(each);
    pthread_mutex_unlock(&client->lock);
  }
  client->io.ended= NULL;
}
