// SPDX-License-Identifier: GPL-2.0-only
// The additional permission in plugin/NOTICE holds for this file.
#include "crypt/contexts.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Machines with more share the contexts of a processor among several. */
#define PROCESSORS_MAX 64u

static unsigned processor_count(void)
{
  long configured= sysconf(_SC_NPROCESSORS_CONF);
  unsigned count= 1;
  while (count < PROCESSORS_MAX && (long) count < configured)
    count*= 2;
  return count;
}

static bool fetch(struct contexts *contexts)
{
  struct evp_cipher_st *cbc= contexts->libcrypto.fetch(NULL, "AES-128-CBC", NULL);
  struct evp_cipher_st *ctr= contexts->libcrypto.fetch(NULL, "AES-128-CTR", NULL);
  contexts->ciphers[CIPHER_CBC_ENCRYPT]= contexts->ciphers[CIPHER_CBC_DECRYPT]= cbc;
  contexts->ciphers[CIPHER_CTR]= ctr;
  if (cbc && ctr)
    return true;
  if (cbc)
    contexts->libcrypto.free_cipher(cbc);
  if (ctr)
    contexts->libcrypto.free_cipher(ctr);
  contexts->libcrypto.clear_errors();
  memset(contexts->ciphers, 0, sizeof contexts->ciphers);
  return false;
}

const char *contexts_open(struct contexts *contexts, const struct libcrypto *libcrypto)
{
  if (!contexts->processors)
  {
    unsigned count= processor_count();
    size_t size= count * sizeof *contexts->processors;
    contexts->processors= aligned_alloc(_Alignof(struct processor), size);
    if (!contexts->processors)
      return "out of memory";
    memset(contexts->processors, 0, size);
    contexts->mask= count - 1;
  }
  if (!contexts->ciphers[CIPHER_CTR])
  {
    contexts->libcrypto= *libcrypto;
    if (!fetch(contexts))
      return "OpenSSL offers no AES-128-CBC or no AES-128-CTR";
  }
  atomic_store(&contexts->is_open, true);
  return NULL;
}

/* OpenSSL wipes what it frees, and atomic stores are not left out. */
static void forget(struct contexts *contexts, struct kept *kept)
{
  if (kept->ctx)
    contexts->libcrypto.free_ctx(kept->ctx);
  kept->ctx= NULL;
  kept->turn++;
  atomic_store_explicit(&kept->cipher, CIPHER_NONE, memory_order_relaxed);
  for (size_t i= 0; i < 2; i++)
    atomic_store_explicit(&kept->words[i], 0, memory_order_relaxed);
}

static bool try_hold(struct kept *kept)
{
  return !atomic_load_explicit(&kept->is_held, memory_order_relaxed) &&
         !atomic_exchange_explicit(&kept->is_held, true, memory_order_acquire);
}

static void let_go(struct kept *kept)
{
  atomic_store_explicit(&kept->is_held, false, memory_order_release);
}

void contexts_close(struct contexts *contexts)
{
  if (!contexts->processors)
    return;
  atomic_store(&contexts->is_open, false);
  for (unsigned i= 0; i <= contexts->mask; i++)
    for (size_t j= 0; j < CONTEXTS_EACH; j++)
    {
      struct kept *kept= &contexts->processors[i].kept[j];
      /* OpenSSL works for microseconds. */
      while (!try_hold(kept))
        usleep(50);
      forget(contexts, kept);
      let_go(kept);
    }
}

static bool has_key(const struct kept *kept, enum cipher cipher, const struct cipher_key *key)
{
  uint64_t difference= atomic_load_explicit(&kept->words[0], memory_order_relaxed) ^ key->words[0];
  difference|= atomic_load_explicit(&kept->words[1], memory_order_relaxed) ^ key->words[1];
  difference|= atomic_load_explicit(&kept->cipher, memory_order_relaxed) ^ (uint32_t) cipher;
  return difference == 0;
}

static bool set_key(const struct libcrypto *libcrypto, struct evp_cipher_ctx_st *ctx, const struct evp_cipher_st *type,
                    enum cipher cipher, const struct cipher_key *key)
{
  unsigned char bytes[sizeof key->words];
  memcpy(bytes, key->words, sizeof bytes);
  /* When it encrypts, the padding comes with the end of the data, which OpenSSL is never told. */
  bool is_set= libcrypto->init(ctx, type, bytes, NULL, cipher != CIPHER_CBC_DECRYPT, NULL) == 1 &&
               (cipher != CIPHER_CBC_DECRYPT || libcrypto->set_padding(ctx, 0) == 1);
  explicit_bzero(bytes, sizeof bytes);
  return is_set;
}

