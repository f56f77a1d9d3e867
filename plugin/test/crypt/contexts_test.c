// SPDX-License-Identifier: GPL-2.0-only
/* Kept contexts from many threads, and their end. */
#include "crypt/contexts.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "crypt/stream.h"
#include "test/crypt/process.h"
#include "test/test.h"

#define THREADS 16u
#define KEYS 24u                        /* more than a processor keeps */
#define LENGTH 83u

static struct aes aes;
static struct libcrypto libcrypto;
static struct contexts contexts;
static uint8_t keys[KEYS][16], data[LENGTH];
static uint8_t expected[KEYS][LENGTH + AES_BLOCK];      /* CTR with even keys, CBC with odd ones */
static atomic_bool is_over;

static enum aes_mode mode_of(unsigned key)
{
  return key % 2 ? MODE_CBC : MODE_CTR;
}

static bool load(void)
{
  static const uint8_t iv[16]= {9};
  _Alignas(16) uint8_t ctx[4096];
  if (!process_load(&aes, &libcrypto))
    return false;
  for (unsigned i= 0; i < LENGTH; i++)
    data[i]= (uint8_t) i;
  for (unsigned i= 0; i < KEYS; i++)
  {
    unsigned first= 0, rest= 0;
    keys[i][i % 16]= (uint8_t) (i + 1);
    CHECK(aes.init(ctx, mode_of(i), CRYPT_ENCRYPT | CRYPT_NOPAD, keys[i], 16, iv, 16) == 0);
    CHECK(aes.update(ctx, data, LENGTH, expected[i], &first) == 0);
    CHECK(aes.finish(ctx, expected[i] + first, &rest) == 0);
  }
  return true;
}

static bool encrypt_and_decrypt(struct contexts *with, unsigned key)
{
  static const uint8_t iv[16]= {9};
  uint8_t to[LENGTH + AES_BLOCK];
  struct stream stream;
  size_t first, rest;
  stream_begin(&stream, mode_of(key), true, keys[key], iv);
  if (!stream_update(&stream, with, data, LENGTH, to, &first) || !stream_end(&stream, to + first, &rest) ||
      memcmp(to, expected[key], LENGTH) != 0)
    return false;
  stream_begin(&stream, mode_of(key), false, keys[key], iv);
  return stream_update(&stream, with, to, LENGTH, to, &first) && stream_end(&stream, to + first, &rest) &&
         memcmp(to, data, LENGTH) == 0;
}

static void *work(void *argument)
{
  unsigned key= (unsigned) (uintptr_t) argument;
  while (!atomic_load(&is_over))
  {
    CHECK(encrypt_and_decrypt(&contexts, key % KEYS));
    /* Most calls are for one key, as with a redo log. */
    CHECK(encrypt_and_decrypt(&contexts, 1));
    key++;
  }
  return NULL;
}

static void threads_get_right_bytes_while_contexts_open_and_close(void)
{
  pthread_t threads[THREADS];
  CHECK(contexts_open(&contexts, &libcrypto) == NULL);
  atomic_store(&is_over, false);
  for (uintptr_t i= 0; i < THREADS; i++)
    CHECK(pthread_create(&threads[i], NULL, work, (void *) i) == 0);
  for (unsigned i= 0; i < 200; i++)
  {
    nanosleep(&(struct timespec) {.tv_nsec= 2000000}, NULL);
    contexts_close(&contexts);
    CHECK(contexts_open(&contexts, &libcrypto) == NULL);
  }
  atomic_store(&is_over, true);
  for (unsigned i= 0; i < THREADS; i++)
    CHECK(pthread_join(threads[i], NULL) == 0);
  contexts_close(&contexts);
}

static struct cipher_key key_of(unsigned i)
{
  struct cipher_key key;
  memcpy(key.words, keys[i], sizeof key.words);
  return key;
}

