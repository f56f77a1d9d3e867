// SPDX-License-Identifier: GPL-2.0-only
#include "client/client.h"

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
#include "client/asking.h"
#include "client/connect.h"
#include "client/internal.h"
#include "client/io.h"
#include "client/limit.h"
#include "client/report.h"
#include "client/request.h"
#include "client/schedule.h"
#include "client/target.h"
#include "client/waiting.h"

#define HANGING_JOIN_MS 500
#define ROTATE_ALL_EACH_MS 50u
#define ROTATE_ALL_EXTRA_MAX_MS 3600000u

static const struct client_limits default_limits= {
  .request= 30000, .answer_grace= 5000, .welcome= 10000, .write= 5000, .connect_every= 200, .connect_quiet= 1000, .patience= 5000,
  .start_again= 1000, .backoff_max= 60000, .exit= 1000, .join= 10000, .interrupt_every= 200, .statement= 8000, .turn= 5000,
  .total= 10000, .look= 30000, .reload_soonest= 5000,
};

static bool target_ok(const char *target, struct failure *failure)
{
  const char *socket_path= target_socket(target), *path= socket_path ? socket_path : target;
  *failure= failure_plain("");
  if (path[0] != '/')
    snprintf(failure->message, sizeof failure->message,
             "aws_key_management_agent: expected an absolute path%s, got '%s'", socket_path ? " after unix:" : "", path);
  else if (socket_path && strlen(socket_path) > CONNECT_PATH_MAX)
    snprintf(failure->message, sizeof failure->message,
             "aws_key_management_agent: the path of a unix socket may have at most %u bytes, got %zu", CONNECT_PATH_MAX,
             strlen(socket_path));
  return failure->message[0] == 0;
}

/* The frame parser holds a key between its arrival and the key table: it must not be in a core dump. */
static struct client *new_client(void)
{
  void *at= mmap(NULL, sizeof(struct client), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED)
    return NULL;
  (void) madvise(at, sizeof(struct client), MADV_DONTDUMP);
  return at;
}

static void free_client(struct client *client)
{
  for (size_t i= 0; i < SETTING_COUNT; i++)
    free(client->settings[i]);
  if (client->wake_fd != -1)
    close(client->wake_fd);
  free(client->target);
  explicit_bzero(&client->io, sizeof client->io);
  munmap(client, sizeof *client);
}

static bool prepare(struct client *client, struct failure *failure)
{
  const char *target= client->config.target, *socket_path= target_socket(target);
  uid_t uid= environment_server_uid(client->config.role == ROLE_BACKUP);
  client->is_socket= socket_path != NULL;
  /*
    The user is looked up once and not at each start of the agent: the I/O thread must not wait for a user database on the
    network.
  */
  if (!client->is_socket && !environment_user(uid, &client->user, failure->message, sizeof failure->message))
    return false;
  client->target= strdup(socket_path ? socket_path : target);
  client->wake_fd= descriptor_high(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  client->config.target= client->target;
  client->state= AGENT_IDLE;
  client->limits= default_limits;
  client->io.fd= -1;
  client->days_left= NO_DAYS;
  schedule_watch(client, clock_ms());
  if (!client->target || client->wake_fd == -1 || clock_cond_init(&client->has_ended))
    return false;
  if (pthread_mutex_init(&client->lock, NULL) == 0)
    return true;
  pthread_cond_destroy(&client->has_ended);
  return false;
}

struct client *client_create(const struct client_config *config, struct failure *failure)
{
  if (!target_ok(config->target, failure))
    return NULL;
  *failure= failure_plain("out of memory");
  struct client *client= new_client();
  if (!client)
    return NULL;
  client->config= *config;
  client->wake_fd= -1;
  if (prepare(client, failure))
    return client;
  free_client(client);
  return NULL;
}

bool client_set(struct client *client, enum setting setting, const char *value)
{
  char *copy= strdup(value);
  if (!copy)
    return false;
  pthread_mutex_lock(&client->lock);
  char *old= client->settings[setting];
  client->settings[setting]= copy;
  if (!old || strcmp(old, copy) != 0)
  {
    client->setting_changed[setting]= true;
    recent_forgive(&client->recent);
  }
  pthread_mutex_unlock(&client->lock);
  free(old);
  request_wake(client);
  return true;
}

/*
  Starts the I/O thread, returns 0 or an errno. Signals are the server's: its own signal thread waits for them. Those that
  the thread itself causes must reach the server's handler, which writes the stack trace: blocked, they would end the
  process without a word.
*/
static int start_thread(struct client *client)
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
  int error= pthread_create(&client->thread, &attr, io_thread, client);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attr);
  return error;
}

