// SPDX-License-Identifier: GPL-2.0-only
/*
  Arriving frames. The agent is not trusted: each frame is checked against docs/protocol.md, and against the request that it
  answers.
*/
#include "client/dispatch.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "client/conflict.h"
#include "client/internal.h"
#include "client/report.h"
#include "client/request.h"
#include "client/schedule.h"

/* A code of src/errors.ts: the agent goes on trying to unwrap the key. */
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

/* Returns the request that was sent under this number, NULL if there is none. Needs the lock. */
static struct request *asked(const struct client *client, uint32_t number)
{
  for (struct request *each= client->requests; each; each= each->next)
    if (each->sent && each->number == number)
      return each;
  return NULL;
}

static void copy(char *to, size_t size, struct frame_text text)
{
  text_clean(to, size, text.text, text.size);
}

/* Names the side that is too old for the other. */
static struct failure no_common_protocol(uint16_t version, struct frame_text agent_version)
{
  struct failure failure= failure_plain("");
  char release[64];
  bool is_plugin= version > PROTOCOL_VERSION;
  copy(release, sizeof release, agent_version);
  snprintf(failure.message, sizeof failure.message, "agent %s speaks protocol %u, this plugin %u and %u", release, version,
           PROTOCOL_VERSION, PROTOCOL_OLDEST);
  snprintf(failure.hint, sizeof failure.hint, "the %s is the older one: upgrade its package to the release of the %s%s",
           is_plugin ? "plugin" : "agent", is_plugin ? "agent" : "plugin", is_plugin ? ", and restart the server" : "");
  return failure;
}

/* Warns once of an agent with which the plugin does less, however often it connects. */
static void warn_of_protocol(struct client *client, struct frame_text agent_version)
{
  char release[64];
  if (client->io.protocol_warned)
    return;
  client->io.protocol_warned= true;
  copy(release, sizeof release, agent_version);
  report_logf(client, SEVERITY_WARNING,
              "agent %s speaks protocol %u, this plugin %u: it is told how many key versions the server has but not which, and "
              "the daily use of a master key is skipped; upgrade its package to the release of the plugin", release,
              PROTOCOL_OLDEST, PROTOCOL_VERSION);
}

static bool welcome(struct client *client, const struct frame *frame, struct failure *refused, bool *is_refused,
                    const struct why *why)
{
  struct frame_reader reader= frame_read(frame);
  uint16_t version= frame_u16(&reader);
  struct frame_text agent_version= frame_str(&reader);
  if (!frame_end(&reader))
    return broken(why, "malformed WELCOME");
  if (client->io.connection != CONNECTION_GREETED || frame->request != client->io.hello_number)
    return broken(why, "unexpected WELCOME");
  if (version > client->io.protocol && version <= PROTOCOL_VERSION)
    return broken(why, "unexpected WELCOME: protocol %u, asked for %u", version, client->io.protocol);
  if (version < PROTOCOL_OLDEST || version > client->io.protocol)
  {
    *refused= no_common_protocol(version, agent_version);
    *is_refused= true;
    return true;
  }
  client->io.protocol= version;
  if (version == PROTOCOL_OLDEST)
  {
    client->io.held_left= 0;
    warn_of_protocol(client, agent_version);
  }
  client->io.connection= CONNECTION_UP;
  int64_t now= clock_ms();
  pthread_mutex_lock(&client->lock);
  client->state= AGENT_RUNNING;
  /* A statement's short time is meant for KMS: the start of an agent takes none of it. */
  for (struct request *each= client->requests; each; each= each->next)
    if (each->type == FRAME_OPEN || each->type == FRAME_FETCH)
      each->asked_at= now;
  pthread_mutex_unlock(&client->lock);
  return true;
}

/*
  Returns whether a KEY may become the latest version. A FETCH reads an old page, which must not change what new pages are
  written with; nor may a key that nobody asked for. Needs the lock.
*/
static bool may_raise_latest(const struct client *client, uint32_t id)
{
  if (atomic_load(&client->missing))
    return true;
  for (const struct request *each= client->requests; each; each= each->next)
  {
    bool of_id= each->id == id && (each->type == FRAME_OPEN || each->type == FRAME_ROTATE);
    bool of_all= each->id == 0 && (each->type == FRAME_LOAD || each->type == FRAME_ROTATE);
    if (each->sent && (of_id || of_all))
      return true;
  }
  return false;
}

static void warn_unlocked(struct client *client)
{
  int error= client->io.lock_warned ? 0 : keytable_lock_error(client->config.table);
  if (!error)
    return;
  client->io.lock_warned= true;
  report_logf(client, SEVERITY_WARNING,
              "cannot lock the memory of keys (%s), so that they may be swapped to disk; raise RLIMIT_MEMLOCK of the "
              "server (systemd: LimitMEMLOCK=)", strerrordesc_np(error));
}

