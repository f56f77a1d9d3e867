// SPDX-License-Identifier: GPL-2.0-only
#include "keys/keytable.h"

#include <string.h>

#include "test/test.h"

static const uint8_t ones[KEY_LENGTH_MAX]= {1, 1, 1, 1}, twos[KEY_LENGTH_MAX]= {2, 2, 2, 2};

static void unknown_keys_are_absent(void)
{
  struct keytable table;
  uint8_t key[32];
  size_t length= 77;
  CHECK(keytable_init(&table));
  CHECK(keytable_latest(&table, 1) == KEY_VERSION_NONE && keytable_latest(&table, 0) == KEY_VERSION_NONE);
  CHECK(keytable_get(&table, 1, 1, key, sizeof key, &length) == KEYTABLE_ABSENT && length == 77);
  CHECK(!keytable_has(&table, 0, 0));
  keytable_destroy(&table);
}

static void destroyed_table_is_empty(void)
{
  struct keytable table;
  size_t length;
  CHECK(keytable_init(&table));
  CHECK(keytable_put(&table, 1, 1, ones, 16, KEY_AES_CBC, true) == KEYTABLE_ADDED);
  keytable_destroy(&table);
  CHECK(keytable_latest(&table, 1) == KEY_VERSION_NONE);
  CHECK(keytable_get(&table, 1, 1, NULL, 0, &length) == KEYTABLE_ABSENT);
  keytable_destroy(&table);
}

static void every_length_round_trips(void)
{
  static const size_t lengths[]= {16, 24, 32};
  struct keytable table;
  CHECK(keytable_init(&table));
  for (uint32_t i= 0; i < 3; i++)
  {
    uint8_t key[KEY_LENGTH_MAX], back[KEY_LENGTH_MAX + 1];
    size_t length= 0;
    memset(key, (int) i + 65, sizeof key);
    memset(back, 0xEE, sizeof back);
    CHECK(keytable_put(&table, 7, i + 1, key, lengths[i], KEY_AES_CBC, true) == KEYTABLE_ADDED);
    CHECK(keytable_get(&table, 7, i + 1, back, lengths[i], &length) == KEYTABLE_FOUND);
    CHECK(length == lengths[i] && memcmp(key, back, length) == 0 && back[length] == 0xEE);
  }
  keytable_destroy(&table);
}

static void null_and_small_buffers_get_the_length(void)
{
  struct keytable table;
  uint8_t key[32];
  size_t length= 0;
  memset(key, 0xEE, sizeof key);
  CHECK(keytable_init(&table));
  CHECK(keytable_put(&table, 1, 1, ones, 32, KEY_AES_CBC, true) == KEYTABLE_ADDED);
  CHECK(keytable_get(&table, 1, 1, NULL, 4096, &length) == KEYTABLE_TOO_SMALL && length == 32);
  length= 0;
  CHECK(keytable_get(&table, 1, 1, key, 31, &length) == KEYTABLE_TOO_SMALL && length == 32);
  CHECK(key[0] == 0xEE && key[30] == 0xEE);
  keytable_destroy(&table);
}

static void bad_names_and_lengths_are_refused(void)
{
  struct keytable table;
  CHECK(keytable_init(&table));
  CHECK(keytable_put(&table, 0, 1, ones, 16, KEY_AES_CBC, true) == KEYTABLE_BAD_NAME);
  CHECK(keytable_put(&table, 1, 0, ones, 16, KEY_AES_CBC, true) == KEYTABLE_BAD_NAME);
  CHECK(keytable_put(&table, 1, 0xFFFFFFFF, ones, 16, KEY_AES_CBC, true) == KEYTABLE_BAD_NAME);
  for (size_t length= 0; length <= KEY_LENGTH_MAX; length++)
    if (length != 16 && length != 24 && length != 32)
      CHECK(keytable_put(&table, 1, 1, ones, length, KEY_AES_CBC, true) == KEYTABLE_BAD_LENGTH);
  CHECK(keytable_put(&table, 1, 1, ones, 48, KEY_AES_CBC, true) == KEYTABLE_BAD_LENGTH);
  CHECK(keytable_latest(&table, 1) == KEY_VERSION_NONE && atomic_load(&table.id_count) == 0);
  keytable_destroy(&table);
}

static void highest_names_work(void)
{
  struct keytable table;
  CHECK(keytable_init(&table));
  CHECK(keytable_put(&table, 0xFFFFFFFF, 0xFFFFFFFE, ones, 16, KEY_AES_CBC, true) == KEYTABLE_ADDED);
  CHECK(keytable_latest(&table, 0xFFFFFFFF) == 0xFFFFFFFE);
  CHECK(keytable_has(&table, 0xFFFFFFFF, 0xFFFFFFFE) && !keytable_has(&table, 0xFFFFFFFF, 1));
  keytable_destroy(&table);
}

