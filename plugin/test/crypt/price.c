// SPDX-License-Identifier: GPL-2.0-only
/*
  Encrypts and decrypts small buffers under callgrind, by streams and by the calls of OpenSSL that they cannot do without, and has the
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
  {"CBC 7", MODE_CBC, 7, 7}, {"CBC 16", MODE_CBC, 16, 16}, {"CBC 25", MODE_CBC, 25, 25}, {"CBC 57", MODE_CBC, 57, 57},
  {"CBC 128", MODE_CBC, 128, 128}, {"CBC 512", MODE_CBC, 512, 512}, {"CBC 48 and 9", MODE_CBC, 57, 48},
  {"CTR 16", MODE_CTR, 16, 16}, {"CTR 25", MODE_CTR, 25, 25}, {"CTR 57", MODE_CTR, 57, 57}, {"CTR 128", MODE_CTR, 128, 128},
  {"CTR 512", MODE_CTR, 512, 512}, {"CTR 48 and 9", MODE_CTR, 57, 48},
};

/* Contexts of OpenSSL for a price; that which decrypts the blocks cannot make the mask. */
struct openssl
{
  struct evp_cipher_ctx_st *blocks, *mask;
};

static struct libcrypto libcrypto;
static struct contexts contexts;
static const uint8_t key[AES_BLOCK]= {1}, iv[AES_BLOCK]= {2};
static uint8_t data[512], to[512 + AES_BLOCK];

static bool by_stream(const struct price *price, bool encrypts)
{
  struct stream stream;
  size_t first, second, rest;
  stream_begin(&stream, price->mode, encrypts, key, iv);
  return stream_update(&stream, &contexts, data, price->first, to, &first) &&
         stream_update(&stream, &contexts, data + price->first, price->length - price->first, to + first, &second) &&
         stream_end(&stream, to + first + second, &rest) && first + second + rest == price->length;
}

/* The initialisation vector, the bytes, and the mask of the last ones. */
static bool by_openssl(const struct price *price, const struct openssl *openssl)
{
  int written;
  size_t tail= price->mode == MODE_CBC ? price->length % AES_BLOCK : 0, whole= price->length - tail;
  bool has_own_mask= openssl->mask != openssl->blocks, needs_blocks= whole || !has_own_mask;
  return (!needs_blocks || libcrypto.init(openssl->blocks, NULL, NULL, iv, -1, NULL) == 1) &&
         (!whole || libcrypto.update(openssl->blocks, to, &written, data, (int) whole) == 1) &&
         (!(tail && has_own_mask) || libcrypto.init(openssl->mask, NULL, NULL, iv, -1, NULL) == 1) &&
         (!tail || libcrypto.update(openssl->mask, to, &written, data, AES_BLOCK) == 1);
}

static bool measure(const struct price *price, bool encrypts, const struct openssl *openssl)
{
  char name[64];
  for (unsigned i= 0; i < WARM + CALLS; i++)
  {
    if (i == WARM)
      CALLGRIND_ZERO_STATS;
    if (!(openssl ? by_openssl(price, openssl) : by_stream(price, encrypts)))
      return false;
  }
  snprintf(name, sizeof name, "%s %s, %s", price->name, encrypts ? "encrypted" : "decrypted", openssl ? "OpenSSL" : "stream");
  CALLGRIND_DUMP_STATS_AT(name);
  return true;
}

static struct evp_cipher_ctx_st *new_ctx(const struct price *price, bool encrypts)
{
  struct evp_cipher_ctx_st *ctx= libcrypto.new_ctx();
  const struct evp_cipher_st *cipher= contexts.ciphers[price->mode == MODE_CTR ? CIPHER_CTR : CIPHER_CBC_ENCRYPT];
  if (ctx && libcrypto.init(ctx, cipher, key, iv, encrypts, NULL) == 1 &&
      (encrypts || price->mode == MODE_CTR || libcrypto.set_padding(ctx, 0) == 1))
    return ctx;
  libcrypto.free_ctx(ctx);
  return NULL;
}

/* Only AES-CBC has a mask. */
static bool measure_both(const struct price *price, bool encrypts)
{
  struct openssl openssl= {.blocks= new_ctx(price, encrypts)};
  openssl.mask= encrypts || price->mode == MODE_CTR ? openssl.blocks : new_ctx(price, true);
  bool is_done= openssl.blocks && openssl.mask && measure(price, encrypts, NULL) && measure(price, encrypts, &openssl);
  if (openssl.mask != openssl.blocks)
    libcrypto.free_ctx(openssl.mask);
  libcrypto.free_ctx(openssl.blocks);
  return is_done;
}

int main(void)
{
  const char *why= dlopen("libcrypto.so.3", RTLD_NOW | RTLD_GLOBAL) ? libcrypto_find(&libcrypto) : dlerror();
  if (!why)
    why= contexts_open(&contexts, &libcrypto);
  for (size_t i= 0; !why && i < 2 * sizeof prices / sizeof prices[0]; i++)
    if (!measure_both(&prices[i / 2], i % 2 == 0))
      why= "an encryption failed";
  contexts_close(&contexts);
  if (why)
    fprintf(stderr, "%s\n", why);
  return why != NULL;
}
