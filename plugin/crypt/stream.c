// SPDX-License-Identifier: GPL-2.0-only
// The additional permission in plugin/NOTICE holds for this file.
#include "crypt/stream.h"

#include <limits.h>
#include <string.h>

void stream_begin(struct stream *stream, enum aes_mode mode, bool encrypt, const uint8_t key[AES_BLOCK],
                  const uint8_t iv[AES_BLOCK])
{
  enum cipher cbc= encrypt ? CIPHER_CBC_ENCRYPT : CIPHER_CBC_DECRYPT;
  stream->last= (struct holding) {0};
  stream->length= 0;
  stream->cipher= (uint8_t) (mode == MODE_CTR ? CIPHER_CTR : cbc);
  stream->tail_length= 0;
  stream->has_mask= false;
  memcpy(stream->key.words, key, AES_BLOCK);
  memcpy(stream->iv, iv, AES_BLOCK);
  memcpy(stream->chain, iv, AES_BLOCK);
}

static bool set_iv(const struct libcrypto *libcrypto, struct evp_cipher_ctx_st *ctx, const uint8_t iv[AES_BLOCK])
{
  return libcrypto->init(ctx, NULL, NULL, iv, -1, NULL) == 1;
}

/* Gives the context back. From now on it can go on only if that is said. */
static bool release(struct stream *stream, struct contexts *contexts, const struct holding *holding, bool is_good,
                    bool goes_on)
{
  contexts_release(contexts, holding, is_good);
  stream->last= *holding;
  if (!goes_on || !is_good)
    stream->last.kept= NULL;
  return is_good;
}

/* Has OpenSSL take a piece. Returns false unless it writes as many bytes as expected. */
static bool put(const struct libcrypto *libcrypto, struct evp_cipher_ctx_st *ctx, uint8_t *to, const uint8_t *from,
                size_t length, size_t expected)
{
  int written= 0;
  return libcrypto->update(ctx, to, &written, from, (int) length) == 1 && written >= 0 && (size_t) written == expected;
}

/* Adds a number of blocks to a counter of 128 bits, the highest byte first. */
static void advance(uint8_t counter[AES_BLOCK], uint64_t blocks)
{
  unsigned carry= 0;
  for (size_t i= AES_BLOCK; i-- > 0 && (blocks || carry); blocks>>= 8)
  {
    unsigned sum= counter[i] + (unsigned) (blocks & 0xff) + carry;
    counter[i]= (uint8_t) sum;
    carry= sum >> 8;
  }
}

/* Takes a context to the place in the key stream where the stream is. */
static bool find_place(const struct stream *stream, const struct libcrypto *libcrypto, struct evp_cipher_ctx_st *ctx)
{
  static const uint8_t zeroes[AES_BLOCK];
  uint8_t counter[AES_BLOCK], passed[AES_BLOCK];
  size_t inside= stream->length % AES_BLOCK;
  memcpy(counter, stream->iv, AES_BLOCK);
  advance(counter, stream->length / AES_BLOCK);
  bool is_good= set_iv(libcrypto, ctx, counter) && (inside == 0 || put(libcrypto, ctx, passed, zeroes, inside, inside));
  explicit_bzero(passed, sizeof passed);
  return is_good;
}

static bool update_ctr(struct stream *stream, struct contexts *contexts, const uint8_t *from, size_t length, uint8_t *to,
                       size_t *written)
{
  const struct libcrypto *libcrypto= &contexts->libcrypto;
  struct holding holding= stream->last;
  bool goes_on= contexts_hold_again(&holding);
  if (!goes_on && !contexts_hold(contexts, CIPHER_CTR, &stream->key, &holding))
    return false;
  bool is_good= (goes_on || find_place(stream, libcrypto, holding.ctx)) &&
                put(libcrypto, holding.ctx, to, from, length, length);
  stream->length+= length;
  *written= length;
  return release(stream, contexts, &holding, is_good, true);
}

/* Encrypts the initialisation vector, by a context whose chain is the given one: it XORs that with whatever it encrypts. */
static bool make_mask(struct stream *stream, const struct libcrypto *libcrypto, struct evp_cipher_ctx_st *ctx,
                      const uint8_t chain[AES_BLOCK])
{
  uint8_t block[AES_BLOCK];
  for (size_t i= 0; i < AES_BLOCK; i++)
    block[i]= stream->iv[i] ^ chain[i];
  stream->has_mask= put(libcrypto, ctx, stream->mask, block, AES_BLOCK, AES_BLOCK);
  return stream->has_mask;
}

