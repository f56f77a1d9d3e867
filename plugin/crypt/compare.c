// SPDX-License-Identifier: GPL-2.0-only
// The additional permission in plugin/NOTICE holds for this file.
#include "crypt/compare.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "crypt/stream.h"

#define SHORT_MAX 600u
#define EACH_WAY_MAX 80u                /* longer data, but for pages, is compared in one of the four ways: a start is short */
#define PAGE_MAX 65536u
#define OTHER_LENGTH 57u                /* of a stream within another */
#define CTX_MAX 4096u

/* The encrypted part of pages, with and without the tail that InnoDB and Aria leave. */
static const size_t pages[]= {4096 - 30, 8192 - 16, 16384, 16384 - 30, PAGE_MAX - 46};

struct buffers
{
  uint8_t random[PAGE_MAX];
  uint8_t expected[PAGE_MAX];
  uint8_t got[PAGE_MAX];
  _Alignas(16) uint8_t ctx[CTX_MAX];    /* of the server's functions */
};

struct comparison
{
  const struct aes *aes;
  struct contexts *contexts;
  struct buffers *buffers;
  size_t at;                            /* place of the next key, IV and cuts in the random bytes */
};

struct example
{
  enum aes_mode mode;
  int flags;
  size_t length;
  const uint8_t *key, *iv;
  size_t cuts[2];                       /* ends of the first and the second piece */
};

/* The server's functions, for the whole at once. Returns how many bytes they wrote, SIZE_MAX if they failed. */
static size_t servers(const struct comparison *comparison, const struct example *example)
{
  const struct aes *aes= comparison->aes;
  struct buffers *buffers= comparison->buffers;
  unsigned first= 0, rest= 0;
  if (aes->init(buffers->ctx, example->mode, example->flags | CRYPT_NOPAD, example->key, AES_BLOCK, example->iv, AES_BLOCK))
    return SIZE_MAX;
  int failed= aes->update(buffers->ctx, buffers->random, (unsigned) example->length, buffers->expected, &first);
  failed|= aes->finish(buffers->ctx, buffers->expected + first, &rest);
  return failed ? SIZE_MAX : (size_t) first + rest;
}

static void begin(const struct example *example, struct stream *stream)
{
  stream_begin(stream, example->mode, example->flags & CRYPT_ENCRYPT, example->key, example->iv);
}

/* A stream in place. */
static bool is_equal_in_one(const struct comparison *comparison, const struct example *example)
{
  struct buffers *buffers= comparison->buffers;
  struct stream stream;
  size_t first, rest;
  memcpy(buffers->got, buffers->random, example->length);
  begin(example, &stream);
  bool is_good= stream_update(&stream, comparison->contexts, buffers->got, example->length, buffers->got, &first);
  is_good&= stream_end(&stream, buffers->got + first, &rest);
  return is_good && first + rest == example->length && memcmp(buffers->got, buffers->expected, example->length) == 0;
}

/* A stream in three pieces, with another within it. */
static bool is_equal_in_three(const struct comparison *comparison, const struct example *example)
{
  struct buffers *buffers= comparison->buffers;
  struct stream stream, other;
  uint8_t others[OTHER_LENGTH];
  size_t written[4], others_written;
  const size_t *cuts= example->cuts;
  begin(example, &stream);
  bool is_good= stream_update(&stream, comparison->contexts, buffers->random, cuts[0], buffers->got, &written[0]);
  begin(example, &other);
  is_good&= stream_update(&other, comparison->contexts, buffers->random + 1, sizeof others, others, &others_written);
  uint8_t *to= buffers->got + written[0];
  is_good&= stream_update(&stream, comparison->contexts, buffers->random + cuts[0], cuts[1] - cuts[0], to, &written[1]);
  to+= written[1];
  is_good&= stream_update(&stream, comparison->contexts, buffers->random + cuts[1], example->length - cuts[1], to, &written[2]);
  to+= written[2];
  is_good&= stream_end(&stream, to, &written[3]);
  /* The other is abandoned, as the server abandons what it cannot write. */
  explicit_bzero(&other, sizeof other);
  return is_good && written[0] + written[1] + written[2] + written[3] == example->length &&
         memcmp(buffers->got, buffers->expected, example->length) == 0;
}

