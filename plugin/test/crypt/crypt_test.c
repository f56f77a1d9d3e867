// SPDX-License-Identifier: GPL-2.0-only
/* Stand-ins for the server's AES functions, which note the mode they are called with. */
#include "crypt/crypt.h"

#include <string.h>

#include "test/test.h"

#define INIT_RESULT 77

enum spoilt
{
  RIGHT,
  FAILS,
  OTHER_BYTES,                          /* bytes of MODE_GCM's tag */
  TOO_SHORT,
  MODES_EXCHANGED,                      /* a server with the numbers of CTR and GCM swapped */
  DECRYPTS_WRONGLY
};

static enum spoilt spoilt;
static unsigned mode_seen;
static int flags_seen;

static const uint8_t block[16]= {0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a};
static const uint8_t zeroes[16];
/* The answers of the standards, by mode. */
static const uint8_t answers[][32]= {
  [MODE_ECB]= {0x3a, 0xd7, 0x7b, 0xb4, 0x0d, 0x7a, 0x36, 0x60, 0xa8, 0x9e, 0xca, 0xf3, 0x24, 0x66, 0xef, 0x97},
  [MODE_CBC]= {0x76, 0x49, 0xab, 0xac, 0x81, 0x19, 0xb2, 0x46, 0xce, 0xe9, 0x8e, 0x9b, 0x12, 0xe9, 0x19, 0x7d},
  [MODE_CTR]= {0x87, 0x4d, 0x61, 0x91, 0xb6, 0x20, 0xe3, 0x26, 0x1b, 0xef, 0x68, 0x64, 0x99, 0x0d, 0xb6, 0xce},
  [MODE_GCM]= {0x03, 0x88, 0xda, 0xce, 0x60, 0xb6, 0xa3, 0x92, 0xf3, 0x28, 0xc2, 0xb9, 0x71, 0xb2, 0xfe, 0x78,
               0xab, 0x6e, 0x47, 0xd4, 0x2c, 0xec, 0x13, 0xbd, 0xf5, 0x3a, 0x67, 0xb2, 0x12, 0x57, 0xbd, 0xdf},
};

static int fake_init(void *ctx, unsigned mode, int flags, const unsigned char *key, unsigned key_length,
                     const unsigned char *iv, unsigned iv_length)
{
  CHECK(ctx && key && key_length == 16 && iv && iv_length == 16);
  mode_seen= mode;
  flags_seen= flags;
  return INIT_RESULT;
}

static int fake_crypt(unsigned mode, int flags, const unsigned char *from, unsigned length, unsigned char *to,
                      unsigned *written, const unsigned char *key, unsigned key_length, const unsigned char *iv,
                      unsigned iv_length)
{
  CHECK(from && key && key_length == 16 && iv && iv_length == (mode == MODE_ECB ? 0 : mode == MODE_GCM ? 12 : 16));
  if (spoilt == MODES_EXCHANGED && (mode == MODE_CTR || mode == MODE_GCM))
    mode= MODE_CTR + MODE_GCM - mode;
  unsigned tag= mode == MODE_GCM ? 16 : 0;
  if (spoilt == FAILS)
    return -101;
  if (flags & CRYPT_ENCRYPT)
  {
    memcpy(to, answers[mode], length + tag);
    *written= length + tag - (spoilt == TOO_SHORT);
    if (mode == MODE_GCM)
      to[*written - 1]^= spoilt == OTHER_BYTES;
    return 0;
  }
  memcpy(to, mode == MODE_GCM ? zeroes : block, 16);
  to[0]^= spoilt == DECRYPTS_WRONGLY;
  *written= length - tag;
  return 0;
}

static unsigned fake_size(unsigned mode, unsigned length)
{
  mode_seen= mode;
  return length + 1000 * mode;
}

static int fake_update(void *ctx, const unsigned char *from, unsigned length, unsigned char *to, unsigned *written)
{
  CHECK(ctx && from && length && to && written);
  return INIT_RESULT + 1;
}

static int fake_finish(void *ctx, unsigned char *to, unsigned *written)
{
  CHECK(ctx && to && written);
  return INIT_RESULT + 2;
}

static enum aes_mode larger_mode= MODE_ECB;

static unsigned fake_ctx_size(unsigned mode)
{
  return mode == MODE_GCM ? 2000 : mode == larger_mode ? 3000 : 1000;
}

static const struct aes fake= {
  .init= fake_init, .update= fake_update, .finish= fake_finish, .crypt= fake_crypt, .size= fake_size,
  .ctx_size= fake_ctx_size,
};

static int init(const struct keytable *table, int flags, uint32_t id, uint32_t version)
{
  const struct crypt crypt= {.aes= fake, .table= table};
  uint8_t ctx[16], key[16]= {0}, iv[16]= {0};
  mode_seen= 0;
  return crypt_init(&crypt, ctx, key, sizeof key, iv, sizeof iv, flags, id, version);
}

static unsigned length(const struct keytable *table, unsigned of, uint32_t id, uint32_t version)
{
  return crypt_length(&(struct crypt) {.aes= fake, .table= table}, of, id, version);
}

