// SPDX-License-Identifier: GPL-2.0-only
#include "test/client/fake_agent.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/frame.h"
#include "test/test.h"

struct fake fake= {.protocol= PROTOCOL_VERSION};

static int listener;
static atomic_int current= -1;          /* connection */
static pthread_t server;

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

static void send_key_of(uint8_t algorithm, int fd, uint32_t request, uint32_t id, uint32_t version, uint8_t fill)
{
  uint8_t bytes[64];
  struct frame_writer writer= frame_begin(bytes, sizeof bytes, FRAME_KEY, request);
  frame_put_u32(&writer, id);
  frame_put_u32(&writer, version);
  frame_put_u8(&writer, 1);
  frame_put_u8(&writer, algorithm);
  frame_put_u8(&writer, 16);
  for (int i= 0; i < 16; i++)
    frame_put_u8(&writer, fill);
  send_frame(fd, writer);
}

static void send_key(int fd, uint32_t request, uint32_t id, uint32_t version, uint8_t fill)
{
  send_key_of(KEY_AES_CBC, fd, request, id, version, fill);
}

static void send_done(int fd, uint32_t request, uint32_t first, uint32_t second)
{
  uint8_t bytes[32];
  struct frame_writer writer= frame_begin(bytes, sizeof bytes, FRAME_DONE, request);
  frame_put_u32(&writer, first);
  frame_put_u32(&writer, second);
  send_frame(fd, writer);
}

static void send_fail(int fd, uint32_t request, const char *code, const char *message)
{
  uint8_t bytes[256];
  struct frame_writer writer= frame_begin(bytes, sizeof bytes, FRAME_FAIL, request);
  frame_put_str(&writer, code, strlen(code));
  frame_put_str(&writer, message, strlen(message));
  frame_put_str(&writer, "make one", 8);
  send_frame(fd, writer);
}

static void send_question(int fd, uint32_t request, uint32_t id)
{
  uint8_t bytes[16];
  struct frame_writer writer= frame_begin(bytes, sizeof bytes, FRAME_QUESTION, request);
  frame_put_u32(&writer, id);
  send_frame(fd, writer);
}

static void send_welcome(int fd, uint32_t request, uint16_t version)
{
  uint8_t bytes[64];
  struct frame_writer writer= frame_begin(bytes, sizeof bytes, FRAME_WELCOME, request);
  frame_put_u16(&writer, version);
  frame_put_str(&writer, "te\nst", 5);
  send_frame(fd, writer);
}

static void send_log(int fd, const char *text)
{
  uint8_t bytes[64];
  struct frame_writer writer= frame_begin(bytes, sizeof bytes, FRAME_LOG, 0);
  frame_put_u8(&writer, SEVERITY_NOTE);
  frame_put_str(&writer, text, strlen(text));
  send_frame(fd, writer);
}

static void send_missing(int fd, uint32_t count)
{
  uint8_t bytes[16];
  struct frame_writer writer= frame_begin(bytes, sizeof bytes, FRAME_MISSING, 0);
  frame_put_u32(&writer, count);
  send_frame(fd, writer);
}

static void delay(void)
{
  usleep((useconds_t) atomic_load(&fake.delay_ms) * 1000);
}

/* Handlers of frames. Each returns false to close the connection. */

static bool answer_hello(int fd, uint32_t request, uint16_t version)
{
  uint16_t latest= atomic_load(&fake.protocol);
  bool is_none= atomic_load(&fake.hello) == HELLO_NO_VERSION;
  if (is_none || (latest == PROTOCOL_OLDEST && version != latest))
  {
    /* A later agent offers its latest version; one of protocol 1 refuses what is not its own. */
    char text[64];
    snprintf(text, sizeof text, "the plugin speaks protocol %u, this agent %s", version, is_none ? "4 and 3" : "1");
    atomic_fetch_sub(&fake.connections, 1);
    send_fail(fd, request, "PROTOCOL", text);
    return true;
  }
  atomic_store(&fake.spoken, version);
  switch (atomic_load(&fake.hello))
  {
  case HELLO_SILENT:
    return true;
  case HELLO_OTHER_VERSION:
    send_welcome(fd, request, PROTOCOL_VERSION + 1);
    return true;
  case HELLO_UNASKED_VERSION:
    send_welcome(fd, request, PROTOCOL_VERSION);
    return true;
  case HELLO_REFUSED:
    send_fail(fd, request, "BAD_OPTION", "will not");
    return true;
  case HELLO_KEY_FIRST:
    send_key(fd, 0, 8, 1, 8);
    break;
  case HELLO_LATE:
    delay();
    break;
  case HELLO_NO_VERSION:
  case HELLO_WELCOME:
    break;
  }
  send_welcome(fd, request, version);
  return true;
}

