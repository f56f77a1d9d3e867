// SPDX-License-Identifier: GPL-2.0-only
/*
  For LD_PRELOAD into a server that encrypts by its own functions: counts encryptions and decryptions by their sizes, at the
  functions of OpenSSL that they call. A user-defined function of the same library answers what it counted:
    counted_encryptions()   lines "bytes pieces count" since the last call, of at most 1 MiB; bytes above 4096 are those of a page
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mysql.h>

#define EXPORT __attribute__((visibility("default")))
#define BYTES_MAX 65536u
#define PIECES_MAX 16u
#define RESULT_MAX (1u << 20)
#define NESTED_MAX 4u

static atomic_ulong counts[BYTES_MAX + 1][PIECES_MAX + 1];

/* Encryptions of a thread, which nest. */
static _Thread_local struct
{
  const void *ctx;
  unsigned long bytes;
  unsigned pieces;
} under_way[NESTED_MAX];

static void *next(const char *name)
{
  return dlsym(RTLD_NEXT, name);
}

static unsigned place_of(const void *ctx)
{
  unsigned i= 0;
  while (i < NESTED_MAX && under_way[i].ctx != ctx)
    i++;
  return i;
}

/* The last bytes of AES-CBC cost the server an encryption of one block with AES-ECB, which is not counted. */
EXPORT int EVP_CipherInit_ex(void *ctx, const void *cipher, void *engine, const unsigned char *key, const unsigned char *iv,
                             int encrypt)
{
  static int (*real)(void *, const void *, void *, const unsigned char *, const unsigned char *, int);
  if (!real)
    *(void **) &real= next("EVP_CipherInit_ex");
  if (cipher && iv)
  {
    unsigned place= place_of(ctx);
    if (place == NESTED_MAX)
      place= place_of(NULL);
    if (place < NESTED_MAX)
    {
      under_way[place].ctx= ctx;
      under_way[place].bytes= under_way[place].pieces= 0;
    }
  }
  return real(ctx, cipher, engine, key, iv, encrypt);
}

EXPORT int EVP_CipherUpdate(void *ctx, unsigned char *to, int *written, const unsigned char *from, int length)
{
  static int (*real)(void *, unsigned char *, int *, const unsigned char *, int);
  if (!real)
    *(void **) &real= next("EVP_CipherUpdate");
  unsigned place= place_of(ctx);
  if (place < NESTED_MAX)
  {
    under_way[place].bytes+= (unsigned) length;
    under_way[place].pieces++;
  }
  return real(ctx, to, written, from, length);
}

/* The server resets a context when it has ended, and before it begins. */
EXPORT int EVP_CIPHER_CTX_reset(void *ctx)
{
  static int (*real)(void *);
  if (!real)
    *(void **) &real= next("EVP_CIPHER_CTX_reset");
  unsigned place= place_of(ctx);
  if (ctx && place < NESTED_MAX)
  {
    unsigned long bytes= under_way[place].bytes < BYTES_MAX ? under_way[place].bytes : BYTES_MAX;
    unsigned pieces= under_way[place].pieces < PIECES_MAX ? under_way[place].pieces : PIECES_MAX;
    counts[bytes][pieces]++;
    under_way[place].ctx= NULL;
  }
  return real(ctx);
}

EXPORT my_bool counted_encryptions_init(UDF_INIT *init, UDF_ARGS *args, char *message)
{
  (void) message;
  init->max_length= RESULT_MAX;
  init->ptr= malloc(RESULT_MAX);
  return args->arg_count != 0 || !init->ptr;
}

EXPORT void counted_encryptions_deinit(UDF_INIT *init)
{
  free(init->ptr);
}

EXPORT char *counted_encryptions(UDF_INIT *init, UDF_ARGS *args, char *result, unsigned long *result_length,
                                 unsigned char *is_null, unsigned char *error)
{
  unsigned long size= 0;
  (void) args;
  (void) result;
  (void) is_null;
  (void) error;
  for (unsigned bytes= 0; bytes <= BYTES_MAX; bytes++)
    for (unsigned pieces= 0; pieces <= PIECES_MAX && size + 64 < RESULT_MAX; pieces++)
    {
      unsigned long count= atomic_exchange(&counts[bytes][pieces], 0);
      if (count)
        size+= (unsigned long) sprintf(init->ptr + size, "%u %u %lu\n", bytes, pieces, count);
    }
  *result_length= size;
  return init->ptr;
}
