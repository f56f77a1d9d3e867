// SPDX-License-Identifier: GPL-2.0-only
/*
  User-defined functions that call the server's encryption service as the storage engines do, so that tests can see what
  the key plugin answers:
    encryption_probe('latest', id, 0, 0)           the latest version
    encryption_probe('get', id, version, size)     "return value / length", with a buffer of size bytes, -1: no buffer
    encryption_probe('exists', id, version, 0)     as encryption_key_version_exists() asks: no buffer, length undefined
    encryption_probe('length', id, version, size)  how long so many bytes are when they are padded and encrypted
    encryption_probe('quiet', id, calls, threads)  how many of the threads made so many calls and no system call at all
    encryption_bytes(id, version, flags, data, iv) what becomes of the data under the whole key, NULL: an error; flags are
                                                   the interface's, and IN_TWO
*/
#include <linux/filter.h>
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
#define IN_TWO 16                       /* hand the data over in two pieces */

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

/* From here on any system call but exit ends the thread on the spot, and not, as in strict mode on some kernels, the process. */
static void forbid_system_calls(void)
{
  struct sock_filter filter[]= {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD),
  };
  struct sock_fprog program= {sizeof filter / sizeof *filter, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
    abort();
}

static void *quiet_thread(void *argument)
{
  struct quiet *quiet= argument;
  forbid_system_calls();
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
  else if (!strncmp(operation, "length", 6))
    *result_length= (unsigned long) sprintf(
      result, "%u", encryption_handler.encryption_encrypted_length_func((unsigned) size, id, version));
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

EXPORT my_bool encryption_bytes_init(UDF_INIT *init, UDF_ARGS *args, char *message)
{
  if (args->arg_count != 5)
  {
    strcpy(message, "expected id, version, flags, data and iv");
    return 1;
  }
  for (unsigned i= 0; i < 3; i++)
    args->arg_type[i]= INT_RESULT;
  args->arg_type[3]= args->arg_type[4]= STRING_RESULT;
  init->max_length= 1 << 20;
  init->maybe_null= 1;
  init->ptr= NULL;
  return 0;
}

EXPORT void encryption_bytes_deinit(UDF_INIT *init)
{
  free(init->ptr);
}

/* Returns the number of bytes written, -1 on an error. */
static long crypt_data(const UDF_ARGS *args, void *ctx, unsigned char *to)
{
  unsigned id= (unsigned) *(long long *) args->args[0], version= (unsigned) *(long long *) args->args[1];
  int flags= (int) *(long long *) args->args[2];
  const unsigned char *from= (const unsigned char *) args->args[3];
  unsigned length= (unsigned) args->lengths[3], first= flags & IN_TWO ? length / 3 : length;
  unsigned char key[32];
  unsigned key_length= sizeof key, written[3]= {0};
  if (encryption_handler.encryption_key_get_func(id, version, key, &key_length) ||
      encryption_handler.encryption_ctx_init_func(ctx, key, key_length, (const unsigned char *) args->args[4],
                                                  (unsigned) args->lengths[4], flags & ~IN_TWO, id, version))
    return -1;
  int bad= encryption_handler.encryption_ctx_update_func(ctx, from, first, to, &written[0]);
  if (!bad && first < length)
    bad= encryption_handler.encryption_ctx_update_func(ctx, from + first, length - first, to + written[0], &written[1]);
  /* It also destroys the context. */
  bad|= encryption_handler.encryption_ctx_finish_func(ctx, to + written[0] + written[1], &written[2]);
  return bad ? -1 : (long) written[0] + written[1] + written[2];
}

EXPORT char *encryption_bytes(UDF_INIT *init, UDF_ARGS *args, char *result, unsigned long *result_length,
                              unsigned char *is_null, unsigned char *error)
{
  unsigned id= (unsigned) *(long long *) args->args[0], version= (unsigned) *(long long *) args->args[1];
  void *ctx= malloc(encryption_handler.encryption_ctx_size_func(id, version));
  (void) result;
  (void) error;
  free(init->ptr);
  init->ptr= malloc(args->lengths[3] + 64);
  long length= ctx && init->ptr ? crypt_data(args, ctx, (unsigned char *) init->ptr) : -1;
  free(ctx);
  *is_null= length < 0;
  *result_length= length < 0 ? 0 : (unsigned long) length;
  return init->ptr;
}
