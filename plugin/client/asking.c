// SPDX-License-Identifier: GPL-2.0-only
/*
  Keys that the server does not have: who may ask for one, when, and for how long. A statement that asks holds locks that
  others want, InnoDB may hold the latch of its dictionary, and a replicated statement that fails stops replication.
*/
#include "client/agent_int.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define ASK_AGAIN_MS 200                /* between looks of a patient caller, whether the last failure is over */

/* A caller of agent_open() or agent_fetch(), and what it wants. */
struct asking
{
  const struct agent_caller *caller;
  uint8_t type;
  uint32_t id;
  uint32_t version;
  int64_t began_at;
  int64_t until;                        /* a patient caller asks again until then */
  /* The failure that only the caller can tell of. */
  const char *reason;                   /* NULL: nothing */
  uint32_t told_of;                     /* key id; 0: one line for all ids */
  struct agent_failure failure;
};

enum outcome
{
  KEY_IS_THERE,
  KEY_FAILED,
  KEY_FAILED_FOR_NOW,
  NOT_WAITED_FOR                        /* the caller was interrupted */
};

static struct agent_failure *tell(struct asking *asking, const char *reason, uint32_t of)
{
  asking->reason= reason;
  asking->told_of= of;
  asking->failure= agent_plain("");
  return &asking->failure;
}

static bool is_loaded(const struct agent *agent, const struct asking *asking)
{
  const struct keytable *table= agent->config.table;
  return asking->type == FRAME_OPEN ? keytable_latest(table, asking->id) != KEY_VERSION_NONE
                                    : keytable_has(table, asking->id, asking->version);
}

/* The request of somebody else for the same. Needs the lock. */
static struct request *in_flight(const struct agent *agent, const struct asking *asking)
{
  for (struct request *each= agent->requests; each; each= each->next)
    if (each->type == asking->type && each->id == asking->id && each->version == asking->version)
      return each;
  return NULL;
}

/* Needs the lock, but not while it waits. Returns false if the caller was interrupted. */
static bool pause_until(struct agent *agent, int64_t until, const struct agent_interrupt *interrupt)
{
  for (int64_t now= clock_ms(); now < until && !agent->stop; now= clock_ms())
  {
    int64_t next= now + agent->limits.interrupt_every;
    struct timespec limit= clock_timespec(next < until ? next : until);
    pthread_mutex_unlock(&agent->lock);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &limit, NULL);
    pthread_mutex_lock(&agent->lock);
    if (agent_interrupted(agent, interrupt))
      return false;
  }
  return true;
}

/* An applier that reads a page holds what others want, as a statement does: it is patient where a key may be created. */
static bool is_patient(const struct asking *asking)
{
  return asking->caller->kind == CALLER_APPLIER && asking->type == FRAME_OPEN;
}

/*
  A start of the server is no statement. Keys that the administrator listed are as many as he likes. Needs the lock.
*/
static bool is_rationed(const struct agent *agent, const struct asking *asking)
{
  return asking->caller->kind != CALLER_STARTS && !limit_lists(agent, asking->id);
}

/* Takes a token when it is the caller's turn. Needs the lock, but not while it waits. */
static enum outcome take_turn(struct agent *agent, struct asking *asking)
{
  int64_t now= clock_ms(), longest= agent->limits.turn, at;
  if (is_patient(asking))
    longest= asking->until > now ? asking->until - now : 0;
  if (!bucket_reserve(&agent->bucket, now, longest, &at))
  {
    struct agent_failure *failure= tell(asking, "bucket", 0);
    snprintf(failure->message, sizeof failure->message,
             "key %u is not loaded and was not asked for: SQL statements name too many keys that the server does not have; "
             "it asks for %d at once and then one each %d ms, and a statement waits %u s for its turn", asking->id,
             BUCKET_SIZE, BUCKET_EVERY_MS, agent->limits.turn / 1000);
    snprintf(failure->hint, sizeof failure->hint, "%s",
             "aws_key_management_key_ids limits which keys statements may create, and those that it lists have no such limit");
    return KEY_FAILED;
  }
  if (pause_until(agent, at, &asking->caller->interrupt))
    return KEY_IS_THERE;
  bucket_give_back(&agent->bucket);
  return NOT_WAITED_FOR;
}

