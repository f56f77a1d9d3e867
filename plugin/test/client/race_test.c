// SPDX-License-Identifier: GPL-2.0-only
/*
  Readers beside a writer that adds keys, raises versions and makes the tables grow; built with the thread sanitizer.
*/
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "keys/keytable.h"
#include "test/test.h"

#define READERS 6
#define IDS 400u
#define VERSIONS 6u

static struct keytable table;
static atomic_bool finished;
static atomic_bool wrong;

static void make_key(uint32_t id, uint32_t version, uint8_t *key)
{
  for (uint32_t i= 0; i < 32; i++)
    key[i]= (uint8_t) (id * 31 + version * 7 + i);
}

static enum key_algorithm algorithm_of(uint32_t id)
{
  return id % 3 ? KEY_AES_CBC : KEY_AES_CTR;
}

static void *reader(void *seed_pointer)
{
  uint32_t state= *(const uint32_t *) seed_pointer;
  uint32_t seen[IDS + 1]= {0};
  do
  {
    uint8_t expected[32], key[32];
    size_t length= 0;
    state= state * 1664525 + 1013904223;
    uint32_t id= state >> 8;
    id= 1 + id % IDS;
    uint32_t latest= keytable_latest(&table, id);
    /* The latest version never goes down, and its key can be read. */
    if (latest < seen[id])
      atomic_store(&wrong, true);
    seen[id]= latest;
    if (latest == KEY_VERSION_NONE)
      continue;
    make_key(id, latest, expected);
    if (keytable_get(&table, id, latest, key, sizeof key, &length) != KEYTABLE_FOUND || length != 32 ||
        memcmp(key, expected, 32) != 0 || keytable_algorithm(&table, id, latest) != algorithm_of(id))
      atomic_store(&wrong, true);
  } while (!atomic_load(&finished));
  return NULL;
}

static void *lister(void *unused)
{
  static struct keytable_id list[IDS];
  (void) unused;
  do
  {
    size_t count= keytable_list(&table, list, IDS);
    for (size_t i= 0; i < count; i++)
      if (list[i].id == 0 || list[i].id > IDS || list[i].latest > VERSIONS || list[i].versions > VERSIONS)
        atomic_store(&wrong, true);
  } while (!atomic_load(&finished));
  return NULL;
}

static void *writer(void *first_pointer)
{
  uint32_t first= *(const uint32_t *) first_pointer;
  for (uint32_t version= 1; version <= VERSIONS; version++)
    for (uint32_t id= first; id <= IDS; id+= 2)
    {
      uint8_t key[32];
      make_key(id, version, key);
      enum key_algorithm algorithm= algorithm_of(id);
      if (keytable_put(&table, id, version, key, sizeof key, algorithm, true) != KEYTABLE_ADDED ||
          keytable_put(&table, id, version, key, sizeof key, algorithm, true) != KEYTABLE_SAME)
        atomic_store(&wrong, true);
    }
  return NULL;
}

static void readers_beside_publishing_writers(void)
{
  pthread_t readers[READERS], list_thread, writers[2];
  uint32_t seeds[READERS], firsts[2]= {1, 2};
  CHECK(keytable_init(&table));
  for (uint32_t i= 0; i < READERS; i++)
  {
    seeds[i]= i;
    CHECK(pthread_create(&readers[i], NULL, reader, &seeds[i]) == 0);
  }
  CHECK(pthread_create(&list_thread, NULL, lister, NULL) == 0);
  for (int i= 0; i < 2; i++)
    CHECK(pthread_create(&writers[i], NULL, writer, &firsts[i]) == 0);
  for (int i= 0; i < 2; i++)
    pthread_join(writers[i], NULL);
  atomic_store(&finished, true);
  for (int i= 0; i < READERS; i++)
    pthread_join(readers[i], NULL);
  pthread_join(list_thread, NULL);
  CHECK(!atomic_load(&wrong));
  CHECK(atomic_load(&table.id_count) == IDS && atomic_load(&table.version_count) == (size_t) IDS * VERSIONS);
  for (uint32_t id= 1; id <= IDS; id++)
    CHECK(keytable_latest(&table, id) == VERSIONS);
  keytable_destroy(&table);
}

void race_tests(void)
{
  TEST(readers_beside_publishing_writers);
}
