// SPDX-License-Identifier: GPL-2.0-only
#include "agent_int.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "text.h"

#define SOCKET_PREFIX "unix:"

static void own_failure(struct agent_failure *failure, const char *message)
{
  failure->code[0]= failure->hint[0]= 0;
  snprintf(failure->message, sizeof failure->message, "%s", message);
}

void agent_failure_text(const struct agent_failure *failure, char *text, size_t size)
{
  snprintf(text, size, "%s%s%s", failure->message, failure->hint[0] ? "; " : "", failure->hint);
}

void agent_logf(const struct agent *agent, enum agent_severity severity, const char *format, ...)
{
  char text[4200];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  agent->config.log(severity, text);
}

static bool target_ok(const char *target, struct agent_failure *failure)
{
  bool is_socket= strncmp(target, SOCKET_PREFIX, strlen(SOCKET_PREFIX)) == 0;
  const char *path= is_socket ? target + strlen(SOCKET_PREFIX) : target;
  own_failure(failure, "");
  if (path[0] != '/')
    snprintf(failure->message, sizeof failure->message,
             "aws_key_management_agent: expected an absolute path%s, got '%s'", is_socket ? " after unix:" : "", path);
  else if (is_socket && strlen(path) > CONNECT_PATH_MAX)
    snprintf(failure->message, sizeof failure->message,
             "aws_key_management_agent: the path of a unix socket may have at most %u bytes, got %zu", CONNECT_PATH_MAX,
             strlen(path));
  return failure->message[0] == 0;
}

/* The parser in it holds a key for the moment between arrival and key table: it must not be in a core dump. */
static struct agent *new_agent(void)
{
  void *at= mmap(NULL, sizeof(struct agent), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED)
    return NULL;
  (void) madvise(at, sizeof(struct agent), MADV_DONTDUMP);
  return at;
}

struct agent *agent_create(const struct agent_config *config, struct agent_failure *failure)
{
  if (!target_ok(config->target, failure))
    return NULL;
  own_failure(failure, "out of memory");
  struct agent *agent= new_agent();
  if (!agent)
    return NULL;
  agent->config= *config;
  agent->is_socket= strncmp(config->target, SOCKET_PREFIX, strlen(SOCKET_PREFIX)) == 0;
  agent->target= strdup(agent->is_socket ? config->target + strlen(SOCKET_PREFIX) : config->target);
  agent->wake_fd= eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (!agent->target || agent->wake_fd == -1 || pthread_mutex_init(&agent->lock, NULL))
  {
    if (agent->wake_fd != -1)
      close(agent->wake_fd);
    free(agent->target);
    munmap(agent, sizeof *agent);
    return NULL;
  }
  agent->config.target= agent->target;
  agent->state= AGENT_IDLE;
  agent->patience_ms= config->start_timeout_ms;
  agent->io.fd= -1;
  agent->io.backoff_ms= START_AGAIN_MS;
  return agent;
}

static void wake(const struct agent *agent)
{
  uint64_t one= 1;
  while (write(agent->wake_fd, &one, sizeof one) == -1 && errno == EINTR)
    ;
}

bool agent_set(struct agent *agent, enum setting setting, const char *value)
{
  char *copy= strdup(value);
  if (!copy)
    return false;
  pthread_mutex_lock(&agent->lock);
  char *old= agent->settings[setting];
  agent->settings[setting]= copy;
  if (!old || strcmp(old, copy) != 0)
  {
    agent->setting_changed[setting]= true;
    recent_forgive(&agent->recent);
  }
  pthread_mutex_unlock(&agent->lock);
  free(old);
  wake(agent);
  return true;
}

/* The value keeps the server from sleeping on a request for ever, should the I/O thread itself hang (a dead NFS). */
static int64_t longest_wait(const struct agent *agent, uint32_t deadline_ms)
{
  return (int64_t) deadline_ms + agent->patience_ms + WELCOME_LIMIT_MS + WRITE_LIMIT_MS + 3 * ANSWER_GRACE_MS;
}

void agent_release(struct request *request)
{
  if (--request->refs == 0)
  {
    pthread_cond_destroy(&request->ready);
    free(request);
  }
}

