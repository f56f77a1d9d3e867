// SPDX-License-Identifier: GPL-2.0-only
// The additional permission in plugin/NOTICE holds for this file.
/*
  The functions of OpenSSL 3 that encrypt, as the server's process has loaded them. The plugin links none and knows none of
  OpenSSL's headers: the names and types below are those of its manual pages.
*/
#ifndef AKM_LIBCRYPTO_H
#define AKM_LIBCRYPTO_H

#include <stdint.h>

struct evp_cipher_st;
struct evp_cipher_ctx_st;
struct ossl_lib_ctx_st;
struct ossl_param_st;

struct libcrypto
{
  struct evp_cipher_st *(*fetch)(struct ossl_lib_ctx_st *library, const char *algorithm, const char *properties);
  void (*free_cipher)(struct evp_cipher_st *cipher);
  struct evp_cipher_ctx_st *(*new_ctx)(void);
  void (*free_ctx)(struct evp_cipher_ctx_st *ctx);
  int (*init)(struct evp_cipher_ctx_st *ctx, const struct evp_cipher_st *cipher, const unsigned char *key,
              const unsigned char *iv, int encrypt, const struct ossl_param_st *parameters);
  int (*set_padding)(struct evp_cipher_ctx_st *ctx, int padding);
  int (*update)(struct evp_cipher_ctx_st *ctx, unsigned char *to, int *written, const unsigned char *from, int length);
  void (*clear_errors)(void);
};

/*
  Finds the functions among the global symbols of the process. Returns NULL, or why they cannot be used, a static text: one is
  missing, as in OpenSSL 1.1 and wolfSSL, or they belong to more than one library.
*/
const char *libcrypto_find(struct libcrypto *libcrypto);

#endif
