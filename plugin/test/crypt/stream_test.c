// SPDX-License-Identifier: GPL-2.0-only
/* Streams beside the real functions of the server, failures of OpenSSL, and how often it is called. */
#include "crypt/stream.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "crypt/compare.h"
#include "test/crypt/process.h"
#include "test/test.h"

#define SIZE_MAX_TESTED 700u

static struct aes aes;
static struct libcrypto libcrypto;
/* The memory of contexts stays for good: one for all tests with uncounted functions, one for the others. */
static struct contexts contexts, counted_contexts;

static uint32_t chance= 1;

static uint32_t random_number(uint32_t below)
{
  chance^= chance << 13;
  chance^= chance >> 17;
  chance^= chance << 5;
  return chance % below;
}

static void random_bytes(uint8_t *to, size_t size)
{
  for (size_t i= 0; i < size; i++)
    to[i]= (uint8_t) random_number(256);
}

struct both
{
  enum aes_mode mode;
  int flags;
  uint8_t key[16], iv[16];
};

static struct both random_both(void)
{
  struct both both= {.mode= random_number(2) ? MODE_CBC : MODE_CTR, .flags= (int) random_number(2) | CRYPT_NOPAD};
  random_bytes(both.key, sizeof both.key);
  random_bytes(both.iv, sizeof both.iv);
  /* Counters that overflow. */
  if (random_number(4) == 0)
    memset(both.iv + random_number(16), 0xff, 1);
  if (random_number(4) == 0)
    memset(both.iv, 0xff, 15);
  return both;
}

static bool servers(const struct both *both, const uint8_t *from, size_t length, uint8_t *to)
{
  _Alignas(16) uint8_t ctx[4096];
  unsigned first= 0, rest= 0;
  CHECK(aes.ctx_size(both->mode) <= sizeof ctx);
  return aes.init(ctx, both->mode, both->flags, both->key, 16, both->iv, 16) == 0 &&
         aes.update(ctx, from, (unsigned) length, to, &first) == 0 && aes.finish(ctx, to + first, &rest) == 0 &&
         first + rest == length;
}

static void begin(struct stream *stream, const struct both *both)
{
  stream_begin(stream, both->mode, (both->flags & CRYPT_ENCRYPT) != 0, both->key, both->iv);
}

/* Cuts the data into random pieces, down to empty ones, and compares how much each writes with the server. */
static bool is_equal_in_pieces(const struct both *both, const uint8_t *from, size_t length, const uint8_t *expected)
{
  _Alignas(16) uint8_t ctx[4096];
  uint8_t got[SIZE_MAX_TESTED + AES_BLOCK], theirs[SIZE_MAX_TESTED + AES_BLOCK];
  struct stream stream;
  size_t written, total= 0;
  unsigned their_written;
  begin(&stream, both);
  if (aes.init(ctx, both->mode, both->flags, both->key, 16, both->iv, 16))
    return false;
  for (size_t at= 0; at < length;)
  {
    size_t piece= random_number((uint32_t) (length - at) + 1);
    if (random_number(2))
      piece= piece % 20;
    if (!stream_update(&stream, &contexts, from + at, piece, got + total, &written) ||
        aes.update(ctx, from + at, (unsigned) piece, theirs + total, &their_written) || written != their_written)
      return false;
    at+= piece;
    total+= written;
  }
  if (!stream_end(&stream, got + total, &written) || aes.finish(ctx, theirs + total, &their_written) ||
      written != their_written)
    return false;
  return total + written == length && memcmp(got, expected, length) == 0 && memcmp(theirs, expected, length) == 0;
}

static void bytes_are_those_of_the_server(void)
{
  uint8_t from[SIZE_MAX_TESTED], expected[SIZE_MAX_TESTED + AES_BLOCK], got[SIZE_MAX_TESTED + AES_BLOCK];
  for (unsigned i= 0; i < 20000; i++)
  {
    struct both both= random_both();
    struct stream stream;
    size_t length= random_number(SIZE_MAX_TESTED + 1), first, rest;
    random_bytes(from, sizeof from);
    CHECK(servers(&both, from, length, expected));
    memcpy(got, from, length);
    begin(&stream, &both);
    CHECK(stream_update(&stream, &contexts, got, length, got, &first) && stream_end(&stream, got + first, &rest));
    CHECK(first + rest == length && memcmp(got, expected, length) == 0);
    CHECK(is_equal_in_pieces(&both, from, length, expected));
    if (test_failed)
      return;
  }
}

