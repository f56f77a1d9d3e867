// SPDX-License-Identifier: GPL-2.0-only
/*
  A user-defined function that calls the server's encryption service as the storage engines do, and measures it:
    encryption_bench('latest', id, ms, threads)   asks for the latest version of a key, for so long in so many threads
    encryption_bench('get', id, ms, threads)      fetches the version that was the latest at the start
    encryption_bench('both', id, ms, threads)     one after the other
    encryption_bench('encrypt N', id, ms, threads) encrypts N bytes, at most 16384, under the latest version
    encryption_bench('decrypt N', id, ms, threads) decrypts N bytes
  each answer "ns cpu_ns": nanoseconds a thread has a call for, and of them on a CPU. A wrong answer of the service is an
  error.
    encryption_bench('longest', id, ms, 0)        asks for the latest version now and then, before all other threads where
                                                  the system allows that
  answers "ns calls": the longest of so many calls.
    encryption_bench('cpu', 0, 0, 0)              the server's CPU time, of all its threads that are and were, in ns
  For cross-checks:
    encryption_bench('key', id, version, 0)       the bytes of a key
    encryption_bench('page', id, version, size)   the ciphertext of a page of that size; it was decrypted again
    encryption_bench('padded', id, version, size) the same for data that may grow, as temporary files have them
*/
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include <mysql.h>
#include <mysql/service_encryption.h>

extern struct encryption_service_st encryption_handler;

#define EXPORT __attribute__((visibility("default")))
#define MAX_THREADS 16
#define PAGE 16384u
/* Bytes that padding and an authentication tag may add. */
#define ROOM 64u
/* Calls between two looks at the clock. */
#define BATCH 1024u

struct measurement
{
  unsigned id, version, size;
  unsigned (*batch)(struct measurement *measurement, unsigned char *scratch);
  double seconds;
  pthread_barrier_t barrier;
};

struct key
{
  unsigned id, version, length;
  unsigned char bytes[32];
};

struct thread
{
  struct measurement *measurement;
  double ns, cpu_ns;
  int failed;
};

static unsigned latest(unsigned id)
{
  return encryption_handler.encryption_key_get_latest_version_func(id);
}

static unsigned get(unsigned id, unsigned version, unsigned char *key, unsigned *length)
{
  return encryption_handler.encryption_key_get_func(id, version, key, length);
}

static int crypt_page(const unsigned char *from, unsigned size, unsigned char *to, unsigned *to_size, int flags,
                      const struct key *key)
{
  static const unsigned char iv[16]= "0123456789abcde";
  return encryption_crypt(from, size, to, to_size, key->bytes, key->length, iv, sizeof iv, flags, key->id,
                          key->version) != 0;
}

static int get_key(struct key *key, unsigned id, unsigned version)
{
  *key= (struct key) {.id= id, .version= version, .length= sizeof key->bytes};
  return get(id, version, key->bytes, &key->length) != 0;
}

static void fill_page(unsigned char *page, unsigned size)
{
  for (unsigned i= 0; i < size; i++)
    page[i]= (unsigned char) (i * 7 + i / 256);
}

/* Each returns how many calls it made, 0 if one went wrong. A latest version never goes down. */
static unsigned latest_batch(struct measurement *measurement, unsigned char *scratch)
{
  unsigned last= measurement->version;
  (void) scratch;
  for (unsigned i= 0; i < BATCH; i++)
  {
    unsigned version= latest(measurement->id);
    if (version < last || version == ENCRYPTION_KEY_VERSION_INVALID)
      return 0;
    last= version;
  }
  return BATCH;
}

static unsigned get_batch(struct measurement *measurement, unsigned char *scratch)
{
  for (unsigned i= 0; i < BATCH; i++)
  {
    unsigned length= 32;
    if (get(measurement->id, measurement->version, scratch, &length) || length < 16)
      return 0;
  }
  return BATCH;
}

static unsigned both_batch(struct measurement *measurement, unsigned char *scratch)
{
  return latest_batch(measurement, scratch) && get_batch(measurement, scratch) ? 2 * BATCH : 0;
}

