// SPDX-License-Identifier: GPL-2.0-only
/*
  The I/O thread: writes what was asked, reads what is answered, and keeps the time of both.
*/
#include "agent_int.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "spawn.h"

static int64_t earlier(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* Needs the lock. Returns false if there is no room yet. */
static bool queue_settings(struct agent *agent)
{
  struct agent_io *io= &agent->io;
  for (size_t i= 0; i < SETTING_COUNT; i++)
  {
    if (!agent->setting_changed[i])
      continue;
    const char *name= setting_name((enum setting) i);
    size_t size= FRAME_PREFIX + FRAME_MIN + 2 + strlen(name) + 2 + strlen(agent->settings[i]);
    uint8_t *space= link_out_space(io, size);
    if (!space)
      return false;
    struct frame_writer set= frame_begin(space, size, FRAME_SET, 0);
    frame_put_str(&set, name, strlen(name));
    frame_put_str(&set, agent->settings[i], strlen(agent->settings[i]));
    io->out_size+= frame_finish(&set);
    agent->setting_changed[i]= false;
  }
  return true;
}

/* What is left of the time its caller gave it, at least a second; a LOAD has all of it once the agent is there. */
static uint32_t time_left(const struct request *request, int64_t now)
{
  int64_t left= request->asked_at + request->deadline_ms - now;
  if (request->type == FRAME_LOAD)
    return request->deadline_ms;
  return left < 1000 ? 1000 : (uint32_t) left;
}

/* Needs the lock. */
static void queue_request(struct agent_io *io, struct request *request, uint8_t *space, size_t size)
{
  int64_t now= clock_ms();
  uint32_t left= time_left(request, now);
  request->wire= link_new_wire(io);
  struct frame_writer writer= frame_begin(space, size, request->type, request->wire);
  if (request->type != FRAME_LOAD)
    frame_put_u32(&writer, request->id);
  if (request->type == FRAME_FETCH)
    frame_put_u32(&writer, request->version);
  frame_put_u32(&writer, left);
  io->out_size+= frame_finish(&writer);
  request->sent= true;
  request->give_up_at= now + left + ANSWER_GRACE_MS;
}

/* Needs the lock. Versions that are missing are loaded first: the agent cannot go on trying what it never loaded. */
static void queue_reload(struct agent *agent)
{
  for (const struct request *each= agent->requests; each; each= each->next)
    if (each->type == FRAME_LOAD)
      return;
  struct request *load= agent_queue(agent, FRAME_LOAD, 0, 0, agent->config.start_timeout_ms);
  if (load)
  {
    load->internal= true;
    agent_release(load);
  }
}

static void queue_output(struct agent *agent)
{
  struct agent_io *io= &agent->io;
  const size_t request_max= 64;
  pthread_mutex_lock(&agent->lock);
  bool room= queue_settings(agent);
  for (struct request *each= agent->requests; room && each; each= each->next)
  {
    if (each->sent)
      continue;
    uint8_t *space= link_out_space(io, request_max);
    if (space)
      queue_request(io, each, space, request_max);
    else
      room= false;
  }
  pthread_mutex_unlock(&agent->lock);
}

/* A broken pipe is not reported here: what the agent said before it ended can still be read. */
static void write_output(struct agent_io *io)
{
  while (io->out_from < io->out_size)
  {
    ssize_t count= send(io->fd, io->out + io->out_from, io->out_size - io->out_from, MSG_NOSIGNAL);
    if (count > 0)
    {
      io->out_from+= (size_t) count;
      io->out_moved_at= clock_ms();
    }
    else if (errno == EINTR)
      continue;
    else
    {
      if (errno != EAGAIN && errno != EWOULDBLOCK)
        io->out_from= io->out_size;
      return;
    }
  }
}

/* Returns false once the connection is gone. */
static bool handle(struct agent *agent, const struct frame *frame)
{
  bool was_up= agent->io.connection == CONNECTION_UP, is_refused= false;
  char why[256], text[320];
  struct agent_failure refused;
  bool good= agent_dispatch(agent, frame, &refused, &is_refused, why, sizeof why);
  frame_parser_next(&agent->io.parser);
  agent_log_failed(agent);
  if (!good)
  {
    snprintf(text, sizeof text, "the agent broke the protocol: %s", why);
    link_drop(agent, text);
    return false;
  }
  if (is_refused)
  {
    link_refused(agent, &refused);
    return false;
  }
  if (!was_up && agent->io.connection == CONNECTION_UP && atomic_load(&agent->missing))
  {
    pthread_mutex_lock(&agent->lock);
    queue_reload(agent);
    pthread_mutex_unlock(&agent->lock);
  }
  return true;
}

static void read_input(struct agent *agent)
{
  struct agent_io *io= &agent->io;
  /* Bounded, so that an agent that never stops talking cannot keep requests from being sent or given up. */
  for (int reads= 0; reads < 256; reads++)
  {
    size_t room;
    struct frame frame;
    uint8_t *space= frame_parser_space(&io->parser, &room);
    ssize_t count= recv(io->fd, space, room, 0);
    if (count == -1 && errno == EINTR)
      continue;
    if (count == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
      return;
    if (count <= 0)
    {
      link_drop(agent, NULL);
      return;
    }
    switch (frame_parser_added(&io->parser, (size_t) count, &frame))
    {
    case FRAME_MORE:
      break;
    case FRAME_READY:
      if (!handle(agent, &frame))
        return;
      break;
    case FRAME_BAD:
      link_drop(agent, "the agent broke the protocol: length of a frame out of range");
      return;
    }
  }
}

static void check_limits(struct agent *agent, int64_t now)
{
  struct agent_io *io= &agent->io;
  bool late= false;
  uint32_t deadline= 0;
  if (io->connection == CONNECTION_GREETED && now >= io->limit_at)
  {
    link_drop(agent, "the agent did not answer HELLO within 10 seconds");
    return;
  }
  if (io->connection < CONNECTION_GREETED)
    return;
  if (io->out_from < io->out_size && now - io->out_moved_at >= WRITE_LIMIT_MS)
  {
    link_drop(agent, "the agent did not read for 5 seconds");
    return;
  }
  pthread_mutex_lock(&agent->lock);
  for (const struct request *each= agent->requests; each && !late; each= each->next)
    if (each->sent && now >= each->give_up_at)
    {
      late= true;
      deadline= each->deadline_ms;
    }
  pthread_mutex_unlock(&agent->lock);
  if (late)
  {
    char text[128];
    snprintf(text, sizeof text, "the agent did not answer within %u seconds, nor in the %d after that", deadline / 1000,
             ANSWER_GRACE_MS / 1000);
    link_drop(agent, text);
  }
}

/* Starts the agent if somebody needs it. */
static void start_if_wanted(struct agent *agent, int64_t now)
{
  struct agent_io *io= &agent->io;
  bool due= io->reload_at && now >= io->reload_at;
  if (io->connection == CONNECTION_UP && due)
  {
    io->reload_at= 0;
    pthread_mutex_lock(&agent->lock);
    queue_reload(agent);
    pthread_mutex_unlock(&agent->lock);
  }
  if (io->connection != CONNECTION_NONE)
    return;
  pthread_mutex_lock(&agent->lock);
  bool wanted= agent->requests != NULL;
  if (wanted && now < io->refuse_until)
    while (agent->requests)
      agent_end_request(agent, agent->requests, &io->start_failure, true);
  pthread_mutex_unlock(&agent->lock);
  if (now >= io->refuse_until && (wanted || due))
    link_begin(agent);
}

static int poll_timeout(struct agent *agent, int64_t now)
{
  const struct agent_io *io= &agent->io;
  int64_t at= now + 60000;
  if (io->connection == CONNECTION_WAITING)
    at= earlier(at, io->try_at);
  if (io->connection == CONNECTION_GREETED)
    at= earlier(at, io->limit_at);
  if (io->reload_at)
    at= earlier(at, io->reload_at);
  if (io->out_from < io->out_size)
    at= earlier(at, io->out_moved_at + WRITE_LIMIT_MS);
  pthread_mutex_lock(&agent->lock);
  for (const struct request *each= agent->requests; each; each= each->next)
    if (each->sent)
      at= earlier(at, each->give_up_at);
  pthread_mutex_unlock(&agent->lock);
  return at <= now ? 0 : (int) (at - now);
}

static void wait_for_something(struct agent *agent)
{
  struct agent_io *io= &agent->io;
  uint64_t ignored;
  struct pollfd fds[2]= {{.fd= agent->wake_fd, .events= POLLIN}, {.fd= io->fd, .events= POLLIN}};
  if (io->out_from < io->out_size)
    fds[1].events|= POLLOUT;
  if (poll(fds, io->fd == -1 ? 1 : 2, poll_timeout(agent, clock_ms())) == -1 && errno != EINTR)
    nanosleep(&(struct timespec) {.tv_nsec= 100 * 1000 * 1000}, NULL);
  while (read(agent->wake_fd, &ignored, sizeof ignored) == -1 && errno == EINTR)
    ;
  if (io->fd != -1 && fds[1].revents)
    read_input(agent);
}

static void end(struct agent *agent)
{
  pid_t child= agent->io.child;
  int detail;
  link_close(agent);
  struct agent_failure failure= agent_plain("the plugin is being shut down");
  pthread_mutex_lock(&agent->lock);
  while (agent->requests)
    agent_end_request(agent, agent->requests, &failure, true);
  pthread_mutex_unlock(&agent->lock);
  agent_log_failed(agent);
  if (child && spawn_wait(child, 2000, &detail) == SPAWN_RUNNING)
    spawn_kill(child, &detail);
}

void *agent_io_thread(void *argument)
{
  struct agent *agent= argument;
  for (;;)
  {
    int64_t now= clock_ms();
    pthread_mutex_lock(&agent->lock);
    bool stop= agent->stop;
    pthread_mutex_unlock(&agent->lock);
    if (stop)
      break;
    start_if_wanted(agent, now);
    if (agent->io.connection == CONNECTION_WAITING)
      link_try_connect(agent, now);
    if (agent->io.connection == CONNECTION_UP)
      queue_output(agent);
    if (agent->io.fd != -1)
      write_output(&agent->io);
    check_limits(agent, now);
    agent_log_failed(agent);
    wait_for_something(agent);
    agent_log_failed(agent);
  }
  end(agent);
  return NULL;
}
