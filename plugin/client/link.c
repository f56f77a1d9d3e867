// SPDX-License-Identifier: GPL-2.0-only
/*
  The life of one connection to an agent: started, greeted, given up, reaped. Only the I/O thread calls these.
*/
#include "client/agent_int.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/spawn.h"

#define EXIT_NOT_EXECUTED 127

void agent_plan_reload(struct agent *agent)
{
  struct agent_io *io= &agent->io;
  if (!agent->config.allow_missing_keys || atomic_load(&agent->missing) == 0 || io->reload_at)
    return;
  if (io->backoff_ms == 0)
    io->backoff_ms= agent->limits.start_again;
  io->reload_at= clock_ms() + io->backoff_ms;
  io->backoff_ms= io->backoff_ms > agent->limits.backoff_max / 2 ? agent->limits.backoff_max : io->backoff_ms * 2;
}

void link_close(struct agent *agent)
{
  struct agent_io *io= &agent->io;
  if (io->fd != -1)
    close(io->fd);
  io->fd= -1;
  io->connection= CONNECTION_NONE;
  frame_parser_reset(&io->parser);
  io->out_from= io->out_size= 0;
  io->held_left= 0;
  pthread_mutex_lock(&agent->lock);
  agent->knows_missing= false;
  pthread_mutex_unlock(&agent->lock);
}

/* A start failed: whoever waits hears why, and for a second so does whoever comes. */
static void refuse(struct agent *agent, const struct agent_failure *failure)
{
  struct agent_io *io= &agent->io;
  io->start_failure= *failure;
  io->refuse_until= clock_ms() + agent->limits.start_again;
  pthread_mutex_lock(&agent->lock);
  char text[AGENT_FAILURE_TEXT];
  agent->state= AGENT_FAILED;
  agent_failure_text(failure, text, sizeof text);
  agent_note_error(agent, text);
  while (agent->requests)
    agent_end_request(agent, agent->requests, failure, true);
  pthread_mutex_unlock(&agent->lock);
  agent_plan_reload(agent);
}

void link_reap_later(struct agent_io *io, pid_t child)
{
  size_t at= 0;
  while (at < UNREAPED_MAX - 1 && io->unreaped[at])
    at++;
  io->unreaped[at]= child;
}

bool link_reap_unreaped(struct agent_io *io)
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

/* How an agent left us. What may be asked again, and what is worth a warning, depends on it. */
enum leaving
{
  LEFT_CLEANLY,
  LEFT_UNKNOWN,                         /* it listens, or somebody else has the status of our child */
  LEFT_KILLED,                          /* by a signal that was not for the service */
  LEFT_BADLY
};

static enum leaving kill_child(struct agent *agent)
{
  pid_t child= agent->io.child;
  int detail;
  agent->io.child= 0;
  if (child && spawn_kill(child, &detail) == SPAWN_RUNNING)
    link_reap_later(&agent->io, child);
  return LEFT_BADLY;
}

/* Reaps the child after the agent has closed the connection; text says how it ended. */
static enum leaving reap(struct agent *agent, bool asked, char *text, size_t size)
{
  pid_t child= agent->io.child;
  int detail= 0;
  snprintf(text, size, "the agent closed the connection");
  if (!child)
    return LEFT_UNKNOWN;
  enum spawn_end end= spawn_wait(child, (int) agent->limits.exit, &detail);
  if (end == SPAWN_RUNNING)
    return kill_child(agent);
  agent->io.child= 0;
  snprintf(text, size, "the agent ended");
  if (end == SPAWN_UNKNOWN)
    return LEFT_UNKNOWN;
  /* POSIX: what a child ends with that could not execute its program, where posix_spawn could not say so itself. */
  if (end == SPAWN_EXITED && detail == EXIT_NOT_EXECUTED)
    snprintf(text, size,
             "the agent ended (exit status %d: '%.300s', or what it starts, could not be executed, or lacks a library: run "
             "it with --version as root; for libatomic.so.1: apt install libatomic1)",
             detail, agent->target);
  else if (end == SPAWN_EXITED)
    snprintf(text, size, "the agent ended (exit status %d)", detail);
  else
    snprintf(text, size, "the agent ended (signal %d, %s)", detail, sigdescr_np(detail) ? sigdescr_np(detail) : "?");
  /* A service manager that stops the server sends SIGTERM to its agent too. */
  if (end == SPAWN_SIGNALLED)
    return detail == SIGTERM && !asked ? LEFT_CLEANLY : LEFT_KILLED;
  return detail == 0 ? LEFT_CLEANLY : LEFT_BADLY;
}

