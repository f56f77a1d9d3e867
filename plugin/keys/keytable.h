// SPDX-License-Identifier: GPL-2.0-only
/*
  The key versions that the server was given. Readers take no lock, allocate nothing and make no system call; writers add
  under one mutex. Nothing is ever removed or replaced: a key version that was handed out is served for the life of the
  process, because InnoDB aborts when one goes missing.

  Two hash tables with open addressing: key id -> latest version, and (key id, version) -> key. A table that fills up is
  copied into one of twice the size, which one atomic pointer publishes. The smaller ones stay until the end, since a reader
  may still walk them: together they are never larger than the current one.
*/
#ifndef AKM_KEYTABLE_H
#define AKM_KEYTABLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "keys/keyarena.h"

#define KEY_LENGTH_MAX 32u
#define KEY_VERSION_NONE 0u             /* no version: MariaDB's ENCRYPTION_KEY_NOT_ENCRYPTED */
#define KEY_VERSION_MAX 0xFFFFFFFEu     /* ~0 is MariaDB's ENCRYPTION_KEY_VERSION_INVALID */

/* The algorithm of a key version, which never changes. The numbers are those of KEY in docs/protocol.md. */
enum key_algorithm
{
  KEY_ALGORITHM_NONE= 0,                /* a version that is not loaded */
  KEY_AES_CBC= 1,
  KEY_AES_CTR= 2
};

struct id_slot
{
  _Atomic uint64_t id_latest;           /* id << 32 | latest version; 0: free */
  _Atomic uint32_t versions;            /* how many versions are loaded */
};

struct id_array
{
  struct id_array *older;
  size_t used;                          /* writer's */
  unsigned bits;
  struct id_slot slots[];               /* 1 << bits, at most half of them used */
};

struct key_record
{
  uint32_t id;
  uint32_t version;
  uint16_t length;
  uint16_t algorithm;                   /* enum key_algorithm */
  uint8_t bytes[];                      /* as many as length says: locked memory is scarce */
};

struct key_array
{
  struct key_array *older;
  size_t used;                          /* writer's */
  unsigned bits;
  _Atomic(struct key_record *) slots[]; /* 1 << bits, at most half of them used */
};

struct keytable
{
  _Atomic(struct id_array *) ids;
  _Atomic(struct key_array *) keys;
  pthread_mutex_t writer;
  struct keyarena arena;
  _Atomic size_t id_count;
  _Atomic size_t version_count;
};

/* Makes an empty table. Returns false if there is no memory. */
bool keytable_init(struct keytable *table);

/* Wipes every key and frees the table. No reader or writer may be inside. */
void keytable_destroy(struct keytable *table);

enum keytable_put
{
  KEYTABLE_ADDED,
  KEYTABLE_SAME,                        /* was there already with these bytes and this algorithm */
  KEYTABLE_CONFLICT,                    /* was there already with other bytes or another algorithm; those stay */
  KEYTABLE_NO_MEMORY,                   /* nothing changed */
  KEYTABLE_BAD_LENGTH,                  /* not 16, 24 or 32 */
  KEYTABLE_BAD_NAME                     /* id 0, version 0 or version ~0 */
};

/*
  Adds a key version, copying key[0..length). If current, the latest version of the id becomes at least this one; it never
  goes down, and rises only after the key itself can be found. From any thread.
*/
enum keytable_put keytable_put(struct keytable *table, uint32_t id, uint32_t version, const uint8_t *key,
                               size_t length, enum key_algorithm algorithm, bool current);

/* Returns whether the key version is loaded. */
bool keytable_has(const struct keytable *table, uint32_t id, uint32_t version);

/*
  A walk over the key versions. It visits each that was loaded when it began, and may visit later ones. Safe beside writers.
*/
struct keytable_walk
{
  const struct key_array *array;
  size_t at;
};

struct keytable_walk keytable_walk_begin(const struct keytable *table);

/* Returns the next key version, NULL at the end. The record stays valid as long as the table. */
const struct key_record *keytable_walk_next(struct keytable_walk *walk);

