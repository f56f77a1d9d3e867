// SPDX-License-Identifier: GPL-2.0-only
/*
  What the agent sends is not trusted: each frame is checked against docs/protocol.md, and against the request that it
  answers.
*/
#include "client/agent_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

#define SYSTEM_DATA 1u                  /* MariaDB's ENCRYPTION_KEY_SYSTEM_DATA: more than tables is under it */
/* Of src/errors.ts: the agent goes on trying to unwrap it. */
#define CODE_OF_MISSING "KEY_STILL_WRAPPED"

struct why
{
  char *text;
  size_t size;
};

__attribute__((format(printf, 2, 3)))
static bool broken(const struct why *why, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(why->text, why->size, format, arguments);
  va_end(arguments);
  return false;
}

/* The request that was sent under this number. Needs the lock. */
static struct request *asked(const struct agent *agent, uint32_t wire)
{
  for (struct request *each= agent->requests; each; each= each->next)
    if (each->sent && each->wire == wire)
      return each;
  return NULL;
}

static void copy(char *to, size_t size, struct frame_text text)
{
  text_clean(to, size, text.text, text.size);
}

static bool welcome(struct agent *agent, const struct frame *frame, const struct why *why)
{
  struct frame_reader reader= frame_read(frame);
  uint16_t version= frame_u16(&reader);
  struct frame_text agent_version= frame_str(&reader);
  if (!frame_end(&reader))
    return broken(why, "malformed WELCOME");
  if (agent->io.connection != CONNECTION_GREETED || frame->request != agent->io.hello_wire)
    return broken(why, "unexpected WELCOME");
  if (version != PROTOCOL_VERSION)
  {
    char of_agent[64];
    copy(of_agent, sizeof of_agent, agent_version);
    return broken(why, "agent %s speaks protocol version %u, this plugin %u: install both from the same release", of_agent,
                  version, PROTOCOL_VERSION);
  }
  agent->io.connection= CONNECTION_UP;
  int64_t now= clock_ms();
  pthread_mutex_lock(&agent->lock);
  agent->state= AGENT_RUNNING;
  /* The time of a statement is short, and KMS's: an agent that had to be started first took none of it. */
  for (struct request *each= agent->requests; each; each= each->next)
    if (each->type == FRAME_OPEN || each->type == FRAME_FETCH)
      each->asked_at= now;
  pthread_mutex_unlock(&agent->lock);
  return true;
}

/*
  A FETCH reads an old page, and that must not change what new pages are written with; nor may a key that nobody asked
  for. Needs the lock.
*/
static bool may_raise_latest(const struct agent *agent, uint32_t id)
{
  if (atomic_load(&agent->missing))
    return true;
  for (const struct request *each= agent->requests; each; each= each->next)
  {
    bool of_id= each->id == id && (each->type == FRAME_OPEN || each->type == FRAME_ROTATE);
    bool of_all= each->id == 0 && (each->type == FRAME_LOAD || each->type == FRAME_ROTATE);
    if (each->sent && (of_id || of_all))
      return true;
  }
  return false;
}

static void warn_unlocked(struct agent *agent)
{
  int error= agent->io.lock_warned ? 0 : keytable_lock_error(agent->config.table);
  if (!error)
    return;
  agent->io.lock_warned= true;
  agent_logf(agent, SEVERITY_WARNING,
             "cannot lock the memory of keys (%s), so that they may be swapped to disk; raise RLIMIT_MEMLOCK of the "
             "server (systemd: LimitMEMLOCK=)", strerrordesc_np(error));
}