void link_reap(struct agent *agent)
{
  char text[512];
  reap(agent, false, text, sizeof text);
  link_reap_unreaped(&agent->io);
}

static bool anything_asked(struct agent *agent)
{
  bool asked= false;
  pthread_mutex_lock(&agent->lock);
  for (const struct request *each= agent->requests; each; each= each->next)
    asked= asked || each->sent;
  pthread_mutex_unlock(&agent->lock);
  return asked;
}

/*
  An agent that ends for idleness may do so in the moment a request is sent to it; then the next agent gets it. Without
  its exit status it may as well have crashed over the request, so that only what may be done twice is asked again. A
  server's start is worth a second agent when the first is killed, for want of memory perhaps.
*/
static bool may_ask_again(enum leaving left, const struct request *request)
{
  if (request->sent_before)
    return false;
  return left == LEFT_CLEANLY || (left == LEFT_UNKNOWN && request->type != FRAME_ROTATE) ||
         (left == LEFT_KILLED && request->type == FRAME_LOAD);
}

/*
  To an agent that was killed before it had greeted nothing was sent yet. Returns whether all that waits are loads, which
  may be asked again.
*/
static bool only_loads_wait(struct agent *agent)
{
  pthread_mutex_lock(&agent->lock);
  bool only= agent->requests != NULL;
  for (struct request *each= agent->requests; each; each= each->next)
    only= only && may_ask_again(LEFT_KILLED, each);
  for (struct request *each= agent->requests; only && each; each= each->next)
    each->sent= true;
  pthread_mutex_unlock(&agent->lock);
  return only;
}

/* Ends the requests that were sent. Returns whether somebody who waits for one tells why. Needs the lock. */
static bool end_sent(struct agent *agent, enum leaving left, const struct agent_failure *failure)
{
  bool told= false;
  for (struct request *each= agent->requests, *next; each; each= next)
  {
    next= each->next;
    if (!each->sent)
      continue;
    each->sent= each->spoilt= false;
    if (may_ask_again(left, each))
    {
      each->sent_before= true;
      continue;
    }
    /* The caller of the first LOAD says it, with the plugin's initialisation. */
    told= told || (each->type == FRAME_LOAD && !each->internal);
    agent_end_request(agent, each, failure, true);
  }
  return told;
}

void link_drop(struct agent *agent, const struct agent_failure *why)
{
  bool greeting= agent->io.connection == CONNECTION_GREETED;
  bool is_child= agent->io.child != 0, asked= anything_asked(agent);
  char text[512]= "";
  link_close(agent);
  enum leaving left= why ? kill_child(agent) : reap(agent, asked, text, sizeof text);
  struct agent_failure failure= why ? *why : agent_plain(text);
  if (greeting && !(left == LEFT_KILLED && only_loads_wait(agent)))
  {
    refuse(agent, &failure);
    return;
  }
  bool warn= left == LEFT_BADLY || left == LEFT_KILLED || (left == LEFT_UNKNOWN && is_child && asked);
  pthread_mutex_lock(&agent->lock);
  bool told= end_sent(agent, left, &failure);
  agent->state= AGENT_IDLE;
  if (warn)
    agent_note_error(agent, failure.message);
  pthread_mutex_unlock(&agent->lock);
  if (warn && !told)
    agent_logf(agent, SEVERITY_WARNING, "%s; loaded keys stay in use, the agent is started again when it is needed",
               failure.message);
  agent_plan_reload(agent);
}

