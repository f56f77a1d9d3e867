// SPDX-License-Identifier: GPL-2.0-only
/* Rounds of the I/O thread: due actions first, then output, limits, and a wait for input or the next due time. */
#include "client/io.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/dispatch.h"
#include "client/internal.h"
#include "client/link.h"
#include "client/output.h"
#include "client/report.h"
#include "client/request.h"
#include "client/schedule.h"

#define UNREAPED_EVERY_MS 5000

static int64_t min(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

__attribute__((format(printf, 2, 3)))
static void drop(struct client *client, const char *format, ...)
{
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  struct failure why= failure_plain(text);
  link_drop(client, &why);
}

/* Handles one frame. Returns false once the connection is gone. */
static bool handle(struct client *client, const struct frame *frame)
{
  bool was_up= client->io.connection == CONNECTION_UP, is_refused= false;
  char why[256];
  struct failure refused;
  bool good= dispatch_frame(client, frame, &refused, &is_refused, why, sizeof why);
  frame_parser_next(&client->io.parser);
  request_log_ended(client);
  if (!good)
  {
    drop(client, "the agent broke the protocol: %s", why);
    return false;
  }
  if (is_refused)
  {
    link_refused(client, &refused);
    return false;
  }
  /* An agent cannot go on trying keys that it never loaded. */
  if (!was_up && client->io.connection == CONNECTION_UP && atomic_load(&client->missing))
    output_queue_reload(client);
  return true;
}

static void read_input(struct client *client)
{
  struct client_io *io= &client->io;
  /*
    The number of reads is bounded, so that an agent that never stops talking cannot keep requests from being sent or
    given up.
  */
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
      link_drop(client, NULL);
      return;
    }
    switch (frame_parser_added(&io->parser, (size_t) count, &frame))
    {
    case FRAME_MORE:
      break;
    case FRAME_READY:
      if (!handle(client, &frame))
        return;
      break;
    case FRAME_BAD:
      drop(client, "the agent broke the protocol: length of a frame out of range");
      return;
    }
  }
}

/* Returns seconds for texts, rounded to the nearest. */
static int seconds(int64_t ms)
{
  return (int) ((ms + 500) / 1000);
}

static void drop_late_greeting(struct client *client)
{
  char text[128];
  snprintf(text, sizeof text, "the agent did not answer HELLO within %d seconds",
           seconds(client->io.limit_at - client->io.greeted_at));
  struct failure why= failure_plain(text);
  snprintf(why.hint, sizeof why.hint, "%s",
           "the disk or the CPU may be too slow for it; at the start of the server, a larger "
           "aws_key_management_start_timeout gives it more time");
  link_drop(client, &why);
}

/* Returns the deadline of a request whose answer is overdue, 0 if there is none. */
static uint32_t overdue(struct client *client, int64_t now)
{
  uint32_t deadline= 0;
  pthread_mutex_lock(&client->lock);
  for (const struct request *each= client->requests; each && !deadline; each= each->next)
    if (each->sent && now >= each->give_up_at)
      deadline= each->deadline_ms;
  pthread_mutex_unlock(&client->lock);
  return deadline;
}

static void check_limits(struct client *client, int64_t now)
{
  struct client_io *io= &client->io;
  if (io->connection < CONNECTION_GREETED)
    return;
  if (io->connection == CONNECTION_GREETED && now >= io->limit_at)
    drop_late_greeting(client);
  else if (io->out_from < io->out_size && now - io->out_moved_at >= client->limits.write)
    drop(client, "the agent did not read for %d seconds", seconds(client->limits.write));
  else
  {
    uint32_t deadline= overdue(client, now);
    if (deadline)
      drop(client, "the agent did not answer within %d seconds, nor in the %d after that", seconds(deadline),
           seconds(client->limits.answer_grace));
  }
}

/*
  Queues the checks and uses of master keys that are due. The keys in memory outlive their master key unnoticed, the next
  start would not; and KMS counts the days without a use.
*/
static void watch_master_keys(struct client *client, int64_t now)
{
  struct client_io *io= &client->io;
  if (io->watch_at && now >= io->watch_at)
  {
    schedule_next_check(client, now);
    output_queue_check(client);
  }
  if (io->use_at && now >= io->use_at)
  {
    schedule_use_soon(client, now);
    output_queue_use(client);
  }
}

/* Returns whether a request waits to be sent. Needs the lock. */
static bool anything_to_send(const struct client *client)
{
  const struct request *each= client->requests;
  while (each && request_is_held(each))
    each= each->next;
  return each != NULL;
}