static bool give_key(struct contexts *contexts, struct kept *kept, enum cipher cipher, const struct cipher_key *key)
{
  /* OpenSSL would free the state of the other cipher, and make a new one, just the same. */
  bool is_other= atomic_load_explicit(&kept->cipher, memory_order_relaxed) != (uint32_t) cipher;
  if (is_other)
    forget(contexts, kept);
  if (!kept->ctx)
    kept->ctx= contexts->libcrypto.new_ctx();
  if (!kept->ctx || !set_key(&contexts->libcrypto, kept->ctx, is_other ? contexts->ciphers[cipher] : NULL, cipher, key))
  {
    forget(contexts, kept);
    /* A context of the call's own may do, and TLS takes errors that are left in the thread for its own. */
    contexts->libcrypto.clear_errors();
    return false;
  }
  atomic_store_explicit(&kept->cipher, (uint32_t) cipher, memory_order_relaxed);
  for (size_t i= 0; i < 2; i++)
    atomic_store_explicit(&kept->words[i], key->words[i], memory_order_relaxed);
  return true;
}

/* Returns a context that the caller holds then: the one with the key, or the one that was used longest ago. NULL: none is free. */
static struct kept *choose(struct processor *processor, enum cipher cipher, const struct cipher_key *key)
{
  struct kept *oldest= NULL;
  for (size_t i= 0; i < CONTEXTS_EACH; i++)
  {
    struct kept *kept= &processor->kept[i];
    if (atomic_load_explicit(&kept->is_held, memory_order_relaxed))
      continue;
    if (has_key(kept, cipher, key) && try_hold(kept))
    {
      if (has_key(kept, cipher, key))
        return kept;
      let_go(kept);
    }
    if (!oldest || atomic_load_explicit(&kept->used, memory_order_relaxed) <
                     atomic_load_explicit(&oldest->used, memory_order_relaxed))
      oldest= kept;
  }
  return oldest && try_hold(oldest) ? oldest : NULL;
}

static bool hold_kept(struct contexts *contexts, enum cipher cipher, const struct cipher_key *key, struct holding *holding)
{
  int cpu= sched_getcpu();
  struct processor *processor= &contexts->processors[cpu < 0 ? 0 : (unsigned) cpu & contexts->mask];
  struct kept *kept= choose(processor, cipher, key);
  if (!kept)
    return false;
  /* contexts_close() changes is_open before it takes a context: nothing is kept after it. */
  if (!atomic_load_explicit(&contexts->is_open, memory_order_acquire) ||
      (!has_key(kept, cipher, key) && !give_key(contexts, kept, cipher, key)))
  {
    let_go(kept);
    return false;
  }
  uint64_t uses= atomic_load_explicit(&processor->uses, memory_order_relaxed) + 1;
  atomic_store_explicit(&processor->uses, uses, memory_order_relaxed);
  atomic_store_explicit(&kept->used, uses, memory_order_relaxed);
  *holding= (struct holding) {.ctx= kept->ctx, .kept= kept, .turn= ++kept->turn};
  return true;
}

bool contexts_hold_again(struct holding *holding)
{
  struct kept *kept= holding->kept;
  if (!kept || !try_hold(kept))
    return false;
  if (kept->turn == holding->turn)
  {
    holding->turn= ++kept->turn;
    return true;
  }
  let_go(kept);
  return false;
}

bool contexts_hold(struct contexts *contexts, enum cipher cipher, const struct cipher_key *key, struct holding *holding)
{
  if (atomic_load_explicit(&contexts->is_open, memory_order_acquire) && hold_kept(contexts, cipher, key, holding))
    return true;
  *holding= (struct holding) {.ctx= contexts->libcrypto.new_ctx()};
  if (holding->ctx && set_key(&contexts->libcrypto, holding->ctx, contexts->ciphers[cipher], cipher, key))
    return true;
  if (holding->ctx)
    contexts->libcrypto.free_ctx(holding->ctx);
  contexts->libcrypto.clear_errors();
  return false;
}

void contexts_release(struct contexts *contexts, const struct holding *holding, bool is_good)
{
  if (!is_good)
    contexts->libcrypto.clear_errors();
  if (!holding->kept)
    contexts->libcrypto.free_ctx(holding->ctx);
  else
  {
    if (!is_good)
      forget(contexts, holding->kept);
    let_go(holding->kept);
  }
}
