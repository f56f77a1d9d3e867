// SPDX-License-Identifier: GPL-2.0-only
/*
  Rations and time limits of callers that ask for keys. A statement that asks holds locks that others want, InnoDB may hold
  the latch of its dictionary, and a replicated statement that fails stops replication: so each kind of caller has its own
  limits.
*/
#include "client/asking.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "client/internal.h"
#include "client/limit.h"
#include "client/report.h"
#include "client/waiting.h"

#define ASK_AGAIN_MS 200                /* between checks of a patient caller whether the last failure is over */

/* A call of client_open() or client_fetch(), and the key that it needs. */
struct asking
{
  const struct caller *caller;
  uint8_t type;
  uint32_t id;
  uint32_t version;
  int64_t began_at;
  int64_t until;                        /* a patient caller asks again until then */
  /* The failure that only the caller can report. */
  const char *reason;                   /* NULL: none */
  uint32_t told_of;                     /* key id; 0: one line for all ids */
  struct failure failure;
};

enum outcome
{
  KEY_IS_THERE,
  KEY_FAILED,
  KEY_FAILED_FOR_NOW,
  NOT_WAITED_FOR                        /* the caller was interrupted */
};

static struct failure *tell(struct asking *asking, const char *reason, uint32_t of)
{
  asking->reason= reason;
  asking->told_of= of;
  asking->failure= failure_plain("");
  return &asking->failure;
}

static bool is_loaded(const struct client *client, const struct asking *asking)
{
  const struct keytable *table= client->config.table;
  return asking->type == FRAME_OPEN ? keytable_latest(table, asking->id) != KEY_VERSION_NONE
                                    : keytable_has(table, asking->id, asking->version);
}

/* Returns the pending request of another caller for the same key, NULL if there is none. Needs the lock. */
static struct request *in_flight(const struct client *client, const struct asking *asking)
{
  for (struct request *each= client->requests; each; each= each->next)
    if (each->type == asking->type && each->id == asking->id && each->version == asking->version)
      return each;
  return NULL;
}

/* Waits until then. Returns false if the caller was interrupted. Needs the lock, but not while it waits. */
static bool pause_until(struct client *client, int64_t until, const struct interrupt *interrupt)
{
  for (int64_t now= clock_ms(); now < until && !client->stop; now= clock_ms())
  {
    int64_t next= now + client->limits.interrupt_every;
    struct timespec limit= clock_timespec(next < until ? next : until);
    pthread_mutex_unlock(&client->lock);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &limit, NULL);
    pthread_mutex_lock(&client->lock);
    if (waiting_interrupted(client, interrupt))
      return false;
  }
  return true;
}

/*
  Returns whether the caller may wait long. An applier that reads a page holds locks that others want, as a statement does:
  it is patient only where a key may be created.
*/
static bool is_patient(const struct asking *asking)
{
  return asking->caller->kind == CALLER_APPLIER && asking->type == FRAME_OPEN;
}

/*
  Returns whether the caller needs a token. A start of the server is no statement, and the administrator may list as many
  keys as he likes. Needs the lock.
*/
static bool is_rationed(const struct client *client, const struct asking *asking)
{
  return asking->caller->kind != CALLER_STARTS && !limit_lists(client, asking->id);
}

/* Takes a token when it is the caller's turn. Returns KEY_IS_THERE once it has it. Needs the lock, but not while it waits. */
static enum outcome take_turn(struct client *client, struct asking *asking)
{
  int64_t now= clock_ms(), longest= client->limits.turn, at;
  if (is_patient(asking))
    longest= asking->until > now ? asking->until - now : 0;
  if (!bucket_reserve(&client->bucket, now, longest, &at))
  {
    struct failure *failure= tell(asking, "bucket", 0);
    snprintf(failure->message, sizeof failure->message,
             "key %u is not loaded and was not asked for: SQL statements name too many keys that the server does not have; "
             "it asks for %d at once and then one each %d ms, and a statement waits %u s for its turn", asking->id,
             BUCKET_SIZE, BUCKET_EVERY_MS, client->limits.turn / 1000);
    snprintf(failure->hint, sizeof failure->hint, "%s",
             "aws_key_management_key_ids limits which keys statements may create, and those that it lists have no such limit");
    return KEY_FAILED;
  }
  if (pause_until(client, at, &asking->caller->interrupt))
    return KEY_IS_THERE;
  bucket_give_back(&client->bucket);
  return NOT_WAITED_FOR;
}

/*
  Returns the remaining time of the server's start, in milliseconds, and not less than a statement would have. Nobody else
  waits for the locks of mariadb-backup, which reads keys all the time that it runs, nor for those of a recovery that takes
  longer than a start should.
*/
static uint32_t start_deadline(const struct client *client)
{
  int64_t left= client->server_start_until - clock_ms();
  if (client->config.role == ROLE_BACKUP || left <= 0)
    return client->limits.request;
  if (left < (int64_t) client->limits.statement)
    return client->limits.statement;
  return left < (int64_t) client->limits.request ? (uint32_t) left : client->limits.request;
}

