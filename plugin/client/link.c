// SPDX-License-Identifier: GPL-2.0-only
/* The life of one connection to an agent: started, greeted, dropped, reaped. */
#include "client/link.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/connect.h"
#include "client/internal.h"
#include "client/output.h"
#include "client/report.h"
#include "client/request.h"
#include "client/schedule.h"
#include "client/spawn.h"

#define EXIT_NOT_EXECUTED 127
/* The unit of the packages that runs a separate agent; src/server/service/agent-service.ts has its name, too. */
#define AGENT_UNIT "mariadb-aws-kms-agent"
/* A code of src/errors.ts. An agent refuses with it, among other things, a version of HELLO that it does not speak. */
#define CODE_OF_PROTOCOL "PROTOCOL"

void link_close(struct client *client)
{
  struct client_io *io= &client->io;
  if (io->fd != -1)
    close(io->fd);
  io->fd= -1;
  io->connection= CONNECTION_NONE;
  frame_parser_reset(&io->parser);
  io->out_from= io->out_size= 0;
  io->held_left= 0;
  pthread_mutex_lock(&client->lock);
  client->knows_missing= false;
  for (struct request *each= client->requests; each; each= each->next)
  {
    /* An answer that was about to be sent counts as sent: else an agent that dies of its question would be asked for ever. */
    each->sent= each->sent || (each->questioned && !request_is_held(each));
    each->questioned= false;
  }
  pthread_mutex_unlock(&client->lock);
}

/* Ends all requests with the failure of a start, and for a second also each that comes. */
static void refuse(struct client *client, const struct failure *failure)
{
  struct client_io *io= &client->io;
  io->start_failure= *failure;
  io->refuse_until= clock_ms() + client->limits.start_again;
  pthread_mutex_lock(&client->lock);
  char text[FAILURE_TEXT_MAX];
  client->state= AGENT_FAILED;
  failure_text(failure, text, sizeof text);
  report_note_error(client, text);
  while (client->requests)
    request_end(client, client->requests, failure);
  pthread_mutex_unlock(&client->lock);
  schedule_reload(client);
}

void link_reap_later(struct client_io *io, pid_t child)
{
  size_t at= 0;
  while (at < UNREAPED_MAX - 1 && io->unreaped[at])
    at++;
  io->unreaped[at]= child;
}

bool link_reap_unreaped(struct client_io *io)
{
  bool any= false;
  int detail;
  for (size_t i= 0; i < UNREAPED_MAX; i++)
  {
    if (io->unreaped[i] && spawn_wait(io->unreaped[i], 0, &detail) != SPAWN_RUNNING)
      io->unreaped[i]= 0;
    any= any || io->unreaped[i];
  }
  return any;
}

/* The way in which an agent left. It decides which requests are sent again and whether to warn. */
enum leaving
{
  LEFT_CLEANLY,
  LEFT_UNKNOWN,                         /* no child of ours, or somebody else has its status */
  LEFT_KILLED,                          /* by a signal that was not meant for the service */
  LEFT_BADLY
};

static enum leaving kill_child(struct client *client)
{
  pid_t child= client->io.child;
  int detail;
  client->io.child= 0;
  if (child && spawn_kill(child, &detail) == SPAWN_RUNNING)
    link_reap_later(&client->io, child);
  return LEFT_BADLY;
}

/* Reaps the child after the agent has closed the connection; text[0..size) says how it ended. */
static enum leaving reap(struct client *client, bool asked, char *text, size_t size)
{
  pid_t child= client->io.child;
  int detail= 0;
  snprintf(text, size, "the agent closed the connection");
  if (!child)
    return LEFT_UNKNOWN;
  enum spawn_end end= spawn_wait(child, (int) client->limits.exit, &detail);
  if (end == SPAWN_RUNNING)
    return kill_child(client);
  client->io.child= 0;
  snprintf(text, size, "the agent ended");
  if (end == SPAWN_UNKNOWN)
    return LEFT_UNKNOWN;
  /* POSIX: the exit status of a child that could not execute its program, where posix_spawn could not say so itself. */
  if (end == SPAWN_EXITED && detail == EXIT_NOT_EXECUTED)
    snprintf(text, size,
             "the agent ended (exit status %d: '%.300s', or what it starts, could not be executed, or lacks a library: run "
             "it with --version as root; for libatomic.so.1: apt install libatomic1)",
             detail, client->target);
  else if (end == SPAWN_EXITED)
    snprintf(text, size, "the agent ended (exit status %d)", detail);
  else
    snprintf(text, size, "the agent ended (signal %d, %s)", detail, sigdescr_np(detail) ? sigdescr_np(detail) : "?");
  /* A service manager that stops the server sends SIGTERM to its agent too. */
  if (end == SPAWN_SIGNALLED)
    return detail == SIGTERM && !asked ? LEFT_CLEANLY : LEFT_KILLED;
  return detail == 0 ? LEFT_CLEANLY : LEFT_BADLY;
}

