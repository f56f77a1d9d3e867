// SPDX-License-Identifier: GPL-2.0-only
/* Time limits for an agent that hangs. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "test/client/fake_agent.h"
#include "test/test.h"

static void silent_hello_has_a_limit(void)
{
  struct client *client= fake_started_client();
  client->limits.welcome= 300;
  atomic_store(&fake.hello, HELLO_SILENT);
  CHECK(!client_open(client, GARBAGE));
  int64_t before= clock_ms();
  CHECK(!client_open(client, 3) && clock_ms() - before >= 300 && clock_ms() - before < 2000);
  CHECK(fake_last_error_has(client, "did not answer HELLO"));
  fake_destroy(client);
}

static void silent_request_has_a_limit(void)
{
  struct client *client= fake_started_client();
  client->limits.request= 1000;
  client->limits.answer_grace= 200;
  int64_t before= clock_ms();
  CHECK(!client_open(client, SILENT) && clock_ms() - before >= 1200 && clock_ms() - before < 3000);
  CHECK(fake_last_error_has(client, "did not answer within 1 seconds"));
  CHECK(client_open(client, 3));
  fake_destroy(client);
}

static void *open_deaf(void *client)
{
  CHECK(!client_open(client, DEAF));
  return NULL;
}

/* Settings of 4 KiB fill a socket that nobody reads. */
static void agent_that_does_not_read_has_a_limit(void)
{
  struct client *client= fake_started_client();
  const int smallest= 1;
  char value[KEY_IDS_MAX + 1]= "";
  pthread_t opener;
  client->limits.write= 300;
  CHECK(setsockopt(client->io.fd, SOL_SOCKET, SO_SNDBUF, &smallest, sizeof smallest) == 0);
  int opens= atomic_load(&fake.opens);
  int64_t before= clock_ms();
  CHECK(pthread_create(&opener, NULL, open_deaf, client) == 0);
  while (atomic_load(&fake.opens) == opens)
    usleep(1000);
  for (int i= 0; i < 10; i++)
  {
    memset(value, 'a' + i, sizeof value - 1);
    CHECK(client_set(client, SETTING_KEY_IDS, value));
    usleep(10000);
  }
  pthread_join(opener, NULL);
  CHECK(clock_ms() - before < 2500 && fake_last_error_has(client, "did not read"));
  fake_destroy(client);
}

void limits_tests(void)
{
  TEST(silent_hello_has_a_limit);
  TEST(silent_request_has_a_limit);
  TEST(agent_that_does_not_read_has_a_limit);
}