struct keytable_id
{
  uint32_t id;
  uint32_t latest;                      /* KEY_VERSION_NONE if only old versions are loaded */
  uint32_t versions;
};

/* Lists at most capacity key ids in list, in no order, safe beside writers. Returns how many were listed. */
size_t keytable_list(const struct keytable *table, struct keytable_id *list, size_t capacity);

/* Returns the errno of the first refused mlock(), 0 if none was. */
int keytable_lock_error(struct keytable *table);

/* The hash of a key id. Fibonacci hashing: the high bits of the product depend on all bits of a small, dense id. */
static inline uint32_t keytable_id_hash(uint32_t id, unsigned bits)
{
  return (id * UINT32_C(2654435769)) >> (32 - bits);
}

/* Returns the latest version of the id, KEY_VERSION_NONE if none is known. The server calls this for every page it writes. */
static inline uint32_t keytable_latest(const struct keytable *table, uint32_t id)
{
  const struct id_array *array= atomic_load_explicit(&table->ids, memory_order_acquire);
  if (__builtin_expect(!array, 0))
    return KEY_VERSION_NONE;
  uint32_t mask= (UINT32_C(1) << array->bits) - 1;
  for (uint32_t i= keytable_id_hash(id, array->bits);; i= (i + 1) & mask)
  {
    uint64_t slot= atomic_load_explicit(&array->slots[i].id_latest, memory_order_acquire);
    if ((uint32_t) (slot >> 32) == id)
      return (uint32_t) slot;
    if (slot == 0)
      return KEY_VERSION_NONE;
  }
}

static inline size_t keytable_key_hash(uint32_t id, uint32_t version, unsigned bits)
{
  uint64_t name= (uint64_t) id << 32 | version;
  /* The name is folded first: the product alone would put all versions 2^32 apart in id into one run. */
  name^= name >> 29;
  return (size_t) ((name * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - bits));
}

/* Returns the record of the key version, NULL if it is not loaded. It stays valid as long as the table. */
static inline const struct key_record *keytable_find(const struct keytable *table, uint32_t id, uint32_t version)
{
  const struct key_array *array= atomic_load_explicit(&table->keys, memory_order_acquire);
  if (__builtin_expect(!array, 0))
    return NULL;
  size_t mask= ((size_t) 1 << array->bits) - 1;
  for (size_t i= keytable_key_hash(id, version, array->bits);; i= (i + 1) & mask)
  {
    const struct key_record *record= atomic_load_explicit(&array->slots[i], memory_order_acquire);
    if (!record || (record->id == id && record->version == version))
      return record;
  }
}

/* Returns KEY_ALGORITHM_NONE if the version is not loaded. The server asks for every page that it encrypts or decrypts. */
static inline enum key_algorithm keytable_algorithm(const struct keytable *table, uint32_t id, uint32_t version)
{
  const struct key_record *record= keytable_find(table, id, version);
  return __builtin_expect(!record, 0) ? KEY_ALGORITHM_NONE : (enum key_algorithm) record->algorithm;
}

enum keytable_get
{
  KEYTABLE_FOUND,
  KEYTABLE_TOO_SMALL,                   /* key was NULL or capacity too small; *length is set, key untouched */
  KEYTABLE_ABSENT                       /* *length untouched */
};

/*
  Copies a key to key[0..capacity) and sets *length. Inline as keytable_latest() is: both answer before the plugin makes any
  call.
*/
static inline enum keytable_get keytable_get(const struct keytable *table, uint32_t id, uint32_t version, uint8_t *key,
                                             size_t capacity, size_t *length)
{
  const struct key_record *record= keytable_find(table, id, version);
  if (__builtin_expect(!record, 0))
    return KEYTABLE_ABSENT;
  size_t size= *length= record->length;
  if (__builtin_expect(!key || capacity < size, 0))
    return KEYTABLE_TOO_SMALL;
  /* The 16, 24 or 32 bytes are copied as two blocks of 16 that may overlap: copies of a fixed size are no calls. */
  memcpy(key, record->bytes, 16);
  memcpy(key + size - 16, record->bytes + size - 16, 16);
  return KEYTABLE_FOUND;
}

#endif
