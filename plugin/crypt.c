// SPDX-License-Identifier: GPL-2.0-only
#include "crypt.h"

#include <string.h>

#define VECTOR_MAX 32u

struct vector
{
  enum aes_mode mode;
  int flags;
  uint8_t key[16], iv[16];
  unsigned iv_length;
  uint8_t clear[16], encrypted[VECTOR_MAX];
  unsigned length;                      /* of encrypted */
};

/* CBC and CTR: NIST SP 800-38A, F.2.1 and F.5.1, first block. GCM: the GCM specification's test case 2, tag appended. */
static const struct vector vectors[]= {
  {
    MODE_CBC, CRYPT_NOPAD,
    {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c},
    {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f}, 16,
    {0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a},
    {0x76, 0x49, 0xab, 0xac, 0x81, 0x19, 0xb2, 0x46, 0xce, 0xe9, 0x8e, 0x9b, 0x12, 0xe9, 0x19, 0x7d}, 16,
  },
  {
    MODE_CTR, CRYPT_NOPAD,
    {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c},
    {0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff}, 16,
    {0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a},
    {0x87, 0x4d, 0x61, 0x91, 0xb6, 0x20, 0xe3, 0x26, 0x1b, 0xef, 0x68, 0x64, 0x99, 0x0d, 0xb6, 0xce}, 16,
  },
  {
    MODE_GCM, 0, {0}, {0}, 12, {0},
    {0x03, 0x88, 0xda, 0xce, 0x60, 0xb6, 0xa3, 0x92, 0xf3, 0x28, 0xc2, 0xb9, 0x71, 0xb2, 0xfe, 0x78,
     0xab, 0x6e, 0x47, 0xd4, 0x2c, 0xec, 0x13, 0xbd, 0xf5, 0x3a, 0x67, 0xb2, 0x12, 0x57, 0xbd, 0xdf}, 32,
  },
};

static bool is_right(const struct aes *aes, const struct vector *vector)
{
  uint8_t got[2 * VECTOR_MAX];
  unsigned length= 0, back= 0;
  return aes->crypt(vector->mode, vector->flags | CRYPT_ENCRYPT, vector->clear, sizeof vector->clear, got, &length,
                    vector->key, sizeof vector->key, vector->iv, vector->iv_length) == 0 &&
         length == vector->length && memcmp(got, vector->encrypted, length) == 0 &&
         aes->crypt(vector->mode, vector->flags, vector->encrypted, vector->length, got, &back, vector->key,
                    sizeof vector->key, vector->iv, vector->iv_length) == 0 &&
         back == sizeof vector->clear && memcmp(got, vector->clear, back) == 0;
}

const char *crypt_check(const struct aes *aes)
{
  if (!aes->init || !aes->crypt || !aes->size)
    return "this server does not export its AES functions (my_aes_crypt_init)";
  for (size_t i= 0; i < sizeof vectors / sizeof vectors[0]; i++)
    if (!is_right(aes, &vectors[i]))
      return "the AES functions of this server (my_aes_crypt) answer a test vector wrongly";
  return NULL;
}

int crypt_init(const struct aes *aes, const struct keytable *table, void *ctx, const unsigned char *key,
               unsigned key_length, const unsigned char *iv, unsigned iv_length, int flags, uint32_t id,
               uint32_t version)
{
  unsigned mode;
  switch (keytable_algorithm(table, id, version))
  {
  case KEY_AES_CBC:
    mode= MODE_CBC;
    break;
  case KEY_AES_CTR:
    mode= flags & CRYPT_NOPAD ? MODE_CTR : MODE_GCM;
    break;
  default:
    return CRYPT_UNKNOWN_VERSION;
  }
  return aes->init(ctx, mode, flags, key, key_length, iv, iv_length);
}

unsigned crypt_length(const struct aes *aes, const struct keytable *table, unsigned length, uint32_t id,
                      uint32_t version)
{
  return aes->size(keytable_algorithm(table, id, version) == KEY_AES_CTR ? MODE_GCM : MODE_CBC, length);
}