static size_t take(struct comparison *comparison, size_t below)
{
  const uint8_t *at= comparison->buffers->random + comparison->at;
  comparison->at= (comparison->at + 1) % (PAGE_MAX - 2 * AES_BLOCK - 1);
  return (size_t) (at[0] | at[1] << 8) % below;
}

static const struct { enum aes_mode mode; int flags; const char *name; } ways[]= {
  {MODE_CBC, CRYPT_ENCRYPT, "encryption with AES-CBC"}, {MODE_CBC, 0, "decryption with AES-CBC"},
  {MODE_CTR, CRYPT_ENCRYPT, "encryption with AES-CTR"}, {MODE_CTR, 0, "decryption with AES-CTR"},
};
#define WAYS (sizeof ways / sizeof ways[0])

/* Returns the name of a way in which a length is treated differently, NULL if none is. */
static const char *find_difference(struct comparison *comparison, size_t length)
{
  const uint8_t *random= comparison->buffers->random;
  /* The blocks count, so that each way gets lengths of every remainder. */
  size_t only= length <= EACH_WAY_MAX || length > SHORT_MAX ? WAYS : (length + length / AES_BLOCK) % WAYS;
  for (size_t i= 0; i < WAYS; i++)
  {
    if (only != WAYS && i != only)
      continue;
    /* Few keys, so that most contexts are used again. */
    const uint8_t *key= random + AES_BLOCK * take(comparison, 8), *iv= random + comparison->at;
    size_t first= take(comparison, length + 1), second= first + take(comparison, length - first + 1);
    const struct example example= {
      .mode= ways[i].mode, .flags= ways[i].flags, .length= length, .key= key, .iv= iv, .cuts= {first, second},
    };
    if (servers(comparison, &example) != length || !is_equal_in_one(comparison, &example) ||
        !is_equal_in_three(comparison, &example))
      return ways[i].name;
  }
  return NULL;
}

static bool compare_all(struct comparison *comparison, char *why, size_t size)
{
  for (size_t i= 0; i <= SHORT_MAX + sizeof pages / sizeof pages[0]; i++)
  {
    size_t length= i <= SHORT_MAX ? i : pages[i - SHORT_MAX - 1];
    const char *difference= find_difference(comparison, length);
    if (!difference)
      continue;
    snprintf(why, size, "%s of %zu bytes differs from the server's", difference, length);
    return false;
  }
  return true;
}

bool compare(const struct aes *aes, struct contexts *contexts, char *why, size_t size)
{
  if (aes->ctx_size(MODE_CBC) > CTX_MAX || aes->ctx_size(MODE_CTR) > CTX_MAX)
  {
    snprintf(why, size, "the server's contexts are larger than expected");
    return false;
  }
  struct buffers *buffers= aligned_alloc(_Alignof(struct buffers), sizeof *buffers);
  if (!buffers)
  {
    snprintf(why, size, "out of memory");
    return false;
  }
  size_t got= 0;
  for (ssize_t more= 0; got < PAGE_MAX && (more >= 0 || errno == EINTR); got+= more > 0 ? (size_t) more : 0)
    more= getrandom(buffers->random + got, PAGE_MAX - got, GRND_NONBLOCK);
  bool is_equal= got == PAGE_MAX;
  if (!is_equal)
    snprintf(why, size, "the system has no random bytes yet");
  else
    is_equal= compare_all(&(struct comparison) {.aes= aes, .contexts= contexts, .buffers= buffers}, why, size);
  free(buffers);
  return is_equal;
}
