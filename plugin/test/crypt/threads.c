// SPDX-License-Identifier: GPL-2.0-only
/*
  Kept contexts and very many threads: as many at once as the machine allows, up to a count in all. Each is in the middle of an
  encryption while all of them are, and none leaves anything behind.
*/
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "crypt/crypt.h"
#include "test/crypt/process.h"
#define TEST_SUFFIX ""
#include "test/test.inc.h"

#define LENGTH 83u
#define FIRST 50u                       /* bytes of the first piece */
#define KEYS 40u                        /* more than a processor keeps contexts */
#ifdef __SANITIZE_THREAD__
#define STACK (1u << 20)
#define COUNT 300u
#else
#define STACK (128u << 10)
#define COUNT 1000u
#endif
#define CTX_MAX 4096u
#define FEW 16u
/* Less than two bytes of each thread. */
#define MEMORY_LEFT 65536u

static struct crypt encryption;
static struct contexts contexts;
static struct keytable table;
static uint8_t keys[KEYS][AES_BLOCK], data[LENGTH], expected[KEYS][LENGTH + AES_BLOCK];
static const uint8_t iv[AES_BLOCK]= {7};
static unsigned count= COUNT, started, most_at_once;

static pthread_mutex_t mutex= PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived= PTHREAD_COND_INITIALIZER, go_on= PTHREAD_COND_INITIALIZER;
static unsigned waiting;
static bool may_go_on;

/* Version 1 of the key is AES_CBC, version 2 AES_CTR. */
static uint32_t version_of(unsigned key)
{
  return 1 + key % 2;
}

static void wait_for_all(void)
{
  pthread_mutex_lock(&mutex);
  waiting++;
  pthread_cond_signal(&arrived);
  while (!may_go_on)
    pthread_cond_wait(&go_on, &mutex);
  pthread_mutex_unlock(&mutex);
}

static void *encrypt(void *argument)
{
  _Alignas(16) uint8_t ctx[CTX_MAX];
  unsigned key= (unsigned) (uintptr_t) argument % KEYS, first= 0, second= 0, rest= 0;
  uint8_t to[LENGTH + AES_BLOCK];
  int failures= crypt_init(&encryption, ctx, keys[key], AES_BLOCK, iv, AES_BLOCK, CRYPT_ENCRYPT | CRYPT_NOPAD, 1, version_of(key));
  failures|= crypt_update(&encryption, ctx, data, FIRST, to, &first);
  wait_for_all();
  failures|= crypt_update(&encryption, ctx, data + FIRST, LENGTH - FIRST, to + first, &second);
  failures|= crypt_finish(&encryption, ctx, to + first + second, &rest);
  if (failures || first + second + rest != LENGTH || memcmp(to, expected[key], LENGTH) != 0)
    test_failed= true;
  return NULL;
}

/* Leaves a quarter of the machine's process numbers to others. */
static unsigned most_threads(void)
{
  unsigned most= 32768;
  FILE *file= fopen("/proc/sys/kernel/pid_max", "r");
  if (file && fscanf(file, "%u", &most) != 1)
    most= 32768;
  if (file)
    fclose(file);
  return most / 4 * 3;
}

/* Starts so many threads, or as many as the system gives, and ends them. Returns their number. */
static unsigned run_at_once(unsigned wanted)
{
  pthread_t *threads= calloc(wanted, sizeof *threads);
  uint8_t *stacks= mmap(NULL, (size_t) wanted * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  unsigned running= 0;
  CHECK(threads && stacks != MAP_FAILED);
  waiting= 0;
  may_go_on= false;
  for (; running < wanted && !test_failed; running++)
  {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstack(&attributes, stacks + (size_t) running * STACK, STACK) == 0);
    int error= pthread_create(&threads[running], &attributes, encrypt, (void *) (uintptr_t) running);
    pthread_attr_destroy(&attributes);
    if (error)
      break;
  }
  pthread_mutex_lock(&mutex);
  while (waiting < running)
    pthread_cond_wait(&arrived, &mutex);
  /* All are between two pieces, and hold nothing. */
  unsigned alive= process_calls.new_ctx - process_calls.free_ctx;
  CHECK(alive <= (contexts.mask + 1) * CONTEXTS_EACH);
  for (unsigned i= 0; i <= contexts.mask; i++)
    for (unsigned j= 0; j < CONTEXTS_EACH; j++)
      CHECK(!contexts.processors[i].kept[j].is_held);
  may_go_on= true;
  pthread_cond_broadcast(&go_on);
  pthread_mutex_unlock(&mutex);
  for (unsigned i= 0; i < running; i++)
    CHECK(pthread_join(threads[i], NULL) == 0);
  munmap(stacks, (size_t) wanted * STACK);
  free(threads);
  return running;
}

static void threads_leave_nothing_behind(void)
{
  run_at_once(FEW);
  size_t before= mallinfo2().uordblks;
  while (started < count && !test_failed)
  {
    unsigned wanted= count - started < most_threads() ? count - started : most_threads(), running= run_at_once(wanted);
    CHECK(running >= FEW || running == wanted);
    started+= running;
    most_at_once= running > most_at_once ? running : most_at_once;
  }
  size_t after= mallinfo2().uordblks;
  CHECK(after <= before + MEMORY_LEFT);
  CHECK(process_calls.new_ctx - process_calls.free_ctx <= (contexts.mask + 1) * CONTEXTS_EACH);
  contexts_close(&contexts);
  CHECK(process_calls.new_ctx == process_calls.free_ctx);
  printf("# %u threads, up to %u at once, %u contexts made, %zu bytes in use before and %zu after\n", started, most_at_once,
         process_calls.new_ctx, before, after);
}

static bool load(void)
{
  static const uint8_t key[AES_BLOCK]= {1};
  struct libcrypto libcrypto;
  struct aes aes;
  if (!process_load(&aes, &libcrypto) || !keytable_init(&table))
    return false;
  keytable_put(&table, 1, 1, key, sizeof key, KEY_AES_CBC, true);
  keytable_put(&table, 1, 2, key, sizeof key, KEY_AES_CTR, true);
  for (unsigned i= 0; i < LENGTH; i++)
    data[i]= (uint8_t) (i * 7);
  for (unsigned i= 0; i < KEYS; i++)
  {
    _Alignas(16) uint8_t ctx[CTX_MAX];
    unsigned first= 0, rest= 0;
    keys[i][i % AES_BLOCK]= (uint8_t) (i + 1);
    if (aes.init(ctx, version_of(i) == 1 ? MODE_CBC : MODE_CTR, CRYPT_ENCRYPT | CRYPT_NOPAD, keys[i], AES_BLOCK, iv, AES_BLOCK) ||
        aes.update(ctx, data, LENGTH, expected[i], &first) || aes.finish(ctx, expected[i] + first, &rest))
      return false;
  }
  struct libcrypto counting= process_counted(&libcrypto);
  encryption= (struct crypt) {.aes= aes, .contexts= &contexts, .table= &table};
  return crypt_ctx_size(&aes) <= CTX_MAX && contexts_open(&contexts, &counting) == NULL;
}

int main(int arguments, char **argument)
{
  if (arguments > 1)
    count= (unsigned) strtoul(argument[1], NULL, 10);
  bool is_loaded= load();
  CHECK(is_loaded);
  if (!is_loaded)
    return 1;
  TEST(threads_leave_nothing_behind);
  keytable_destroy(&table);
  return test_failed;
}
