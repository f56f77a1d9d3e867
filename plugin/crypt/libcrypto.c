// SPDX-License-Identifier: GPL-2.0-only
// The additional permission in plugin/NOTICE holds for this file.
#include "crypt/libcrypto.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

/* The members of struct libcrypto, in their order. */
static const char *const names[]= {
  "EVP_CIPHER_fetch", "EVP_CIPHER_free", "EVP_CIPHER_CTX_new", "EVP_CIPHER_CTX_free", "EVP_CipherInit_ex2",
  "EVP_CIPHER_CTX_set_padding", "EVP_CipherUpdate", "ERR_clear_error",
};

#define COUNT (sizeof names / sizeof names[0])
_Static_assert(sizeof(struct libcrypto) == COUNT * sizeof(void *), "a name for each member");

const char *libcrypto_find(struct libcrypto *libcrypto)
{
  void *found[COUNT];
  const void *library= NULL;
  for (size_t i= 0; i < COUNT; i++)
  {
    Dl_info info;
    found[i]= dlsym(RTLD_DEFAULT, names[i]);
    if (!found[i] || !dladdr(found[i], &info))
      return "this server's process has no OpenSSL 3";
    if (library && info.dli_fbase != library)
      return "this server's process has parts of several OpenSSL libraries";
    library= info.dli_fbase;
  }
  memcpy(libcrypto, found, sizeof found);
  return NULL;
}