/*
  What is left of the time of the server's start, and not less than a statement would have. Nobody else waits for the locks of
  mariadb-backup, which reads keys all the time that it runs, nor for those of a recovery that takes longer than a start should.
*/
static uint32_t start_deadline(const struct agent *agent)
{
  int64_t left= agent->server_start_until - clock_ms();
  if (agent->config.role == ROLE_BACKUP || left <= 0)
    return agent->limits.request;
  if (left < (int64_t) agent->limits.statement)
    return agent->limits.statement;
  return left < (int64_t) agent->limits.request ? (uint32_t) left : agent->limits.request;
}

/* KMS's time, so that the agent can say what KMS said before the statement gives up. */
static uint32_t statement_deadline(const struct agent *agent, const struct asking *asking)
{
  int64_t left= asking->began_at + agent->limits.total - clock_ms() - TIME_LEFT_MIN_MS;
  uint32_t least= left > TIME_LEFT_MIN_MS ? (uint32_t) left : TIME_LEFT_MIN_MS;
  return least < agent->limits.statement ? least : agent->limits.statement;
}

static uint32_t deadline_of(const struct agent *agent, const struct asking *asking)
{
  uint32_t deadline= is_patient(asking)                      ? agent->limits.request
                     : asking->caller->kind == CALLER_STARTS ? start_deadline(agent)
                                                             : statement_deadline(agent, asking);
  return deadline < agent->limits.request ? deadline : agent->limits.request;
}

/* A request of somebody else, or a new one. Needs the lock. NULL: out of memory. */
static struct request *request_for(struct agent *agent, const struct asking *asking, bool charged)
{
  struct request *request= in_flight(agent, asking);
  if (request)
  {
    request->refs++;
    request->by_applier= request->by_applier || asking->caller->kind == CALLER_APPLIER;
    if (charged)
      bucket_give_back(&agent->bucket);
    return request;
  }
  request= agent_queue(agent, asking->type, asking->id, asking->version, deadline_of(agent, asking));
  if (!request)
  {
    if (charged)
      bucket_give_back(&agent->bucket);
    return NULL;
  }
  request->charged= charged;
  request->by_applier= asking->caller->kind == CALLER_APPLIER;
  request->may_create= !agent->config.may_create;
  agent_wake(agent);
  return request;
}

/* Whether asking again later may help: the codes are those of src/errors.ts, and none is the plugin's own. */
static bool passes(const struct agent_failure *failure)
{
  return failure->code[0] == 0 || strcmp(failure->code, "KMS_TRANSIENT") == 0 || strcmp(failure->code, "TIMEOUT") == 0;
}

/* The statement's whole wait, in seconds. */
static int waited(const struct asking *asking)
{
  return (int) ((clock_ms() - asking->began_at + 500) / 1000);
}

static void tell_of_no_answer(struct asking *asking)
{
  struct agent_failure *failure= tell(asking, "no answer", asking->id);
  snprintf(failure->message, sizeof failure->message,
           "key %u: no answer within %d s; the statement gave up, what it asked for may still come", asking->id,
           waited(asking));
  snprintf(failure->hint, sizeof failure->hint, "%s", "try the statement again; the error log may say why");
}

static void tell_of_long_look(struct asking *asking)
{
  struct agent_failure *failure= tell(asking, "long look", asking->id);
  snprintf(failure->message, sizeof failure->message,
           "key %u is not created: after %d s the data had not all been looked at yet, which may be encrypted with it",
           asking->id, waited(asking));
  snprintf(failure->hint, sizeof failure->hint, "%s",
           "try the statement again: one look is made at a time, and what was read once comes faster from the memory of the "
           "operating system");
}

/* An applier has its patience for it, a start has no limit. */
static int64_t look_limit(const struct agent *agent, const struct asking *asking)
{
  uint32_t patience= is_patient(asking) ? asking->caller->patience_ms : 0;
  return patience > agent->limits.look ? patience : agent->limits.look;
}

/* Needs the lock, but not while it waits. */
static enum outcome wait_for(struct agent *agent, struct asking *asking, struct request *request)
{
  bool ok;
  struct agent_failure failure;
  struct agent_wait wait= {.interrupt= &asking->caller->interrupt, .began_at= clock_ms()};
  if (asking->caller->kind != CALLER_STARTS)
  {
    wait.limit_ms= deadline_of(agent, asking);
    wait.until= is_patient(asking) ? INT64_MAX / 2 : asking->began_at + agent->limits.total;
    wait.look_ms= look_limit(agent, asking);
  }
  switch (agent_await(agent, request, &wait, &failure, &ok))
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
    return KEY_FAILED;
  case ENDED:
    break;
  }
  return ok ? KEY_IS_THERE : passes(&failure) ? KEY_FAILED_FOR_NOW : KEY_FAILED;
}