static void mode_is_that_of_the_version(void)
{
  struct keytable table;
  uint8_t key[16]= {1};
  CHECK(keytable_init(&table));
  CHECK(keytable_put(&table, 3, 1, key, sizeof key, KEY_AES_CBC, true) == KEYTABLE_ADDED);
  CHECK(keytable_put(&table, 3, 2, key, sizeof key, KEY_AES_CTR, true) == KEYTABLE_ADDED);
  CHECK(keytable_put(&table, 3, 3, key, sizeof key, KEY_AES_CBC, true) == KEYTABLE_ADDED);
  for (int flags= 0; flags < 4; flags++)
  {
    unsigned ctr= flags & CRYPT_NOPAD ? MODE_CTR : MODE_GCM;
    CHECK(init(&table, flags, 3, 1) == INIT_RESULT && mode_seen == MODE_CBC && flags_seen == flags);
    CHECK(init(&table, flags, 3, 2) == INIT_RESULT && mode_seen == ctr && flags_seen == flags);
    CHECK(init(&table, flags, 3, 3) == INIT_RESULT && mode_seen == MODE_CBC && flags_seen == flags);
  }
  CHECK(length(&table, 5, 3, 1) == 1005 && length(&table, 5, 3, 2) == 3005);
  keytable_destroy(&table);
}

static void version_that_is_not_loaded_is_refused(void)
{
  struct keytable table;
  uint8_t key[16]= {1};
  CHECK(keytable_init(&table));
  CHECK(keytable_put(&table, 3, 1, key, sizeof key, KEY_AES_CTR, true) == KEYTABLE_ADDED);
  CHECK(init(&table, CRYPT_NOPAD, 3, 2) == CRYPT_UNKNOWN_VERSION && mode_seen == 0);
  CHECK(init(&table, CRYPT_NOPAD, 4, 1) == CRYPT_UNKNOWN_VERSION && mode_seen == 0);
  CHECK(length(&table, 5, 3, 2) == 1005);
  keytable_destroy(&table);
  CHECK(init(&table, CRYPT_NOPAD, 3, 1) == CRYPT_UNKNOWN_VERSION && mode_seen == 0);
}

static void functions_must_be_there_and_right(void)
{
  struct aes without;
  spoilt= RIGHT;
  CHECK(aes_check(&fake) == NULL);
  for (spoilt= FAILS; spoilt <= DECRYPTS_WRONGLY; spoilt++)
    CHECK(aes_check(&fake) && strstr(aes_check(&fake), "answer a test vector wrongly"));
  spoilt= RIGHT;
  for (unsigned i= 0; i < 6; i++)
  {
    without= fake;
    if (i == 0)
      without.init= NULL;
    if (i == 1)
      without.update= NULL;
    if (i == 2)
      without.finish= NULL;
    if (i == 3)
      without.crypt= NULL;
    if (i == 4)
      without.size= NULL;
    if (i == 5)
      without.ctx_size= NULL;
    CHECK(aes_check(&without) && strstr(aes_check(&without), "does not export"));
  }
}

/* The server's functions do what kept contexts do not, with memory of their own in the same place. */
static void rest_goes_to_the_server(void)
{
  static struct contexts none;
  struct keytable table;
  const uint8_t key[32]= {1}, iv[16]= {2};
  uint8_t to[64];
  unsigned written;
  static _Alignas(16) uint8_t ctx[4096];
  const struct crypt crypt= {.aes= fake, .contexts= &none, .table= &table};
  CHECK(keytable_init(&table));
  CHECK(keytable_put(&table, 3, 1, key, 16, KEY_AES_CBC, true) == KEYTABLE_ADDED);
  CHECK(keytable_put(&table, 3, 2, key, 16, KEY_AES_CTR, true) == KEYTABLE_ADDED);
  CHECK(crypt_ctx_size(&fake) >= 2016);
  /* The server's functions get CTR with keys of 256 bits. */
  for (larger_mode= MODE_CBC; larger_mode <= MODE_CTR; larger_mode++)
    CHECK(crypt_ctx_size(&fake) >= 3016);
  for (uint32_t version= 1; version <= 2; version++)
  {
    mode_seen= 0;
    CHECK(crypt_init(&crypt, ctx, key, 16, iv, 16, CRYPT_ENCRYPT | CRYPT_NOPAD, 3, version) == 0 && mode_seen == 0);
    CHECK(crypt_finish(&crypt, ctx, to, &written) == 0 && written == 0);
    CHECK(crypt_init(&crypt, ctx, key, 16, iv, 16, CRYPT_ENCRYPT, 3, version) == INIT_RESULT);
    CHECK(mode_seen == (version == 1 ? MODE_CBC : MODE_GCM));
    CHECK(crypt_update(&crypt, ctx, key, 16, to, &written) == INIT_RESULT + 1);
    CHECK(crypt_finish(&crypt, ctx, to, &written) == INIT_RESULT + 2);
  }
  CHECK(crypt_init(&crypt, ctx, key, 16, iv, 16, CRYPT_NOPAD, 3, 3) == CRYPT_UNKNOWN_VERSION);
  keytable_destroy(&table);
}

void crypt_tests(void)
{
  TEST(rest_goes_to_the_server);
  TEST(mode_is_that_of_the_version);
  TEST(version_that_is_not_loaded_is_refused);
  TEST(functions_must_be_there_and_right);
}