void link_reap(struct client *client)
{
  char text[512];
  reap(client, false, text, sizeof text);
  link_reap_unreaped(&client->io);
}

static bool anything_asked(struct client *client)
{
  bool asked= false;
  pthread_mutex_lock(&client->lock);
  for (const struct request *each= client->requests; each; each= each->next)
    asked= asked || each->sent;
  pthread_mutex_unlock(&client->lock);
  return asked;
}

/*
  Returns whether a request is sent again to the next agent. An agent that ends for idleness may do so in the moment a
  request is sent to it. Without its exit status it may as well have crashed over the request, so that only requests that
  may be done twice are sent again. A server's start is worth a second agent when the first is killed, for want of memory
  perhaps.
*/
static bool may_ask_again(enum leaving left, const struct request *request)
{
  if (request->sent_before)
    return false;
  return left == LEFT_CLEANLY || (left == LEFT_UNKNOWN && request->type != FRAME_ROTATE) ||
         (left == LEFT_KILLED && request->type == FRAME_LOAD);
}

/*
  Returns whether all pending requests are loads, which may be sent again, and marks them as sent: to an agent that was
  killed before it had greeted nothing was sent yet.
*/
static bool only_loads_wait(struct client *client)
{
  pthread_mutex_lock(&client->lock);
  bool only= client->requests != NULL;
  for (struct request *each= client->requests; each; each= each->next)
    only= only && may_ask_again(LEFT_KILLED, each);
  for (struct request *each= client->requests; only && each; each= each->next)
    each->sent= true;
  pthread_mutex_unlock(&client->lock);
  return only;
}

/* Makes a request as it was before it was sent. A look is not made again: its result stays. Needs the lock. */
static void ask_again(struct request *request)
{
  if (request->spoilt || request->look != LOOK_DONE)
    request->failure= failure_plain("");
  request->sent= request->spoilt= request->forgotten= false;
  request->sent_before= true;
}

/* Returns whether the caller of a request that ends reports the failure. Needs the lock. */
static bool caller_tells(const struct client *client, enum leaving left)
{
  /* The caller of the first LOAD reports it, with the plugin's initialisation. */
  for (const struct request *each= client->requests; each; each= each->next)
    if (each->sent && each->type == FRAME_LOAD && !each->internal && !may_ask_again(left, each))
      return true;
  return false;
}

/* Ends the requests that were sent. Needs the lock. */
static void end_sent(struct client *client, enum leaving left, const struct failure *failure)
{
  for (struct request *each= client->requests, *next; each; each= next)
  {
    next= each->next;
    if (!each->sent)
      continue;
    if (may_ask_again(left, each))
    {
      ask_again(each);
      continue;
    }
    each->sent= each->spoilt= false;
    request_end(client, each, failure);
  }
}

void link_drop(struct client *client, const struct failure *why)
{
  bool greeting= client->io.connection == CONNECTION_GREETED;
  bool is_child= client->io.child != 0;
  char text[512]= "";
  link_close(client);
  bool asked= anything_asked(client);
  enum leaving left= why ? kill_child(client) : reap(client, asked, text, sizeof text);
  struct failure failure= why ? *why : failure_plain(text);
  if (greeting && !(left == LEFT_KILLED && only_loads_wait(client)))
  {
    refuse(client, &failure);
    return;
  }
  bool warn= left == LEFT_BADLY || left == LEFT_KILLED || (left == LEFT_UNKNOWN && is_child && asked);
  pthread_mutex_lock(&client->lock);
  bool told= caller_tells(client, left);
  if (warn)
    report_note_error(client, failure.message);
  pthread_mutex_unlock(&client->lock);
  /* The log has the cause before the failures that it brings. */
  if (warn && !told)
    report_logf(client, SEVERITY_WARNING, "%s; loaded keys stay in use, the agent is started again when it is needed",
                failure.message);
  pthread_mutex_lock(&client->lock);
  end_sent(client, left, &failure);
  client->state= AGENT_IDLE;
  pthread_mutex_unlock(&client->lock);
  schedule_reload(client);
}

/*
  Returns the end of the wait for WELCOME. A start that is slow but within its time is no failure. It may not take much
  longer than its time either, lest its callers hear nothing better than that it took too long.
*/
static int64_t welcome_limit(const struct client *client, int64_t now, int64_t start_until)
{
  int64_t usual= now + client->limits.welcome, latest= start_until + client->limits.answer_grace;
  if (start_until == 0 || (usual >= start_until && usual <= latest))
    return usual;
  return usual < start_until ? start_until : latest;
}