/*
  Makes a planned load of missing keys earlier if somebody was refused a key for want of it: the back-off may have grown to
  a minute, and an applier that waits for the list of missing versions gives up before.
*/
static void bring_reload_forward(struct client *client)
{
  struct client_io *io= &client->io;
  pthread_mutex_lock(&client->lock);
  bool wanted= client->reload_wanted;
  client->reload_wanted= false;
  pthread_mutex_unlock(&client->lock);
  if (wanted && io->reload_at && io->connection == CONNECTION_NONE)
  {
    int64_t soonest= io->begun_at + client->limits.reload_soonest;
    io->reload_at= min(io->reload_at, soonest > io->refuse_until ? soonest : io->refuse_until);
  }
}

/* Starts the agent if somebody needs it. */
static void start_if_wanted(struct client *client, int64_t now)
{
  struct client_io *io= &client->io;
  bring_reload_forward(client);
  bool due= io->reload_at && now >= io->reload_at;
  if (io->connection == CONNECTION_UP && due)
  {
    io->reload_at= 0;
    output_queue_reload(client);
  }
  if (io->connection != CONNECTION_NONE)
    return;
  pthread_mutex_lock(&client->lock);
  bool wanted= anything_to_send(client);
  if (wanted && now < io->refuse_until)
    while (client->requests)
      request_end(client, client->requests, &io->start_failure);
  pthread_mutex_unlock(&client->lock);
  if (now >= io->refuse_until && (wanted || due))
    link_begin(client);
}

static int poll_timeout(struct client *client, int64_t now)
{
  struct client_io *io= &client->io;
  int64_t at= now + 60000;
  if (io->connection == CONNECTION_WAITING)
    at= min(at, io->try_at);
  if (io->connection == CONNECTION_GREETED)
    at= min(at, io->limit_at);
  if (io->reload_at)
    at= min(at, io->reload_at);
  if (io->watch_at)
    at= min(at, io->watch_at);
  if (io->use_at)
    at= min(at, io->use_at);
  if (io->out_from < io->out_size)
    at= min(at, io->out_moved_at + client->limits.write);
  if (link_reap_unreaped(io))
    at= min(at, now + UNREAPED_EVERY_MS);
  pthread_mutex_lock(&client->lock);
  at= min(at, recent_untold_at(&client->recent));
  for (const struct request *each= client->requests; each; each= each->next)
    if (each->sent)
      at= min(at, each->give_up_at);
  pthread_mutex_unlock(&client->lock);
  return at <= now ? 0 : (int) (at - now);
}

static void wait_for_something(struct client *client)
{
  struct client_io *io= &client->io;
  uint64_t ignored;
  struct pollfd fds[2]= {{.fd= client->wake_fd, .events= POLLIN}, {.fd= io->fd, .events= POLLIN}};
  if (io->out_from < io->out_size)
    fds[1].events|= POLLOUT;
  if (poll(fds, io->fd == -1 ? 1 : 2, poll_timeout(client, clock_ms())) == -1 && errno != EINTR)
    nanosleep(&(struct timespec) {.tv_nsec= 100 * 1000 * 1000}, NULL);
  while (read(client->wake_fd, &ignored, sizeof ignored) == -1 && errno == EINTR)
    ;
  if (io->fd != -1 && fds[1].revents)
    read_input(client);
}

static void end(struct client *client)
{
  link_close(client);
  struct failure failure= failure_plain("the plugin is being shut down");
  pthread_mutex_lock(&client->lock);
  while (client->requests)
    request_end(client, client->requests, &failure);
  pthread_mutex_unlock(&client->lock);
  request_log_ended(client);
  report_untold(client, INT64_MAX);
  link_reap(client);
  pthread_mutex_lock(&client->lock);
  client->ended= true;
  pthread_cond_broadcast(&client->has_ended);
  pthread_mutex_unlock(&client->lock);
}

/*
  Queues and writes frames. Those that found no room are queued as soon as there is some: nothing else would wake this
  thread for them.
*/
static void queue_and_write(struct client *client)
{
  struct client_io *io= &client->io;
  while (io->connection == CONNECTION_UP && !output_queue(client))
  {
    output_write(io);
    if (io->out_from < io->out_size)
      return;
  }
  if (io->fd != -1)
    output_write(io);
}

bool io_round(struct client *client)
{
  int64_t now= clock_ms();
  pthread_mutex_lock(&client->lock);
  bool stop= client->stop;
  client->hangs= false;
  pthread_mutex_unlock(&client->lock);
  if (stop)
  {
    end(client);
    return false;
  }
  watch_master_keys(client, now);
  start_if_wanted(client, now);
  if (client->io.connection == CONNECTION_WAITING)
    link_try_connect(client, now);
  queue_and_write(client);
  check_limits(client, now);
  request_log_ended(client);
  report_untold(client, now);
  wait_for_something(client);
  request_log_ended(client);
  return true;
}

void *io_thread(void *client)
{
  while (io_round(client))
    ;
  return NULL;
}
