// SPDX-License-Identifier: GPL-2.0-only
/*
  Secrets that must not outlive their use, be swapped or be dumped. munmap() and free() are wrapped to search what is given
  back, mlock() because AddressSanitizer ignores it.
*/
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/environment.h"
#include "test/client/fake_agent.h"
#include "keys/keyarena.h"
#include "test/test.h"

int __wrap_mlock(const void *at, size_t size);
int __real_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size);
void __real_free(void *at);
void __wrap_free(void *at);

/* The secret that is searched in what is given back. */
static const uint8_t *mapped;
static char *allocated;
static int seen;

int __wrap_mlock(const void *at, size_t size)
{
  return (int) syscall(SYS_mlock, at, size);
}

int __wrap_munmap(void *at, size_t size)
{
  if (mapped && mapped >= (const uint8_t *) at && mapped < (const uint8_t *) at + size)
  {
    seen++;
    for (size_t i= 0; i < size; i++)
      CHECK(((const uint8_t *) at)[i] == 0);
    mapped= NULL;
  }
  return __real_munmap(at, size);
}

void __wrap_free(void *at)
{
  if (allocated && at == allocated)
  {
    seen++;
    for (size_t i= 0; i < strlen("AWS_SECRET_ACCESS_KEY=secret"); i++)
      CHECK(allocated[i] == 0);
    allocated= NULL;
  }
  __real_free(at);
}

/* Reads the flags of the mapping that holds the address, from /proc/self/smaps. */
static void read_flags(const void *at, char *flags, size_t size)
{
  char line[512];
  unsigned long from, to;
  bool inside= false;
  FILE *file= fopen("/proc/self/smaps", "r");
  flags[0]= 0;
  while (file && fgets(line, sizeof line, file))
  {
    if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
      inside= (unsigned long) at >= from && (unsigned long) at < to;
    else if (inside && strncmp(line, "VmFlags:", 8) == 0)
      snprintf(flags, size, "%s", line + 8);
  }
  if (file)
    fclose(file);
}

static void keys_are_locked_not_dumped_and_not_inherited(void)
{
  struct keyarena arena= {0};
  char flags[256];
  void *key= keyarena_alloc(&arena, 44);
  read_flags(key, flags, sizeof flags);
  CHECK(strstr(flags, " dd ") && strstr(flags, " wf "));
  CHECK(arena.lock_error || strstr(flags, " lo "));
  keyarena_destroy(&arena);
}

static void keys_are_wiped_before_they_are_given_back(void)
{
  struct keyarena arena= {0};
  uint8_t *key= keyarena_alloc(&arena, 44);
  memset(key, 0xAA, 44);
  seen= 0;
  mapped= key;
  keyarena_destroy(&arena);
  CHECK(seen == 1);
}

static void arrived_keys_are_not_dumped(void)
{
  struct failure failure;
  char flags[256];
  const struct client_config config= {.target= "/nonexistent/agent", .start_timeout_ms= 1000, .table= &fake.table};
  struct client *client= client_create(&config, &failure);
  CHECK(client != NULL);
  read_flags(&client->io.parser, flags, sizeof flags);
  CHECK(strstr(flags, " dd "));
  CHECK(client_destroy(client));
}

static void environment_is_wiped_before_it_is_freed(void)
{
  const struct environment_user user= {.home= "/", .name= "x"};
  char *const inherited[]= {(char[]) {"AWS_SECRET_ACCESS_KEY=secret"}, NULL};
  char **environment= environment_create(inherited, &user);
  CHECK(environment && strcmp(environment[0], inherited[0]) == 0);
  seen= 0;
  allocated= environment ? environment[0] : NULL;
  environment_free(environment);
  CHECK(seen == 1);
}

void secrecy_tests(void)
{
  TEST(keys_are_locked_not_dumped_and_not_inherited);
  TEST(keys_are_wiped_before_they_are_given_back);
  TEST(arrived_keys_are_not_dumped);
  TEST(environment_is_wiped_before_it_is_freed);
}
