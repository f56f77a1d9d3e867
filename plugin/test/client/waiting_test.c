// SPDX-License-Identifier: GPL-2.0-only
/* Waits for a key of statements, appliers of replication and the start of a server, and what ends them. */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "test/client/fake_agent.h"
#include "test/test.h"

static atomic_bool is_killed;
static int64_t shipped_interrupt_every;

static bool killed(void *unused)
{
  (void) unused;
  return atomic_load(&is_killed);
}

static void call_as(enum caller_kind kind, uint32_t patience_ms)
{
  fake_call_as((struct caller) {.kind= kind, .patience_ms= patience_ms, .interrupt= {.is_wanted= killed}});
}

static struct client *client_as(enum caller_kind kind)
{
  struct client *client= fake_started_client();
  shipped_interrupt_every= client->limits.interrupt_every;
  client->limits.interrupt_every= 50;
  atomic_store(&is_killed, false);
  call_as(kind, 20000);
  return client;
}

struct opener
{
  pthread_t thread;
  struct client *client;
  uint32_t id;
  bool opened;
  int64_t ended_at;
};

static void *open_key(void *argument)
{
  struct opener *opener= argument;
  opener->opened= client_open(opener->client, opener->id);
  opener->ended_at= clock_ms();
  return NULL;
}

static void start(struct opener *opener, struct client *client, uint32_t id)
{
  *opener= (struct opener) {.client= client, .id= id};
  CHECK(pthread_create(&opener->thread, NULL, open_key, opener) == 0);
}

/* Kills the statement after a while. Returns how many milliseconds it took to end. */
static int64_t kill_and_join(struct opener *opener)
{
  usleep(200000);
  int64_t killed_at= clock_ms();
  atomic_store(&is_killed, true);
  pthread_join(opener->thread, NULL);
  return opener->ended_at - killed_at;
}

static bool is_quiet(struct client *client)
{
  struct client_status status;
  client_get_status(client, &status);
  return fake_logged() == 0 && status.last_error[0] == 0;
}

static bool bucket_is_full(struct client *client)
{
  pthread_mutex_lock(&client->lock);
  bool full= client->bucket.full_at <= clock_ms();
  pthread_mutex_unlock(&client->lock);
  return full;
}

static void spend_the_bucket(struct client *client)
{
  pthread_mutex_lock(&client->lock);
  while (bucket_take(&client->bucket, clock_ms()))
    ;
  pthread_mutex_unlock(&client->lock);
}

static void interrupted_statement_leaves_and_the_key_comes_all_the_same(void)
{
  struct opener opener;
  struct client *client= client_as(CALLER_STATEMENT);
  atomic_store(&fake.delay_ms, 1500);
  start(&opener, client, LATE);
  CHECK(kill_and_join(&opener) < 600 && !opener.opened && is_quiet(client));
  atomic_store(&is_killed, false);
  int before= atomic_load(&fake.opens);
  CHECK(client_open(client, LATE) && atomic_load(&fake.opens) == before && is_quiet(client));
  fake_destroy(client);
}

static void interrupted_applier_and_start_leave_too(void)
{
  for (int i= 0; i < 2; i++)
  {
    struct opener opener;
    struct client *client= client_as(i ? CALLER_STARTS : CALLER_APPLIER);
    start(&opener, client, SILENT);
    CHECK(kill_and_join(&opener) < 600 && !opener.opened);
    fake_destroy(client);
  }
}

/* Measured with the shipped limits; a busy machine may be slow, but not each time. */
static void interrupt_is_heard_within_half_a_second(void)
{
  int64_t least= INT64_MAX;
  struct client *client= client_as(CALLER_STATEMENT);
  client->limits.interrupt_every= shipped_interrupt_every;
  CHECK(shipped_interrupt_every > 0);
  for (int i= 0; i < 10 && least >= 500; i++)
  {
    struct opener opener;
    atomic_store(&is_killed, false);
    start(&opener, client, SILENT);
    int64_t took= kill_and_join(&opener);
    least= took < least ? took : least;
    CHECK(!opener.opened);
  }
  CHECK(least < 500);
  fake_destroy(client);
}

/* The total holds whether it waits for its turn, an agent that does not answer HELLO, or KMS. */
static void statement_has_one_total(void)
{
  for (int hello= 0; hello < 2; hello++)
  {
    struct client *client= client_as(CALLER_STATEMENT);
    client->limits.total= 2500;
    if (hello)
      CHECK(!client_open(client, GARBAGE));
    atomic_store(&fake.hello, hello ? HELLO_SILENT : HELLO_WELCOME);
    spend_the_bucket(client);
    int64_t before= clock_ms();
    CHECK(!client_open(client, SILENT) && clock_ms() - before >= 2500 && clock_ms() - before < 6000);
    CHECK(fake_has_logged("the statement gave up"));
    fake_destroy(client);
  }
}

