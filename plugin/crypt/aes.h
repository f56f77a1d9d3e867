// SPDX-License-Identifier: GPL-2.0-only
// The additional permission in plugin/NOTICE holds for this file.
/* The server's AES functions, which encrypt whatever the plugin does not encrypt with contexts of its own (crypt/contexts.h). */
#ifndef AKM_AES_H
#define AKM_AES_H

#include <stdint.h>

#define AES_BLOCK 16u

/* The flags ENCRYPTION_FLAG_ENCRYPT and ENCRYPTION_FLAG_NOPAD of the interface. */
#define CRYPT_ENCRYPT 1
#define CRYPT_NOPAD 2

/* The server's MY_AES_OPENSSL_ERROR. */
#define AES_ERROR (-101)

/* The server's enum my_aes_mode, as every server that is built with these modes numbers them. aes_check() verifies it. */
enum aes_mode
{
  MODE_ECB= 0,
  MODE_CBC= 1,
  MODE_CTR= 2,
  MODE_GCM= 3
};

/*
  The server's my_aes_crypt_init(), my_aes_crypt_update(), my_aes_crypt_finish(), my_aes_crypt(), my_aes_get_size() and
  my_aes_ctx_size(). A pointer is NULL where the server does not export one.
*/
struct aes
{
  int (*init)(void *ctx, unsigned mode, int flags, const unsigned char *key, unsigned key_length,
              const unsigned char *iv, unsigned iv_length);
  int (*update)(void *ctx, const unsigned char *from, unsigned length, unsigned char *to, unsigned *written);
  int (*finish)(void *ctx, unsigned char *to, unsigned *written);
  int (*crypt)(unsigned mode, int flags, const unsigned char *from, unsigned length, unsigned char *to,
               unsigned *written, const unsigned char *key, unsigned key_length, const unsigned char *iv,
               unsigned iv_length);
  unsigned (*size)(unsigned mode, unsigned length);
  unsigned (*ctx_size)(unsigned mode);
};

/* Returns NULL if the functions exist and answer test vectors rightly in all four modes; otherwise why not, a static text. */
const char *aes_check(const struct aes *aes);

#endif
