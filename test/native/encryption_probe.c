// SPDX-License-Identifier: GPL-2.0-only
/*
  A user-defined function that calls the server's encryption service as the storage engines do, so that tests can see
  what the key plugin answers:
    encryption_probe('latest', id, 0, 0)           the latest version
    encryption_probe('get', id, version, size)     "return value / length", with a buffer of size bytes, -1: no buffer
    encryption_probe('exists', id, version, 0)     as encryption_key_version_exists() asks: no buffer, length undefined
    encryption_probe('quiet', id, calls, threads)  how many of the threads made so many calls and no system call at all
*/
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mysql.h>
#include <mysql/service_encryption.h>

extern struct encryption_service_st encryption_handler;

#define EXPORT __attribute__((visibility("default")))
#define MAX_THREADS 8

struct quiet
{
  unsigned id;
  long long calls;
  atomic_llong finished;
};

static unsigned latest(unsigned id)
{
  return encryption_handler.encryption_key_get_latest_version_func(id);
}

static void *quiet_thread(void *argument)
{
  struct quiet *quiet= argument;
  /* From here on anything but read, write and exit ends the thread on the spot. */
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
    abort();
  for (long long i= 0; i < quiet->calls; i++)
  {
    unsigned char key[32];
    unsigned length= sizeof key, version= latest(quiet->id);
    if (encryption_handler.encryption_key_get_func(quiet->id, version, key, &length) || length < 16)
      abort();
  }
  atomic_fetch_add(&quiet->finished, 1);
  syscall(SYS_exit, 0);
  return NULL;
}

static long long run_quiet(unsigned id, long long calls, long long threads)
{
  pthread_t thread[MAX_THREADS];
  struct quiet quiet= {id, calls, 0};
  if (threads < 1 || threads > MAX_THREADS)
    return 0;
  for (long long i= 0; i < threads; i++)
    if (pthread_create(&thread[i], NULL, quiet_thread, &quiet))
      return 0;
  for (long long i= 0; i < threads; i++)
    pthread_join(thread[i], NULL);
  return atomic_load(&quiet.finished);
}

EXPORT my_bool encryption_probe_init(UDF_INIT *init, UDF_ARGS *args, char *message)
{
  (void) init;
  if (args->arg_count != 4)
  {
    strcpy(message, "expected operation, id, version and size");
    return 1;
  }
  args->arg_type[0]= STRING_RESULT;
  for (unsigned i= 1; i < 4; i++)
    args->arg_type[i]= INT_RESULT;
  return 0;
}

EXPORT char *encryption_probe(UDF_INIT *init, UDF_ARGS *args, char *result, unsigned long *result_length,
                              unsigned char *is_null, unsigned char *error)
{
  const char *operation= args->args[0];
  unsigned id= (unsigned) *(long long *) args->args[1], version= (unsigned) *(long long *) args->args[2];
  long long size= *(long long *) args->args[3];
  unsigned char buffer[64];
  (void) init;
  (void) is_null;
  memset(buffer, 0xee, sizeof buffer);
  if (!strncmp(operation, "latest", 6))
    *result_length= (unsigned long) sprintf(result, "%u", latest(id));
  else if (!strncmp(operation, "quiet", 5))
    *result_length= (unsigned long) sprintf(result, "%lld", run_quiet(id, *(long long *) args->args[2], size));
  else if (!strncmp(operation, "exists", 6))
  {
    unsigned undefined= 0xdeadbeef;
    unsigned got= encryption_handler.encryption_key_get_func(id, version, NULL, &undefined);
    *result_length= (unsigned long) sprintf(result, "%u / %u", got, undefined);
  }
  else if (!strncmp(operation, "get", 3) && size <= 48)
  {
    unsigned length= size < 0 ? 0 : (unsigned) size;
    unsigned got= encryption_handler.encryption_key_get_func(id, version, size < 0 ? NULL : buffer, &length);
    int beyond= 0;
    for (size_t i= size < 0 ? 0 : (size_t) size; i < sizeof buffer; i++)
      beyond|= buffer[i] != 0xee;
    *result_length= (unsigned long) sprintf(result, "%u / %u%s", got, length, beyond ? " / wrote beyond" : "");
  }
  else
    *error= 1;
  return result;
}