static void greet(struct client *client)
{
  struct client_io *io= &client->io;
  io->connection= CONNECTION_GREETED;
  io->greeted_at= clock_ms();
  io->missing_told= false;
  io->hello_number= output_new_number(io);
  uint8_t *space= output_space(io, FRAME_TOTAL_MAX);
  struct frame_writer hello= frame_begin(space, FRAME_TOTAL_MAX, FRAME_HELLO, io->hello_number);
  frame_put_u16(&hello, io->protocol);
  frame_put_u8(&hello, (uint8_t) client->config.role);
  size_t held= atomic_load(&client->config.table->version_count);
  io->held= keytable_walk_begin(client->config.table);
  io->held_left= held > UINT32_MAX ? UINT32_MAX : (uint32_t) held;
  frame_put_u32(&hello, io->held_left);
  frame_put_u16(&hello, SETTING_COUNT);
  pthread_mutex_lock(&client->lock);
  io->limit_at= welcome_limit(client, io->greeted_at, client->start_until);
  client->starts++;
  for (size_t i= 0; i < SETTING_COUNT; i++)
  {
    const char *name= setting_name((enum setting) i);
    const char *value= client->settings[i] ? client->settings[i] : "";
    frame_put_str(&hello, name, strlen(name));
    frame_put_str(&hello, value, strlen(value));
    client->setting_changed[i]= false;
  }
  pthread_mutex_unlock(&client->lock);
  io->out_size+= frame_finish(&hello);
}

static void begin_child(struct client *client)
{
  struct client_io *io= &client->io;
  int error= spawn_agent(client->target, &client->user, &io->fd, &io->child);
  if (!error)
  {
    greet(client);
    return;
  }
  char text[512];
  snprintf(text, sizeof text, "cannot start the agent '%.400s': %s", client->target, strerrordesc_np(error));
  struct failure failure= failure_plain(text);
  snprintf(failure.hint, sizeof failure.hint, "%s", spawn_hint(error));
  refuse(client, &failure);
}

static void begin(struct client *client, uint16_t protocol)
{
  struct client_io *io= &client->io;
  io->protocol= protocol;
  pthread_mutex_lock(&client->lock);
  client->state= AGENT_STARTING;
  int64_t start_until= client->start_until;
  pthread_mutex_unlock(&client->lock);
  if (!client->is_socket)
  {
    begin_child(client);
    return;
  }
  io->connection= CONNECTION_WAITING;
  io->is_start= start_until != 0;
  io->told_of_wait= false;
  io->try_at= clock_ms();
  io->limit_at= start_until && !client->config.nobody_listens ? start_until : io->try_at + client->limits.patience;
}

void link_begin(struct client *client)
{
  client->io.reload_at= 0;
  client->io.begun_at= clock_ms();
  begin(client, PROTOCOL_VERSION);
}

void link_refused(struct client *client, const struct failure *failure)
{
  bool of_protocol= strcmp(failure->code, CODE_OF_PROTOCOL) == 0;
  bool last= client->io.protocol == PROTOCOL_OLDEST;
  link_close(client);
  link_reap(client);
  if (of_protocol && !last)
  {
    begin(client, PROTOCOL_OLDEST);
    return;
  }
  struct failure why= *failure;
  if (of_protocol)
    snprintf(why.message, sizeof why.message, "the agent refuses this plugin, which speaks protocol %u and %u: %.900s",
             PROTOCOL_VERSION, PROTOCOL_OLDEST, failure->message);
  refuse(client, &why);
}

/* Makes the failure of a try to connect. */
static struct failure not_connected(const struct client *client, enum connect_result result, const char *why)
{
  struct failure failure= failure_plain(why);
  const char *hint= client->config.nobody_listens;
  if (result == CONNECT_DENIED)
    connect_denied_hint(client->target, client->config.role == ROLE_BACKUP, failure.hint, sizeof failure.hint);
  else
    snprintf(failure.hint, sizeof failure.hint, "%s",
             hint ? hint : "check aws_key_management_agent and that its agent runs: journalctl -u " AGENT_UNIT);
  return failure;
}

/* Logs once why a start waits. */
static void tell_of_wait(struct client *client, const struct failure *failure, int64_t now)
{
  char text[FAILURE_TEXT_MAX];
  client->io.told_of_wait= true;
  failure_text(failure, text, sizeof text);
  report_logf(client, SEVERITY_WARNING, "%s; waiting up to %d s for it", text, (int) ((client->io.limit_at - now + 999) / 1000));
}

void link_try_connect(struct client *client, int64_t now)
{
  struct client_io *io= &client->io;
  char why[512];
  if (now < io->try_at)
    return;
  io->try_at= now + client->limits.connect_every;
  enum connect_result result= connect_agent(client->target, &io->fd, why, sizeof why);
  if (result == CONNECT_DONE)
  {
    greet(client);
    return;
  }
  struct failure failure= not_connected(client, result, why);
  bool long_enough= now - io->begun_at >= client->limits.connect_quiet;
  /* A server that is started at boot may wait for somebody who sets its agent up; nobody does that for a backup. */
  bool denied= result == CONNECT_DENIED && client->config.role == ROLE_BACKUP && long_enough;
  if (result != CONNECT_REFUSED && !denied && now < io->limit_at)
  {
    if (long_enough && io->is_start && !io->told_of_wait && !client->config.nobody_listens)
      tell_of_wait(client, &failure, now);
    return;
  }
  io->connection= CONNECTION_NONE;
  refuse(client, &failure);
}
