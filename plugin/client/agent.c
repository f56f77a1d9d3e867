// SPDX-License-Identifier: GPL-2.0-only
#include "client/agent_int.h"

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

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/text.h"

#define SOCKET_PREFIX "unix:"
#define HANGING_JOIN_MS 500

static const struct agent_limits default_limits= {
  .request= 30000, .answer_grace= 5000, .welcome= 10000, .write= 5000, .connect_every= 200, .patience= 5000,
  .start_again= 1000, .backoff_max= 60000, .exit= 1000, .join= 10000, .interrupt_every= 200, .statement= 8000, .turn= 5000,
  .total= 10000, .look= 30000, .reload_soonest= 5000,
};

struct agent_failure agent_plain(const char *message)
{
  struct agent_failure failure= {.code= "", .hint= ""};
  snprintf(failure.message, sizeof failure.message, "%s", message);
  return failure;
}

bool agent_failure_text(const struct agent_failure *failure, char *text, size_t size)
{
  int whole= snprintf(text, size, "%s%s%s", failure->message, failure->hint[0] ? "; " : "", failure->hint);
  if (whole >= 0 && (size_t) whole < size)
    return true;
  const char *gap= failure->hint[0] ? "...; " : "...";
  size_t room= size - 1 - strlen(gap), message= strlen(failure->message), hint= strlen(failure->hint);
  /* Even a very long hint leaves a third of the room to what failed. */
  hint= text_cut(failure->hint, hint, room - (message < room / 3 ? message : room / 3));
  message= text_cut(failure->message, message, room - hint);
  snprintf(text, size, "%.*s%s%.*s", (int) message, failure->message, gap, (int) hint, failure->hint);
  return false;
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
  *failure= agent_plain("");
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

static void free_agent(struct agent *agent)
{
  for (size_t i= 0; i < SETTING_COUNT; i++)
    free(agent->settings[i]);
  if (agent->wake_fd != -1)
    close(agent->wake_fd);
  free(agent->target);
  explicit_bzero(&agent->io, sizeof agent->io);
  munmap(agent, sizeof *agent);
}

static bool prepare(struct agent *agent, struct agent_failure *failure)
{
  const char *target= agent->config.target;
  uid_t uid= environment_server_uid(agent->config.role == ROLE_BACKUP);
  agent->is_socket= strncmp(target, SOCKET_PREFIX, strlen(SOCKET_PREFIX)) == 0;
  /* Here and not at each start of the agent: the I/O thread must not wait for a user database on the network. */
  if (!agent->is_socket && !environment_user(uid, &agent->user, failure->message, sizeof failure->message))
    return false;
  agent->target= strdup(agent->is_socket ? target + strlen(SOCKET_PREFIX) : target);
  agent->wake_fd= descriptor_high(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  agent->config.target= agent->target;
  agent->state= AGENT_IDLE;
  agent->limits= default_limits;
  agent->io.fd= -1;
  agent->days_left= NO_DAYS;
  agent_plan_watch(agent, clock_ms());
  if (!agent->target || agent->wake_fd == -1 || agent_cond_init(&agent->has_ended))
    return false;
  if (pthread_mutex_init(&agent->lock, NULL) == 0)
    return true;
  pthread_cond_destroy(&agent->has_ended);
  return false;
}

struct agent *agent_create(const struct agent_config *config, struct agent_failure *failure)
{
  if (!target_ok(config->target, failure))
    return NULL;
  *failure= agent_plain("out of memory");
  struct agent *agent= new_agent();
  if (!agent)
    return NULL;
  agent->config= *config;
  agent->wake_fd= -1;
  if (prepare(agent, failure))
    return agent;
  free_agent(agent);
  return NULL;
}

void agent_wake(const struct agent *agent)
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
  agent_wake(agent);
  return true;
}

/*
  Signals are the server's: its own signal thread waits for them. Those that the thread itself causes must reach the
  server's handler, which writes the stack trace: blocked, they would end the process without a word.
*/
static int start_thread(struct agent *agent)
{
  static const int own[]= {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  sigset_t blocked, before;
  pthread_attr_t attr;
  sigfillset(&blocked);
  for (size_t i= 0; i < sizeof own / sizeof own[0]; i++)
    sigdelset(&blocked, own[i]);
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, (size_t) 512 * 1024);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  int error= pthread_create(&agent->thread, &attr, agent_io_thread, agent);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attr);
  return error;
}

bool agent_start(struct agent *agent, struct agent_failure *failure)
{
  agent->start_until= agent->server_start_until= clock_ms() + agent->config.start_timeout_ms;
  if (start_thread(agent))
  {
    *failure= agent_plain("cannot start a thread");
    return false;
  }
  agent->has_thread= true;
  bool ok= agent_ask(agent, FRAME_LOAD, 0, agent->config.start_timeout_ms, NULL, failure);
  pthread_mutex_lock(&agent->lock);
  agent->start_until= 0;
  pthread_mutex_unlock(&agent->lock);
  return ok;
}

/* Returns false if it does not end in time. One that is known to hang has had its time. */
static bool end_thread(struct agent *agent)
{
  pthread_mutex_lock(&agent->lock);
  agent->stop= true;
  agent_wake(agent);
  struct timespec limit= clock_timespec(clock_ms() + (agent->hangs ? HANGING_JOIN_MS : agent->limits.join));
  int error= 0;
  while (!agent->ended && error != ETIMEDOUT)
    error= pthread_cond_timedwait(&agent->has_ended, &agent->lock, &limit);
  bool ended= agent->ended;
  pthread_mutex_unlock(&agent->lock);
  return ended && pthread_join(agent->thread, NULL) == 0;
}

bool agent_destroy(struct agent *agent)
{
  if (!agent)
    return true;
  if (agent->has_thread && !end_thread(agent))
    return false;
  pthread_cond_destroy(&agent->has_ended);
  pthread_mutex_destroy(&agent->lock);
  free_agent(agent);
  return true;
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

void agent_get_status(struct agent *agent, struct agent_status *status)
{
  for (size_t i= 0; i < COUNTER_END; i++)
    status->counters[i]= atomic_load(&agent->counters[i]);
  status->versions_missing= atomic_load(&agent->missing);
  status->versions_limit= limit_of_versions(agent);
  pthread_mutex_lock(&agent->lock);
  status->state= agent->state;
  status->starts= agent->starts;
  status->master_key= agent->master_key;
  status->days_left= agent->days_left;
  memcpy(status->last_error, agent->last_error, sizeof status->last_error);
  memcpy(status->last_error_time, agent->last_error_time, sizeof status->last_error_time);
  pthread_mutex_unlock(&agent->lock);
}
