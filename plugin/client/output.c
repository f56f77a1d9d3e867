// SPDX-License-Identifier: GPL-2.0-only
/* Output to the agent: all frames but HELLO, which link.c makes. */
#include "client/output.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "client/internal.h"
#include "client/request.h"

uint32_t output_new_number(struct client_io *io)
{
  if (++io->next_number == 0)
    io->next_number= 1;
  return io->next_number;
}

uint8_t *output_space(struct client_io *io, size_t size)
{
  if (io->out_from == io->out_size)
  {
    io->out_from= io->out_size= 0;
    io->out_moved_at= clock_ms();
  }
  return sizeof io->out - io->out_size < size ? NULL : io->out + io->out_size;
}

#define CHECK_DEADLINE_MS 30000u
#define USE_DEADLINE_MS 30000u
#define HELD_EACH 8u                    /* bytes of one name in HELD */
#define HELD_MAX ((FRAME_MAX - FRAME_MIN - 2) / HELD_EACH)

/*
  Queues the names of the key versions in memory, before any request, so that the agent makes none of them a second time,
  whatever its directory lists. Returns false if there is no room yet.
*/
static bool queue_held(struct client_io *io)
{
  while (io->held_left)
  {
    uint32_t count= io->held_left < HELD_MAX ? io->held_left : HELD_MAX;
    size_t size= FRAME_PREFIX + FRAME_MIN + 2 + (size_t) count * HELD_EACH;
    uint8_t *space= output_space(io, size);
    if (!space)
      return false;
    struct frame_writer held= frame_begin(space, size, FRAME_HELD, 0);
    frame_put_u16(&held, (uint16_t) count);
    for (uint32_t i= 0; i < count; i++)
    {
      const struct key_record *record= keytable_walk_next(&io->held);
      frame_put_u32(&held, record ? record->id : 0);
      frame_put_u32(&held, record ? record->version : 0);
    }
    io->out_size+= frame_finish(&held);
    io->held_left-= count;
  }
  return true;
}

/* Queues changed settings. Returns false if there is no room yet. Needs the lock. */
static bool queue_settings(struct client *client)
{
  struct client_io *io= &client->io;
  for (size_t i= 0; i < SETTING_COUNT; i++)
  {
    if (!client->setting_changed[i])
      continue;
    const char *name= setting_name((enum setting) i);
    size_t size= FRAME_PREFIX + FRAME_MIN + 2 + strlen(name) + 2 + strlen(client->settings[i]);
    uint8_t *space= output_space(io, size);
    if (!space)
      return false;
    struct frame_writer set= frame_begin(space, size, FRAME_SET, 0);
    frame_put_str(&set, name, strlen(name));
    frame_put_str(&set, client->settings[i], strlen(client->settings[i]));
    io->out_size+= frame_finish(&set);
    client->setting_changed[i]= false;
  }
  return true;
}

static bool is_start(const struct client *client, const struct request *request)
{
  return request->type == FRAME_LOAD && !request->internal && client->start_until;
}

/*
  Returns the milliseconds that are left of the time its caller gave it, at least a second. An internal LOAD has no caller:
  it gets its whole time once the agent is there.
*/
static uint32_t time_left(const struct client *client, const struct request *request, int64_t now)
{
  if (request->internal)
    return request->deadline_ms;
  int64_t left= (is_start(client, request) ? client->start_until : request->asked_at + request->deadline_ms) - now;
  return left < TIME_LEFT_MIN_MS ? TIME_LEFT_MIN_MS : (uint32_t) left;
}

/*
  Returns the time at which an answer is overdue. A LOAD of a start that is sent again has no more time than one that is
  sent once.
*/
static int64_t give_up_at(const struct client *client, const struct request *request, int64_t now, uint32_t left)
{
  int64_t last= client->start_until + TIME_LEFT_MIN_MS + client->limits.answer_grace;
  int64_t at= now + left + client->limits.answer_grace;
  return is_start(client, request) && at > last ? last : at;
}

/* A request, or the answer to the question that the agent asked about it. Needs the lock. */
static void queue_request(struct client *client, struct request *request, uint8_t *space, size_t size)
{
  struct client_io *io= &client->io;
  int64_t now= clock_ms();
  uint32_t left= time_left(client, request, now);
  uint8_t type= request->questioned ? FRAME_ANSWER : request->type;
  if (!request->questioned)
    request->number= output_new_number(io);
  struct frame_writer writer= frame_begin(space, size, type, request->number);
  if (type != FRAME_ANSWER && type != FRAME_LOAD && type != FRAME_CHECK && type != FRAME_USE)
    frame_put_u32(&writer, request->id);
  if (type == FRAME_FETCH)
    frame_put_u32(&writer, request->version);
  if (type == FRAME_OPEN || type == FRAME_ANSWER)
    frame_put_u8(&writer, request->may_create);
  frame_put_u32(&writer, left);
  io->out_size+= frame_finish(&writer);
  request->sent= true;
  request->give_up_at= give_up_at(client, request, now, left);
}

static bool is_asked(const struct client *client, uint8_t type)
{
  for (const struct request *each= client->requests; each; each= each->next)
    if (each->type == type)
      return true;
  return false;
}

/* Queues a request that nobody waits for. */
static void queue_own(struct client *client, uint8_t type, uint32_t deadline_ms)
{
  pthread_mutex_lock(&client->lock);
  struct request *request= is_asked(client, type) ? NULL : request_queue(client, type, 0, 0, deadline_ms);
  if (request)
  {
    request->internal= true;
    request_release(request);
  }
  pthread_mutex_unlock(&client->lock);
}

void output_queue_reload(struct client *client)
{
  queue_own(client, FRAME_LOAD, client->config.start_timeout_ms);
}

void output_queue_check(struct client *client)
{
  queue_own(client, FRAME_CHECK, CHECK_DEADLINE_MS);
}

void output_queue_use(struct client *client)
{
  queue_own(client, FRAME_USE, USE_DEADLINE_MS);
}

bool output_queue(struct client *client)
{
  struct client_io *io= &client->io;
  const size_t request_max= 64;
  if (!queue_held(io))
    return false;
  pthread_mutex_lock(&client->lock);
  bool room= queue_settings(client);
  for (struct request *each= client->requests, *next; room && each; each= next)
  {
    next= each->next;
    if (each->sent || request_is_held(each))
      continue;
    if (each->type == FRAME_USE && io->protocol == PROTOCOL_OLDEST)
    {
      /* An agent of protocol 1 does not know it. It is asked of the next one. */
      request_end(client, each, NULL);
      continue;
    }
    uint8_t *space= output_space(io, request_max);
    if (space)
      queue_request(client, each, space, request_max);
    else
      room= false;
  }
  pthread_mutex_unlock(&client->lock);
  return room;
}

/* A broken pipe is not reported here: the agent's last words can still be read. */
void output_write(struct client_io *io)
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
