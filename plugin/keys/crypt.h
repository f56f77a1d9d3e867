// SPDX-License-Identifier: GPL-2.0-only
/*
  Encryption under a key version: AES-CBC, the server's default, or AES_CTR in the sense of file_key_management, which is
  AES-CTR where nothing is padded (pages, logs) and AES-GCM where something is (temporary files). The server's own functions
  do the work; this file only chooses the mode.
*/
#ifndef AKM_CRYPT_H
#define AKM_CRYPT_H

#include "keys/keytable.h"

/* The flags ENCRYPTION_FLAG_ENCRYPT and ENCRYPTION_FLAG_NOPAD of the interface. */
#define CRYPT_ENCRYPT 1
#define CRYPT_NOPAD 2

/* The error for a version that is not loaded. The server's functions return no such value. */
#define CRYPT_UNKNOWN_VERSION (-1)

/* The server's enum my_aes_mode, as every server that is built with these modes numbers them. crypt_check() verifies it. */
enum aes_mode
{
  MODE_ECB= 0,
  MODE_CBC= 1,
  MODE_CTR= 2,
  MODE_GCM= 3
};

/*
  The server's my_aes_crypt_init(), my_aes_crypt() and my_aes_get_size(). A pointer is NULL where the server does not export
  one.
*/
struct aes
{
  int (*init)(void *ctx, unsigned mode, int flags, const unsigned char *key, unsigned key_length,
              const unsigned char *iv, unsigned iv_length);
  int (*crypt)(unsigned mode, int flags, const unsigned char *from, unsigned length, unsigned char *to,
               unsigned *written, const unsigned char *key, unsigned key_length, const unsigned char *iv,
               unsigned iv_length);
  unsigned (*size)(unsigned mode, unsigned length);
};

/* Returns NULL if the functions exist and answer test vectors rightly in all four modes; otherwise why not, a static text. */
const char *crypt_check(const struct aes *aes);

/*
  Implements crypt_ctx_init() of the interface. Refuses a version that is not loaded with CRYPT_UNKNOWN_VERSION: whoever
  encrypts under it got its key from somewhere else, and a guess would make data that nobody can read.
*/
int crypt_init(const struct aes *aes, const struct keytable *table, void *ctx, const unsigned char *key,
               unsigned key_length, const unsigned char *iv, unsigned iv_length, int flags, uint32_t id,
               uint32_t version);

/*
  Implements encrypted_length() of the interface, for padded data. It cannot refuse: for a version that is not loaded it
  returns the length that CBC needs.
*/
unsigned crypt_length(const struct aes *aes, const struct keytable *table, unsigned length, uint32_t id,
                      uint32_t version);

#endif