static unsigned crypt_batch(struct measurement *measurement, unsigned char *scratch, int flags)
{
  struct key key;
  if (get_key(&key, measurement->id, measurement->version))
    return 0;
  unsigned calls= 16 + 16384 / (measurement->size + 16);
  for (unsigned i= 0; i < calls; i++)
  {
    unsigned size;
    if (crypt_page(scratch, measurement->size, scratch + PAGE, &size, flags | ENCRYPTION_FLAG_NOPAD, &key) ||
        size != measurement->size)
      return 0;
  }
  return calls;
}

static unsigned encrypt_batch(struct measurement *measurement, unsigned char *scratch)
{
  return crypt_batch(measurement, scratch, ENCRYPTION_FLAG_ENCRYPT);
}

static unsigned decrypt_batch(struct measurement *measurement, unsigned char *scratch)
{
  return crypt_batch(measurement, scratch, ENCRYPTION_FLAG_DECRYPT);
}

static double clock_ns(clockid_t clock)
{
  struct timespec ts;
  clock_gettime(clock, &ts);
  return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}

static void *measuring_thread(void *argument)
{
  struct thread *thread= argument;
  struct measurement *measurement= thread->measurement;
  unsigned char scratch[2 * PAGE + ROOM];
  double calls= 0, now;
  fill_page(scratch, PAGE);
  /* The name by which strace finds it. */
  prctl(PR_SET_NAME, "encryptionbench");
  pthread_barrier_wait(&measurement->barrier);
  double start= clock_ns(CLOCK_MONOTONIC), cpu_start= clock_ns(CLOCK_THREAD_CPUTIME_ID);
  do
  {
    unsigned made= measurement->batch(measurement, scratch);
    if (!made)
    {
      thread->failed= 1;
      return NULL;
    }
    calls+= made;
    now= clock_ns(CLOCK_MONOTONIC);
  } while (now - start < measurement->seconds * 1e9);
  thread->ns= (now - start) / calls;
  thread->cpu_ns= (clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_start) / calls;
  return NULL;
}

static int measure(struct measurement *measurement, unsigned threads, char *result, unsigned long *result_length)
{
  pthread_t handle[MAX_THREADS];
  struct thread thread[MAX_THREADS]= {0};
  double ns= 0, cpu_ns= 0;
  int failed= 0;
  if (threads < 1 || threads > MAX_THREADS || pthread_barrier_init(&measurement->barrier, NULL, threads))
    return 1;
  /* strace may watch the threads, also where only a parent could. */
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
  for (unsigned i= 0; i < threads; i++)
  {
    thread[i].measurement= measurement;
    if (pthread_create(&handle[i], NULL, measuring_thread, &thread[i]))
      abort();
  }
  for (unsigned i= 0; i < threads; i++)
  {
    pthread_join(handle[i], NULL);
    ns+= thread[i].ns / threads;
    cpu_ns+= thread[i].cpu_ns / threads;
    failed|= thread[i].failed;
  }
  pthread_barrier_destroy(&measurement->barrier);
  *result_length= (unsigned long) sprintf(result, "%.4f %.4f", ns, cpu_ns);
  return failed;
}

struct longest
{
  unsigned id;
  double seconds, ns, calls;
  int failed;
};

static void *longest_thread(void *argument)
{
  struct longest *longest= argument;
  unsigned last= 0;
  /* Without it, what the scheduler does to a thread would be measured. */
  pthread_setschedparam(pthread_self(), SCHED_FIFO, &(struct sched_param) {.sched_priority= 1});
  for (double start= clock_ns(CLOCK_MONOTONIC), now= start; now - start < longest->seconds * 1e9; longest->calls++)
  {
    double before= clock_ns(CLOCK_MONOTONIC);
    unsigned version= latest(longest->id);
    now= clock_ns(CLOCK_MONOTONIC);
    if (now - before > longest->ns)
      longest->ns= now - before;
    longest->failed|= version < last || version == ENCRYPTION_KEY_VERSION_INVALID;
    last= version;
    nanosleep(&(struct timespec) {.tv_nsec= 10000}, NULL);
  }
  return NULL;
}