/* However many hold contexts, the next gets one; no two hold the same, and what is beyond the kept ones ends with its use. */
static void nobody_waits_and_nobody_shares(void)
{
  static struct contexts counted_contexts;
  enum { HELD= 100 };
  struct holding held[HELD];
  struct libcrypto counting= process_counted(&libcrypto);
  const struct cipher_key key= key_of(1);
  unsigned kept= 0;
  CHECK(contexts_open(&counted_contexts, &counting) == NULL);
  for (unsigned i= 0; i < HELD; i++)
  {
    CHECK(contexts_hold(&counted_contexts, CIPHER_CBC_ENCRYPT, &key, &held[i]));
    kept+= held[i].kept != NULL;
    for (unsigned j= 0; j < i; j++)
      CHECK(held[i].ctx != held[j].ctx);
  }
  CHECK(kept >= CONTEXTS_EACH && kept <= (counted_contexts.mask + 1) * CONTEXTS_EACH && process_calls.new_ctx == HELD);
  for (unsigned i= 0; i < HELD; i++)
    contexts_release(&counted_contexts, &held[i], true);
  CHECK(process_calls.free_ctx == HELD - kept);
  contexts_close(&counted_contexts);
  CHECK(process_calls.free_ctx == HELD);
}

/* The context that was used longest ago gets the new key: the key of most calls keeps its own. */
static void busy_key_keeps_its_context(void)
{
  static struct contexts counted_contexts;
  struct libcrypto counting= process_counted(&libcrypto);
  unsigned busy_sets= 0;
  CHECK(contexts_open(&counted_contexts, &counting) == NULL);
  for (unsigned i= 0; i < 10000; i++)
  {
    struct holding holding;
    const struct cipher_key busy= key_of(0), other= key_of(1 + i % (KEYS - 1));
    CHECK(contexts_hold(&counted_contexts, CIPHER_CTR, &other, &holding));
    contexts_release(&counted_contexts, &holding, true);
    unsigned before= process_calls.set_key;
    CHECK(contexts_hold(&counted_contexts, CIPHER_CTR, &busy, &holding));
    busy_sets+= process_calls.set_key - before;
    contexts_release(&counted_contexts, &holding, true);
  }
  /* Once for each processor. */
  CHECK(busy_sets <= counted_contexts.mask + 1);
  contexts_close(&counted_contexts);
}

static void closed_contexts_hold_no_key(void)
{
  CHECK(contexts_open(&contexts, &libcrypto) == NULL);
  for (unsigned i= 0; i < KEYS; i++)
    CHECK(encrypt_and_decrypt(&contexts, i));
  contexts_close(&contexts);
  for (unsigned i= 0; i <= contexts.mask; i++)
    for (unsigned j= 0; j < CONTEXTS_EACH; j++)
    {
      const struct kept *kept= &contexts.processors[i].kept[j];
      CHECK(!kept->ctx && !kept->cipher && !kept->words[0] && !kept->words[1] && !kept->is_held);
    }
  /* A call that began before works. */
  CHECK(encrypt_and_decrypt(&contexts, 1));
}

static struct evp_cipher_st *only_cbc(struct ossl_lib_ctx_st *library, const char *algorithm, const char *properties)
{
  return strcmp(algorithm, "AES-128-CBC") == 0 ? libcrypto.fetch(library, algorithm, properties) : NULL;
}

static void library_without_a_cipher_is_refused(void)
{
  static struct contexts without;
  struct libcrypto incomplete= libcrypto;
  incomplete.fetch= only_cbc;
  const char *why= contexts_open(&without, &incomplete);
  CHECK(why && strcmp(why, "OpenSSL offers no AES-128-CBC or no AES-128-CTR") == 0);
  contexts_close(&without);
  CHECK(contexts_open(&without, &libcrypto) == NULL);
  CHECK(encrypt_and_decrypt(&without, 1));
  contexts_close(&without);
}

void contexts_tests(void)
{
  if (!load())
    return;
  TEST(threads_get_right_bytes_while_contexts_open_and_close);
  TEST(nobody_waits_and_nobody_shares);
  TEST(busy_key_keeps_its_context);
  TEST(closed_contexts_hold_no_key);
  TEST(library_without_a_cipher_is_refused);
}
