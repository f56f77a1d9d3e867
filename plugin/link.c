// SPDX-License-Identifier: GPL-2.0-only
/*
  The life of one connection to an agent: started, greeted, given up, reaped. Only the I/O thread calls these.
*/
#include "agent_int.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "spawn.h"

struct agent_failure agent_plain(const char *message)
{
  struct agent_failure failure= {.code= "", .hint= ""};
  snprintf(failure.message, sizeof failure.message, "%s", message);
  return failure;
}

void agent_log_failed(struct agent *agent)
{
  for (struct request *each= agent->io.failed, *next; each; each= next)
  {
    char text[AGENT_FAILURE_TEXT], subject[64]= "";
    next= each->next;
    agent_failure_text(&each->failure, text, sizeof text);
    if (each->own && each->type == FRAME_OPEN)
      snprintf(subject, sizeof subject, "key %u: ", each->id);
    else if (each->own && each->type == FRAME_FETCH)
      snprintf(subject, sizeof subject, "key %u version %u: ", each->id, each->version);
    if (each->log)
      agent_logf(agent, each->internal ? SEVERITY_WARNING : SEVERITY_ERROR, "%s%s", subject, text);
    pthread_mutex_lock(&agent->lock);
    agent_release(each);
    pthread_mutex_unlock(&agent->lock);
  }
  agent->io.failed= NULL;
}

void agent_plan_reload(struct agent *agent)
{
  struct agent_io *io= &agent->io;
  if (!agent->config.allow_missing_keys || atomic_load(&agent->missing) == 0 || io->reload_at)
    return;
  io->reload_at= clock_ms() + io->backoff_ms;
  io->backoff_ms= io->backoff_ms > BACKOFF_MAX_MS / 2 ? BACKOFF_MAX_MS : io->backoff_ms * 2;
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
}

/* A start failed: whoever waits hears why, and for a second so does whoever comes. */
static void refuse(struct agent *agent, const struct agent_failure *failure)
{
  struct agent_io *io= &agent->io;
  io->start_failure= *failure;
  io->refuse_until= clock_ms() + START_AGAIN_MS;
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

/* Reaps our child and describes its end in text. *clean: it ended by itself, without complaint. */
static void reap(struct agent *agent, bool kill_now, char *text, size_t size, bool *clean)
{
  pid_t child= agent->io.child;
  int detail= 0;
  agent->io.child= 0;
  *clean= !kill_now;
  snprintf(text, size, "the agent closed the connection");
  if (!child)
    return;
  enum spawn_end end= kill_now ? SPAWN_RUNNING : spawn_wait(child, 1000, &detail);
  if (end == SPAWN_RUNNING)
  {
    spawn_kill(child, &detail);
    *clean= false;
    return;
  }
  *clean= end == SPAWN_UNKNOWN || (end == SPAWN_EXITED && detail == 0);
  if (end == SPAWN_EXITED)
    snprintf(text, size, "the agent ended (exit status %d)", detail);
  else if (end == SPAWN_SIGNALLED)
    snprintf(text, size, "the agent ended (signal %d, %s)", detail, sigdescr_np(detail) ? sigdescr_np(detail) : "?");
  else
    snprintf(text, size, "the agent ended");
}

/*
  An agent that ends for idleness may do so in the moment a request is sent to it; then the next agent gets it. One that
  listens gives no exit status when it closes, so only what may be done twice is asked again.
*/
static bool may_ask_again(const struct agent *agent, const struct request *request)
{
  return !request->sent_before && (!agent->is_socket || request->type != FRAME_ROTATE);
}

void link_drop(struct agent *agent, const char *why)
{
  bool greeting= agent->io.connection == CONNECTION_GREETED;
  bool clean, told= false;
  char text[512];
  link_close(agent);
  reap(agent, why != NULL, text, sizeof text, &clean);
  struct agent_failure failure= agent_plain(why ? why : text);
  if (greeting)
  {
    refuse(agent, &failure);
    return;
  }
  pthread_mutex_lock(&agent->lock);
  for (struct request *each= agent->requests, *next; each; each= next)
  {
    next= each->next;
    if (!each->sent)
      continue;
    each->sent= false;
    if (clean && may_ask_again(agent, each))
    {
      each->sent_before= true;
      continue;
    }
    /* The caller of the first LOAD says it, with the plugin's initialisation. */
    told= told || (each->type == FRAME_LOAD && !each->internal);
    agent_end_request(agent, each, &failure, true);
  }
  agent->state= AGENT_IDLE;
  if (!clean)
    agent_note_error(agent, failure.message);
  pthread_mutex_unlock(&agent->lock);
  if (!clean && !told)
    agent_logf(agent, SEVERITY_WARNING, "%s; loaded keys stay in use, the agent is started again when it is needed",
               failure.message);
  agent_plan_reload(agent);
}

uint32_t link_new_wire(struct agent_io *io)
{
  if (++io->next_wire == 0)
    io->next_wire= 1;
  return io->next_wire;
}

uint8_t *link_out_space(struct agent_io *io, size_t size)
{
  if (io->out_from == io->out_size)
  {
    io->out_from= io->out_size= 0;
    io->out_moved_at= clock_ms();
  }
  return sizeof io->out - io->out_size < size ? NULL : io->out + io->out_size;
}

static void greet(struct agent *agent)
{
  struct agent_io *io= &agent->io;
  io->connection= CONNECTION_GREETED;
  io->limit_at= clock_ms() + WELCOME_LIMIT_MS;
  io->missing_told= false;
  io->hello_wire= link_new_wire(io);
  uint8_t *space= link_out_space(io, FRAME_TOTAL_MAX);
  struct frame_writer hello= frame_begin(space, FRAME_TOTAL_MAX, FRAME_HELLO, io->hello_wire);
  frame_put_u16(&hello, PROTOCOL_VERSION);
  frame_put_u8(&hello, (uint8_t) agent->config.role);
  frame_put_u16(&hello, SETTING_COUNT);
  pthread_mutex_lock(&agent->lock);
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
  char text[512];
  bool clean;
  link_close(agent);
  reap(agent, false, text, sizeof text, &clean);
  refuse(agent, failure);
}

void link_begin(struct agent *agent)
{
  struct agent_io *io= &agent->io;
  char why[512];
  io->reload_at= 0;
  pthread_mutex_lock(&agent->lock);
  agent->state= AGENT_STARTING;
  int64_t patience= agent->patience_ms;
  pthread_mutex_unlock(&agent->lock);
  if (agent->is_socket)
  {
    io->connection= CONNECTION_WAITING;
    io->try_at= clock_ms();
    io->limit_at= io->try_at + patience;
  }
  else if (spawn_agent(agent->target, &io->fd, &io->child, why, sizeof why))
    greet(agent);
  else
  {
    struct agent_failure failure= agent_plain(why);
    snprintf(failure.hint, sizeof failure.hint, "%s",
             "check that the file is there and that the server's user may run it, or set aws_key_management_agent");
    refuse(agent, &failure);
  }
}

void link_try_connect(struct agent *agent, int64_t now)
{
  struct agent_io *io= &agent->io;
  char why[512];
  if (now < io->try_at)
    return;
  io->try_at= now + CONNECT_EVERY_MS;
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
  snprintf(failure.hint, sizeof failure.hint, "%s", "check aws_key_management_agent and that its agent runs");
  io->connection= CONNECTION_NONE;
  refuse(agent, &failure);
}
