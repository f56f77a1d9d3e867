// SPDX-License-Identifier: GPL-2.0-only
/*
  Puts a key into a key table, keeps other bytes in ordinary memory, and dies with a core dump in the current directory. The
  dump must hold the other bytes and not the key.
*/
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "keys/keytable.h"

enum { KEY_SEED= 1, OTHER_SEED= 2 };

/* Makes bytes that stand nowhere else in the program: xorshift32. */
static void make_bytes(uint32_t seed, uint8_t *to, size_t size)
{
  uint32_t state= seed;
  for (size_t i= 0; i < size; i++)
  {
    state^= state << 13;
    state^= state >> 17;
    state^= state << 5;
    to[i]= (uint8_t) state;
  }
}

int main(void)
{
  static struct keytable table;
  const struct rlimit all= {RLIM_INFINITY, RLIM_INFINITY};
  uint8_t key[KEY_LENGTH_MAX];
  uint8_t *other= malloc(KEY_LENGTH_MAX);
  if (!other || setrlimit(RLIMIT_CORE, &all) || !keytable_init(&table))
    return 1;
  make_bytes(OTHER_SEED, other, KEY_LENGTH_MAX);
  make_bytes(KEY_SEED, key, sizeof key);
  enum keytable_put put= keytable_put(&table, 1, 1, key, sizeof key, KEY_AES_CBC, true);
  explicit_bzero(key, sizeof key);
  if (put != KEYTABLE_ADDED)
    return 1;
  abort();
}