static uint32_t deadline_at_start(enum client_role role, int64_t left)
{
  struct failure failure;
  struct client *client= fake_client(5000, false);
  client->config.role= role;
  CHECK(client_start(client, &failure));
  call_as(CALLER_STARTS, 0);
  atomic_store(&is_killed, false);
  client->server_start_until= clock_ms() + left;
  CHECK(client_open(client, STORED));
  fake_destroy(client);
  return atomic_load(&fake.open_deadline);
}

static void only_a_start_that_should_be_over_soon_hurries(void)
{
  /* Time that passes before it is sent is subtracted. */
  CHECK(deadline_at_start(ROLE_SERVER, 1000) <= 8000);
  CHECK(deadline_at_start(ROLE_SERVER, 60000) > 20000);
  CHECK(deadline_at_start(ROLE_SERVER, -1) > 20000);
  CHECK(deadline_at_start(ROLE_BACKUP, 1000) > 20000 && deadline_at_start(ROLE_BACKUP, -1) > 20000);
}

static void statement_waits_for_kms_for_a_short_time_only(void)
{
  struct client *client= client_as(CALLER_STATEMENT);
  client->limits.statement= 1000;
  int64_t before= clock_ms();
  CHECK(!client_open(client, SILENT) && clock_ms() - before >= 1000 && clock_ms() - before < 4000);
  CHECK(fake_has_logged(" s; the statement gave up") && fake_last_error_has(client, "no answer"));
  fake_destroy(client);
}

/* A late WELCOME takes none of the time. */
static void agent_that_starts_takes_no_time_of_the_statement(void)
{
  struct client *client= client_as(CALLER_STATEMENT);
  CHECK(!client_open(client, GARBAGE));
  client->limits.statement= 1500;
  atomic_store(&fake.hello, HELLO_LATE);
  atomic_store(&fake.delay_ms, 1200);
  CHECK(client_open(client, LATE));
  fake_destroy(client);
}

/* A request of an applier goes on for longer than a statement waits for it. */
static void statement_gives_up_what_an_applier_goes_on_waiting_for(void)
{
  struct opener opener;
  struct client *client= client_as(CALLER_APPLIER);
  client->limits.statement= 100;
  atomic_store(&fake.delay_ms, 2500);
  start(&opener, client, LATE);
  usleep(300000);
  call_as(CALLER_STATEMENT, 20000);
  CHECK(!client_open(client, LATE) && fake_has_logged("the statement gave up"));
  pthread_join(opener.thread, NULL);
  CHECK(opener.opened && keytable_latest(&fake.table, LATE) == 1);
  fake_destroy(client);
}

static void *recover_soon(void *unused)
{
  usleep(2500000);
  atomic_store(&fake.delay_ms, 0);
  return unused;
}

static void applier_asks_again_until_kms_is_back(void)
{
  pthread_t thread;
  struct client *client= client_as(CALLER_APPLIER);
  int before= atomic_load(&fake.opens);
  atomic_store(&fake.delay_ms, 1);
  CHECK(pthread_create(&thread, NULL, recover_soon, NULL) == 0);
  CHECK(client_open(client, PASSING) && atomic_load(&fake.opens) - before >= 3 && atomic_load(&fake.opens) - before <= 6);
  pthread_join(thread, NULL);
  fake_destroy(client);
}

static void applier_gives_up_at_once_what_does_not_pass_and_in_time_what_does_not_end(void)
{
  struct client *client= client_as(CALLER_APPLIER);
  int before= atomic_load(&fake.opens);
  CHECK(!client_open(client, REFUSED) && atomic_load(&fake.opens) == before + 1);
  call_as(CALLER_APPLIER, 1500);
  atomic_store(&fake.delay_ms, 1);
  int64_t started= clock_ms();
  CHECK(!client_open(client, PASSING) && clock_ms() - started >= 1500 && clock_ms() - started < 5000);
  atomic_store(&fake.delay_ms, 0);
  fake_destroy(client);
}

static void statement_beyond_the_ration_waits_for_its_turn(void)
{
  struct client *client= client_as(CALLER_STATEMENT);
  spend_the_bucket(client);
  int64_t before= clock_ms();
  CHECK(client_open(client, 3) && client_open(client, 4) && clock_ms() - before >= BUCKET_EVERY_MS && is_quiet(client));
  fake_destroy(client);
}