static bool answer_load(int fd, uint32_t request)
{
  enum fake_load load= atomic_load(&fake.load);
  atomic_fetch_add(&fake.loads, 1);
  if (load == LOAD_CLOSES)
  {
    delay();
    return false;
  }
  if (load == LOAD_LOGS)
    send_log(fd, "loading");
  if (load == LOAD_MISSING || load == LOAD_MISSING_REFUSED)
    send_missing(fd, 1);
  if (load == LOAD_MISSING_REFUSED)
    send_fail(fd, request, "KEYS_FAILED", "one is missing");
  else
    send_done(fd, request, 0, load == LOAD_TOO_MANY ? 1 : 0);
  return true;
}

/* As the agent does: nothing but a look is in the way, and the key is not stored. */
static bool wants_look(uint32_t id, bool may_create)
{
  if (id == atomic_load(&fake.stored))
    return false;
  return id == NEVER_SEEN || (!may_create && (id < UNASKED_KEY || id == NO_MORE_ALLOWED || id > NEVER_SEEN));
}

/* The id of the OPEN that a question was asked about. */
static uint32_t questioned[256];

static bool ask(int fd, uint32_t request, uint32_t id)
{
  questioned[request % 256]= id;
  send_question(fd, request, id);
  return true;
}

static bool is_asked_wrongly(uint32_t id)
{
  return id == QUESTION_TWICE || id == QUESTION_OF_ANOTHER || id == QUESTION_OF_NOTHING ||
         (id >= DONE_DURING_QUESTION && id <= DENIED_UNASKED);
}

/* Returns false to close the connection. */
static bool ask_wrongly(int fd, uint32_t request, uint32_t id)
{
  switch (id)
  {
  case QUESTION_TWICE:
    ask(fd, request, id);
    return ask(fd, request, id);
  case QUESTION_OF_ANOTHER:
    return ask(fd, request, id + 1);
  case QUESTION_OF_NOTHING:
    return ask(fd, request + 1, id);
  case DONE_DURING_QUESTION:
    ask(fd, request, id);
    send_key(fd, 0, id, 1, (uint8_t) id);
    send_done(fd, request, id, 1);
    return true;
  case FAIL_DURING_QUESTION:
    ask(fd, request, id);
    send_fail(fd, request, "KEY_OF_DATA", "no");
    return true;
  case QUESTION_THEN_CLOSES:
    return atomic_fetch_sub(&fake.closes_left, 1) <= 0 || !ask(fd, request, id);
  case DENIED_UNASKED:
    send_done(fd, request, id, 0);
    return true;
  default:
    return true;
  }
}