static int measure_longest(unsigned id, unsigned ms, char *result, unsigned long *result_length)
{
  struct longest longest= {.id= id, .seconds= ms / 1e3};
  pthread_t handle;
  if (pthread_create(&handle, NULL, longest_thread, &longest))
    return 1;
  pthread_join(handle, NULL);
  *result_length= (unsigned long) sprintf(result, "%.0f %.0f", longest.ns, longest.calls);
  return longest.failed;
}

static int encrypted(unsigned id, unsigned version, unsigned size, int flags, unsigned char *to, unsigned long *to_size)
{
  unsigned char page[PAGE], back[PAGE + ROOM];
  unsigned length, back_length;
  struct key key;
  if (size > PAGE || get_key(&key, id, version))
    return 1;
  fill_page(page, size);
  if (crypt_page(page, size, to, &length, flags | ENCRYPTION_FLAG_ENCRYPT, &key) ||
      length != (flags & ENCRYPTION_FLAG_NOPAD ? size : encryption_encrypted_length(size, id, version)) ||
      crypt_page(to, length, back, &back_length, flags, &key) || back_length != size || memcmp(page, back, size))
    return 1;
  *to_size= length;
  return 0;
}

EXPORT my_bool encryption_bench_init(UDF_INIT *init, UDF_ARGS *args, char *message)
{
  if (args->arg_count != 4 || !(init->ptr= malloc(PAGE + ROOM)))
  {
    strcpy(message, "expected operation, id, time or version, and threads or size");
    return 1;
  }
  init->max_length= PAGE + ROOM;
  args->arg_type[0]= STRING_RESULT;
  for (unsigned i= 1; i < 4; i++)
    args->arg_type[i]= INT_RESULT;
  return 0;
}

EXPORT void encryption_bench_deinit(UDF_INIT *init)
{
  free(init->ptr);
}

EXPORT char *encryption_bench(UDF_INIT *init, UDF_ARGS *args, char *result, unsigned long *result_length,
                              unsigned char *is_null, unsigned char *error)
{
  static const struct { const char *name; unsigned (*batch)(struct measurement *, unsigned char *); } timed[]= {
    {"latest", latest_batch}, {"get", get_batch}, {"both", both_batch}, {"encrypt", encrypt_batch},
    {"decrypt", decrypt_batch},
  };
  char operation[24]= "";
  unsigned id= (unsigned) *(long long *) args->args[1], third= (unsigned) *(long long *) args->args[2];
  unsigned fourth= (unsigned) *(long long *) args->args[3];
  (void) is_null;
  memcpy(operation, args->args[0], args->lengths[0] < sizeof operation ? args->lengths[0] : 0);
  for (size_t i= 0; i < sizeof timed / sizeof timed[0]; i++)
    if (!strncmp(operation, timed[i].name, strlen(timed[i].name)))
    {
      struct measurement measurement= {.id= id, .version= latest(id), .batch= timed[i].batch, .seconds= third / 1e3};
      measurement.size= (unsigned) strtoul(operation + strlen(timed[i].name), NULL, 10);
      *error= (unsigned char) (measurement.size > PAGE || measure(&measurement, fourth, result, result_length));
      return result;
    }
  if (!strcmp(operation, "longest"))
  {
    *error= (unsigned char) measure_longest(id, third, result, result_length);
    return result;
  }
  if (!strcmp(operation, "cpu"))
  {
    *result_length= (unsigned long) sprintf(result, "%.0f", clock_ns(CLOCK_PROCESS_CPUTIME_ID));
    return result;
  }
  if (!strcmp(operation, "key"))
  {
    unsigned length= 32;
    *error= get(id, third, (unsigned char *) init->ptr, &length) != 0;
    *result_length= length;
  }
  else if (!strcmp(operation, "page"))
    *error= (unsigned char) encrypted(id, third, fourth, ENCRYPTION_FLAG_NOPAD, (unsigned char *) init->ptr, result_length);
  else if (!strcmp(operation, "padded"))
    *error= (unsigned char) encrypted(id, third, fourth, 0, (unsigned char *) init->ptr, result_length);
  else
    *error= 1;
  return init->ptr;
}
