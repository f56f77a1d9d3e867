// SPDX-License-Identifier: GPL-2.0-only
/* The client under test, and a record of its log. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "test/client/fake_agent.h"
#include "test/test.h"

static pthread_mutex_t lock= PTHREAD_MUTEX_INITIALIZER;
static char logged[16384];
static int lines;

static void remember(enum severity severity, const char *text)
{
  (void) severity;
  pthread_mutex_lock(&lock);
  size_t used= strlen(logged);
  snprintf(logged + used, sizeof logged - used, "%s\n", text);
  lines++;
  pthread_mutex_unlock(&lock);
}

static struct caller now_calling;

static struct caller caller(void)
{
  pthread_mutex_lock(&lock);
  struct caller it= now_calling;
  pthread_mutex_unlock(&lock);
  return it;
}

void fake_call_as(struct caller it)
{
  pthread_mutex_lock(&lock);
  now_calling= it;
  pthread_mutex_unlock(&lock);
}

int fake_logged(void)
{
  pthread_mutex_lock(&lock);
  int count= lines;
  pthread_mutex_unlock(&lock);
  return count;
}

bool fake_has_logged(const char *part)
{
  pthread_mutex_lock(&lock);
  bool has= strstr(logged, part) != NULL;
  pthread_mutex_unlock(&lock);
  return has;
}

struct client *fake_client_of(const char *target, uint32_t start_timeout_ms, bool allow_missing_keys)
{
  struct failure failure;
  const struct client_config config= {
    .target= target, .role= ROLE_SERVER, .start_timeout_ms= start_timeout_ms, .table= &fake.table,
    .allow_missing_keys= allow_missing_keys, .log= remember, .caller= caller,
  };
  pthread_mutex_lock(&lock);
  logged[0]= 0;
  lines= 0;
  pthread_mutex_unlock(&lock);
  atomic_store(&fake.hello, HELLO_WELCOME);
  atomic_store(&fake.load, LOAD_DONE);
  atomic_store(&fake.delay_ms, 0);
  fake_call_as((struct caller) {.kind= CALLER_STATEMENT});
  struct client *client= keytable_init(&fake.table) ? client_create(&config, &failure) : NULL;
  if (!client)
    abort();
  return client;
}

struct client *fake_client(uint32_t start_timeout_ms, bool allow_missing_keys)
{
  return fake_client_of(fake.target, start_timeout_ms, allow_missing_keys);
}

struct client *fake_started_client(void)
{
  struct failure failure;
  struct client *client= fake_client(5000, false);
  CHECK(client_start(client, &failure));
  return client;
}

void fake_destroy(struct client *client)
{
  CHECK(client_destroy(client));
  keytable_destroy(&fake.table);
}

bool fake_last_error_has(struct client *client, const char *part)
{
  struct client_status status;
  client_get_status(client, &status);
  if (strstr(status.last_error, part))
    return true;
  printf("# last error: %s\n", status.last_error);
  return false;
}
