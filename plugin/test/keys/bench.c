// SPDX-License-Identifier: GPL-2.0-only
/*
  The costs of a key table of a given size: bench IDS VERSIONS, versions of each id. Results are checked before anything is
  timed. Prints NAME VALUE lines: nanoseconds of a lookup, always of the same 64 entries (_few) and of any entry in random
  order (_any), which then includes the cache misses that such an order has by nature; nanoseconds that a new version takes;
  bytes of memory.
*/
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "keys/keytable.h"

#define LOOKUPS 4000000u
#define LENGTH 16u                      /* bytes of a key with the default key_spec */
#define MASK 65535u
#define FEW 64u

static struct keytable table;
static uint32_t ids, versions;
static struct { uint32_t id, version; } order[MASK + 1];

static double clock_ns(clockid_t clock)
{
  struct timespec ts;
  clock_gettime(clock, &ts);
  return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}

static double now_ns(void)
{
  return clock_ns(CLOCK_MONOTONIC);
}

/* Returns CPU time, for a single, rare event: its duration would show other processes that got the CPU meanwhile. */
static double cpu_ns(void)
{
  return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static _Noreturn void fail(const char *what)
{
  fprintf(stderr, "bench: %s\n", what);
  exit(1);
}

static void make_key(uint8_t *key, uint32_t id, uint32_t version)
{
  memset(key, 0x5a, LENGTH);
  memcpy(key, &id, sizeof id);
  memcpy(key + sizeof id, &version, sizeof version);
}

static void put(uint32_t id, uint32_t version)
{
  uint8_t key[LENGTH];
  make_key(key, id, version);
  if (keytable_put(&table, id, version, key, sizeof key, KEY_AES_CBC, true) != KEYTABLE_ADDED)
    fail("a new version was not added");
}

static uint32_t id_of(uint32_t index)
{
  return index % ids + 1;
}

static uint32_t version_of(uint32_t index)
{
  return index / ids + 1;
}

static void check(void)
{
  for (uint32_t i= 0; i < ids * versions; i++)
  {
    uint8_t key[LENGTH], out[LENGTH];
    size_t length;
    make_key(key, id_of(i), version_of(i));
    if (keytable_latest(&table, id_of(i)) != versions)
      fail("wrong latest version");
    if (keytable_get(&table, id_of(i), version_of(i), out, sizeof out, &length) != KEYTABLE_FOUND ||
        length != LENGTH || memcmp(key, out, LENGTH))
      fail("wrong key");
  }
}

static long status_bytes(const char *name)
{
  char line[256];
  long kilobytes= -1;
  FILE *file= fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, name, strlen(name)))
      kilobytes= strtol(line + strlen(name), NULL, 10);
  if (file)
    fclose(file);
  return kilobytes * 1024;
}

static void time_lookups(const char *range, uint32_t among)
{
  uint64_t sum= 0, random= 88172645463325252u;
  uint8_t out[LENGTH];
  size_t length;
  for (uint32_t i= 0; i <= MASK; i++)
  {
    random^= random << 13;
    random^= random >> 7;
    random^= random << 17;
    order[i].id= id_of((uint32_t) (random % among));
    order[i].version= version_of((uint32_t) (random % among));
  }
  double start= now_ns();
  for (uint32_t i= 0; i < LOOKUPS; i++)
    sum+= keytable_latest(&table, order[i & MASK].id);
  double middle= now_ns();
  for (uint32_t i= 0; i < LOOKUPS; i++)
    sum+= keytable_get(&table, order[i & MASK].id, order[i & MASK].version, out, LENGTH, &length) == KEYTABLE_FOUND;
  double end= now_ns();
  if (sum != (uint64_t) LOOKUPS * versions + LOOKUPS)
    fail("a lookup went wrong");
  printf("latest_%s %.3f\nget_%s %.3f\n", range, (middle - start) / LOOKUPS, range, (end - middle) / LOOKUPS);
}

static int by_size(const void *a, const void *b)
{
  double x= *(const double *) a, y= *(const double *) b;
  return (x > y) - (x < y);
}

static void time_publishing(void)
{
  static double took[1000];
  size_t count= sizeof took / sizeof took[0];
  for (size_t i= 0; i < count; i++)
  {
    double start= now_ns();
    put(id_of((uint32_t) i), versions + 1 + (uint32_t) (i / ids));
    took[i]= now_ns() - start;
  }
  qsort(took, count, sizeof took[0], by_size);
  printf("publish_median %.0f\npublish_p99 %.0f\n", took[count / 2], took[count * 99 / 100]);
}

int main(int argc, char **argv)
{
  ids= argc == 3 ? (uint32_t) strtoul(argv[1], NULL, 10) : 0;
  versions= argc == 3 ? (uint32_t) strtoul(argv[2], NULL, 10) : 0;
  if (ids == 0 || versions == 0 || ids > 10000000 / versions)
    fail("expected IDS VERSIONS, at most 10000000 together");
  if (!keytable_init(&table))
    fail("out of memory");
  long resident= status_bytes("VmRSS:"), locked= status_bytes("VmLck:");
  double longest= 0;
  for (uint32_t i= 0; i < ids * versions; i++)
  {
    double before= cpu_ns();
    put(id_of(i), version_of(i));
    double took= cpu_ns() - before;
    longest= took > longest ? took : longest;
  }
  printf("publish_longest %.0f\n", longest);
  printf("resident %ld\nlocked %ld\n", status_bytes("VmRSS:") - resident, status_bytes("VmLck:") - locked);
  printf("lock_error %d\n", keytable_lock_error(&table));
  check();
  time_lookups("any", ids * versions);
  time_lookups("few", ids * versions < FEW ? ids * versions : FEW);
  time_publishing();
  keytable_destroy(&table);
  return 0;
}