/* Streams that begin and end in any order, beside ones that never end. */
static void streams_nest_and_are_abandoned(void)
{
  enum { STREAMS= 40, LENGTH= 100 };
  struct stream streams[STREAMS];
  struct both boths[STREAMS];
  uint8_t from[LENGTH], got[STREAMS][LENGTH + AES_BLOCK], expected[LENGTH + AES_BLOCK];
  size_t at[STREAMS]= {0}, total[STREAMS]= {0}, written;
  unsigned kept= 0;
  struct libcrypto counting= process_counted(&libcrypto);
  CHECK(contexts_open(&counted_contexts, &counting) == NULL);
  random_bytes(from, sizeof from);
  for (unsigned i= 0; i < STREAMS; i++)
  {
    boths[i]= random_both();
    begin(&streams[i], &boths[i]);
  }
  for (unsigned i= 0; i < 4000; i++)
  {
    unsigned which= random_number(STREAMS), length= random_number(LENGTH / 4);
    struct stream abandoned;
    if (at[which] + length > LENGTH)
      length= (unsigned) (LENGTH - at[which]);
    CHECK(stream_update(&streams[which], &counted_contexts, from + at[which], length, got[which] + total[which], &written));
    at[which]+= length;
    total[which]+= written;
    begin(&abandoned, &boths[which]);
    CHECK(stream_update(&abandoned, &counted_contexts, from, 33, expected, &written));
  }
  for (unsigned i= 0; i < STREAMS; i++)
  {
    CHECK(stream_update(&streams[i], &counted_contexts, from + at[i], LENGTH - at[i], got[i] + total[i], &written));
    total[i]+= written;
    CHECK(stream_end(&streams[i], got[i] + total[i], &written) && total[i] + written == LENGTH);
    CHECK(servers(&boths[i], from, LENGTH, expected) && memcmp(expected, got[i], LENGTH) == 0);
  }
  kept= process_calls.new_ctx - process_calls.free_ctx;
  CHECK(kept <= (counted_contexts.mask + 1) * CONTEXTS_EACH);
  contexts_close(&counted_contexts);
  CHECK(process_calls.new_ctx == process_calls.free_ctx);
}

/* After any call of OpenSSL that fails the stream fails, and says so to the end; nothing leaks, and the next works. */
static void every_failure_is_reported(void)
{
  uint8_t from[64], got[64 + AES_BLOCK];
  struct libcrypto counting= process_counted(&libcrypto);
  random_bytes(from, sizeof from);
  for (unsigned variant= 0; variant < 8; variant++)
    for (unsigned fails_in= 1; fails_in < 12; fails_in++)
    {
      struct both both= random_both();
      struct stream stream;
      size_t first= 9, second= 9, rest= 9;
      both.mode= variant & 1 ? MODE_CBC : MODE_CTR;
      both.flags= (variant & 2 ? CRYPT_ENCRYPT : 0) | CRYPT_NOPAD;
      CHECK(contexts_open(&counted_contexts, &counting) == NULL);
      /* With an open pool a failure to keep is mended by a context of the call's own. */
      if (variant & 4)
        contexts_close(&counted_contexts);
      process_calls.fails_in= fails_in;
      begin(&stream, &both);
      bool is_good= stream_update(&stream, &counted_contexts, from, 7, got, &first);
      CHECK(is_good || first == 0);
      is_good&= stream_update(&stream, &counted_contexts, from + 7, 50, got + first, &second);
      CHECK(is_good || second == 0);
      CHECK(stream_end(&stream, got + first + second, &rest) == is_good && (is_good || rest == 0));
      if (is_good)
        CHECK(first + second + rest == 57);
      process_calls.fails_in= 0;
      CHECK(process_calls.errors == 0);
      begin(&stream, &both);
      CHECK(stream_update(&stream, &counted_contexts, from, 57, got, &first) && stream_end(&stream, got + first, &rest));
      uint8_t expected[64 + AES_BLOCK];
      CHECK(servers(&both, from, 57, expected) && memcmp(got, expected, 57) == 0);
      contexts_close(&counted_contexts);
      CHECK(process_calls.new_ctx == process_calls.free_ctx);
    }
}

static void length_that_openssl_cannot_have_is_refused(void)
{
  const struct both both= {.mode= MODE_CBC, .flags= CRYPT_ENCRYPT};
  struct stream stream;
  uint8_t byte= 0;
  size_t written= 9;
  begin(&stream, &both);
  CHECK(!stream_update(&stream, &contexts, &byte, (size_t) INT_MAX, &byte, &written) && written == 0);
  CHECK(!stream_end(&stream, &byte, &written) && written == 0);
}

static void ended_stream_is_wiped(void)
{
  static const struct stream wiped;
  struct both both= random_both();
  struct stream stream;
  uint8_t data[40]= {1}, rest[AES_BLOCK];
  size_t written;
  begin(&stream, &both);
  CHECK(stream_update(&stream, &contexts, data, sizeof data, data, &written));
  CHECK(stream_end(&stream, rest, &written));
  CHECK(memcmp(&stream, &wiped, sizeof stream) == 0);
}