static void turn_that_is_not_waited_for_goes_to_somebody_else(void)
{
  struct opener opener;
  struct client *client= client_as(CALLER_STATEMENT);
  spend_the_bucket(client);
  int64_t full_at= client->bucket.full_at;
  int before= atomic_load(&fake.opens);
  start(&opener, client, 3);
  CHECK(kill_and_join(&opener) < 600 && !opener.opened && atomic_load(&fake.opens) == before);
  CHECK(client->bucket.full_at == full_at && is_quiet(client));
  fake_destroy(client);
}

/* Statements that want ever more keys cannot keep an applier from its turn. */
static void applier_waits_for_its_turn_behind_statements(void)
{
  struct client *client= client_as(CALLER_STATEMENT);
  int64_t at;
  spend_the_bucket(client);
  pthread_mutex_lock(&client->lock);
  while (bucket_reserve(&client->bucket, clock_ms(), 2000, &at))
    ;
  pthread_mutex_unlock(&client->lock);
  client->limits.turn= 2000;
  CHECK(!client_open(client, 3) && fake_has_logged("SQL statements name too many keys") &&
        fake_last_error_has(client, "key 3 is not loaded and was not asked for"));
  call_as(CALLER_APPLIER, 20000);
  CHECK(client_open(client, 4));
  fake_destroy(client);
}

static void keys_that_are_listed_and_starts_are_not_rationed(void)
{
  struct client *client= client_as(CALLER_STATEMENT);
  client->limits.turn= 0;
  CHECK(client_set(client, SETTING_KEY_IDS, "1-2, 2000 - 2300"));
  for (uint32_t id= 2000; id < 2000 + 2 * BUCKET_SIZE; id++)
    CHECK(client_open(client, id));
  CHECK(bucket_is_full(client));
  spend_the_bucket(client);
  CHECK(!client_open(client, 2301) && client_open(client, 2300));
  call_as(CALLER_STARTS, 20000);
  CHECK(client_open(client, 2301));
  fake_destroy(client);
}

static bool may_create(uint32_t id, const struct interrupt *interrupt, struct failure *why)
{
  (void) id;
  (void) interrupt;
  (void) why;
  return true;
}

/* A start_timeout of 5 s allows 500 versions. */
static void statements_create_no_more_keys_than_a_start_can_load(void)
{
  struct client_status status;
  struct client *client= client_as(CALLER_STATEMENT);
  const uint8_t bytes[16]= {0};
  client->config.may_create= may_create;
  for (uint32_t version= 1; version < 400; version++)
    CHECK(keytable_put(&fake.table, 3, version, bytes, 16, KEY_AES_CBC, true) == KEYTABLE_ADDED);
  CHECK(client_open(client, 4) && client_open(client, STORED) && client_open(client, 5));
  CHECK(fake_logged() == 1 && fake_has_logged("the server has 400 key versions; from 500 on"));
  for (uint32_t version= 400; version < 498; version++)
    CHECK(keytable_put(&fake.table, 3, version, bytes, 16, KEY_AES_CBC, true) == KEYTABLE_ADDED);
  int before= atomic_load(&fake.opens);
  /* The answer to the question is no. */
  CHECK(!client_open(client, 6) && atomic_load(&fake.opens) == before + 2 && atomic_load(&fake.may_create) == 0);
  CHECK(fake_last_error_has(client, "list the key ids that are wanted in aws_key_management_key_ids"));
  /*
    MariaDB's own keys and those that the administrator lists are created. The I/O thread logs a refusal before it turns
    to the next request.
  */
  CHECK(client_open(client, 1) && fake_has_logged("key 6 is not created: the server has 500 key versions, and from 500 on"));
  CHECK(client_open(client, 2) && client_set(client, SETTING_KEY_IDS, "6-9") && client_open(client, 6));
  client_get_status(client, &status);
  CHECK(status.versions_limit == 500);
  /* A replica makes what its primary has made. */
  CHECK(!client_open(client, 50));
  call_as(CALLER_APPLIER, 20000);
  CHECK(client_open(client, 50) && client_open(client, 51));
  fake_destroy(client);
}

/* Makes a client whose agent says that a version is missing. */
static struct client *client_with_missing(void)
{
  struct failure failure;
  struct client *client= fake_client(5000, true);
  atomic_store(&fake.load, LOAD_MISSING);
  CHECK(client_start(client, &failure));
  return client;
}

