// SPDX-License-Identifier: GPL-2.0-only
/*
  The I/O thread: writes what was asked, reads what is answered, and keeps the time of both.
*/
#include "client/agent_int.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define UNREAPED_EVERY_MS 5000
#define USE_EVERY_MS (24 * 3600 * INT64_C(1000))
#define USE_SPREAD_MS (3600 * INT64_C(1000))

static int64_t earlier(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

__attribute__((format(printf, 2, 3)))
static void drop(struct agent *agent, const char *format, ...)
{
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  struct agent_failure why= agent_plain(text);
  link_drop(agent, &why);
}

/* Returns false once the connection is gone. */
static bool handle(struct agent *agent, const struct frame *frame)
{
  bool was_up= agent->io.connection == CONNECTION_UP, is_refused= false;
  char why[256];
  struct agent_failure refused;
  bool good= agent_dispatch(agent, frame, &refused, &is_refused, why, sizeof why);
  frame_parser_next(&agent->io.parser);
  agent_log_ended(agent);
  if (!good)
  {
    drop(agent, "the agent broke the protocol: %s", why);
    return false;
  }
  if (is_refused)
  {
    link_refused(agent, &refused);
    return false;
  }
  /* The agent cannot go on trying what it never loaded. */
  if (!was_up && agent->io.connection == CONNECTION_UP && atomic_load(&agent->missing))
    output_queue_reload(agent);
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
      drop(agent, "the agent broke the protocol: length of a frame out of range");
      return;
    }
  }
}

/* For texts: rounded to the nearest. */
static int seconds(int64_t ms)
{
  return (int) ((ms + 500) / 1000);
}

static void drop_late_greeting(struct agent *agent)
{
  char text[128];
  snprintf(text, sizeof text, "the agent did not answer HELLO within %d seconds",
           seconds(agent->io.limit_at - agent->io.greeted_at));
  struct agent_failure why= agent_plain(text);
  snprintf(why.hint, sizeof why.hint, "%s",
           "the disk or the CPU may be too slow for it; at the start of the server, a larger "
           "aws_key_management_start_timeout gives it more time");
  link_drop(agent, &why);
}

/* The deadline of a request whose answer is overdue, 0 if there is none. */
static uint32_t overdue(struct agent *agent, int64_t now)
{
  uint32_t deadline= 0;
  pthread_mutex_lock(&agent->lock);
  for (const struct request *each= agent->requests; each && !deadline; each= each->next)
    if (each->sent && now >= each->give_up_at)
      deadline= each->deadline_ms;
  pthread_mutex_unlock(&agent->lock);
  return deadline;
}

static void check_limits(struct agent *agent, int64_t now)
{
  struct agent_io *io= &agent->io;
  if (io->connection < CONNECTION_GREETED)
    return;
  if (io->connection == CONNECTION_GREETED && now >= io->limit_at)
    drop_late_greeting(agent);
  else if (io->out_from < io->out_size && now - io->out_moved_at >= agent->limits.write)
    drop(agent, "the agent did not read for %d seconds", seconds(agent->limits.write));
  else
  {
    uint32_t deadline= overdue(agent, now);
    if (deadline)
      drop(agent, "the agent did not answer within %d seconds, nor in the %d after that", seconds(deadline),
           seconds(agent->limits.answer_grace));
  }
}

/* Three digits that servers which were started together do not have in common. */
static int64_t thousandths(void)
{
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_nsec / 1000 % 1000;
}

/* Such servers do not look together for ever: nine to eleven tenths of the interval. */
static int64_t watch_pause(int64_t interval)
{
  return interval - interval / 10 + interval / 5 * thousandths() / 1000;
}

/* With the next look, about. */
static void plan_use_soon(struct agent *agent, int64_t now)
{
  int64_t interval= agent->config.watch_interval_ms;
  agent->io.use_at= now + watch_pause(earlier(interval, USE_EVERY_MS));
}

void agent_plan_watch(struct agent *agent, int64_t now)
{
  int64_t interval= agent->config.watch_interval_ms;
  agent->io.watch_at= agent->io.use_at= 0;
  if (!interval)
    return;
  agent->io.watch_at= now + watch_pause(interval);
  plan_use_soon(agent, now);
}

/* A day, or up to an hour less. */
void agent_plan_use(struct agent_io *io, int64_t now)
{
  io->use_at= now + USE_EVERY_MS - USE_SPREAD_MS * thousandths() / 1000;
}