/* A stack that can be searched after its thread has ended. */
#define STACK_SIZE (256u * 1024)

static struct secret
{
  struct both both;
  size_t first;                         /* length of the first piece */
  uint8_t data[64 + AES_BLOCK - 1];
  uint8_t to[64 + 2 * AES_BLOCK];
} secret;

/* Nothing is called after the stream: that would write on its part of the stack. */
static void *use_secret(void *unused)
{
  struct stream stream;
  size_t first, second, rest;
  begin(&stream, &secret.both);
  if (!stream_update(&stream, &contexts, secret.data, secret.first, secret.to, &first) ||
      !stream_update(&stream, &contexts, secret.data + secret.first, sizeof secret.data - secret.first, secret.to + first, &second) ||
      !stream_end(&stream, secret.to + first + second, &rest) || first + second + rest != sizeof secret.data)
    test_failed= true;
  return unused;
}

static bool is_on(const uint8_t *stack, const uint8_t *bytes, size_t size)
{
  enum { PART= 8 };
  for (size_t i= 0; i + PART <= size; i++)
    if (memmem(stack, STACK_SIZE, bytes + i, PART))
      return true;
  return false;
}

static void stack_keeps_neither_key_nor_data(void)
{
  uint8_t *stack= mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(stack != MAP_FAILED);
  for (unsigned i= 0; i < 400 && !test_failed; i++)
  {
    pthread_attr_t attributes;
    pthread_t thread;
    memset(stack, 0, STACK_SIZE);
    secret.both= random_both();
    secret.first= random_number(sizeof secret.data + 1);
    random_bytes(secret.data, sizeof secret.data);
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstack(&attributes, stack, STACK_SIZE) == 0);
    CHECK(pthread_create(&thread, &attributes, use_secret, NULL) == 0 && pthread_join(thread, NULL) == 0);
    pthread_attr_destroy(&attributes);
    CHECK(!is_on(stack, secret.both.key, sizeof secret.both.key));
    /* The data in clear. */
    CHECK(!is_on(stack, secret.both.flags & CRYPT_ENCRYPT ? secret.data : secret.to, sizeof secret.data));
  }
  munmap(stack, STACK_SIZE);
}

struct price
{
  enum aes_mode mode;
  int flags;
  size_t length;
  unsigned set_iv, update;
};

/* The calls of OpenSSL are what an encryption costs. None sets a key, and none needs memory. */
static void small_calls_stay_cheap(void)
{
  static const struct price prices[]= {
    {MODE_CBC, CRYPT_ENCRYPT, 16, 1, 1}, {MODE_CBC, CRYPT_ENCRYPT, 25, 1, 2}, {MODE_CBC, CRYPT_ENCRYPT, 7, 1, 1},
    {MODE_CBC, CRYPT_ENCRYPT, 512, 1, 1}, {MODE_CBC, 0, 16, 1, 1}, {MODE_CBC, 0, 25, 2, 2}, {MODE_CBC, 0, 7, 1, 1},
    {MODE_CTR, CRYPT_ENCRYPT, 16, 1, 1}, {MODE_CTR, CRYPT_ENCRYPT, 25, 1, 1}, {MODE_CTR, 0, 7, 1, 1},
  };
  uint8_t data[512]= {1}, rest[AES_BLOCK];
  struct both both= random_both();
  struct libcrypto counting= process_counted(&libcrypto);
  CHECK(contexts_open(&counted_contexts, &counting) == NULL);
  for (size_t i= 0; i < sizeof prices / sizeof prices[0]; i++)
    for (unsigned turn= 0; turn < 200; turn++)
    {
      struct stream stream;
      size_t written;
      both.mode= prices[i].mode;
      both.flags= prices[i].flags;
      process_no_calls();
      begin(&stream, &both);
      CHECK(stream_update(&stream, &counted_contexts, data, prices[i].length, data, &written));
      CHECK(stream_end(&stream, rest, &written));
      /* The thread may be on a processor for the first time. */
      if (process_calls.set_key)
        continue;
      CHECK(process_calls.set_iv == prices[i].set_iv && process_calls.update == prices[i].update && process_calls.new_ctx == 0);
      if (turn == 199)
        CHECK(process_calls.set_key == 0);
    }
  contexts_close(&counted_contexts);
}

