// SPDX-License-Identifier: GPL-2.0-only
// The additional permission in plugin/NOTICE holds for this file.
/*
  Contexts of OpenSSL that are kept, each with the key that it had last: most calls of the server are for the redo log, which
  has one key, and a context that has the key needs a new initialisation vector only.

  A context is held while OpenSSL works and not between the calls of the server: those nest, and some never end. There are
  a few contexts for each processor, so that threads do not meet. Nobody waits for one: whoever finds all of them held makes
  one that lasts for the call.
*/
#ifndef AKM_CONTEXTS_H
#define AKM_CONTEXTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/libcrypto.h"

/* The ways in which a context works. CTR encrypts and decrypts by the same steps. */
enum cipher
{
  CIPHER_NONE= 0,
  CIPHER_CBC_ENCRYPT,
  CIPHER_CBC_DECRYPT,
  CIPHER_CTR,
  CIPHERS
};

/* A key of AES-128, as two words: these are compared at once, and need no vector register. */
struct cipher_key
{
  uint64_t words[2];
};

#define CONTEXTS_EACH 7u                /* contexts of a processor */

/* A kept context. One that has no key yet is all zero. A cache line, for two threads may use neighbours. */
struct kept
{
  _Alignas(64) _Atomic bool is_held;    /* guards ctx, and changes of the others */
  _Atomic uint32_t cipher;              /* enum cipher */
  _Atomic uint64_t words[2];            /* the key */
  _Atomic uint64_t used;                /* when, in uses of the processor's contexts */
  struct evp_cipher_ctx_st *ctx;
  uint64_t turn;                        /* rises each time that it is held, or forgets its key; guarded by is_held */
};

struct processor
{
  struct kept kept[CONTEXTS_EACH];
  _Alignas(64) _Atomic uint64_t uses;
};

/* All contexts of the process. All zero is none, and not open. */
struct contexts
{
  struct libcrypto libcrypto;
  struct evp_cipher_st *ciphers[CIPHERS];
  struct processor *processors;         /* once made it stays: a thread may be on its way to a context */
  unsigned mask;                        /* one less than their number, a power of two */
  atomic_bool is_open;
};

/* Fetches the ciphers. Returns NULL, or why it cannot, a static text. Ciphers and memory last as long as the process. */
const char *contexts_open(struct contexts *contexts, const struct libcrypto *libcrypto);

/*
  Frees every context and wipes every key. Calls that are under way, and later ones, work nevertheless: with contexts of their
  own.
*/
void contexts_close(struct contexts *contexts);

/* A context that one call holds, and later the memory of it. */
struct holding
{
  struct evp_cipher_ctx_st *ctx;
  struct kept *kept;                    /* NULL: ctx lasts for the call */
  uint64_t turn;
};

/*
  Takes a context that has the key, or gives one the key. The initialisation vector is undefined. Returns false if there is no
  memory or OpenSSL refuses.
*/
bool contexts_hold(struct contexts *contexts, enum cipher cipher, const struct cipher_key *key, struct holding *holding);

/*
  Takes the context of an earlier call once more, if nobody has held it since: it goes on where it was. Returns false if
  somebody has, or may have.
*/
bool contexts_hold_again(struct holding *holding);

/* Gives the context back. After a failure of OpenSSL, is_good is false, and the context is freed. */
void contexts_release(struct contexts *contexts, const struct holding *holding, bool is_good);

#endif