/* What can still be done about a key whose file is another's. A restart comes too late for the second and third way. */
static struct agent_failure describe_conflict(const struct agent *agent, uint32_t id, uint32_t version)
{
  struct agent_failure failure= agent_plain("");
  const char *directory= agent->is_socket ? "the agent's key directory" : agent->settings[SETTING_KEYFILE_DIR];
  snprintf(failure.message, sizeof failure.message,
           "key %u version %u: the file aws-kms-key.%u.%u in %s is not the key that the server has in memory and has encrypted "
           "data with; the one in memory stays in use", id, version, id, version, directory ? directory : "?");
  int size= snprintf(failure.hint, sizeof failure.hint,
                     "do not restart the server yet, it could not read that data then: move aws-kms-key.%u.%u and its .json "
                     "away, keep them, and put those back from a backup of this server's key files; without a backup, ",
                     id, version);
  if (size < 0 || (size_t) size >= sizeof failure.hint)
    return failure;
  if (id == SYSTEM_DATA)
    snprintf(failure.hint + size, sizeof failure.hint - (size_t) size, "%s",
             "copy all data out with mariadb-dump, and load it into a new server");
  else
    snprintf(failure.hint + size, sizeof failure.hint - (size_t) size,
             "SET GLOBAL aws_key_management_rotate_key=%u, then rebuild every table under key %u: ALTER TABLE ... FORCE", id,
             id);
  return failure;
}

/* Whether that request must not succeed after a version came that contradicts the one in memory. */
static bool spoils(const struct request *request, uint32_t id, uint32_t version)
{
  switch (request->type)
  {
  case FRAME_OPEN:
    return request->id == id;
  case FRAME_FETCH:
    return request->id == id && request->version == version;
  case FRAME_ROTATE:
    return request->id == id || request->id == 0;
  case FRAME_LOAD:
    /* Of our own: for the keys that are still missing. */
    return !request->internal;
  default:
    return false;
  }
}

static void tell_conflict(struct agent *agent, uint32_t id, uint32_t version)
{
  char text[AGENT_FAILURE_TEXT];
  pthread_mutex_lock(&agent->lock);
  struct agent_failure failure= describe_conflict(agent, id, version);
  agent_failure_text(&failure, text, sizeof text);
  for (struct request *each= agent->requests; each; each= each->next)
    if (each->sent && !each->spoilt && spoils(each, id, version))
    {
      each->spoilt= true;
      each->failure= failure;
    }
  agent_note_error(agent, text);
  bool log= recent_add(&agent->recent, FRAME_KEY, id, version, "conflict", clock_ms());
  pthread_mutex_unlock(&agent->lock);
  if (log)
    agent_logf(agent, SEVERITY_ERROR, "%s", text);
}

static bool key(struct agent *agent, const struct frame *frame, const struct why *why)
{
  struct frame_reader reader= frame_read(frame);
  uint32_t id= frame_u32(&reader);
  uint32_t version= frame_u32(&reader);
  uint8_t current= frame_u8(&reader);
  uint8_t algorithm= frame_u8(&reader);
  uint8_t length= frame_u8(&reader);
  const uint8_t *bytes= frame_bytes(&reader, length);
  if (!bytes || !frame_end(&reader) || current > 1 || (algorithm != KEY_AES_CBC && algorithm != KEY_AES_CTR))
    return broken(why, "malformed KEY");
  if (algorithm == KEY_AES_CTR && agent->config.no_ctr)
    return broken(why, "key %u version %u encrypts with AES_CTR: %s", id, version, agent->config.no_ctr);
  pthread_mutex_lock(&agent->lock);
  bool raises= current && may_raise_latest(agent, id);
  pthread_mutex_unlock(&agent->lock);
  enum keytable_put result= keytable_put(agent->config.table, id, version, bytes, length,
                                         (enum key_algorithm) algorithm, raises);
  warn_unlocked(agent);
  switch (result)
  {
  case KEYTABLE_ADDED:
  case KEYTABLE_SAME:
    return true;
  case KEYTABLE_CONFLICT:
    tell_conflict(agent, id, version);
    return true;
  case KEYTABLE_NO_MEMORY:
    return broken(why, "key %u version %u: out of memory", id, version);
  case KEYTABLE_BAD_LENGTH:
    return broken(why, "key %u version %u: expected 16, 24 or 32 bytes, got %u", id, version, length);
  case KEYTABLE_BAD_NAME:
    break;
  }
  return broken(why, "KEY %u version %u: there is no such key id or version", id, version);
}

