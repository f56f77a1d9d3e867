// SPDX-License-Identifier: GPL-2.0-only
/*
  The client of the agent from arriving bytes to the key table, without a thread, an agent, or a clock. The input is a
  script of requests, bytes of the agent and its ends; harness/traffic.ts writes such scripts from real traffic. Aborts when
  a rule of docs/protocol.md is broken that must hold whatever an agent sends.
*/
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/client.h"
#include "client/connect.h"
#include "client/internal.h"
#include "client/io.h"
#include "client/output.h"
#include "client/request.h"
#include "client/waiting.h"

#define SOCKET 1000000
#define IDS 6u                          /* ids of the keys that are checked */
#define VERSIONS 6u
#define ASKED_MAX 24

enum step
{
  STEP_LONG= 0x00,                      /* u16 n: n bytes arrive; 0x01 to 0x7F: that many */
  STEP_LOAD= 0x80,
  STEP_OPEN,                            /* u8 id */
  STEP_FETCH,                           /* u8 id, u8 version */
  STEP_ROTATE,                          /* u8 id */
  STEP_CHECK,
  STEP_SET,                             /* u8 setting */
  STEP_CLOSE,
  STEP_WAIT,                            /* u8: half seconds */
  STEP_DEAF,                            /* the agent stops reading, or reads again */
  STEP_LOOK,                            /* a caller whose turn it is looks at the data */
  STEP_USE
};

struct input
{
  const uint8_t *at;
  size_t left;
};

static int64_t now_ms;
static struct input arriving;
static bool closed, deaf;
static struct keytable table;
static uint8_t seen[IDS][VERSIONS][KEY_LENGTH_MAX];
static enum key_algorithm seen_algorithm[IDS][VERSIONS];
static size_t seen_length[IDS][VERSIONS];
static uint32_t seen_latest[IDS];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
enum connect_result __wrap_connect_agent(const char *path, int *fd, char *why, size_t why_size);

/* Stand-ins for libc: the Makefile renames the calls of the client. */

int fuzz_clock_gettime(clockid_t clock, struct timespec *time)
{
  (void) clock;
  *time= (struct timespec) {.tv_sec= (time_t) (now_ms / 1000), .tv_nsec= (long) (now_ms % 1000) * 1000000};
  return 0;
}

int fuzz_poll(struct pollfd *fds, nfds_t count, int timeout)
{
  (void) timeout;
  for (nfds_t i= 0; i < count; i++)
    fds[i].revents= fds[i].fd == SOCKET && (arriving.left || closed) ? POLLIN : 0;
  return 0;
}

ssize_t fuzz_recv(int fd, void *to, size_t size, int flags)
{
  (void) flags;
  size_t count= size < arriving.left ? size : arriving.left;
  if (fd != SOCKET || size == 0)
    abort();
  if (count == 0)
  {
    errno= EAGAIN;
    return closed ? 0 : -1;
  }
  memcpy(to, arriving.at, count);
  arriving.at+= count;
  arriving.left-= count;
  return (ssize_t) count;
}

ssize_t fuzz_send(int fd, const void *from, size_t size, int flags)
{
  (void) from;
  (void) flags;
  if (fd != SOCKET)
    abort();
  errno= closed ? EPIPE : EAGAIN;
  return closed || deaf ? -1 : (ssize_t) size;
}

ssize_t fuzz_read(int fd, void *to, size_t size)
{
  (void) fd;
  (void) to;
  (void) size;
  errno= EAGAIN;
  return -1;
}

ssize_t fuzz_write(int fd, const void *from, size_t size)
{
  (void) fd;
  (void) from;
  return (ssize_t) size;
}

int fuzz_eventfd(unsigned value, int flags)
{
  (void) value;
  (void) flags;
  return SOCKET + 1;
}

/* Maps memory on the heap, where an access beyond the end is noticed. */
void *fuzz_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
  (void) at;
  (void) protection;
  (void) flags;
  (void) fd;
  (void) offset;
  void *memory= calloc(1, size);
  return memory ? memory : MAP_FAILED;
}

int fuzz_munmap(void *at, size_t size)
{
  (void) size;
  free(at);
  return 0;
}

int fuzz_madvise(void *at, size_t size, int advice)
{
  (void) at;
  (void) size;
  (void) advice;
  return 0;
}

int fuzz_mlock(const void *at, size_t size)
{
  (void) at;
  (void) size;
  return 0;
}

int fuzz_close(int fd)
{
  if (fd == SOCKET)
    closed= deaf= false;
  return 0;
}

enum connect_result __wrap_connect_agent(const char *path, int *fd, char *why, size_t why_size)
{
  (void) path;
  (void) why;
  (void) why_size;
  arriving.left= 0;
  *fd= SOCKET;
  return CONNECT_DONE;
}

/* Asserts that no agent can forge a line. */
static void check_line(enum severity severity, const char *text)
{
  (void) severity;
  for (; *text; text++)
    if ((uint8_t) *text < 0x20 || *text == 0x7F)
      abort();
}