/* Returns the milliseconds that KMS has, so that the agent can report its answer before the statement gives up. */
static uint32_t statement_deadline(const struct client *client, const struct asking *asking)
{
  int64_t left= asking->began_at + client->limits.total - clock_ms() - TIME_LEFT_MIN_MS;
  uint32_t least= left > TIME_LEFT_MIN_MS ? (uint32_t) left : TIME_LEFT_MIN_MS;
  return least < client->limits.statement ? least : client->limits.statement;
}

static uint32_t deadline_of(const struct client *client, const struct asking *asking)
{
  uint32_t deadline= is_patient(asking)                      ? client->limits.request
                     : asking->caller->kind == CALLER_STARTS ? start_deadline(client)
                                                             : statement_deadline(client, asking);
  return deadline < client->limits.request ? deadline : client->limits.request;
}

/*
  Returns the pending request of another caller, or a new one; the caller holds a reference. NULL: out of memory. Needs the
  lock.
*/
static struct request *request_for(struct client *client, const struct asking *asking, bool charged)
{
  struct request *request= in_flight(client, asking);
  if (request)
  {
    request->refs++;
    request->by_applier= request->by_applier || asking->caller->kind == CALLER_APPLIER;
    if (charged)
      bucket_give_back(&client->bucket);
    return request;
  }
  request= request_queue(client, asking->type, asking->id, asking->version, deadline_of(client, asking));
  if (!request)
  {
    if (charged)
      bucket_give_back(&client->bucket);
    return NULL;
  }
  request->charged= charged;
  request->by_applier= asking->caller->kind == CALLER_APPLIER;
  request->may_create= !client->config.may_create;
  request_wake(client);
  return request;
}

/* Returns whether asking again later may help: the codes are those of src/errors.ts, and none is the plugin's own. */
static bool passes(const struct failure *failure)
{
  return failure->code[0] == 0 || strcmp(failure->code, "KMS_TRANSIENT") == 0 || strcmp(failure->code, "TIMEOUT") == 0;
}

/* Returns the whole wait of the statement, in seconds. */
static int waited(const struct asking *asking)
{
  return (int) ((clock_ms() - asking->began_at + 500) / 1000);
}

static void tell_of_no_answer(struct asking *asking)
{
  struct failure *failure= tell(asking, "no answer", asking->id);
  snprintf(failure->message, sizeof failure->message,
           "key %u: no answer within %d s; the statement gave up, what it asked for may still come", asking->id,
           waited(asking));
  snprintf(failure->hint, sizeof failure->hint, "%s", "try the statement again; the error log may say why");
}

static void tell_of_long_look(struct asking *asking)
{
  struct failure *failure= tell(asking, "long look", asking->id);
  snprintf(failure->message, sizeof failure->message,
           "key %u is not created: after %d s the data had not all been looked at yet, which may be encrypted with it",
           asking->id, waited(asking));
  snprintf(failure->hint, sizeof failure->hint, "%s",
           "try the statement again: one look is made at a time, and what was read once comes faster from the memory of the "
           "operating system");
}

static void tell_of_hang(struct asking *asking, const struct failure *why)
{
  struct failure *failure= tell(asking, "hangs", asking->id);
  snprintf(failure->message, sizeof failure->message, "key %u: %.900s", asking->id, why->message);
  snprintf(failure->hint, sizeof failure->hint, "%s",
           "loaded keys stay in use; a file system that does not answer may hold up the plugin, such as the one of the agent's "
           "program or of the error log");
}

/* Returns the milliseconds that a caller may wait for a look: an applier its patience. A start has no limit. */
static int64_t look_limit(const struct client *client, const struct asking *asking)
{
  uint32_t patience= is_patient(asking) ? asking->caller->patience_ms : 0;
  return patience > client->limits.look ? patience : client->limits.look;
}

/* Waits for the request and lets go of it. Needs the lock, but not while it waits. */
static enum outcome wait_for(struct client *client, struct asking *asking, struct request *request)
{
  bool ok;
  struct failure failure;
  struct waiting wait= {.interrupt= &asking->caller->interrupt, .began_at= clock_ms()};
  if (asking->caller->kind != CALLER_STARTS)
  {
    wait.limit_ms= deadline_of(client, asking);
    wait.until= is_patient(asking) ? INT64_MAX / 2 : asking->began_at + client->limits.total;
    wait.look_ms= look_limit(client, asking);
  }
  switch (waiting_wait(client, request, &wait, &failure, &ok))
  {
  case INTERRUPTED:
    return NOT_WAITED_FOR;
  case GAVE_UP:
    tell_of_no_answer(asking);
    return KEY_FAILED_FOR_NOW;
  case LOOKED_TOO_LONG:
    tell_of_long_look(asking);
    return KEY_FAILED_FOR_NOW;
  case HANGS:
    tell_of_hang(asking, &failure);
    return KEY_FAILED;
  case ENDED:
    break;
  }
  return ok ? KEY_IS_THERE : passes(&failure) ? KEY_FAILED_FOR_NOW : KEY_FAILED;
}

