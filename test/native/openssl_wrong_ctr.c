/*
  For LD_PRELOAD: all functions that kept contexts need, with another cipher in the place of AES-128-CTR. The server fetches no
  cipher by its name.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define REAL(name) (*(void **) &real= dlsym(RTLD_NEXT, name))

EXPORT void *EVP_CIPHER_fetch(void *library, const char *name, const char *properties)
{
  void *(*real)(void *, const char *, const char *);
  REAL("EVP_CIPHER_fetch");
  return real(library, strcmp(name, "AES-128-CTR") == 0 ? "AES-128-OFB" : name, properties);
}

EXPORT void EVP_CIPHER_free(void *cipher)
{
  void (*real)(void *);
  REAL("EVP_CIPHER_free");
  real(cipher);
}

EXPORT void *EVP_CIPHER_CTX_new(void)
{
  void *(*real)(void);
  REAL("EVP_CIPHER_CTX_new");
  return real();
}

EXPORT void EVP_CIPHER_CTX_free(void *ctx)
{
  void (*real)(void *);
  REAL("EVP_CIPHER_CTX_free");
  real(ctx);
}

EXPORT int EVP_CipherInit_ex2(void *ctx, const void *cipher, const unsigned char *key, const unsigned char *iv, int encrypt,
                              const void *parameters)
{
  int (*real)(void *, const void *, const unsigned char *, const unsigned char *, int, const void *);
  REAL("EVP_CipherInit_ex2");
  return real(ctx, cipher, key, iv, encrypt, parameters);
}

EXPORT int EVP_CIPHER_CTX_set_padding(void *ctx, int padding)
{
  int (*real)(void *, int);
  REAL("EVP_CIPHER_CTX_set_padding");
  return real(ctx, padding);
}

EXPORT int EVP_CipherUpdate(void *ctx, unsigned char *to, int *written, const unsigned char *from, int length)
{
  int (*real)(void *, unsigned char *, int *, const unsigned char *, int);
  REAL("EVP_CipherUpdate");
  return real(ctx, to, written, from, length);
}

EXPORT void ERR_clear_error(void)
{
  void (*real)(void);
  REAL("ERR_clear_error");
  real();
}
