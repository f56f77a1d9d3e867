// SPDX-License-Identifier: GPL-2.0-only
// The additional permission in plugin/NOTICE holds for this file.
#include "crypt/crypt.h"

#include "crypt/stream.h"

/* Memory of the server's, from crypt_ctx_init() to crypt_ctx_finish(). */
struct crypt_ctx
{
  _Alignas(16) bool is_stream;
  _Alignas(16) union
  {
    struct stream stream;
    unsigned char servers[1];           /* as many as the server's functions need */
  };
};

#define HEADER offsetof(struct crypt_ctx, servers)

unsigned crypt_ctx_size(const struct aes *aes)
{
  unsigned most= sizeof(struct stream);
  for (enum aes_mode mode= MODE_CBC; mode <= MODE_GCM; mode++)
    most= aes->ctx_size(mode) > most ? aes->ctx_size(mode) : most;
  return (unsigned) HEADER + most;
}

int crypt_init(const struct crypt *crypt, void *ctx, const unsigned char *key, unsigned key_length,
               const unsigned char *iv, unsigned iv_length, int flags, uint32_t id, uint32_t version)
{
  enum aes_mode mode;
  bool is_unpadded= (flags & CRYPT_NOPAD) != 0;
  switch (keytable_algorithm(crypt->table, id, version))
  {
  case KEY_AES_CBC:
    mode= MODE_CBC;
    break;
  case KEY_AES_CTR:
    mode= is_unpadded ? MODE_CTR : MODE_GCM;
    break;
  default:
    return CRYPT_UNKNOWN_VERSION;
  }
  if (!crypt->contexts)
    return crypt->aes.init(ctx, mode, flags, key, key_length, iv, iv_length);
  struct crypt_ctx *own= ctx;
  own->is_stream= is_unpadded && key_length == AES_BLOCK && iv_length == AES_BLOCK;
  if (!own->is_stream)
    return crypt->aes.init(own->servers, mode, flags, key, key_length, iv, iv_length);
  stream_begin(&own->stream, mode, (flags & CRYPT_ENCRYPT) != 0, key, iv);
  return 0;
}

int crypt_update(const struct crypt *crypt, void *ctx, const unsigned char *from, unsigned length, unsigned char *to,
                 unsigned *written)
{
  struct crypt_ctx *own= ctx;
  size_t size;
  if (!own->is_stream)
    return crypt->aes.update(own->servers, from, length, to, written);
  bool is_done= stream_update(&own->stream, crypt->contexts, from, length, to, &size);
  *written= (unsigned) size;
  return is_done ? 0 : AES_ERROR;
}

int crypt_finish(const struct crypt *crypt, void *ctx, unsigned char *to, unsigned *written)
{
  struct crypt_ctx *own= ctx;
  size_t size;
  if (!own->is_stream)
    return crypt->aes.finish(own->servers, to, written);
  bool is_done= stream_end(&own->stream, to, &size);
  *written= (unsigned) size;
  return is_done ? 0 : AES_ERROR;
}

unsigned crypt_length(const struct crypt *crypt, unsigned length, uint32_t id, uint32_t version)
{
  return crypt->aes.size(keytable_algorithm(crypt->table, id, version) == KEY_AES_CTR ? MODE_GCM : MODE_CBC, length);
}
