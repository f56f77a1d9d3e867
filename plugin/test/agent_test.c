// SPDX-License-Identifier: GPL-2.0-only
/*
  The client against an agent that is a thread of the test, listens on a unix socket, and misbehaves by key id.
*/
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent.h"
#include "frame.h"
#include "test.h"

enum
{
  WRONG_KEY= 101,                       /* sends a key that nobody asked for */
  GARBAGE,
  CLOSES,
  NO_KEY,                               /* says DONE without having sent a key */
  CONFLICT,                             /* sends other bytes for key 1 version 1 */
  REFUSED
};

static char directory[32], path[64], target[80];
static int listener;
static atomic_int connections, opens, fetches;
static atomic_bool told_alias;
static struct keytable table;

static void send_all(int fd, const uint8_t *bytes, size_t size)
{
  while (size)
  {
    ssize_t count= send(fd, bytes, size, MSG_NOSIGNAL);
    if (count <= 0)
      return;
    bytes+= count;
    size-= (size_t) count;
  }
}

static void send_frame(int fd, struct frame_writer writer)
{
  size_t size= frame_finish(&writer);
  send_all(fd, writer.bytes, size);
}

static void send_key(int fd, uint32_t request, uint32_t id, uint32_t version, uint8_t fill)
{
  uint8_t bytes[64];
  struct frame_writer writer= frame_begin(bytes, sizeof bytes, FRAME_KEY, request);
  frame_put_u32(&writer, id);
  frame_put_u32(&writer, version);
  frame_put_u8(&writer, 1);
  frame_put_u8(&writer, 16);
  for (int i= 0; i < 16; i++)
    frame_put_u8(&writer, fill);
  send_frame(fd, writer);
}

static void send_done(int fd, uint32_t request, uint32_t first, uint32_t second)
{
  uint8_t bytes[32];
  struct frame_writer writer= frame_begin(bytes, sizeof bytes, FRAME_DONE, request);
  frame_put_u32(&writer, first);
  frame_put_u32(&writer, second);
  send_frame(fd, writer);
}

static void send_fail(int fd, uint32_t request)
{
  uint8_t bytes[128];
  struct frame_writer writer= frame_begin(bytes, sizeof bytes, FRAME_FAIL, request);
  frame_put_str(&writer, "CODE", 4);
  frame_put_str(&writer, "no\nsuch key", 11);
  frame_put_str(&writer, "make one", 8);
  send_frame(fd, writer);
}

/* Returns false to close the connection. */
static bool answer_open(int fd, uint32_t request, uint32_t id)
{
  static const uint8_t garbage[64]= {0xFF, 0xFF};
  atomic_fetch_add(&opens, 1);
  usleep(30000);
  switch (id)
  {
  case WRONG_KEY:
    send_key(fd, request, 7, 1, 7);
    return true;
  case GARBAGE:
    send_all(fd, garbage, sizeof garbage);
    return true;
  case CLOSES:
    return false;
  case NO_KEY:
    send_done(fd, request, id, 1);
    return true;
  case CONFLICT:
    send_key(fd, 0, 1, 1, 0xEE);
    return true;
  case REFUSED:
    send_fail(fd, request);
    return true;
  default:
    send_key(fd, request, id, 1, (uint8_t) id);
    send_done(fd, request, id, 1);
    return true;
  }
}

static bool answer(int fd, const struct frame *frame)
{
  uint8_t bytes[64];
  struct frame_reader reader= frame_read(frame);
  struct frame_writer welcome;
  uint32_t id, version;
  switch (frame->type)
  {
  case FRAME_HELLO:
    welcome= frame_begin(bytes, sizeof bytes, FRAME_WELCOME, frame->request);
    frame_put_u16(&welcome, PROTOCOL_VERSION);
    frame_put_str(&welcome, "test", 4);
    send_frame(fd, welcome);
    return true;
  case FRAME_SET:
    frame_str(&reader);
    struct frame_text value= frame_str(&reader);
    atomic_store(&told_alias, value.size == 7 && memcmp(value.text, "alias/x", 7) == 0);
    return true;
  case FRAME_LOAD:
    send_done(fd, frame->request, 0, 0);
    return true;
  case FRAME_OPEN:
    return answer_open(fd, frame->request, frame_u32(&reader));
  case FRAME_FETCH:
    atomic_fetch_add(&fetches, 1);
    id= frame_u32(&reader);
    version= frame_u32(&reader);
    send_key(fd, frame->request, id, version, (uint8_t) version);
    send_done(fd, frame->request, id, version);
    return true;
  default:
    send_fail(fd, frame->request);
    return true;
  }
}

