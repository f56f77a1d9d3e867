// SPDX-License-Identifier: GPL-2.0-only
/*
  Encrypts small buffers under callgrind, by streams and by the calls of OpenSSL that they cannot do without, and has the
  instructions of each dumped under a name. test/integration/instructions.test.ts compares the two.
*/
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <valgrind/callgrind.h>

#include "crypt/stream.h"

#define CALLS 1000u
#define WARM 50u

struct price
{
  const char *name;
  enum aes_mode mode;
  size_t length;
  size_t first;                         /* length of the first piece */
};

static const struct price prices[]= {
  {"CBC 16", MODE_CBC, 16, 16}, {"CBC 25", MODE_CBC, 25, 25}, {"CBC 7", MODE_CBC, 7, 7}, {"CBC 57", MODE_CBC, 57, 57},
  {"CBC 128", MODE_CBC, 128, 128}, {"CBC 48 and 9", MODE_CBC, 57, 48}, {"CTR 16", MODE_CTR, 16, 16},
  {"CTR 57", MODE_CTR, 57, 57}, {"CTR 48 and 9", MODE_CTR, 57, 48},
};

static struct libcrypto libcrypto;
static struct contexts contexts;
static const uint8_t key[AES_BLOCK]= {1}, iv[AES_BLOCK]= {2};
static uint8_t data[256], to[256 + AES_BLOCK];

static bool by_stream(const struct price *price)
{
  struct stream stream;
  size_t first, second, rest;
  stream_begin(&stream, price->mode, true, key, iv);
  return stream_update(&stream, &contexts, data, price->first, to, &first) &&
         stream_update(&stream, &contexts, data + price->first, price->length - price->first, to + first, &second) &&
         stream_end(&stream, to + first + second, &rest) && first + second + rest == price->length;
}

/* The initialisation vector, the bytes, and the mask of the last ones. */
static bool by_openssl(const struct price *price, struct evp_cipher_ctx_st *ctx)
{
  int written;
  size_t tail= price->mode == MODE_CBC ? price->length % AES_BLOCK : 0, whole= price->length - tail;
  return libcrypto.init(ctx, NULL, NULL, iv, -1, NULL) == 1 &&
         (!whole || libcrypto.update(ctx, to, &written, data, (int) whole) == 1) &&
         (!tail || libcrypto.update(ctx, to, &written, data, AES_BLOCK) == 1);
}

static bool measure(const struct price *price, bool is_stream, struct evp_cipher_ctx_st *ctx)
{
  char name[64];
  for (unsigned i= 0; i < WARM + CALLS; i++)
  {
    if (i == WARM)
      CALLGRIND_ZERO_STATS;
    if (!(is_stream ? by_stream(price) : by_openssl(price, ctx)))
      return false;
  }
  snprintf(name, sizeof name, "%s, %s", price->name, is_stream ? "stream" : "OpenSSL");
  CALLGRIND_DUMP_STATS_AT(name);
  return true;
}

int main(void)
{
  const char *why= dlopen("libcrypto.so.3", RTLD_NOW | RTLD_GLOBAL) ? libcrypto_find(&libcrypto) : dlerror();
  if (!why)
    why= contexts_open(&contexts, &libcrypto);
  for (size_t i= 0; !why && i < sizeof prices / sizeof prices[0]; i++)
  {
    struct evp_cipher_ctx_st *ctx= libcrypto.new_ctx();
    const struct evp_cipher_st *cipher= contexts.ciphers[prices[i].mode == MODE_CTR ? CIPHER_CTR : CIPHER_CBC_ENCRYPT];
    if (!ctx || libcrypto.init(ctx, cipher, key, iv, 1, NULL) != 1 || !measure(&prices[i], true, ctx) ||
        !measure(&prices[i], false, ctx))
      why= "an encryption failed";
    libcrypto.free_ctx(ctx);
  }
  contexts_close(&contexts);
  if (why)
    fprintf(stderr, "%s\n", why);
  return why != NULL;
}
