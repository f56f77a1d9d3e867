// SPDX-License-Identifier: GPL-2.0-only
/*
  What the server encrypts with under a key version: AES-CBC, as it does by itself, or what file_key_management calls
  AES_CTR, which is AES-CTR where nothing is padded (pages, logs) and AES-GCM where something is (temporary files). The
  server's own functions do the work; here is only decided in which mode.
*/
#ifndef AKM_CRYPT_H
#define AKM_CRYPT_H

#include "keys/keytable.h"

/* ENCRYPTION_FLAG_ENCRYPT and ENCRYPTION_FLAG_NOPAD of the interface. */
#define CRYPT_ENCRYPT 1
#define CRYPT_NOPAD 2

/* Not an error that the server's functions return. */
#define CRYPT_UNKNOWN_VERSION (-1)

/* enum my_aes_mode, as every server that is built with these modes numbers them; crypt_check() looks. */
enum aes_mode
{
  MODE_ECB= 0,
  MODE_CBC= 1,
  MODE_CTR= 2,
  MODE_GCM= 3
};

/* my_aes_crypt_init(), my_aes_crypt() and my_aes_get_size() of the server. */
struct aes
{
  int (*init)(void *ctx, unsigned mode, int flags, const unsigned char *key, unsigned key_length,
              const unsigned char *iv, unsigned iv_length);
  int (*crypt)(unsigned mode, int flags, const unsigned char *from, unsigned length, unsigned char *to,
               unsigned *written, const unsigned char *key, unsigned key_length, const unsigned char *iv,
               unsigned iv_length);
  unsigned (*size)(unsigned mode, unsigned length);
};

/* NULL if the functions are there and answer test vectors rightly in all four modes; otherwise what is wrong. */
const char *crypt_check(const struct aes *aes);

/*
  crypt_ctx_init() of the interface. A version that is not loaded is refused: whoever encrypts under it got its key from
  somewhere else, and a guess would make data that nobody can read.
*/
int crypt_init(const struct aes *aes, const struct keytable *table, void *ctx, const unsigned char *key,
               unsigned key_length, const unsigned char *iv, unsigned iv_length, int flags, uint32_t id,
               uint32_t version);

/* encrypted_length() of the interface: of padded data. It cannot refuse: with no version loaded, what CBC needs. */
unsigned crypt_length(const struct aes *aes, const struct keytable *table, unsigned length, uint32_t id,
                      uint32_t version);

#endif
