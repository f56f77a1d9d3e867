// SPDX-License-Identifier: GPL-2.0-only
/* Guarantees to callers of the client. */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "test/client/fake_agent.h"
#include "test/test.h"

static void *open_three(void *client)
{
  CHECK(client_open(client, 3));
  return NULL;
}

static void many_callers_ask_once(void)
{
  pthread_t threads[8];
  struct client *client= fake_started_client();
  int before= atomic_load(&fake.opens);
  for (int i= 0; i < 8; i++)
    pthread_create(&threads[i], NULL, open_three, client);
  for (int i= 0; i < 8; i++)
    pthread_join(threads[i], NULL);
  CHECK(atomic_load(&fake.opens) == before + 1 && keytable_latest(&fake.table, 3) == 1);
  CHECK(client_open(client, 3) && atomic_load(&fake.opens) == before + 1);
  fake_destroy(client);
}

static void fetch_never_raises_the_latest_version(void)
{
  struct client *client= fake_started_client();
  CHECK(client_open(client, 3) && client_fetch(client, 3, 9));
  CHECK(keytable_has(&fake.table, 3, 9) && keytable_latest(&fake.table, 3) == 1);
  int before= atomic_load(&fake.fetches);
  CHECK(client_fetch(client, 3, 9) && atomic_load(&fake.fetches) == before);
  fake_destroy(client);
}

static void rotation_raises_the_latest_version(void)
{
  struct failure failure;
  struct client *client= fake_started_client();
  CHECK(client_open(client, 3) && client_rotate(client, 3, NULL, &failure) && keytable_latest(&fake.table, 3) == 2);
  fake_destroy(client);
}

static void failure_is_told_and_remembered(void)
{
  struct failure failure;
  struct client_status status;
  struct client *client= fake_started_client();
  int before= atomic_load(&fake.opens);
  CHECK(!client_open(client, REFUSED) && !client_open(client, REFUSED) && atomic_load(&fake.opens) == before + 1);
  CHECK(client_set(client, SETTING_KEY_IDS, "1-200"));
  CHECK(!client_open(client, REFUSED) && atomic_load(&fake.opens) == before + 2);
  CHECK(!client_rotate(client, ROTATE_REFUSED, NULL, &failure));
  CHECK(strcmp(failure.code, "CODE") == 0 && strcmp(failure.message, "no such key") == 0);
  CHECK(strcmp(failure.hint, "make one") == 0);
  client_get_status(client, &status);
  CHECK(strcmp(status.last_error, "no such key; make one") == 0 && strlen(status.last_error_time) == 20);
  fake_destroy(client);
}

/* The agent's text is of no key, as when the directory of all keys is gone. */
static void failure_of_a_key_is_logged_with_its_id(void)
{
  struct client *client= fake_started_client();
  CHECK(!client_open(client, REFUSED));
  char line[64];
  snprintf(line, sizeof line, "key %u: no such key; make one\n", (unsigned) REFUSED);
  CHECK(client_open(client, 4) && fake_has_logged(line));
  fake_destroy(client);
}

static void refusal_of_a_key_id_is_no_last_error(void)
{
  struct client_status status;
  struct client *client= fake_started_client();
  CHECK(!client_open(client, NOT_ALLOWED) && client_open(client, 4) && fake_has_logged("not that one"));
  client_get_status(client, &status);
  CHECK(status.last_error[0] == 0);
  fake_destroy(client);
}

/* client_set() makes the client ask again at once; each answer has another text but the same code. */
static void same_failure_with_another_request_number_is_logged_once(void)
{
  struct client *client= fake_started_client();
  for (int i= 0; i < 3; i++)
    CHECK(client_set(client, SETTING_KEY_IDS, i % 2 ? "1-200" : "1-300") && !client_open(client, NUMBERED));
  CHECK(client_open(client, 4) && fake_logged() == 1 && fake_has_logged("KMS said no"));
  fake_destroy(client);
}

static void flood_of_key_ids_has_a_budget(void)
{
  struct client *client= fake_started_client();
  fake_stop_listening();
  client->limits.patience= client->limits.turn= 0;
  for (uint32_t id= 1; id <= 300; id++)
    CHECK(!client_open(client, id));
  usleep(100000);
  /* One more line says that too much was asked for. */
  CHECK(fake_logged() == (int) RECENT_BUDGET + 1);
  fake_destroy(client);
  CHECK(fake_logged() == (int) RECENT_BUDGET + 2 && fake_has_logged("80 more failures of other keys were not logged"));
  fake_listen();
}

/* A token may come back meanwhile. */
static bool is_spent(struct client *client)
{
  int before= atomic_load(&fake.opens);
  for (uint32_t id= 5000; id < 5010; id++)
    (void) client_open(client, id);
  return atomic_load(&fake.opens) - before < 10;
}

static void statements_may_not_ask_for_any_number_of_keys(void)
{
  struct failure failure;
  struct client *client= fake_started_client();
  int before= atomic_load(&fake.opens), opened= 0;
  int64_t started= clock_ms();
  client->limits.turn= 0;
  for (uint32_t id= 1000; id < 1300; id++)
    opened+= client_open(client, id);
  int most= BUCKET_SIZE + 1 + (int) ((clock_ms() - started) / BUCKET_EVERY_MS);
  CHECK(opened >= BUCKET_SIZE && opened <= most && atomic_load(&fake.opens) - before == opened);
  CHECK(is_spent(client) && fake_has_logged("SQL statements name too many keys") && fake_logged() == 1);
  CHECK(fake_last_error_has(client, "those that it lists have no such limit"));
  /* A loaded key needs no token, and neither does a rotation. */
  CHECK(client_open(client, 1000) && client_rotate(client, 3, NULL, &failure) && keytable_latest(&fake.table, 3) == 2);
  fake_destroy(client);
}