static void missing_version_fails_at_once(void)
{
  struct client *client= client_with_missing();
  int before= atomic_load(&fake.fetches);
  int64_t started= clock_ms();
  CHECK(!client_fetch(client, 3, 9) && clock_ms() - started < 500 && atomic_load(&fake.fetches) == before);
  CHECK(fake_has_logged("key 3 version 9 is not loaded") && fake_has_logged("never DROP it"));
  /* The agent knows which ids have missing versions: others can be created. */
  CHECK(client_open(client, 4));
  /* An agent that has not listed them yet is not waited for. */
  atomic_store(&fake.hello, HELLO_SILENT);
  client->limits.start_again= 60000;
  CHECK(!client_open(client, CLOSES));
  started= clock_ms();
  CHECK(!client_open(client, 5) && clock_ms() - started < 500 && fake_last_error_has(client, "key 5 is not loaded"));
  fake_destroy(client);
}

/* The next reload is a minute away; the applier's new key brings it forward. */
static void applier_waits_for_the_list_of_missing_versions(void)
{
  struct client *client= client_with_missing();
  client->limits.start_again= 60000;
  client->limits.reload_soonest= 300;
  CHECK(!client_open(client, CLOSES));
  call_as(CALLER_STATEMENT, 0);
  CHECK(!client_fetch(client, 3, 9));
  call_as(CALLER_APPLIER, 30000);
  int64_t started= clock_ms();
  CHECK(client_open(client, 5) && clock_ms() - started < 20000);
  /* No caller waits for a page of a missing version. */
  started= clock_ms();
  CHECK(!client_fetch(client, 3, 9) && clock_ms() - started < 5000);
  fake_destroy(client);
}

static void what_was_refused_meanwhile_is_told_once_all_are_loaded(void)
{
  struct client *client= client_with_missing();
  CHECK(!client_fetch(client, 3, 9));
  client->limits.start_again= 50;
  atomic_store(&fake.load, LOAD_DONE);
  CHECK(!client_open(client, CLOSES));
  int64_t until= clock_ms() + 5000;
  while (!fake_has_logged("every stored key version is loaded now; a table that was opened before") && clock_ms() < until)
    usleep(5000);
  CHECK(fake_has_logged("every stored key version is loaded now; a table that was opened before"));
  CHECK(client_fetch(client, 3, 10));
  fake_destroy(client);
}

/* Nobody serves the client until it is started. */
static void connection_that_hangs_is_told_until_it_goes_on(void)
{
  struct failure failure;
  struct client_status status;
  struct client *client= fake_client(5000, false);
  struct client_limits shipped= client->limits;
  client->limits.request= 100;
  client->limits.patience= client->limits.welcome= client->limits.write= client->limits.answer_grace= 0;
  CHECK(!client_open(client, STORED) && client->hangs);
  CHECK(fake_has_logged(": the plugin's connection to the agent does not answer; loaded keys stay in use"));
  client_get_status(client, &status);
  CHECK(strstr(status.last_error, "does not answer") && client_reason(client, STORED, 0, &failure));
  client->limits= shipped;
  CHECK(client_start(client, &failure) && client_open(client, STORED));
  pthread_mutex_lock(&client->lock);
  CHECK(!client->hangs);
  pthread_mutex_unlock(&client->lock);
  fake_destroy(client);
}

void waiting_tests(void)
{
  TEST(interrupted_statement_leaves_and_the_key_comes_all_the_same);
  TEST(interrupted_applier_and_start_leave_too);
  TEST(interrupt_is_heard_within_half_a_second);
  TEST(statement_has_one_total);
  TEST(only_a_start_that_should_be_over_soon_hurries);
  TEST(statement_waits_for_kms_for_a_short_time_only);
  TEST(agent_that_starts_takes_no_time_of_the_statement);
  TEST(statement_gives_up_what_an_applier_goes_on_waiting_for);
  TEST(applier_asks_again_until_kms_is_back);
  TEST(applier_gives_up_at_once_what_does_not_pass_and_in_time_what_does_not_end);
  TEST(statement_beyond_the_ration_waits_for_its_turn);
  TEST(turn_that_is_not_waited_for_goes_to_somebody_else);
  TEST(applier_waits_for_its_turn_behind_statements);
  TEST(keys_that_are_listed_and_starts_are_not_rationed);
  TEST(statements_create_no_more_keys_than_a_start_can_load);
  TEST(missing_version_fails_at_once);
  TEST(applier_waits_for_the_list_of_missing_versions);
  TEST(what_was_refused_meanwhile_is_told_once_all_are_loaded);
  TEST(connection_that_hangs_is_told_until_it_goes_on);
}