/* Whether the key table bears out what DONE says, so that nobody waits for a key that never came. */
static bool borne_out(const struct agent *agent, const struct request *request, uint32_t first, uint32_t second)
{
  const struct keytable *table= agent->config.table;
  switch (request->type)
  {
  case FRAME_OPEN:
    /* Not that the table has just this version: a rotation beside it may have announced a later one. */
    return first == request->id && second != KEY_VERSION_NONE && keytable_latest(table, first) != KEY_VERSION_NONE;
  case FRAME_FETCH:
    return first == request->id && second == request->version && keytable_has(table, first, second);
  case FRAME_ROTATE:
    return first == request->id && (first == 0 || (keytable_has(table, first, second) &&
                                                   keytable_latest(table, first) >= second));
  case FRAME_LOAD:
    return second <= atomic_load(&table->version_count);
  case FRAME_CHECK:
  case FRAME_USE:
    return first == 0 && second == 0;
  default:
    return false;
  }
}

/* Needs the lock. Returns whether the last missing version has loaded after somebody was refused one. */
static bool set_missing(struct agent *agent, uint32_t count)
{
  bool recovered= count == 0 && agent->refused_missing;
  atomic_store(&agent->missing, count);
  agent->knows_missing= count != 0;
  if (recovered)
    agent->refused_missing= false;
  return recovered;
}

/* InnoDB remembers for as long as the server runs that it could not have the key of a table. */
static void tell_recovered(const struct agent *agent)
{
  agent_logf(agent, SEVERITY_WARNING,
             "every stored key version is loaded now; a table that was opened before that reads as corrupted until the server "
             "is restarted: restart it, and never DROP such a table");
}

static bool done(struct agent *agent, const struct frame *frame, const struct why *why)
{
  struct frame_reader reader= frame_read(frame);
  uint32_t first= frame_u32(&reader);
  uint32_t second= frame_u32(&reader);
  if (!frame_end(&reader))
    return broken(why, "malformed DONE");
  bool recovered= false;
  pthread_mutex_lock(&agent->lock);
  struct request *request= frame->request ? asked(agent, frame->request) : NULL;
  bool right= request && (request->spoilt || borne_out(agent, request, first, second));
  if (right && request->spoilt)
  {
    struct agent_failure failure= request->failure;
    agent_end_request(agent, request, &failure, false);
  }
  else if (right)
  {
    if (request->type == FRAME_LOAD)
    {
      agent->io.backoff_ms= 0;
      if (!agent->io.missing_told)
        recovered= set_missing(agent, 0);
    }
    if (request->type == FRAME_USE)
      agent_plan_use(&agent->io, clock_ms());
    agent_end_request(agent, request, NULL, false);
  }
  pthread_mutex_unlock(&agent->lock);
  if (recovered)
    tell_recovered(agent);
  if (!request)
    return broken(why, "DONE answers nothing that was asked");
  return right || broken(why, "DONE (%u, %u) does not match the keys that came before it", first, second);
}

static bool fail(struct agent *agent, const struct frame *frame, struct agent_failure *refused, bool *is_refused,
                 const struct why *why)
{
  struct frame_reader reader= frame_read(frame);
  struct frame_text code= frame_str(&reader);
  struct frame_text message= frame_str(&reader);
  struct frame_text hint= frame_str(&reader);
  struct agent_failure failure;
  if (!frame_end(&reader))
    return broken(why, "malformed FAIL");
  copy(failure.code, sizeof failure.code, code);
  copy(failure.message, sizeof failure.message, message);
  copy(failure.hint, sizeof failure.hint, hint);
  if (agent->io.connection == CONNECTION_GREETED && frame->request == agent->io.hello_wire)
  {
    *refused= failure;
    *is_refused= true;
    return true;
  }
  pthread_mutex_lock(&agent->lock);
  struct request *request= frame->request ? asked(agent, frame->request) : NULL;
  bool reload= request && request->internal && request->type == FRAME_LOAD;
  if (request && request->type == FRAME_CHECK)
  {
    /* What an earlier look saw is no longer known. */
    agent->master_key= MASTER_KEY_UNKNOWN;
    agent->days_left= NO_DAYS;
  }
  if (strcmp(failure.code, CODE_OF_MISSING) == 0)
    agent->refused_missing= true;
  if (request && !agent_hold(agent, request, &failure))
    agent_end_request(agent, request, &failure, false);
  pthread_mutex_unlock(&agent->lock);
  if (reload)
    agent_plan_reload(agent);
  return request || broken(why, "FAIL answers nothing that was asked");
}