static void key_that_was_fetched_or_is_not_allowed_leaves_the_bucket_full(void)
{
  struct client *client= fake_started_client();
  for (uint32_t i= 0; i < 3 * BUCKET_SIZE; i++)
  {
    CHECK(client_fetch(client, 3, 1000 + i));
    CHECK(client_set(client, SETTING_KEY_IDS, i % 2 ? "1-200" : "1-300") && !client_open(client, NOT_ALLOWED));
  }
  CHECK(client_open(client, 4) && fake_has_logged("not that one") && !fake_has_logged("too many keys"));
  fake_destroy(client);
}

static void setting_is_told_before_the_next_request(void)
{
  struct client *client= fake_started_client();
  atomic_store(&fake.told_alias, false);
  CHECK(client_set(client, SETTING_MASTER_KEY_ID, "alias/x"));
  CHECK(client_open(client, 5) && atomic_load(&fake.told_alias));
  fake_destroy(client);
}

static bool yes(void *asked)
{
  atomic_fetch_add((atomic_int *) asked, 1);
  return true;
}

/* Interrupts a rotation that takes 600 ms and waits for its end. */
static void interrupt_rotation(uint32_t id, const char *logged)
{
  struct failure failure;
  atomic_int asked= 0;
  const struct interrupt interrupt= {.is_wanted= yes, .argument= &asked};
  struct client *client= fake_started_client();
  client->limits.interrupt_every= 100;
  atomic_store(&fake.delay_ms, 600);
  int64_t before= clock_ms();
  CHECK(!client_rotate(client, id, &interrupt, &failure));
  CHECK(clock_ms() - before < 500 && atomic_load(&asked) == 1);
  CHECK(strcmp(failure.message, "interrupted; the rotation may still succeed, see the error log") == 0);
  CHECK(client_open(client, 4) && fake_has_logged(logged));
  CHECK(keytable_latest(&fake.table, id) == (id == ROTATE_SLOW ? 2 : KEY_VERSION_NONE));
  fake_destroy(client);
}

static void interrupted_rotation_ends_in_the_log(void)
{
  interrupt_rotation(ROTATE_SLOW, "rotation of key 203: done, after its statement was interrupted");
  interrupt_rotation(ROTATE_SLOW_REFUSED, "rotation of key 204: no such key; make one");
}

static void failed_rotation_is_logged_once_with_its_key(void)
{
  struct failure failure;
  struct client *client= fake_started_client();
  for (int i= 0; i < 3; i++)
  {
    CHECK(!client_rotate(client, ROTATE_REFUSED, NULL, &failure));
    client_log_rotation(client, ROTATE_REFUSED, &failure);
  }
  CHECK(fake_logged() == 1 && fake_has_logged("rotation of key 5: no such key; make one"));
  client_log_rotation(client, 0, &failure);
  CHECK(fake_logged() == 2 && fake_has_logged("rotation of all keys: no such key; make one"));
  for (uint32_t id= 1000; id < 1300; id++)
    client_log_rotation(client, id, &failure);
  CHECK(fake_logged() == 1 + (int) RECENT_BUDGET);
  fake_destroy(client);
  CHECK(fake_has_logged("281 more failures of other keys were not logged"));
}

static void text_that_does_not_fit_keeps_the_hint(void)
{
  struct failure failure= failure_plain("");
  char text[101], whole[FAILURE_TEXT_MAX];
  memset(failure.message, 'm', 500);
  failure.message[500]= 0;
  strcpy(failure.hint, "do this");
  CHECK(failure_text(&failure, whole, sizeof whole) && strlen(whole) == 500 + 2 + 7);
  CHECK(!failure_text(&failure, text, sizeof text));
  CHECK(strlen(text) == 100 && strcmp(text + 100 - 14, "mm...; do this") == 0);
  memset(failure.hint, 'h', 300);
  failure.hint[300]= 0;
  CHECK(!failure_text(&failure, text, sizeof text) && strlen(text) == 100);
  CHECK(strncmp(text, "mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm...; hhh", 39) == 0);
  failure.hint[0]= 0;
  CHECK(!failure_text(&failure, text, sizeof text) && strcmp(text + 96, "m...") == 0);
}

void client_tests(void)
{
  TEST(many_callers_ask_once);
  TEST(fetch_never_raises_the_latest_version);
  TEST(rotation_raises_the_latest_version);
  TEST(failure_is_told_and_remembered);
  TEST(failure_of_a_key_is_logged_with_its_id);
  TEST(refusal_of_a_key_id_is_no_last_error);
  TEST(same_failure_with_another_request_number_is_logged_once);
  TEST(flood_of_key_ids_has_a_budget);
  TEST(statements_may_not_ask_for_any_number_of_keys);
  TEST(key_that_was_fetched_or_is_not_allowed_leaves_the_bucket_full);
  TEST(setting_is_told_before_the_next_request);
  TEST(interrupted_rotation_ends_in_the_log);
  TEST(failed_rotation_is_logged_once_with_its_key);
  TEST(text_that_does_not_fit_keeps_the_hint);
}
