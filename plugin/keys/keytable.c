// SPDX-License-Identifier: GPL-2.0-only
#include "keys/keytable.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BITS 6u
#define LAST_BITS 30u

static struct id_array *new_ids(unsigned bits)
{
  struct id_array *array= calloc(1, sizeof *array + (sizeof array->slots[0] << bits));
  if (array)
    array->bits= bits;
  return array;
}

static struct key_array *new_keys(unsigned bits)
{
  struct key_array *array= calloc(1, sizeof *array + (sizeof array->slots[0] << bits));
  if (array)
    array->bits= bits;
  return array;
}

bool keytable_init(struct keytable *table)
{
  memset(table, 0, sizeof *table);
  struct id_array *ids= new_ids(FIRST_BITS);
  struct key_array *keys= new_keys(FIRST_BITS);
  if (!ids || !keys || pthread_mutex_init(&table->writer, NULL))
  {
    free(ids);
    free(keys);
    return false;
  }
  atomic_store_explicit(&table->ids, ids, memory_order_release);
  atomic_store_explicit(&table->keys, keys, memory_order_release);
  return true;
}

void keytable_destroy(struct keytable *table)
{
  struct id_array *ids= atomic_exchange(&table->ids, NULL);
  struct key_array *keys= atomic_exchange(&table->keys, NULL);
  if (!ids)
    return;
  for (struct id_array *older; ids; ids= older)
  {
    older= ids->older;
    free(ids);
  }
  for (struct key_array *older; keys; keys= older)
  {
    older= keys->older;
    free(keys);
  }
  keyarena_destroy(&table->arena);
  pthread_mutex_destroy(&table->writer);
  memset(table, 0, sizeof *table);
}

static void add_key(struct key_array *array, struct key_record *record)
{
  size_t mask= ((size_t) 1 << array->bits) - 1;
  size_t i= keytable_key_hash(record->id, record->version, array->bits);
  while (atomic_load_explicit(&array->slots[i], memory_order_relaxed))
    i= (i + 1) & mask;
  atomic_store_explicit(&array->slots[i], record, memory_order_release);
  array->used++;
}

/* Returns the slot of the id, or the free one where it belongs. */
static struct id_slot *id_slot(struct id_array *array, uint32_t id)
{
  uint32_t mask= (UINT32_C(1) << array->bits) - 1;
  for (uint32_t i= keytable_id_hash(id, array->bits);; i= (i + 1) & mask)
  {
    uint64_t slot= atomic_load_explicit(&array->slots[i].id_latest, memory_order_relaxed);
    if (slot == 0 || (uint32_t) (slot >> 32) == id)
      return &array->slots[i];
  }
}

/* Returns an array with room for one more entry: the current one, or a larger one that it publishes. NULL: out of memory. */
static struct id_array *grow_ids(struct keytable *table)
{
  struct id_array *array= atomic_load_explicit(&table->ids, memory_order_relaxed);
  size_t slots= (size_t) 1 << array->bits;
  if (array->used < slots / 2)
    return array;
  struct id_array *larger= array->bits < LAST_BITS ? new_ids(array->bits + 1) : NULL;
  if (!larger)
    return NULL;
  for (size_t i= 0; i < slots; i++)
  {
    uint64_t value= atomic_load_explicit(&array->slots[i].id_latest, memory_order_relaxed);
    if (value == 0)
      continue;
    struct id_slot *to= id_slot(larger, (uint32_t) (value >> 32));
    uint32_t versions= atomic_load_explicit(&array->slots[i].versions, memory_order_relaxed);
    atomic_store_explicit(&to->versions, versions, memory_order_relaxed);
    atomic_store_explicit(&to->id_latest, value, memory_order_relaxed);
  }
  larger->used= array->used;
  larger->older= array;
  atomic_store_explicit(&table->ids, larger, memory_order_release);
  return larger;
}

static struct key_array *grow_keys(struct keytable *table)
{
  struct key_array *array= atomic_load_explicit(&table->keys, memory_order_relaxed);
  size_t slots= (size_t) 1 << array->bits;
  if (array->used < slots / 2)
    return array;
  struct key_array *larger= array->bits < LAST_BITS ? new_keys(array->bits + 1) : NULL;
  if (!larger)
    return NULL;
  for (size_t i= 0; i < slots; i++)
  {
    struct key_record *record= atomic_load_explicit(&array->slots[i], memory_order_relaxed);
    if (record)
      add_key(larger, record);
  }
  larger->older= array;
  atomic_store_explicit(&table->keys, larger, memory_order_release);
  return larger;
}

static void raise_latest(struct id_slot *slot, uint32_t id, uint32_t version)
{
  uint64_t value= atomic_load_explicit(&slot->id_latest, memory_order_relaxed);
  if (version > (uint32_t) value)
    atomic_store_explicit(&slot->id_latest, (uint64_t) id << 32 | version, memory_order_release);
}