static bool log_line(struct agent *agent, const struct frame *frame, const struct why *why)
{
  char text[4097];
  struct frame_reader reader= frame_read(frame);
  uint8_t severity= frame_u8(&reader);
  struct frame_text line= frame_str(&reader);
  if (!frame_end(&reader) || severity < SEVERITY_ERROR || severity > SEVERITY_NOTE || line.size >= sizeof text ||
      (line.size && (memchr(line.text, '\n', line.size) || memchr(line.text, '\r', line.size))))
    return broken(why, "malformed LOG");
  copy(text, sizeof text, line);
  if (severity == SEVERITY_ERROR)
  {
    pthread_mutex_lock(&agent->lock);
    agent_note_error(agent, text);
    pthread_mutex_unlock(&agent->lock);
  }
  agent->config.log((enum agent_severity) severity, text);
  return true;
}

static bool stats(struct agent *agent, const struct frame *frame, const struct why *why)
{
  struct frame_reader reader= frame_read(frame);
  for (uint8_t left= frame_u8(&reader); left && !reader.bad; left--)
  {
    uint8_t counter= frame_u8(&reader);
    uint32_t increase= frame_u32(&reader);
    if (!reader.bad && counter > 0 && counter < COUNTER_END)
      atomic_fetch_add(&agent->counters[counter], increase);
  }
  return frame_end(&reader) || broken(why, "malformed STATS");
}

static bool missing(struct agent *agent, const struct frame *frame, const struct why *why)
{
  struct frame_reader reader= frame_read(frame);
  uint32_t count= frame_u32(&reader);
  if (!frame_end(&reader))
    return broken(why, "malformed MISSING");
  agent->io.missing_told= true;
  pthread_mutex_lock(&agent->lock);
  bool recovered= set_missing(agent, count);
  pthread_mutex_unlock(&agent->lock);
  if (recovered)
    tell_recovered(agent);
  return true;
}

static bool master_key(struct agent *agent, const struct frame *frame, const struct why *why)
{
  struct frame_reader reader= frame_read(frame);
  uint8_t state= frame_u8(&reader);
  uint32_t days_left= frame_u32(&reader);
  if (!frame_end(&reader) || state == MASTER_KEY_NOT_LOOKED || state >= MASTER_KEY_STATES)
    return broken(why, "malformed MASTERKEY");
  pthread_mutex_lock(&agent->lock);
  agent->master_key= (enum master_key_state) state;
  agent->days_left= days_left;
  pthread_mutex_unlock(&agent->lock);
  return true;
}

bool agent_dispatch(struct agent *agent, const struct frame *frame, struct agent_failure *refused, bool *is_refused,
                    char *why_text, size_t why_size)
{
  const struct why why= {why_text, why_size};
  bool up= agent->io.connection == CONNECTION_UP;
  switch (frame->type)
  {
  case FRAME_WELCOME:
    return welcome(agent, frame, &why);
  case FRAME_KEY:
    if (frame->request)
      return broken(&why, "KEY with a request number");
    return up ? key(agent, frame, &why) : broken(&why, "KEY before WELCOME");
  case FRAME_DONE:
    return up ? done(agent, frame, &why) : broken(&why, "DONE before WELCOME");
  case FRAME_FAIL:
    return fail(agent, frame, refused, is_refused, &why);
  case FRAME_LOG:
  case FRAME_STATS:
  case FRAME_MISSING:
  case FRAME_MASTERKEY:
    if (frame->request)
      return broken(&why, "frame of type 0x%02x with a request number", frame->type);
    return frame->type == FRAME_LOG       ? log_line(agent, frame, &why)
           : frame->type == FRAME_STATS   ? stats(agent, frame, &why)
           : frame->type == FRAME_MISSING ? missing(agent, frame, &why)
                                          : master_key(agent, frame, &why);
  default:
    return broken(&why, "frame of unknown type 0x%02x", frame->type);
  }
}