struct request *agent_queue(struct agent *agent, uint8_t type, uint32_t id, uint32_t version, uint32_t deadline_ms)
{
  struct request *request= calloc(1, sizeof *request);
  pthread_condattr_t attr;
  if (!request)
    return NULL;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  int error= pthread_cond_init(&request->ready, &attr);
  pthread_condattr_destroy(&attr);
  if (error)
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

/* Waits until the request has ended. Needs the lock, and has it again afterwards. */
static bool await(struct agent *agent, struct request *request, struct agent_failure *failure)
{
  int64_t until= clock_ms() + longest_wait(agent, request->deadline_ms);
  struct timespec limit= {.tv_sec= (time_t) (until / 1000), .tv_nsec= (long) (until % 1000) * 1000000};
  int error= 0;
  while (!request->done && error != ETIMEDOUT)
    error= pthread_cond_timedwait(&request->ready, &agent->lock, &limit);
  bool ok= request->done && request->ok;
  if (!request->done)
    own_failure(failure, "the plugin's connection to the agent does not answer");
  else if (!ok)
    *failure= request->failure;
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

/* OPEN or FETCH: asks once however many threads want it. */
static bool ask_for_key(struct agent *agent, uint8_t type, uint32_t id, uint32_t version)
{
  struct agent_failure failure;
  bool ok= false;
  pthread_mutex_lock(&agent->lock);
  if (loaded(agent, type, id, version))
    ok= true;
  else if (!agent->stop && !recent_failed(&agent->recent, type, id, version, clock_ms()))
  {
    struct request *request= in_flight(agent, type, id, version);
    if (request)
      request->refs++;
    else if ((request= agent_queue(agent, type, id, version, REQUEST_DEADLINE_MS)))
      wake(agent);
    if (request)
      ok= await(agent, request, &failure);
  }
  pthread_mutex_unlock(&agent->lock);
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

static bool ask(struct agent *agent, uint8_t type, uint32_t id, uint32_t deadline_ms, struct agent_failure *failure)
{
  bool ok= false;
  own_failure(failure, "out of memory");
  pthread_mutex_lock(&agent->lock);
  struct request *request= agent_queue(agent, type, id, 0, deadline_ms);
  if (request)
  {
    wake(agent);
    ok= await(agent, request, failure);
  }
  pthread_mutex_unlock(&agent->lock);
  return ok;
}

bool agent_rotate(struct agent *agent, uint32_t id, struct agent_failure *failure)
{
  return ask(agent, FRAME_ROTATE, id, REQUEST_DEADLINE_MS, failure);
}

bool agent_start(struct agent *agent, struct agent_failure *failure)
{
  sigset_t all, before;
  pthread_attr_t attr;
  /* Signals are the server's: its own signal thread waits for them. */
  sigfillset(&all);
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, (size_t) 512 * 1024);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error= pthread_create(&agent->thread, &attr, agent_io_thread, agent);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attr);
  if (error)
  {
    own_failure(failure, "cannot start a thread");
    return false;
  }
  agent->has_thread= true;
  bool ok= ask(agent, FRAME_LOAD, 0, agent->config.start_timeout_ms, failure);
  pthread_mutex_lock(&agent->lock);
  if (agent->patience_ms > RECONNECT_PATIENCE_MS)
    agent->patience_ms= RECONNECT_PATIENCE_MS;
  pthread_mutex_unlock(&agent->lock);
  return ok;
}

void agent_destroy(struct agent *agent)
{
  if (!agent)
    return;
  if (agent->has_thread)
  {
    pthread_mutex_lock(&agent->lock);
    agent->stop= true;
    pthread_mutex_unlock(&agent->lock);
    wake(agent);
    pthread_join(agent->thread, NULL);
  }
  for (struct request *next; agent->requests; agent->requests= next)
  {
    next= agent->requests->next;
    agent_release(agent->requests);
  }
  for (size_t i= 0; i < SETTING_COUNT; i++)
    free(agent->settings[i]);
  close(agent->wake_fd);
  pthread_mutex_destroy(&agent->lock);
  free(agent->target);
  explicit_bzero(&agent->io, sizeof agent->io);
  munmap(agent, sizeof *agent);
}

void agent_note_error(struct agent *agent, const char *text)
{
  time_t now= time(NULL);
  struct tm utc;
  text_clean(agent->last_error, sizeof agent->last_error, text, strlen(text));
  if (!gmtime_r(&now, &utc) ||
      !strftime(agent->last_error_time, sizeof agent->last_error_time, "%Y-%m-%dT%H:%M:%SZ", &utc))
    agent->last_error_time[0]= 0;
}

void agent_end_request(struct agent *agent, struct request *request, const struct agent_failure *failure, bool own)
{
  struct request **at= &agent->requests;
  while (*at != request)
    at= &(*at)->next;
  *at= request->next;
  request->next= NULL;
  request->done= true;
  request->ok= !failure;
  request->own= own;
  if (failure)
  {
    char text[AGENT_FAILURE_TEXT];
    request->failure= *failure;
    agent_failure_text(failure, text, sizeof text);
    agent_note_error(agent, text);
    /* The list's reference moves on to the list of what is to be logged. */
    request->next= agent->io.failed;
    agent->io.failed= request;
    /* Before the lock is free again: a caller that comes now must not ask once more. A failed ROTATE or the first LOAD
       is told by whoever asked. */
    if (request->type == FRAME_OPEN || request->type == FRAME_FETCH || request->internal)
      request->log= recent_add(&agent->recent, request->type, request->id, request->version, text, clock_ms());
    pthread_cond_broadcast(&request->ready);
    return;
  }
  pthread_cond_broadcast(&request->ready);
  agent_release(request);
}

void agent_get_status(struct agent *agent, struct agent_status *status)
{
  for (size_t i= 0; i < COUNTER_END; i++)
    status->counters[i]= atomic_load(&agent->counters[i]);
  status->versions_missing= atomic_load(&agent->missing);
  pthread_mutex_lock(&agent->lock);
  status->state= agent->state;
  status->starts= agent->starts;
  memcpy(status->last_error, agent->last_error, sizeof status->last_error);
  memcpy(status->last_error_time, agent->last_error_time, sizeof status->last_error_time);
  pthread_mutex_unlock(&agent->lock);
}