/*
  Copies a key byte by byte: memcpy() and memcmp() leave it in vector registers, from where it gets to stacks and core
  dumps.
*/
static void copy_key(uint8_t *to, const uint8_t *key, size_t length)
{
  for (size_t i= 0; i < length; i++)
    ((volatile uint8_t *) to)[i]= ((const volatile uint8_t *) key)[i];
}

static bool is_same_key(const uint8_t *known, const uint8_t *key, size_t length)
{
  uint8_t difference= 0;
  for (size_t i= 0; i < length; i++)
    difference|= (uint8_t) (((const volatile uint8_t *) known)[i] ^ ((const volatile uint8_t *) key)[i]);
  return difference == 0;
}

static enum keytable_put put(struct keytable *table, uint32_t id, uint32_t version, const uint8_t *key,
                             size_t length, enum key_algorithm algorithm, bool current)
{
  const struct key_record *known= keytable_find(table, id, version);
  if (known)
  {
    if (known->length != length || known->algorithm != algorithm || !is_same_key(known->bytes, key, length))
      return KEYTABLE_CONFLICT;
    if (current)
      raise_latest(id_slot(atomic_load_explicit(&table->ids, memory_order_relaxed), id), id, version);
    return KEYTABLE_SAME;
  }

  struct id_array *ids= grow_ids(table);
  struct key_array *keys= grow_keys(table);
  struct key_record *record= ids && keys ? keyarena_alloc(&table->arena, sizeof *record + length) : NULL;
  if (!record)
    return KEYTABLE_NO_MEMORY;
  record->id= id;
  record->version= version;
  record->length= (uint16_t) length;
  record->algorithm= (uint16_t) algorithm;
  copy_key(record->bytes, key, length);
  add_key(keys, record);
  atomic_fetch_add_explicit(&table->version_count, 1, memory_order_relaxed);

  struct id_slot *slot= id_slot(ids, id);
  atomic_fetch_add_explicit(&slot->versions, 1, memory_order_relaxed);
  if (atomic_load_explicit(&slot->id_latest, memory_order_relaxed) == 0)
  {
    ids->used++;
    atomic_fetch_add_explicit(&table->id_count, 1, memory_order_relaxed);
    atomic_store_explicit(&slot->id_latest, (uint64_t) id << 32, memory_order_release);
  }
  if (current)
    raise_latest(slot, id, version);
  return KEYTABLE_ADDED;
}

enum keytable_put keytable_put(struct keytable *table, uint32_t id, uint32_t version, const uint8_t *key,
                               size_t length, enum key_algorithm algorithm, bool current)
{
  if (id == 0 || version == KEY_VERSION_NONE || version > KEY_VERSION_MAX)
    return KEYTABLE_BAD_NAME;
  if (length != 16 && length != 24 && length != 32)
    return KEYTABLE_BAD_LENGTH;
  pthread_mutex_lock(&table->writer);
  enum keytable_put result= put(table, id, version, key, length, algorithm, current);
  pthread_mutex_unlock(&table->writer);
  return result;
}

bool keytable_has(const struct keytable *table, uint32_t id, uint32_t version)
{
  return keytable_find(table, id, version) != NULL;
}

struct keytable_walk keytable_walk_begin(const struct keytable *table)
{
  return (struct keytable_walk) {.array= atomic_load_explicit(&table->keys, memory_order_acquire)};
}

const struct key_record *keytable_walk_next(struct keytable_walk *walk)
{
  while (walk->array && walk->at < (size_t) 1 << walk->array->bits)
  {
    const struct key_record *record= atomic_load_explicit(&walk->array->slots[walk->at++], memory_order_acquire);
    if (record)
      return record;
  }
  return NULL;
}

size_t keytable_list(const struct keytable *table, struct keytable_id *list, size_t capacity)
{
  const struct id_array *array= atomic_load_explicit(&table->ids, memory_order_acquire);
  size_t count= 0;
  if (!array)
    return 0;
  for (size_t i= 0; i < (size_t) 1 << array->bits && count < capacity; i++)
  {
    uint64_t value= atomic_load_explicit(&array->slots[i].id_latest, memory_order_acquire);
    if (value == 0)
      continue;
    list[count++]= (struct keytable_id) {
      .id= (uint32_t) (value >> 32),
      .latest= (uint32_t) value,
      .versions= atomic_load_explicit(&array->slots[i].versions, memory_order_relaxed),
    };
  }
  return count;
}

int keytable_lock_error(struct keytable *table)
{
  pthread_mutex_lock(&table->writer);
  int error= table->arena.lock_error;
  pthread_mutex_unlock(&table->writer);
  return error;
}