static void first_bytes_and_algorithm_stay(void)
{
  struct keytable table;
  uint8_t key[32];
  size_t length;
  CHECK(keytable_init(&table));
  CHECK(keytable_put(&table, 1, 1, ones, 16, KEY_AES_CBC, false) == KEYTABLE_ADDED);
  CHECK(keytable_put(&table, 1, 1, ones, 16, KEY_AES_CBC, false) == KEYTABLE_SAME);
  CHECK(keytable_put(&table, 1, 1, twos, 16, KEY_AES_CBC, true) == KEYTABLE_CONFLICT);
  CHECK(keytable_put(&table, 1, 1, ones, 32, KEY_AES_CBC, true) == KEYTABLE_CONFLICT);
  CHECK(keytable_put(&table, 1, 1, ones, 16, KEY_AES_CTR, true) == KEYTABLE_CONFLICT);
  CHECK(keytable_algorithm(&table, 1, 1) == KEY_AES_CBC);
  CHECK(keytable_latest(&table, 1) == KEY_VERSION_NONE);
  CHECK(keytable_get(&table, 1, 1, key, 32, &length) == KEYTABLE_FOUND && length == 16 && memcmp(key, ones, 16) == 0);
  CHECK(atomic_load(&table.version_count) == 1);
  keytable_destroy(&table);
}

static void latest_only_rises_and_only_for_current_versions(void)
{
  struct keytable table;
  CHECK(keytable_init(&table));
  CHECK(keytable_put(&table, 1, 5, ones, 16, KEY_AES_CBC, false) == KEYTABLE_ADDED && keytable_latest(&table, 1) == 0);
  CHECK(keytable_put(&table, 1, 3, ones, 16, KEY_AES_CBC, true) == KEYTABLE_ADDED && keytable_latest(&table, 1) == 3);
  CHECK(keytable_put(&table, 1, 2, ones, 16, KEY_AES_CBC, true) == KEYTABLE_ADDED && keytable_latest(&table, 1) == 3);
  CHECK(keytable_put(&table, 1, 9, ones, 16, KEY_AES_CBC, false) == KEYTABLE_ADDED && keytable_latest(&table, 1) == 3);
  CHECK(keytable_put(&table, 1, 5, ones, 16, KEY_AES_CBC, true) == KEYTABLE_SAME && keytable_latest(&table, 1) == 5);
  CHECK(keytable_put(&table, 1, 3, ones, 16, KEY_AES_CBC, true) == KEYTABLE_SAME && keytable_latest(&table, 1) == 5);
  keytable_destroy(&table);
}

/* The ids could share one run of the hash, and are enough to make the table grow several times. */
static void thousands_of_keys_stay_findable(void)
{
  static struct keytable_id list[9000];
  static const uint32_t strides[]= {1, 4096, 65536};
  struct keytable table;
  size_t expected= 0;
  CHECK(keytable_init(&table));
  for (size_t s= 0; s < 3; s++)
    for (uint32_t i= 1; i <= 3000; i++)
    {
      uint32_t id= i * strides[s];
      uint8_t key[16]= {(uint8_t) i, (uint8_t) (i >> 8)};
      bool known= keytable_latest(&table, id) != KEY_VERSION_NONE;
      expected+= known ? 0 : 1;
      if (!known)
        for (uint32_t version= 1; version <= 3; version++)
          CHECK(keytable_put(&table, id, version, key, 16, KEY_AES_CBC, true) == KEYTABLE_ADDED);
    }
  for (size_t s= 0; s < 3; s++)
    for (uint32_t i= 1; i <= 3000; i++)
      CHECK(keytable_latest(&table, i * strides[s]) == 3 && keytable_has(&table, i * strides[s], 2) &&
            !keytable_has(&table, i * strides[s], 4));
  CHECK(atomic_load(&table.id_count) == expected && atomic_load(&table.version_count) == 3 * expected);
  size_t count= keytable_list(&table, list, 9000);
  CHECK(count == expected);
  for (size_t i= 0; i < count; i++)
    CHECK(list[i].latest == 3 && list[i].versions == 3);
  CHECK(keytable_list(&table, list, 10) == 10);
  keytable_destroy(&table);
}

static void arena_is_zeroed_aligned_and_bounded(void)
{
  struct keyarena arena= {0};
  CHECK(!keyarena_alloc(&arena, 0) && !keyarena_alloc(&arena, 4097));
  for (int i= 0; i < 2000; i++)
  {
    uint8_t *at= keyarena_alloc(&arena, 44);
    CHECK(at && (uintptr_t) at % 16 == 0 && at[0] == 0 && at[43] == 0);
    if (at)
      memset(at, 0xFF, 44);
  }
  keyarena_destroy(&arena);
  CHECK(!arena.chunks);
}

void keytable_tests(void)
{
  TEST(unknown_keys_are_absent);
  TEST(destroyed_table_is_empty);
  TEST(every_length_round_trips);
  TEST(null_and_small_buffers_get_the_length);
  TEST(bad_names_and_lengths_are_refused);
  TEST(highest_names_work);
  TEST(first_bytes_and_algorithm_stay);
  TEST(latest_only_rises_and_only_for_current_versions);
  TEST(thousands_of_keys_stay_findable);
  TEST(arena_is_zeroed_aligned_and_bounded);
}