/*
  Asserts that a key stays as it was given, with the same bytes and algorithm, and that the latest version never goes down
  and can be read.
*/
static void check_keys(void)
{
  for (uint32_t id= 1; id <= IDS; id++)
  {
    uint32_t latest= keytable_latest(&table, id);
    if (latest < seen_latest[id - 1] || (latest && !keytable_has(&table, id, latest)))
      abort();
    seen_latest[id - 1]= latest;
    for (uint32_t version= 1; version <= VERSIONS; version++)
    {
      uint8_t key[KEY_LENGTH_MAX], *first= seen[id - 1][version - 1];
      size_t length= 0, *first_length= &seen_length[id - 1][version - 1];
      bool found= keytable_get(&table, id, version, key, sizeof key, &length) == KEYTABLE_FOUND;
      if (*first_length && (!found || length != *first_length || memcmp(key, first, length) != 0))
        abort();
      if (found && length != 16 && length != 24 && length != 32)
        abort();
      enum key_algorithm algorithm= keytable_algorithm(&table, id, version);
      if (found != (algorithm == KEY_AES_CBC || algorithm == KEY_AES_CTR) ||
          (*first_length && algorithm != seen_algorithm[id - 1][version - 1]))
        abort();
      seen_algorithm[id - 1][version - 1]= algorithm;
      *first_length= length;
      memcpy(first, key, length);
    }
  }
}

static uint8_t take(struct input *input)
{
  if (input->left == 0)
    return 0;
  input->left--;
  return *input->at++;
}

static void ask(struct client *client, uint8_t type, uint32_t id, uint32_t version)
{
  int asked= 0;
  for (const struct request *each= client->requests; each; each= each->next)
    asked++;
  struct request *request= asked < ASKED_MAX ? request_queue(client, type, id, version, 30000) : NULL;
  if (request)
    request_release(request);
}

static bool may_create(uint32_t id, const struct interrupt *interrupt, struct failure *why)
{
  (void) interrupt;
  snprintf(why->message, sizeof why->message, "%u", id);
  return id % 2;
}

static void look(struct client *client)
{
  struct request *request= client->requests;
  while (request && request->look != LOOK_WANTED)
    request= request->next;
  if (!request)
    return;
  /* The request was held for this look, and is looked for only once. */
  if (request->sent || request->may_create)
    abort();
  pthread_mutex_lock(&client->lock);
  const struct waiting wait= {.began_at= now_ms};
  (void) waiting_look(client, request, &wait);
  pthread_mutex_unlock(&client->lock);
}

static void arrive(struct client *client, struct input *input, size_t size)
{
  arriving.at= input->at;
  arriving.left= size < input->left ? size : input->left;
  input->at+= arriving.left;
  input->left-= arriving.left;
  io_round(client);
  check_keys();
}

static void set(struct client *client, uint8_t setting)
{
  (void) client_set(client, (enum setting) (setting % SETTING_COUNT), setting & 0x80 ? "1-2" : "3");
}

static void follow(struct client *client, struct input *input)
{
  uint8_t step= take(input), id;
  if (step < STEP_LOAD)
  {
    size_t size= step == STEP_LONG ? (size_t) take(input) << 8 | take(input) : step;
    arrive(client, input, size);
    return;
  }
  switch (step)
  {
  case STEP_LOAD: ask(client, FRAME_LOAD, 0, 0); break;
  case STEP_OPEN: ask(client, FRAME_OPEN, take(input), 0); break;
  case STEP_FETCH:
    id= take(input);
    ask(client, FRAME_FETCH, id, take(input));
    break;
  case STEP_ROTATE: ask(client, FRAME_ROTATE, take(input), 0); break;
  case STEP_CHECK: output_queue_check(client); break;
  case STEP_USE: output_queue_use(client); break;
  case STEP_SET: set(client, take(input)); break;
  case STEP_CLOSE: closed= client->io.fd != -1; break;
  case STEP_WAIT: now_ms+= take(input) * 500; break;
  case STEP_DEAF: deaf= !deaf; break;
  case STEP_LOOK: look(client); break;
  default: return;
  }
  /* The first round connects, the second writes. */
  io_round(client);
  io_round(client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct input input= {data, size};
  struct failure failure;
  struct client_config config= {
    .target= "unix:/fuzz", .role= ROLE_SERVER, .start_timeout_ms= 10000, .table= &table, .log= check_line,
    .may_create= may_create,
  };
  uint8_t how= take(&input);
  config.allow_missing_keys= how & 1;
  config.watch_interval_ms= how & 2 ? 5000 : 0;
  now_ms= 1000000;
  closed= deaf= false;
  memset(seen_length, 0, sizeof seen_length);
  memset(seen_latest, 0, sizeof seen_latest);
  struct client *client= keytable_init(&table) ? client_create(&config, &failure) : NULL;
  if (!client)
    abort();
  while (input.left)
    follow(client, &input);
  client->stop= true;
  io_round(client);
  /* No request waits for ever. */
  if (client->requests || !client_destroy(client))
    abort();
  keytable_destroy(&table);
  return 0;
}