static bool answer_open(int fd, uint32_t request, uint32_t id, bool may_create, bool was_asked)
{
  static const uint8_t garbage[64]= {0xFF, 0xFF};
  char text[64];
  int count= atomic_fetch_add(&fake.opens, 1);
  bool asks= atomic_load(&fake.spoken) != PROTOCOL_OLDEST && !may_create && !was_asked;
  if (asks && is_asked_wrongly(id))
    return ask_wrongly(fd, request, id);
  if (id == QUESTION_AFTER_ANSWER || id == QUESTION_ALWAYS)
    return ask(fd, request, id);
  if (wants_look(id, may_create) && asks)
    return ask(fd, request, id);
  if (wants_look(id, may_create))
    delay();
  if (wants_look(id, may_create) && was_asked && !may_create)
  {
    send_done(fd, request, id, 0);
    return true;
  }
  if (wants_look(id, may_create))
  {
    send_fail(fd, request, "KEY_OF_DATA", "data is under it");
    return true;
  }
  usleep(30000);
  switch (id)
  {
  case UNASKED_KEY:
    send_key(fd, 0, 7, 1, 7);
    break;
  case KEY_WITH_REQUEST:
    send_key(fd, request, id, 1, 1);
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
    break;
  case OTHER_ALGORITHM:
    send_key_of(KEY_AES_CTR, fd, 0, 1, 1, 1);
    break;
  case ALGORITHM_0:
  case ALGORITHM_3:
    send_key_of(id == ALGORITHM_0 ? 0 : 3, fd, 0, id, 1, 1);
    return true;
  case CTR_KEY:
    send_key_of(KEY_AES_CTR, fd, 0, id, 1, (uint8_t) id);
    send_done(fd, request, id, 1);
    return true;
  case LOG_OF_TWO_LINES:
    send_log(fd, "one\ntwo");
    return true;
  case SILENT:
    return true;
  case DEAF:
    poll(&(struct pollfd) {.fd= fd, .events= 0}, 1, 10000);
    return false;
  case REFUSED:
    send_fail(fd, request, "CODE", "no\nsuch key");
    return true;
  case NOT_ALLOWED:
  case NO_MORE_ALLOWED:
    send_fail(fd, request, "KEY_NOT_ALLOWED", "not that one");
    return true;
  case LATE:
    delay();
    break;
  case PASSING:
    if (atomic_load(&fake.delay_ms) == 0)
      break;
    send_fail(fd, request, "KMS_TRANSIENT", "KMS is away");
    return true;
  case NUMBERED:
    snprintf(text, sizeof text, "KMS said no (request %d)", count);
    send_fail(fd, request, "KMS_OPERATOR", text);
    return true;
  default:
    break;
  }
  send_key(fd, 0, id, 1, (uint8_t) id);
  send_done(fd, request, id, 1);
  return true;
}

static bool answer_fetch(int fd, uint32_t request, uint32_t id, uint32_t version)
{
  atomic_fetch_add(&fake.fetches, 1);
  if (version != FETCH_NO_KEY)
    send_key(fd, 0, id, version, (uint8_t) version);
  send_done(fd, request, id, version);
  return true;
}

static bool answer_rotate(int fd, uint32_t request, uint32_t id)
{
  atomic_fetch_add(&fake.rotates, 1);
  if (id == ROTATE_CLOSES)
    return false;
  if (id == ROTATE_SLOW || id == ROTATE_SLOW_REFUSED)
    delay();
  if (id == ROTATE_REFUSED || id == ROTATE_SLOW_REFUSED)
  {
    send_fail(fd, request, "CODE", "no\nsuch key");
    return true;
  }
  if (id != ROTATE_NO_KEY)
    send_key(fd, 0, id, 2, (uint8_t) id);
  send_done(fd, request, id, 2);
  return true;
}

static bool answer_check(int fd, uint32_t request)
{
  uint8_t bytes[32];
  struct frame_writer writer= frame_begin(bytes, sizeof bytes, FRAME_MASTERKEY, 0);
  atomic_fetch_add(&fake.checks, 1);
  frame_put_u8(&writer, atomic_load(&fake.master_key));
  frame_put_u32(&writer, 6);
  send_frame(fd, writer);
  send_done(fd, request, 0, 0);
  return true;
}

static bool answer_use(int fd, uint32_t request)
{
  atomic_fetch_add(&fake.uses, 1);
  if (atomic_load(&fake.uses_refused) == 0)
  {
    send_done(fd, request, 0, 0);
    return true;
  }
  atomic_fetch_sub(&fake.uses_refused, 1);
  send_fail(fd, request, "STORE_UNAVAILABLE", "the disk is gone");
  return true;
}

uint64_t fake_hash(uint32_t id, uint32_t version)
{
  uint64_t name= ((uint64_t) id << 32 | version) * UINT64_C(0x9E3779B97F4A7C15);
  return (name ^ name >> 31) * UINT64_C(0xBF58476D1CE4E5B9);
}

/* The reader is past the version. */
static void greeted(struct frame_reader reader)
{
  frame_u8(&reader);
  atomic_store(&fake.held, frame_u32(&reader));
  atomic_store(&fake.names, 0);
  atomic_store(&fake.names_hash, 0);
}

