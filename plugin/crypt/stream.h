// SPDX-License-Identifier: GPL-2.0-only
// The additional permission in plugin/NOTICE holds for this file.
/*
  One encryption or decryption, unpadded, with AES-128, from begin to end, in as many pieces as the server likes. The bytes are
  those of the server's functions: AES-CTR, or AES-CBC whose last bytes, where they are no whole block, are XORed with the
  encrypted initialisation vector.

  All of its state is in memory of the server's, between whose calls it holds nothing: a stream that never ends leaks nothing.
  A piece that finds the context of the piece before untouched goes on there.
*/
#ifndef AKM_STREAM_H
#define AKM_STREAM_H

#include "crypt/aes.h"
#include "crypt/contexts.h"

struct stream
{
  struct cipher_key key;
  struct holding last;                  /* the context of the last piece, where it can go on; kept is NULL: nowhere */
  uint64_t length;                      /* CTR: bytes so far */
  uint8_t cipher;                       /* enum cipher; CIPHER_NONE after a failure */
  uint8_t tail_length;                  /* CBC: bytes that are no whole block yet */
  bool has_mask;
  uint8_t iv[AES_BLOCK];
  uint8_t chain[AES_BLOCK];             /* CBC: the ciphertext block before the next, at first iv */
  uint8_t tail[AES_BLOCK];
  uint8_t mask[AES_BLOCK];              /* iv, encrypted */
};

/* Begins a stream: mode is MODE_CBC or MODE_CTR. */
void stream_begin(struct stream *stream, enum aes_mode mode, bool encrypt, const uint8_t key[AES_BLOCK],
                  const uint8_t iv[AES_BLOCK]);

/*
  Takes from[0..length) and writes to to[0..*written): at most length bytes, in CBC up to 15 more if earlier pieces left so
  many. The two may be the same memory if earlier pieces left none. Returns false, with the stream wiped, if there is no memory,
  OpenSSL refuses, or length is about INT_MAX or more; then every later call returns false as well.
*/
bool stream_update(struct stream *stream, struct contexts *contexts, const uint8_t *from, size_t length, uint8_t *to,
                   size_t *written);

/* Writes the rest, at most 15 bytes, to to[0..*written), and wipes the stream. */
bool stream_end(struct stream *stream, uint8_t *to, size_t *written);

#endif