static void *serve(void *unused)
{
  struct frame_parser *parser= malloc(sizeof *parser);
  (void) unused;
  for (int fd; parser && (fd= accept(listener, NULL, NULL)) != -1; close(fd))
  {
    bool open= true;
    atomic_fetch_add(&connections, 1);
    frame_parser_reset(parser);
    while (open)
    {
      size_t room;
      struct frame frame;
      uint8_t *space= frame_parser_space(parser, &room);
      ssize_t count= recv(fd, space, room, 0);
      if (count <= 0)
        break;
      if (frame_parser_added(parser, (size_t) count, &frame) == FRAME_READY)
      {
        open= answer(fd, &frame);
        frame_parser_next(parser);
      }
    }
  }
  free(parser);
  return NULL;
}

static void quiet(enum agent_severity severity, const char *text)
{
  (void) severity;
  (void) text;
}

static struct agent *start(void)
{
  struct agent_failure failure;
  const struct agent_config config= {
    .target= target, .role= ROLE_SERVER, .start_timeout_ms= 5000, .table= &table, .log= quiet,
  };
  CHECK(keytable_init(&table));
  struct agent *agent= agent_create(&config, &failure);
  CHECK(agent != NULL);
  if (!agent)
    abort();
  CHECK(agent_start(agent, &failure));
  return agent;
}

static void stop(struct agent *agent)
{
  agent_destroy(agent);
  keytable_destroy(&table);
}

static void *open_three(void *agent)
{
  CHECK(agent_open(agent, 3));
  return NULL;
}

static void many_callers_ask_once(void)
{
  pthread_t threads[8];
  struct agent *agent= start();
  int before= atomic_load(&opens);
  for (int i= 0; i < 8; i++)
    pthread_create(&threads[i], NULL, open_three, agent);
  for (int i= 0; i < 8; i++)
    pthread_join(threads[i], NULL);
  CHECK(atomic_load(&opens) == before + 1 && keytable_latest(&table, 3) == 1);
  CHECK(agent_open(agent, 3) && atomic_load(&opens) == before + 1);
  stop(agent);
}

static void fetch_never_raises_the_latest_version(void)
{
  struct agent *agent= start();
  CHECK(agent_open(agent, 3) && agent_fetch(agent, 3, 9));
  CHECK(keytable_has(&table, 3, 9) && keytable_latest(&table, 3) == 1);
  int before= atomic_load(&fetches);
  CHECK(agent_fetch(agent, 3, 9) && atomic_load(&fetches) == before);
  stop(agent);
}

static void failure_is_told_and_remembered(void)
{
  struct agent_failure failure;
  struct agent_status status;
  struct agent *agent= start();
  int before= atomic_load(&opens);
  CHECK(!agent_open(agent, REFUSED) && !agent_open(agent, REFUSED) && atomic_load(&opens) == before + 1);
  CHECK(agent_set(agent, SETTING_KEY_IDS, "1-200"));
  CHECK(!agent_open(agent, REFUSED) && atomic_load(&opens) == before + 2);
  CHECK(!agent_rotate(agent, 5, &failure));
  CHECK(strcmp(failure.code, "CODE") == 0 && strcmp(failure.message, "no such key") == 0);
  CHECK(strcmp(failure.hint, "make one") == 0);
  agent_get_status(agent, &status);
  CHECK(strcmp(status.last_error, "no such key; make one") == 0 && strlen(status.last_error_time) == 20);
  stop(agent);
}