bool client_start(struct client *client, struct failure *failure)
{
  client->start_until= client->server_start_until= clock_ms() + client->config.start_timeout_ms;
  if (start_thread(client))
  {
    *failure= failure_plain("cannot start a thread");
    return false;
  }
  client->has_thread= true;
  bool ok= waiting_ask(client, FRAME_LOAD, 0, client->config.start_timeout_ms, NULL, failure);
  pthread_mutex_lock(&client->lock);
  client->start_until= 0;
  pthread_mutex_unlock(&client->lock);
  return ok;
}

/* Stops the thread. Returns false if it does not end in time. One that is known to hang has had its time. */
static bool end_thread(struct client *client)
{
  pthread_mutex_lock(&client->lock);
  client->stop= true;
  request_wake(client);
  struct timespec limit= clock_timespec(clock_ms() + (client->hangs ? HANGING_JOIN_MS : client->limits.join));
  int error= 0;
  while (!client->ended && error != ETIMEDOUT)
    error= pthread_cond_timedwait(&client->has_ended, &client->lock, &limit);
  bool ended= client->ended;
  pthread_mutex_unlock(&client->lock);
  return ended && pthread_join(client->thread, NULL) == 0;
}

bool client_destroy(struct client *client)
{
  if (!client)
    return true;
  if (client->has_thread && !end_thread(client))
    return false;
  pthread_cond_destroy(&client->has_ended);
  pthread_mutex_destroy(&client->lock);
  free_client(client);
  return true;
}

bool client_open(struct client *client, uint32_t id)
{
  return asking_for_key(client, FRAME_OPEN, id, 0);
}

bool client_fetch(struct client *client, uint32_t id, uint32_t version)
{
  return asking_for_key(client, FRAME_FETCH, id, version);
}

bool client_reason(struct client *client, uint32_t id, uint32_t version, struct failure *failure)
{
  pthread_mutex_lock(&client->lock);
  const struct failure *found= reasons_find(&client->reasons, id, version, clock_ms());
  if (found)
    *failure= *found;
  pthread_mutex_unlock(&client->lock);
  return found != NULL;
}

/*
  Returns milliseconds. A rotation of all keys has the time of one, and a little for each: the agent rotates many of them at
  once.
*/
static uint32_t rotation_deadline(const struct client *client, uint32_t id)
{
  size_t keys= id ? 0 : atomic_load(&client->config.table->id_count);
  size_t extra= keys * ROTATE_ALL_EACH_MS;
  return client->limits.request + (uint32_t) (extra < ROTATE_ALL_EXTRA_MAX_MS ? extra : ROTATE_ALL_EXTRA_MAX_MS);
}

bool client_rotate(struct client *client, uint32_t id, const struct interrupt *interrupt,
                   struct failure *failure)
{
  return waiting_ask(client, FRAME_ROTATE, id, rotation_deadline(client, id), interrupt, failure);
}

void client_log_rotation(struct client *client, uint32_t id, const struct failure *failure)
{
  const char *reason= failure->code[0] ? failure->code : failure->message;
  pthread_mutex_lock(&client->lock);
  bool log= recent_add(&client->recent, FRAME_ROTATE, id, 0, reason, clock_ms());
  pthread_mutex_unlock(&client->lock);
  if (log)
    report_rotation(client, id, failure);
  else
    request_wake(client);
}

void client_get_status(struct client *client, struct client_status *status)
{
  for (size_t i= 0; i < COUNTER_END; i++)
    status->counters[i]= atomic_load(&client->counters[i]);
  status->versions_missing= atomic_load(&client->missing);
  status->versions_limit= limit_of_versions(client);
  pthread_mutex_lock(&client->lock);
  status->state= client->state;
  status->starts= client->starts;
  status->master_key= client->master_key;
  status->days_left= client->days_left;
  memcpy(status->last_error, client->last_error, sizeof status->last_error);
  memcpy(status->last_error_time, client->last_error_time, sizeof status->last_error_time);
  pthread_mutex_unlock(&client->lock);
}