/* A piece that goes on where the piece before ended needs no initialisation vector, and one after another stream's does. */
static void pieces_go_on_where_they_were(void)
{
  enum { PIECE= 32 };
  struct libcrypto counting= process_counted(&libcrypto);
  CHECK(contexts_open(&counted_contexts, &counting) == NULL);
  for (unsigned i= 0; i < 4000; i++)
  {
    struct both both= random_both();
    struct stream stream, other;
    uint8_t from[3 * PIECE + 5], got[sizeof from], expected[sizeof from], others[PIECE];
    size_t at, written, length= sizeof from - random_number(5);
    bool is_disturbed= random_number(2);
    random_bytes(from, sizeof from);
    CHECK(servers(&both, from, length, expected));
    begin(&stream, &both);
    CHECK(stream_update(&stream, &counted_contexts, from, PIECE, got, &written));
    const struct kept *kept= stream.last.kept;
    CHECK(kept != NULL);
    for (at= PIECE; at + PIECE <= length; at+= PIECE)
    {
      if (is_disturbed)
      {
        begin(&other, &both);
        CHECK(stream_update(&other, &counted_contexts, from, PIECE, others, &written));
      }
      bool is_untouched= stream.last.kept && stream.last.kept->turn == stream.last.turn;
      unsigned before= process_calls.set_iv;
      CHECK(stream_update(&stream, &counted_contexts, from + at, PIECE, got + at, &written) && written == PIECE);
      CHECK((process_calls.set_iv == before) == is_untouched && (is_disturbed || is_untouched));
    }
    CHECK(stream_update(&stream, &counted_contexts, from + at, length - at, got + at, &written));
    CHECK(stream_end(&stream, got + at + written, &written) && memcmp(got, expected, length) == 0);
    if (i % 100 == 0)
    {
      /* Contexts that were closed and opened have forgotten the stream. */
      begin(&stream, &both);
      CHECK(stream_update(&stream, &counted_contexts, from, PIECE, got, &written));
      contexts_close(&counted_contexts);
      CHECK(contexts_open(&counted_contexts, &counting) == NULL);
      CHECK(!contexts_hold_again(&stream.last));
      CHECK(stream_update(&stream, &counted_contexts, from + PIECE, PIECE, got + PIECE, &written));
      CHECK(memcmp(got, expected, 2 * (size_t) PIECE) == 0);
    }
  }
  contexts_close(&counted_contexts);
}

static int differing_update(void *ctx, const unsigned char *from, unsigned length, unsigned char *to, unsigned *written)
{
  int result= aes.update(ctx, from, length, to, written);
  if (length == 333)
    to[0]^= 1;
  return result;
}

static unsigned interruptions;

ssize_t __wrap_getrandom(void *to, size_t size, unsigned flags);
ssize_t __real_getrandom(void *to, size_t size, unsigned flags);

ssize_t __wrap_getrandom(void *to, size_t size, unsigned flags)
{
  if (interruptions == 0)
    return __real_getrandom(to, size, flags);
  interruptions--;
  errno= EINTR;
  return -1;
}

/* A signal at the start is no reason to do without kept contexts. */
static void interrupted_comparison_goes_on(void)
{
  char why[COMPARE_WHY_MAX]= "";
  interruptions= 3;
  CHECK(compare(&aes, &contexts, why, sizeof why) && why[0] == 0);
  CHECK(interruptions == 0);
  interruptions= 0;
}

static void difference_is_found(void)
{
  char why[COMPARE_WHY_MAX]= "";
  struct aes differing= aes;
  CHECK(compare(&aes, &contexts, why, sizeof why) && why[0] == 0);
  differing.update= differing_update;
  CHECK(!compare(&differing, &contexts, why, sizeof why));
  CHECK(strstr(why, "AES-C") && strstr(why, " of 333 bytes differs from the server's"));
  differing= aes;
  struct libcrypto counting= process_counted(&libcrypto);
  CHECK(contexts_open(&counted_contexts, &counting) == NULL);
  /* A failure is a difference, too. */
  contexts_close(&counted_contexts);
  process_calls.fails_in= 100;
  CHECK(!compare(&aes, &counted_contexts, why, sizeof why));
  process_calls.fails_in= 0;
  CHECK(process_calls.new_ctx == process_calls.free_ctx);
}

void stream_tests(void)
{
  if (!process_load(&aes, &libcrypto))
    return;
  CHECK(contexts_open(&contexts, &libcrypto) == NULL);
  TEST(bytes_are_those_of_the_server);
  TEST(streams_nest_and_are_abandoned);
  TEST(every_failure_is_reported);
  TEST(length_that_openssl_cannot_have_is_refused);
  TEST(ended_stream_is_wiped);
  if (!UNDER_VALGRIND)
    TEST(stack_keeps_neither_key_nor_data);
  TEST(small_calls_stay_cheap);
  TEST(pieces_go_on_where_they_were);
  TEST(difference_is_found);
  TEST(interrupted_comparison_goes_on);
  contexts_close(&contexts);
}