/* The keys in memory outlive their master key unnoticed; the next start would not. And KMS counts the days without a use. */
static void watch_master_keys(struct agent *agent, int64_t now)
{
  struct agent_io *io= &agent->io;
  if (io->watch_at && now >= io->watch_at)
  {
    io->watch_at= now + watch_pause(agent->config.watch_interval_ms);
    output_queue_check(agent);
  }
  if (io->use_at && now >= io->use_at)
  {
    plan_use_soon(agent, now);
    output_queue_use(agent);
  }
}

/* Needs the lock. */
static bool anything_to_send(const struct agent *agent)
{
  const struct request *each= agent->requests;
  while (each && agent_is_held(each))
    each= each->next;
  return each != NULL;
}

/* The back-off may have grown to a minute, and an applier that waits for the list of missing versions gives up before. */
static void bring_reload_forward(struct agent *agent)
{
  struct agent_io *io= &agent->io;
  pthread_mutex_lock(&agent->lock);
  bool wanted= agent->reload_wanted;
  agent->reload_wanted= false;
  pthread_mutex_unlock(&agent->lock);
  if (wanted && io->reload_at && io->connection == CONNECTION_NONE)
  {
    int64_t soonest= io->begun_at + agent->limits.reload_soonest;
    io->reload_at= earlier(io->reload_at, soonest > io->refuse_until ? soonest : io->refuse_until);
  }
}

/* Starts the agent if somebody needs it. */
static void start_if_wanted(struct agent *agent, int64_t now)
{
  struct agent_io *io= &agent->io;
  bring_reload_forward(agent);
  bool due= io->reload_at && now >= io->reload_at;
  if (io->connection == CONNECTION_UP && due)
  {
    io->reload_at= 0;
    output_queue_reload(agent);
  }
  if (io->connection != CONNECTION_NONE)
    return;
  pthread_mutex_lock(&agent->lock);
  bool wanted= anything_to_send(agent);
  if (wanted && now < io->refuse_until)
    while (agent->requests)
      agent_end_request(agent, agent->requests, &io->start_failure, true);
  pthread_mutex_unlock(&agent->lock);
  if (now >= io->refuse_until && (wanted || due))
    link_begin(agent);
}

static int poll_timeout(struct agent *agent, int64_t now)
{
  struct agent_io *io= &agent->io;
  int64_t at= now + 60000;
  if (io->connection == CONNECTION_WAITING)
    at= earlier(at, io->try_at);
  if (io->connection == CONNECTION_GREETED)
    at= earlier(at, io->limit_at);
  if (io->reload_at)
    at= earlier(at, io->reload_at);
  if (io->watch_at)
    at= earlier(at, io->watch_at);
  if (io->use_at)
    at= earlier(at, io->use_at);
  if (io->out_from < io->out_size)
    at= earlier(at, io->out_moved_at + agent->limits.write);
  if (link_reap_unreaped(io))
    at= earlier(at, now + UNREAPED_EVERY_MS);
  pthread_mutex_lock(&agent->lock);
  at= earlier(at, recent_untold_at(&agent->recent));
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
  link_close(agent);
  struct agent_failure failure= agent_plain("the plugin is being shut down");
  pthread_mutex_lock(&agent->lock);
  while (agent->requests)
    agent_end_request(agent, agent->requests, &failure, true);
  pthread_mutex_unlock(&agent->lock);
  agent_log_ended(agent);
  agent_log_untold(agent, INT64_MAX);
  link_reap(agent);
  pthread_mutex_lock(&agent->lock);
  agent->ended= true;
  pthread_cond_broadcast(&agent->has_ended);
  pthread_mutex_unlock(&agent->lock);
}

/* Frames that found no room are queued as soon as there is some: nothing else would wake this thread for them. */
static void queue_and_write(struct agent *agent)
{
  struct agent_io *io= &agent->io;
  while (io->connection == CONNECTION_UP && !output_queue(agent))
  {
    output_write(io);
    if (io->out_from < io->out_size)
      return;
  }
  if (io->fd != -1)
    output_write(io);
}

bool agent_io_round(struct agent *agent)
{
  int64_t now= clock_ms();
  pthread_mutex_lock(&agent->lock);
  bool stop= agent->stop;
  pthread_mutex_unlock(&agent->lock);
  if (stop)
  {
    end(agent);
    return false;
  }
  watch_master_keys(agent, now);
  start_if_wanted(agent, now);
  if (agent->io.connection == CONNECTION_WAITING)
    link_try_connect(agent, now);
  queue_and_write(agent);
  check_limits(agent, now);
  agent_log_ended(agent);
  agent_log_untold(agent, now);
  wait_for_something(agent);
  agent_log_ended(agent);
  return true;
}

void *agent_io_thread(void *agent)
{
  while (agent_io_round(agent))
    ;
  return NULL;
}