/* Each breaks the protocol: the connection is closed, the request fails, the next one finds another connection. */
static void broken_protocol_closes_the_connection(void)
{
  static const uint32_t ids[]= {WRONG_KEY, GARBAGE, NO_KEY, CONFLICT};
  struct agent *agent= start();
  uint8_t key[16];
  size_t length;
  CHECK(agent_open(agent, 1));
  for (size_t i= 0; i < 4; i++)
  {
    int before= atomic_load(&connections);
    CHECK(!agent_open(agent, ids[i]));
    CHECK(keytable_latest(&table, ids[i]) == KEY_VERSION_NONE);
    CHECK(agent_open(agent, 10 + (uint32_t) i) && atomic_load(&connections) == before + 1);
  }
  CHECK(keytable_get(&table, 1, 1, key, sizeof key, &length) == KEYTABLE_FOUND && key[0] == 1);
  CHECK(keytable_latest(&table, 7) == KEY_VERSION_NONE);
  stop(agent);
}

static void closed_connection_fails_the_request_after_one_more_try(void)
{
  struct agent *agent= start();
  int before= atomic_load(&opens);
  CHECK(!agent_open(agent, CLOSES) && atomic_load(&opens) == before + 2);
  CHECK(agent_open(agent, 4));
  stop(agent);
}

static void setting_is_told_before_the_next_request(void)
{
  struct agent *agent= start();
  atomic_store(&told_alias, false);
  CHECK(agent_set(agent, SETTING_MASTER_KEY_ID, "alias/x"));
  CHECK(agent_open(agent, 5) && atomic_load(&told_alias));
  stop(agent);
}

static void bad_targets_are_refused(void)
{
  struct agent_failure failure;
  char longer[140]= "unix:/";
  memset(longer + 6, 'a', 120);
  const char *const targets[]= {"", "agent", "unix:", "unix:socket", longer};
  for (size_t i= 0; i < 5; i++)
  {
    const struct agent_config config= {.target= targets[i], .start_timeout_ms= 1, .table= &table, .log= quiet};
    CHECK(!agent_create(&config, &failure) && strstr(failure.message, "aws_key_management_agent"));
  }
}

static void agent_that_cannot_start_is_told(void)
{
  struct agent_failure failure;
  struct agent_status status;
  const struct agent_config config= {
    .target= "/nonexistent/agent", .start_timeout_ms= 1000, .table= &table, .log= quiet,
  };
  CHECK(keytable_init(&table));
  struct agent *agent= agent_create(&config, &failure);
  CHECK(agent && !agent_start(agent, &failure) && strstr(failure.message, "/nonexistent/agent") && failure.hint[0]);
  agent_get_status(agent, &status);
  CHECK(status.state == AGENT_FAILED && status.starts == 0);
  stop(agent);
}

void agent_tests(void)
{
  pthread_t server;
  struct sockaddr_un address= {.sun_family= AF_UNIX};
  strcpy(directory, "/tmp/akm-test-XXXXXX");
  if (!mkdtemp(directory))
    abort();
  snprintf(path, sizeof path, "%s/s", directory);
  snprintf(target, sizeof target, "unix:%s", path);
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  listener= socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (const struct sockaddr *) &address, sizeof address) || listen(listener, 8) ||
      pthread_create(&server, NULL, serve, NULL))
    abort();
  TEST(many_callers_ask_once);
  TEST(fetch_never_raises_the_latest_version);
  TEST(failure_is_told_and_remembered);
  TEST(broken_protocol_closes_the_connection);
  TEST(closed_connection_fails_the_request_after_one_more_try);
  TEST(setting_is_told_before_the_next_request);
  TEST(bad_targets_are_refused);
  TEST(agent_that_cannot_start_is_told);
  shutdown(listener, SHUT_RDWR);
  pthread_join(server, NULL);
  close(listener);
  unlink(path);
  rmdir(directory);
}
