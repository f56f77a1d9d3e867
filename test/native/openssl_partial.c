/* For LD_PRELOAD: one of the functions that kept contexts need, so that they belong to two libraries. */
#define _GNU_SOURCE
#include <dlfcn.h>

__attribute__((visibility("default"))) int EVP_CIPHER_CTX_set_padding(void *ctx, int padding)
{
  int (*real)(void *, int);
  *(void **) &real= dlsym(RTLD_NEXT, "EVP_CIPHER_CTX_set_padding");
  return real(ctx, padding);
}