/*
  While stored versions are missing and tried again, what a page needs fails at once: InnoDB may hold the latch of its
  dictionary, which statements on other tables need. An agent that has listed the missing versions knows which ids have
  some, so that others can still be created: it is brought back soon for who wants one. Needs the lock.
*/
static bool is_missing(struct agent *agent, struct asking *asking)
{
  char version[24]= "";
  if (atomic_load(&agent->missing) == 0 || (asking->type == FRAME_OPEN && agent->knows_missing))
    return false;
  agent->refused_missing= true;
  if (asking->type == FRAME_OPEN && !agent->reload_wanted)
  {
    agent->reload_wanted= true;
    agent_wake(agent);
  }
  if (asking->version)
    snprintf(version, sizeof version, " version %u", asking->version);
  struct agent_failure *failure= tell(asking, "missing", asking->id);
  snprintf(failure->message, sizeof failure->message,
           "key %u%s is not loaded, as other stored versions are not (aws_key_management_allow_missing_keys): it is not "
           "waited for, the agent goes on trying to load them", asking->id, version);
  snprintf(failure->hint, sizeof failure->hint, "%s",
           "a table that is opened meanwhile reads as corrupted, also after its key has loaded, until the server is restarted: "
           "never DROP it");
  return true;
}

/* Needs the lock, but not while it waits. */
static enum outcome ask_once(struct agent *agent, struct asking *asking)
{
  bool charged= false;
  asking->reason= NULL;
  if (is_loaded(agent, asking))
    return KEY_IS_THERE;
  if (agent->stop)
    return KEY_FAILED;
  if (is_missing(agent, asking))
    return is_patient(asking) ? KEY_FAILED_FOR_NOW : KEY_FAILED;
  if (recent_failed(&agent->recent, asking->type, asking->id, asking->version, clock_ms()))
    return KEY_FAILED_FOR_NOW;
  if (!in_flight(agent, asking) && is_rationed(agent, asking))
  {
    enum outcome turn= take_turn(agent, asking);
    if (turn != KEY_IS_THERE)
      return turn;
    charged= true;
    /* The turn may have been waited for. */
    if (agent->stop || is_loaded(agent, asking))
    {
      bucket_give_back(&agent->bucket);
      return agent->stop ? KEY_FAILED : KEY_IS_THERE;
    }
  }
  struct request *request= request_for(agent, asking, charged);
  return request ? wait_for(agent, asking, request) : KEY_FAILED;
}

/* Tells the log and the status what nobody else does; the log now and then, whatever the ids: not to be a way to fill it. */
static void tell_failure(struct agent *agent, const struct asking *asking)
{
  char text[AGENT_FAILURE_TEXT];
  if (!asking->reason)
    return;
  agent_failure_text(&asking->failure, text, sizeof text);
  pthread_mutex_lock(&agent->lock);
  agent_note_error(agent, text);
  reasons_add(&agent->reasons, asking->id, asking->version, &asking->failure, clock_ms());
  bool log= recent_add(&agent->recent, asking->type, asking->told_of, asking->version, asking->reason, clock_ms());
  pthread_mutex_unlock(&agent->lock);
  if (log)
    agent->config.log(SEVERITY_ERROR, text);
}

static bool ask_for_key(struct agent *agent, uint8_t type, uint32_t id, uint32_t version)
{
  const struct agent_caller starts= {.kind= CALLER_STARTS};
  const struct agent_caller caller= agent->config.caller ? agent->config.caller() : starts;
  struct asking asking= {.caller= &caller, .type= type, .id= id, .version= version, .began_at= clock_ms()};
  asking.until= asking.began_at + (is_patient(&asking) ? (int64_t) caller.patience_ms : 0);
  pthread_mutex_lock(&agent->lock);
  enum outcome outcome= ask_once(agent, &asking);
  while (outcome == KEY_FAILED_FOR_NOW && clock_ms() < asking.until && !agent->stop)
    outcome= pause_until(agent, clock_ms() + ASK_AGAIN_MS, &caller.interrupt) ? ask_once(agent, &asking) : NOT_WAITED_FOR;
  pthread_mutex_unlock(&agent->lock);
  if (outcome != KEY_IS_THERE)
    tell_failure(agent, &asking);
  return outcome == KEY_IS_THERE;
}

bool agent_open(struct agent *agent, uint32_t id)
{
  return ask_for_key(agent, FRAME_OPEN, id, 0);
}

bool agent_fetch(struct agent *agent, uint32_t id, uint32_t version)
{
  return ask_for_key(agent, FRAME_FETCH, id, version);
}