/*
  A start that is slow but within its time is no failure. It may not take much longer than its time either, lest whoever
  waits for it hears nothing better than that it took too long.
*/
static int64_t welcome_limit(const struct agent *agent, int64_t now, int64_t start_until)
{
  int64_t usual= now + agent->limits.welcome, latest= start_until + agent->limits.answer_grace;
  if (start_until == 0 || (usual >= start_until && usual <= latest))
    return usual;
  return usual < start_until ? start_until : latest;
}

static void greet(struct agent *agent)
{
  struct agent_io *io= &agent->io;
  io->connection= CONNECTION_GREETED;
  io->greeted_at= clock_ms();
  io->missing_told= false;
  io->hello_wire= output_new_wire(io);
  uint8_t *space= output_space(io, FRAME_TOTAL_MAX);
  struct frame_writer hello= frame_begin(space, FRAME_TOTAL_MAX, FRAME_HELLO, io->hello_wire);
  frame_put_u16(&hello, PROTOCOL_VERSION);
  frame_put_u8(&hello, (uint8_t) agent->config.role);
  size_t held= atomic_load(&agent->config.table->version_count);
  io->held= keytable_walk_begin(agent->config.table);
  io->held_left= held > UINT32_MAX ? UINT32_MAX : (uint32_t) held;
  frame_put_u32(&hello, io->held_left);
  frame_put_u16(&hello, SETTING_COUNT);
  pthread_mutex_lock(&agent->lock);
  io->limit_at= welcome_limit(agent, io->greeted_at, agent->start_until);
  agent->starts++;
  for (size_t i= 0; i < SETTING_COUNT; i++)
  {
    const char *name= setting_name((enum setting) i);
    const char *value= agent->settings[i] ? agent->settings[i] : "";
    frame_put_str(&hello, name, strlen(name));
    frame_put_str(&hello, value, strlen(value));
    agent->setting_changed[i]= false;
  }
  pthread_mutex_unlock(&agent->lock);
  io->out_size+= frame_finish(&hello);
}

void link_refused(struct agent *agent, const struct agent_failure *failure)
{
  link_close(agent);
  link_reap(agent);
  refuse(agent, failure);
}

static void begin_child(struct agent *agent)
{
  struct agent_io *io= &agent->io;
  int error= spawn_agent(agent->target, &agent->user, &io->fd, &io->child);
  if (!error)
  {
    greet(agent);
    return;
  }
  char text[512];
  snprintf(text, sizeof text, "cannot start the agent '%.400s': %s", agent->target, strerrordesc_np(error));
  struct agent_failure failure= agent_plain(text);
  snprintf(failure.hint, sizeof failure.hint, "%s", spawn_hint(error));
  refuse(agent, &failure);
}

void link_begin(struct agent *agent)
{
  struct agent_io *io= &agent->io;
  io->reload_at= 0;
  io->begun_at= clock_ms();
  pthread_mutex_lock(&agent->lock);
  agent->state= AGENT_STARTING;
  int64_t start_until= agent->start_until;
  pthread_mutex_unlock(&agent->lock);
  if (!agent->is_socket)
  {
    begin_child(agent);
    return;
  }
  io->connection= CONNECTION_WAITING;
  io->try_at= clock_ms();
  io->limit_at= start_until && !agent->config.nobody_listens ? start_until : io->try_at + agent->limits.patience;
}

void link_try_connect(struct agent *agent, int64_t now)
{
  struct agent_io *io= &agent->io;
  char why[512];
  if (now < io->try_at)
    return;
  io->try_at= now + agent->limits.connect_every;
  switch (connect_agent(agent->target, &io->fd, why, sizeof why))
  {
  case CONNECT_DONE:
    greet(agent);
    return;
  case CONNECT_LATER:
    if (now < io->limit_at)
      return;
    break;
  case CONNECT_REFUSED:
    break;
  }
  struct agent_failure failure= agent_plain(why);
  const char *hint= agent->config.nobody_listens;
  snprintf(failure.hint, sizeof failure.hint, "%s", hint ? hint : "check aws_key_management_agent and that its agent runs");
  io->connection= CONNECTION_NONE;
  refuse(agent, &failure);
}
