// SPDX-License-Identifier: GPL-2.0-only
#include "test/crypt/process.h"

#include <dlfcn.h>
#include <string.h>

#include "test/test.h"

struct process_calls process_calls;
static struct libcrypto real;

static void *server_function(void *library, const char *name)
{
  void *found= dlsym(library, name);
  CHECK(found != NULL);
  return found;
}

bool process_load(struct aes *aes, struct libcrypto *libcrypto)
{
  static void *library;
  static const char *const names[]= {
    "my_aes_crypt_init", "my_aes_crypt_update", "my_aes_crypt_finish", "my_aes_crypt", "my_aes_get_size", "my_aes_ctx_size",
  };
  void *functions[sizeof names / sizeof names[0]];
  _Static_assert(sizeof functions == sizeof *aes, "a name for each member");
  if (!library)
    library= dlopen("libmariadbd.so", RTLD_NOW | RTLD_GLOBAL);
  if (!library)
  {
    printf("# %s\n", dlerror());
    CHECK(library != NULL);
    return false;
  }
  for (size_t i= 0; i < sizeof names / sizeof names[0]; i++)
    functions[i]= server_function(library, names[i]);
  memcpy(aes, functions, sizeof functions);
  const char *why= libcrypto_find(libcrypto);
  if (why)
    printf("# %s\n", why);
  CHECK(why == NULL);
  return why == NULL;
}

void process_no_calls(void)
{
  process_calls.new_ctx= process_calls.free_ctx= process_calls.set_key= process_calls.set_iv= process_calls.update= 0;
  process_calls.fails_in= process_calls.errors= 0;
}

static bool fails(void)
{
  bool is_failure= process_calls.fails_in && --process_calls.fails_in == 0;
  process_calls.errors+= is_failure;
  return is_failure;
}

static struct evp_cipher_ctx_st *counted_new(void)
{
  if (fails())
    return NULL;
  process_calls.new_ctx++;
  return real.new_ctx();
}

static void counted_free(struct evp_cipher_ctx_st *ctx)
{
  process_calls.free_ctx+= ctx != NULL;
  real.free_ctx(ctx);
}

static int counted_init(struct evp_cipher_ctx_st *ctx, const struct evp_cipher_st *cipher, const unsigned char *key,
                        const unsigned char *iv, int encrypt, const struct ossl_param_st *parameters)
{
  if (fails())
    return 0;
  (*(key ? &process_calls.set_key : &process_calls.set_iv))++;
  return real.init(ctx, cipher, key, iv, encrypt, parameters);
}

static int counted_update(struct evp_cipher_ctx_st *ctx, unsigned char *to, int *written, const unsigned char *from, int length)
{
  if (fails())
    return 0;
  process_calls.update++;
  return real.update(ctx, to, written, from, length);
}

static void counted_clear(void)
{
  process_calls.errors= 0;
  real.clear_errors();
}

struct libcrypto process_counted(const struct libcrypto *libcrypto)
{
  struct libcrypto counted= *libcrypto;
  real= *libcrypto;
  counted.new_ctx= counted_new;
  counted.free_ctx= counted_free;
  counted.init= counted_init;
  counted.update= counted_update;
  counted.clear_errors= counted_clear;
  process_no_calls();
  return counted;
}