static bool key(struct client *client, const struct frame *frame, const struct why *why)
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
  if (algorithm == KEY_AES_CTR && client->config.no_ctr)
    return broken(why, "key %u version %u encrypts with AES_CTR: %s", id, version, client->config.no_ctr);
  pthread_mutex_lock(&client->lock);
  bool raises= current && may_raise_latest(client, id);
  pthread_mutex_unlock(&client->lock);
  enum keytable_put result= keytable_put(client->config.table, id, version, bytes, length,
                                         (enum key_algorithm) algorithm, raises);
  warn_unlocked(client);
  switch (result)
  {
  case KEYTABLE_ADDED:
  case KEYTABLE_SAME:
    return true;
  case KEYTABLE_CONFLICT:
    conflict_tell(client, id, version);
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

/* Returns whether the key table bears out a DONE, so that nobody waits for a key that never came. */
static bool borne_out(const struct client *client, const struct request *request, uint32_t first, uint32_t second)
{
  const struct keytable *table= client->config.table;
  switch (request->type)
  {
  case FRAME_OPEN:
    /* The table need not have just this version: a rotation beside it may have announced a later one. */
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

/*
  Sets the number of missing versions. Returns whether the last one has loaded after somebody was refused one. Needs the
  lock.
*/
static bool set_missing(struct client *client, uint32_t count)
{
  bool recovered= count == 0 && client->refused_missing;
  atomic_store(&client->missing, count);
  client->knows_missing= count != 0;
  if (recovered)
    client->refused_missing= false;
  return recovered;
}

/*
  Warns of tables that were opened too early: InnoDB remembers for as long as the server runs that it could not have their
  key.
*/
static void tell_recovered(const struct client *client)
{
  report_logf(client, SEVERITY_WARNING,
              "every stored key version is loaded now; a table that was opened before that reads as corrupted until the server "
              "is restarted: restart it, and never DROP such a table");
}

static bool question(struct client *client, const struct frame *frame, const struct why *why)
{
  struct frame_reader reader= frame_read(frame);
  uint32_t id= frame_u32(&reader);
  if (!frame_end(&reader))
    return broken(why, "malformed QUESTION");
  pthread_mutex_lock(&client->lock);
  struct request *request= frame->request ? asked(client, frame->request) : NULL;
  bool right= request && client->config.role == ROLE_SERVER && request->type == FRAME_OPEN && request->id == id &&
              !request->may_create && !request->questioned;
  if (right)
    request_question(client, request);
  pthread_mutex_unlock(&client->lock);
  return right || broken(why, "QUESTION about key %u, which is not to be asked", id);
}

/* Whether DONE says that no key was made because the plugin answered no. */
static bool is_denied(const struct request *request, uint32_t first, uint32_t second)
{
  return request->type == FRAME_OPEN && request->questioned && !request->may_create && first == request->id &&
         second == KEY_VERSION_NONE;
}

static bool done(struct client *client, const struct frame *frame, const struct why *why)
{
  struct frame_reader reader= frame_read(frame);
  uint32_t first= frame_u32(&reader);
  uint32_t second= frame_u32(&reader);
  if (!frame_end(&reader))
    return broken(why, "malformed DONE");
  bool recovered= false;
  pthread_mutex_lock(&client->lock);
  struct request *request= frame->request ? asked(client, frame->request) : NULL;
  bool denied= request && is_denied(request, first, second);
  bool right= request && (request->spoilt || denied || borne_out(client, request, first, second));
  if (right && request->spoilt)
  {
    struct failure failure= request->failure;
    request_end(client, request, &failure);
  }
  else if (denied)
    request_denied(client, request);
  else if (right)
  {
    if (request->type == FRAME_LOAD)
    {
      client->io.backoff_ms= 0;
      if (!client->io.missing_told)
        recovered= set_missing(client, 0);
    }
    if (request->type == FRAME_USE)
      schedule_next_use(&client->io, clock_ms());
    request_end(client, request, NULL);
  }
  pthread_mutex_unlock(&client->lock);
  if (recovered)
    tell_recovered(client);
  if (!request)
    return broken(why, "DONE answers nothing that was asked");
  return right || broken(why, "DONE (%u, %u) does not match the keys that came before it", first, second);
}

static bool fail(struct client *client, const struct frame *frame, struct failure *refused, bool *is_refused,
                 const struct why *why)
{
  struct frame_reader reader= frame_read(frame);
  struct frame_text code= frame_str(&reader);
  struct frame_text message= frame_str(&reader);
  struct frame_text hint= frame_str(&reader);
  struct failure failure;
  if (!frame_end(&reader))
    return broken(why, "malformed FAIL");
  copy(failure.code, sizeof failure.code, code);
  copy(failure.message, sizeof failure.message, message);
  copy(failure.hint, sizeof failure.hint, hint);
  if (client->io.connection == CONNECTION_GREETED && frame->request == client->io.hello_number)
  {
    *refused= failure;
    *is_refused= true;
    return true;
  }
  pthread_mutex_lock(&client->lock);
  struct request *request= frame->request ? asked(client, frame->request) : NULL;
  bool reload= request && request->internal && request->type == FRAME_LOAD;
  if (request && request->type == FRAME_CHECK)
  {
    /* The result of an earlier check is no longer valid. */
    client->master_key= MASTER_KEY_UNKNOWN;
    client->days_left= NO_DAYS;
  }
  if (strcmp(failure.code, CODE_OF_MISSING) == 0)
    client->refused_missing= true;
  if (request && !(client->io.protocol == PROTOCOL_OLDEST && request_hold(client, request, &failure)))
    request_end(client, request, &failure);
  pthread_mutex_unlock(&client->lock);
  if (reload)
    schedule_reload(client);
  return request || broken(why, "FAIL answers nothing that was asked");
}

static bool log_line(struct client *client, const struct frame *frame, const struct why *why)
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
    pthread_mutex_lock(&client->lock);
    report_note_error(client, text);
    pthread_mutex_unlock(&client->lock);
  }
  client->config.log((enum severity) severity, text);
  return true;
}

static bool stats(struct client *client, const struct frame *frame, const struct why *why)
{
  struct frame_reader reader= frame_read(frame);
  for (uint8_t left= frame_u8(&reader); left && !reader.bad; left--)
  {
    uint8_t counter= frame_u8(&reader);
    uint32_t increase= frame_u32(&reader);
    if (!reader.bad && counter > 0 && counter < COUNTER_END)
      atomic_fetch_add(&client->counters[counter], increase);
  }
  return frame_end(&reader) || broken(why, "malformed STATS");
}

static bool missing(struct client *client, const struct frame *frame, const struct why *why)
{
  struct frame_reader reader= frame_read(frame);
  uint32_t count= frame_u32(&reader);
  if (!frame_end(&reader))
    return broken(why, "malformed MISSING");
  client->io.missing_told= true;
  pthread_mutex_lock(&client->lock);
  bool recovered= set_missing(client, count);
  pthread_mutex_unlock(&client->lock);
  if (recovered)
    tell_recovered(client);
  return true;
}

static bool master_key(struct client *client, const struct frame *frame, const struct why *why)
{
  struct frame_reader reader= frame_read(frame);
  uint8_t state= frame_u8(&reader);
  uint32_t days_left= frame_u32(&reader);
  if (!frame_end(&reader) || state == MASTER_KEY_NOT_LOOKED || state >= MASTER_KEY_STATES)
    return broken(why, "malformed MASTERKEY");
  pthread_mutex_lock(&client->lock);
  client->master_key= (enum master_key_state) state;
  client->days_left= days_left;
  pthread_mutex_unlock(&client->lock);
  return true;
}

bool dispatch_frame(struct client *client, const struct frame *frame, struct failure *refused, bool *is_refused,
                    char *why_text, size_t why_size)
{
  const struct why why= {why_text, why_size};
  bool up= client->io.connection == CONNECTION_UP;
  switch (frame->type)
  {
  case FRAME_WELCOME:
    return welcome(client, frame, refused, is_refused, &why);
  case FRAME_KEY:
    if (frame->request)
      return broken(&why, "KEY with a request number");
    return up ? key(client, frame, &why) : broken(&why, "KEY before WELCOME");
  case FRAME_DONE:
    return up ? done(client, frame, &why) : broken(&why, "DONE before WELCOME");
  case FRAME_FAIL:
    return fail(client, frame, refused, is_refused, &why);
  case FRAME_QUESTION:
    if (!up || client->io.protocol == PROTOCOL_OLDEST)
      return broken(&why, "QUESTION before WELCOME, or in protocol 1");
    return question(client, frame, &why);
  case FRAME_LOG:
  case FRAME_STATS:
  case FRAME_MISSING:
  case FRAME_MASTERKEY:
    if (frame->request)
      return broken(&why, "frame of type 0x%02x with a request number", frame->type);
    return frame->type == FRAME_LOG       ? log_line(client, frame, &why)
           : frame->type == FRAME_STATS   ? stats(client, frame, &why)
           : frame->type == FRAME_MISSING ? missing(client, frame, &why)
                                          : master_key(client, frame, &why);
  default:
    return broken(&why, "frame of unknown type 0x%02x", frame->type);
  }
}