static bool named(struct frame_reader reader)
{
  for (uint16_t left= frame_u16(&reader); left && !reader.bad; left--)
  {
    uint32_t id= frame_u32(&reader);
    atomic_fetch_add(&fake.names_hash, fake_hash(id, frame_u32(&reader)));
    atomic_fetch_add(&fake.names, 1);
  }
  return frame_end(&reader);
}

static bool answer(int fd, const struct frame *frame)
{
  struct frame_reader reader= frame_read(frame);
  uint32_t first= 0;
  if (frame->type != FRAME_HELLO && frame->type != FRAME_HELD && atomic_load(&fake.spoken) != PROTOCOL_OLDEST &&
      atomic_load(&fake.names) != atomic_load(&fake.held))
    atomic_store(&fake.held_late, true);
  switch (frame->type)
  {
  case FRAME_HELD:
    return named(reader);
  case FRAME_HELLO:
    first= frame_u16(&reader);
    greeted(reader);
    return answer_hello(fd, frame->request, (uint16_t) first);
  case FRAME_SET:
    frame_str(&reader);
    struct frame_text value= frame_str(&reader);
    atomic_store(&fake.told_alias, value.size == 7 && memcmp(value.text, "alias/x", 7) == 0);
    return true;
  case FRAME_LOAD:
    atomic_store(&fake.load_deadline, frame_u32(&reader));
    return answer_load(fd, frame->request);
  case FRAME_OPEN:
    first= frame_u32(&reader);
    atomic_store(&fake.may_create, frame_u8(&reader));
    atomic_store(&fake.open_deadline, frame_u32(&reader));
    return answer_open(fd, frame->request, first, atomic_load(&fake.may_create), false);
  case FRAME_ANSWER:
    atomic_store(&fake.may_create, frame_u8(&reader));
    atomic_store(&fake.open_deadline, frame_u32(&reader));
    return frame_end(&reader) &&
           answer_open(fd, frame->request, questioned[frame->request % 256], atomic_load(&fake.may_create), true);
  case FRAME_FETCH:
    first= frame_u32(&reader);
    return answer_fetch(fd, frame->request, first, frame_u32(&reader));
  case FRAME_CHECK:
    return frame->size == 4 && answer_check(fd, frame->request);
  case FRAME_USE:
    return frame->size == 4 && answer_use(fd, frame->request);
  default:
    return answer_rotate(fd, frame->request, frame_u32(&reader));
  }
}

void fake_serve(int fd)
{
  struct frame_parser *parser= malloc(sizeof *parser);
  bool open= parser != NULL;
  if (open)
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
  free(parser);
}

static void *serve(void *unused)
{
  (void) unused;
  for (int fd; (fd= accept(listener, NULL, NULL)) != -1; close(fd))
  {
    atomic_fetch_add(&fake.connections, 1);
    atomic_store(&current, fd);
    fake_serve(fd);
    atomic_store(&current, -1);
  }
  return NULL;
}

void fake_listen(void)
{
  struct sockaddr_un address= {.sun_family= AF_UNIX};
  memcpy(address.sun_path, fake.path, strlen(fake.path) + 1);
  listener= socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (const struct sockaddr *) &address, sizeof address) || listen(listener, 8) ||
      pthread_create(&server, NULL, serve, NULL))
    abort();
}

void fake_stop_listening(void)
{
  shutdown(listener, SHUT_RDWR);
  if (atomic_load(&current) != -1)
    shutdown(atomic_load(&current), SHUT_RDWR);
  pthread_join(server, NULL);
  close(listener);
  unlink(fake.path);
}

void fake_open(void)
{
  strcpy(fake.directory, "/tmp/akm-test-XXXXXX");
  if (!mkdtemp(fake.directory))
    abort();
  snprintf(fake.path, sizeof fake.path, "%s/s", fake.directory);
  snprintf(fake.target, sizeof fake.target, "unix:%s", fake.path);
  fake_listen();
}

void fake_close(void)
{
  fake_stop_listening();
  rmdir(fake.directory);
}