/* Copies the last block of the tail and from[0..length) together, which are whole blocks. */
static void copy_last_block(uint8_t block[AES_BLOCK], const struct stream *stream, const uint8_t *from, size_t length)
{
  if (length >= AES_BLOCK)
    memcpy(block, from + length - AES_BLOCK, AES_BLOCK);
  else
  {
    memcpy(block, stream->tail, stream->tail_length);
    memcpy(block + stream->tail_length, from, length);
  }
}

/* Takes the tail and from[0..length), which are `whole` bytes together: whole blocks. The `rest` bytes after that are the new tail. */
static bool put_blocks(struct stream *stream, const struct libcrypto *libcrypto, struct evp_cipher_ctx_st *ctx,
                       const uint8_t *from, size_t length, uint8_t *to, size_t whole, size_t rest)
{
  uint8_t last[AES_BLOCK];
  if (stream->cipher == CIPHER_CBC_DECRYPT)
    copy_last_block(last, stream, from, length);
  if (stream->tail_length && !put(libcrypto, ctx, to, stream->tail, stream->tail_length, 0))
    return false;
  /* Before the blocks, which may be written over it; into the stream, which is wiped, as a copy on the stack would not be. */
  memcpy(stream->tail, from + length, rest);
  if (!put(libcrypto, ctx, to, from, length, whole))
    return false;
  memcpy(stream->chain, stream->cipher == CIPHER_CBC_DECRYPT ? last : to + whole - AES_BLOCK, AES_BLOCK);
  return true;
}

/* Only a context that encrypts can make the mask. */
static bool make_mask_apart(struct stream *stream, struct contexts *contexts)
{
  static const uint8_t zeroes[AES_BLOCK];
  struct holding holding;
  if (!contexts_hold(contexts, CIPHER_CBC_ENCRYPT, &stream->key, &holding))
    return false;
  bool is_good= set_iv(&contexts->libcrypto, holding.ctx, zeroes) &&
                make_mask(stream, &contexts->libcrypto, holding.ctx, zeroes);
  contexts_release(contexts, &holding, is_good);
  return is_good;
}

static bool update_cbc(struct stream *stream, struct contexts *contexts, const uint8_t *from, size_t length, uint8_t *to,
                       size_t *written)
{
  const struct libcrypto *libcrypto= &contexts->libcrypto;
  size_t had= stream->tail_length, whole= (had + length) / AES_BLOCK * AES_BLOCK, rest= had + length - whole;
  bool encrypts= stream->cipher == CIPHER_CBC_ENCRYPT, is_good= true, lacks_mask= rest && !stream->has_mask;
  if (whole || (encrypts && lacks_mask))
  {
    struct holding holding= stream->last;
    bool goes_on= contexts_hold_again(&holding);
    if (!goes_on && !contexts_hold(contexts, stream->cipher, &stream->key, &holding))
      return false;
    is_good= (goes_on || set_iv(libcrypto, holding.ctx, stream->chain)) &&
             (!whole || put_blocks(stream, libcrypto, holding.ctx, from, length - rest, to, whole, rest)) &&
             (!encrypts || !lacks_mask || make_mask(stream, libcrypto, holding.ctx, stream->chain));
    release(stream, contexts, &holding, is_good, !(encrypts && lacks_mask));
  }
  if (is_good && !encrypts && lacks_mask)
    is_good= make_mask_apart(stream, contexts);
  if (!whole)
    memcpy(stream->tail + had, from, length);
  stream->tail_length= (uint8_t) rest;
  *written= whole;
  return is_good;
}

bool stream_update(struct stream *stream, struct contexts *contexts, const uint8_t *from, size_t length, uint8_t *to,
                   size_t *written)
{
  bool is_good= false;
  *written= 0;
  if (length == 0 || stream->cipher == CIPHER_NONE)
    return stream->cipher != CIPHER_NONE;
  if (length <= INT_MAX - AES_BLOCK)
    is_good= stream->cipher == CIPHER_CTR ? update_ctr(stream, contexts, from, length, to, written)
                                          : update_cbc(stream, contexts, from, length, to, written);
  if (!is_good)
  {
    *written= 0;
    explicit_bzero(stream, sizeof *stream);
  }
  return is_good;
}

bool stream_end(struct stream *stream, uint8_t *to, size_t *written)
{
  bool is_good= stream->cipher != CIPHER_NONE;
  *written= is_good ? stream->tail_length : 0;
  for (size_t i= 0; i < *written; i++)
    to[i]= stream->tail[i] ^ stream->mask[i];
  explicit_bzero(stream, sizeof *stream);
  return is_good;
}
