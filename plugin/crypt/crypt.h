// SPDX-License-Identifier: GPL-2.0-only
// The additional permission in plugin/NOTICE holds for this file.
/*
  Encryption under a key version: AES-CBC, the server's default, or AES_CTR in the sense of file_key_management, which is
  AES-CTR where nothing is padded (pages, logs) and AES-GCM where something is (temporary files). What is unpadded and has a key
  of 128 bits goes through kept contexts, if there are any; the server's own functions do the rest.
*/
#ifndef AKM_CRYPT_H
#define AKM_CRYPT_H

#include "crypt/aes.h"
#include "crypt/contexts.h"
#include "keys/keytable.h"

/* The error for a version that is not loaded. The server's functions return no such value. */
#define CRYPT_UNKNOWN_VERSION (-1)

struct crypt
{
  struct aes aes;
  struct contexts *contexts;            /* NULL: the server's functions do all */
  const struct keytable *table;
};

/* Returns how many bytes the server has to keep for each encryption, aligned to 16, where there are kept contexts. */
unsigned crypt_ctx_size(const struct aes *aes);

/*
  Implements crypt_ctx_init() of the interface. Refuses a version that is not loaded with CRYPT_UNKNOWN_VERSION: whoever
  encrypts under it got its key from somewhere else, and a guess would make data that nobody can read.
*/
int crypt_init(const struct crypt *crypt, void *ctx, const unsigned char *key, unsigned key_length,
               const unsigned char *iv, unsigned iv_length, int flags, uint32_t id, uint32_t version);

/* Implement crypt_ctx_update() and crypt_ctx_finish() of the interface, for crypt->contexts. */
int crypt_update(const struct crypt *crypt, void *ctx, const unsigned char *from, unsigned length, unsigned char *to,
                 unsigned *written);
int crypt_finish(const struct crypt *crypt, void *ctx, unsigned char *to, unsigned *written);

/*
  Implements encrypted_length() of the interface, for padded data. It cannot refuse: for a version that is not loaded it
  returns the length that CBC needs.
*/
unsigned crypt_length(const struct crypt *crypt, unsigned length, uint32_t id, uint32_t version);

#endif