/*
  Returns whether the key counts as missing, and then makes the failure. While stored versions are missing and tried again,
  a read of a page fails at once: InnoDB may hold the latch of its dictionary, which statements on other tables need. An
  agent that has listed the missing versions knows which ids have some, so that others can still be created: it is brought
  back soon if somebody wants one. Needs the lock.
*/
static bool is_missing(struct client *client, struct asking *asking)
{
  char version[24]= "";
  if (atomic_load(&client->missing) == 0 || (asking->type == FRAME_OPEN && client->knows_missing))
    return false;
  client->refused_missing= true;
  if (asking->type == FRAME_OPEN && !client->reload_wanted)
  {
    client->reload_wanted= true;
    request_wake(client);
  }
  if (asking->version)
    snprintf(version, sizeof version, " version %u", asking->version);
  struct failure *failure= tell(asking, "missing", asking->id);
  snprintf(failure->message, sizeof failure->message,
           "key %u%s is not loaded, as other stored versions are not (aws_key_management_allow_missing_keys): it is not "
           "waited for, the agent goes on trying to load them", asking->id, version);
  snprintf(failure->hint, sizeof failure->hint, "%s",
           "a table that is opened meanwhile reads as corrupted, also after its key has loaded, until the server is restarted: "
           "never DROP it");
  return true;
}

/* Asks for the key, unless an answer is known. Needs the lock, but not while it waits. */
static enum outcome ask_once(struct client *client, struct asking *asking)
{
  bool charged= false;
  asking->reason= NULL;
  if (is_loaded(client, asking))
    return KEY_IS_THERE;
  if (client->stop)
    return KEY_FAILED;
  if (is_missing(client, asking))
    return is_patient(asking) ? KEY_FAILED_FOR_NOW : KEY_FAILED;
  if (recent_failed(&client->recent, asking->type, asking->id, asking->version, clock_ms()))
    return KEY_FAILED_FOR_NOW;
  if (!in_flight(client, asking) && is_rationed(client, asking))
  {
    enum outcome turn= take_turn(client, asking);
    if (turn != KEY_IS_THERE)
      return turn;
    charged= true;
    /* The turn may have been waited for. */
    if (client->stop || is_loaded(client, asking))
    {
      bucket_give_back(&client->bucket);
      return client->stop ? KEY_FAILED : KEY_IS_THERE;
    }
  }
  struct request *request= request_for(client, asking, charged);
  return request ? wait_for(client, asking, request) : KEY_FAILED;
}

/*
  Reports a failure that nobody else reports, in status and log; in the log now and then only, whatever the ids, so that SQL
  cannot fill it.
*/
static void tell_failure(struct client *client, const struct asking *asking)
{
  char text[FAILURE_TEXT_MAX];
  if (!asking->reason)
    return;
  failure_text(&asking->failure, text, sizeof text);
  pthread_mutex_lock(&client->lock);
  report_note_error(client, text);
  reasons_add(&client->reasons, asking->id, asking->version, &asking->failure, clock_ms());
  bool log= recent_add(&client->recent, asking->type, asking->told_of, asking->version, asking->reason, clock_ms());
  pthread_mutex_unlock(&client->lock);
  if (log)
    client->config.log(SEVERITY_ERROR, text);
}

bool asking_for_key(struct client *client, uint8_t type, uint32_t id, uint32_t version)
{
  const struct caller starts= {.kind= CALLER_STARTS};
  const struct caller caller= client->config.caller ? client->config.caller() : starts;
  struct asking asking= {.caller= &caller, .type= type, .id= id, .version= version, .began_at= clock_ms()};
  asking.until= asking.began_at + (is_patient(&asking) ? (int64_t) caller.patience_ms : 0);
  pthread_mutex_lock(&client->lock);
  enum outcome outcome= ask_once(client, &asking);
  while (outcome == KEY_FAILED_FOR_NOW && clock_ms() < asking.until && !client->stop)
    outcome= pause_until(client, clock_ms() + ASK_AGAIN_MS, &caller.interrupt) ? ask_once(client, &asking) : NOT_WAITED_FOR;
  pthread_mutex_unlock(&client->lock);
  if (outcome != KEY_IS_THERE)
    tell_failure(client, &asking);
  return outcome == KEY_IS_THERE;
}
