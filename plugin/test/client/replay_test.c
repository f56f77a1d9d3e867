// SPDX-License-Identifier: GPL-2.0-only
/*
  Conversations of test/vectors/protocol-N that a real plugin and a real agent had: the client says the same, frame by frame,
  to an agent that answers as the one of then did.
*/
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/output.h"
#include "test/client/fake_agent.h"
#include "test/test.h"

#define FRAMES_MAX 512u
#define NUMBERS 256u

struct recorded
{
  bool of_agent;
  size_t size;
  uint8_t *bytes;                       /* of the whole frame */
};

static struct recorded record[FRAMES_MAX];
static size_t record_size;
static _Atomic size_t at;               /* the next frame of the plugin */
static uint16_t protocol;
static atomic_bool answer_is_yes;
static atomic_int unlike;               /* frames that the plugin of then did not send */
static uint32_t number_of[NUMBERS];     /* today's request number of a recorded one */
static int listening;
static atomic_int connected= -1;
static char directory[32], path[64], target[80];

static uint32_t u32_at(const uint8_t *p)
{
  return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static void put_u32(uint8_t *p, uint32_t value)
{
  for (int i= 0; i < 4; i++)
    p[i]= (uint8_t) (value >> (24 - 8 * i));
}

static uint8_t type_of(const struct recorded *one)
{
  return one->bytes[FRAME_PREFIX];
}

static struct frame_reader payload_of(const struct recorded *one)
{
  const size_t header= FRAME_PREFIX + FRAME_MIN;
  return (struct frame_reader) {.at= one->bytes + header, .left= one->size - header};
}

static bool load_record(void)
{
  static char line[2 * FRAME_TOTAL_MAX + 16];
  char name[80];
  snprintf(name, sizeof name, "../test/vectors/protocol-%u/session.txt", protocol);
  FILE *file= fopen(name, "r");
  record_size= at= 0;
  while (file && record_size < FRAMES_MAX && fgets(line, sizeof line, file))
  {
    struct recorded *one= &record[record_size++];
    const char *hex= strchr(line, ' ') + 1;
    one->of_agent= line[0] == 'a';
    one->size= strlen(hex) / 2;
    one->bytes= calloc(1, one->size + 1);
    if (!one->bytes)
      abort();
    for (size_t i= 0; i < one->size; i++)
    {
      unsigned byte= 0;
      sscanf(hex + 2 * i, "%2x", &byte);
      one->bytes[i]= (uint8_t) byte;
    }
  }
  if (file)
    fclose(file);
  return record_size > 0 && record_size < FRAMES_MAX;
}

static void forget_record(void)
{
  for (size_t i= 0; i < record_size; i++)
    free(record[i].bytes);
  record_size= 0;
}

static void send_bytes(int fd, const uint8_t *bytes, size_t size)
{
  (void) !send(fd, bytes, size, MSG_NOSIGNAL);
}

static void refuse_version(int fd, uint32_t request)
{
  uint8_t bytes[128];
  struct frame_writer writer= frame_begin(bytes, sizeof bytes, FRAME_FAIL, request);
  frame_put_str(&writer, "PROTOCOL", 8);
  frame_put_str(&writer, "the plugin speaks protocol 2, this agent 1", 42);
  frame_put_str(&writer, "", 0);
  send_bytes(fd, bytes, frame_finish(&writer));
}

/* A page that needs a missing version is not waited for any more: today's plugin does not ask. */
static bool is_asked_no_more(const struct recorded *one)
{
  return type_of(one) == FRAME_FETCH;
}

static void skip_to_plugin(void)
{
  while (at < record_size && (record[at].of_agent || is_asked_no_more(&record[at])))
    at++;
}

/* Deadlines differ, and names of keys come in any order. */
static bool is_alike(const struct frame *frame, const struct recorded *one)
{
  size_t compared= frame->size, header= FRAME_PREFIX + FRAME_MIN;
  if (type_of(one) != frame->type || one->size != header + frame->size)
    return false;
  if (frame->type == FRAME_HELD)
    compared= 2;
  else if (frame->type != FRAME_HELLO && frame->type != FRAME_SET)
    compared-= 4;
  return memcmp(frame->payload, one->bytes + header, compared) == 0;
}

static void answer(int fd, const struct frame *frame)
{
  if (frame->type == FRAME_HELLO && (uint16_t) (frame->payload[0] << 8 | frame->payload[1]) != protocol)
  {
    refuse_version(fd, frame->request);
    return;
  }
  skip_to_plugin();
  if (at == record_size || !is_alike(frame, &record[at]))
  {
    printf("# frame of type 0x%02x where 0x%02x was recorded\n", frame->type, at < record_size ? type_of(&record[at]) : 0);
    atomic_fetch_add(&unlike, 1);
    return;
  }
  number_of[u32_at(record[at].bytes + FRAME_PREFIX + 1) % NUMBERS]= frame->request;
  size_t first= ++at;
  /* Before the last answer, after which the other thread asks for the next. */
  while (at < record_size && record[at].of_agent)
    at++;
  size_t end= at;
  skip_to_plugin();
  for (size_t i= first; i < end; i++)
  {
    uint32_t number= u32_at(record[i].bytes + FRAME_PREFIX + 1);
    if (number)
      put_u32(record[i].bytes + FRAME_PREFIX + 1, number_of[number % NUMBERS]);
    send_bytes(fd, record[i].bytes, record[i].size);
  }
}

static void serve_one(int fd, struct frame_parser *parser)
{
  frame_parser_reset(parser);
  for (;;)
  {
    size_t room;
    struct frame frame;
    uint8_t *space= frame_parser_space(parser, &room);
    ssize_t count= recv(fd, space, room, 0);
    if (count <= 0)
      return;
    if (frame_parser_added(parser, (size_t) count, &frame) == FRAME_READY)
    {
      answer(fd, &frame);
      frame_parser_next(parser);
    }
  }
}

static void *serve(void *parser)
{
  for (int fd; (fd= accept(listening, NULL, NULL)) != -1; close(fd))
  {
    atomic_store(&connected, fd);
    serve_one(fd, parser);
    atomic_store(&connected, -1);
  }
  return NULL;
}

static bool yes_or_no(uint32_t id, const struct interrupt *interrupt, struct failure *why)
{
  (void) interrupt;
  snprintf(why->message, sizeof why->message, "key %u: data is under it", id);
  return atomic_load(&answer_is_yes);
}

/* Tells whether the recorded plugin found no data under the id when it looked. */
static bool is_created(size_t from, uint32_t id)
{
  for (size_t i= from + 1; i < record_size; i++)
  {
    struct frame_reader reader= payload_of(&record[i]);
    if (!record[i].of_agent && type_of(&record[i]) == FRAME_ANSWER)
      return frame_u8(&reader);
    if (!record[i].of_agent)
      return type_of(&record[i]) == FRAME_OPEN && frame_u32(&reader) == id && frame_u8(&reader);
  }
  return false;
}

/* Whether the OPEN ended well, after the look that it may have taken. */
static bool was_opened(size_t from)
{
  bool opened= false;
  for (size_t i= from + 1; i < record_size; i++)
  {
    uint8_t type= type_of(&record[i]);
    if (type == FRAME_DONE || type == FRAME_FAIL)
      opened= type == FRAME_DONE;
    struct frame_reader reader= payload_of(&record[i]);
    frame_u32(&reader);
    bool is_second= type == FRAME_OPEN && frame_u8(&reader);
    if (!record[i].of_agent && type != FRAME_ANSWER && !is_second)
      return opened;
  }
  return opened;
}

static enum setting setting_of(struct frame_text name)
{
  size_t i= 0;
  while (i < SETTING_COUNT && (strlen(setting_name((enum setting) i)) != name.size ||
                               memcmp(setting_name((enum setting) i), name.text, name.size) != 0))
    i++;
  return (enum setting) i;
}

static void set(struct client *client, struct frame_reader *reader)
{
  char value[256];
  enum setting setting= setting_of(frame_str(reader));
  struct frame_text text= frame_str(reader);
  CHECK(setting < SETTING_COUNT && text.size < sizeof value);
  snprintf(value, sizeof value, "%.*s", (int) text.size, text.text);
  CHECK(client_set(client, setting, value));
}

static struct client *client_of_hello(struct frame_reader *reader)
{
  struct client *client= fake_client_of(target, 60000, false);
  client->config.may_create= yes_or_no;
  for (uint16_t left= frame_u16(reader); left; left--)
    set(client, reader);
  const char *missing= client->settings[SETTING_ALLOW_MISSING_KEYS];
  client->config.allow_missing_keys= missing && strcmp(missing, "ON") == 0;
  return client;
}

static void until_is_answered(size_t from)
{
  int64_t until= clock_ms() + 10000;
  while (clock_ms() < until && at <= from)
    usleep(1000);
}

/* Has the client do what makes it send the recorded frame. */
static void cause(struct client **client, size_t i)
{
  struct failure failure;
  struct frame_reader reader= payload_of(&record[i]);
  uint32_t id;
  switch (type_of(&record[i]))
  {
  case FRAME_HELLO:
    frame_u16(&reader);
    frame_u8(&reader);
    /* A server that has keys lost its agent; one that has none is another. */
    if (frame_u32(&reader) && *client)
    {
      shutdown(atomic_load(&connected), SHUT_RDWR);
      break;
    }
    if (*client)
      fake_destroy(*client);
    *client= client_of_hello(&reader);
    break;
  case FRAME_SET:
    set(*client, &reader);
    break;
  case FRAME_LOAD:
    CHECK(client_start(*client, &failure));
    break;
  case FRAME_OPEN:
    id= frame_u32(&reader);
    if (frame_u8(&reader))
      break;                            /* it comes by itself after the look */
    atomic_store(&answer_is_yes, is_created(i, id));
    CHECK(client_open(*client, id) == was_opened(i));
    break;
  case FRAME_ROTATE:
    (void) client_rotate(*client, frame_u32(&reader), NULL, &failure);
    break;
  case FRAME_CHECK:
  case FRAME_USE:
    if (type_of(&record[i]) == FRAME_CHECK)
      output_queue_check(*client);
    else
      output_queue_use(*client);
    request_wake(*client);
    until_is_answered(i);
    break;
  default:
    break;                              /* HELD and answers come by themselves */
  }
}

static void replay(uint16_t version)
{
  struct sockaddr_un address= {.sun_family= AF_UNIX};
  struct frame_parser *parser= malloc(sizeof *parser);
  struct client *client= NULL;
  pthread_t server;
  protocol= version;
  strcpy(directory, "/tmp/akm-test-XXXXXX");
  if (!parser || !mkdtemp(directory))
    abort();
  snprintf(path, sizeof path, "%s/s", directory);
  snprintf(target, sizeof target, "unix:%s", path);
  memcpy(address.sun_path, path, strlen(path) + 1);
  listening= socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listening, (const struct sockaddr *) &address, sizeof address) || listen(listening, 8) ||
      pthread_create(&server, NULL, serve, parser))
    abort();
  CHECK(load_record());
  atomic_store(&unlike, 0);
  for (size_t i= 0; i < record_size; i++)
    if (!record[i].of_agent && !is_asked_no_more(&record[i]))
      cause(&client, i);
  CHECK(atomic_load(&unlike) == 0 && at == record_size);
  if (client)
    fake_destroy(client);
  shutdown(listening, SHUT_RDWR);
  pthread_join(server, NULL);
  close(listening);
  unlink(path);
  rmdir(directory);
  free(parser);
  forget_record();
}

static void conversation_of_protocol_1_is_repeated_frame_by_frame(void)
{
  replay(1);
}

static void conversation_of_protocol_2_is_repeated_frame_by_frame(void)
{
  replay(2);
}

void replay_tests(void)
{
  TEST(conversation_of_protocol_1_is_repeated_frame_by_frame);
  TEST(conversation_of_protocol_2_is_repeated_frame_by_frame);
}
