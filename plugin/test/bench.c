// SPDX-License-Identifier: GPL-2.0-only
/* Nanoseconds per call of what the server calls for every page. Results are checked before anything is timed. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "keytable.h"

static double seconds(void)
{
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

int main(void)
{
  static struct keytable table;
  const uint32_t rounds= 50000000;
  uint8_t key[32]= {1}, out[32];
  size_t length;
  uint64_t sum= 0;
  if (!keytable_init(&table))
    return 1;
  for (uint32_t id= 1; id <= 100; id++)
    if (keytable_put(&table, id, 1, key, 32, true) != KEYTABLE_ADDED || keytable_latest(&table, id) != 1)
      return 1;
  double start= seconds();
  for (uint32_t i= 0; i < rounds; i++)
    sum+= keytable_latest(&table, 1 + (i & 63));
  double middle= seconds();
  for (uint32_t i= 0; i < rounds; i++)
    sum+= keytable_get(&table, 1 + (i & 63), 1, out, 32, &length) == KEYTABLE_FOUND;
  double end= seconds();
  printf("latest version %.2f ns, key %.2f ns (checked: %s)\n", (middle - start) / rounds * 1e9,
         (end - middle) / rounds * 1e9, sum == 2ull * rounds ? "yes" : "no");
  keytable_destroy(&table);
  return 0;
}
