// SPDX-License-Identifier: GPL-2.0-only
#include "server/encryption.h"

#include <mysql/plugin_encryption.h>

#include <stdio.h>

#include "crypt/compare.h"
#include "crypt/contexts.h"
#include "crypt/crypt.h"
#include "crypt/libcrypto.h"
#include "server/server.h"

static struct contexts contexts;
static struct crypt encryption;
static unsigned size_of_ctx;
static bool is_usable;
static char state[COMPARE_WHY_MAX + 16];

static unsigned ctx_size(unsigned id, unsigned version)
{
  (void) id;
  (void) version;
  return size_of_ctx;
}

static int ctx_init(void *ctx, const unsigned char *key, unsigned key_length, const unsigned char *iv, unsigned iv_length,
                    int flags, unsigned id, unsigned version)
{
  return crypt_init(&encryption, ctx, key, key_length, iv, iv_length, flags, id, version);
}

static int ctx_update(void *ctx, const unsigned char *from, unsigned length, unsigned char *to, unsigned *written)
{
  return crypt_update(&encryption, ctx, from, length, to, written);
}

static int ctx_finish(void *ctx, unsigned char *to, unsigned *written)
{
  return crypt_finish(&encryption, ctx, to, written);
}

static unsigned encrypted_length(unsigned length, unsigned id, unsigned version)
{
  return crypt_length(&encryption, length, id, version);
}

/* Returns whether kept contexts may be used; otherwise says why not. */
static bool keep_contexts(void)
{
  struct libcrypto libcrypto;
  char difference[COMPARE_WHY_MAX];
  const char *why= libcrypto_find(&libcrypto);
  if (!why)
    why= contexts_open(&contexts, &libcrypto);
  bool is_missing= why != NULL;
  if (!why && compare(&encryption.aes, &contexts, difference, sizeof difference))
    return true;
  if (!why)
    why= difference;
  contexts_close(&contexts);
  snprintf(state, sizeof state, "not kept: %s", why);
  server_logf(is_missing ? SERVER_NOTE : SERVER_WARNING, "encryption contexts are not kept, the server's functions encrypt: %s", why);
  return false;
}

const char *encryption_open(struct st_mariadb_encryption *descriptor, const struct keytable *table, bool wants_contexts)
{
  encryption= (struct crypt) {.aes= server_aes(), .table= table};
  const char *why= aes_check(&encryption.aes);
  is_usable= why == NULL;
  size_of_ctx= is_usable ? crypt_ctx_size(&encryption.aes) : 0;
  snprintf(state, sizeof state, "not kept: %s", is_usable ? "switched off" : "the server's functions are not known");
  if (is_usable && wants_contexts && keep_contexts())
  {
    encryption.contexts= &contexts;
    snprintf(state, sizeof state, "kept");
  }
  descriptor->crypt_ctx_init= is_usable ? ctx_init : NULL;
  descriptor->encrypted_length= is_usable ? encrypted_length : NULL;
  /* In the place of these the server uses its own. */
  descriptor->crypt_ctx_size= encryption.contexts ? ctx_size : NULL;
  descriptor->crypt_ctx_update= encryption.contexts ? ctx_update : NULL;
  descriptor->crypt_ctx_finish= encryption.contexts ? ctx_finish : NULL;
  return why;
}

/* The contexts stay where they are: a call that is under way ends as it began. */
void encryption_close(void)
{
  contexts_close(&contexts);
}

const struct aes *encryption_aes(void)
{
  return is_usable ? &encryption.aes : NULL;
}

const char *encryption_contexts(void)
{
  return state;
}
