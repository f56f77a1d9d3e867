// SPDX-License-Identifier: GPL-2.0-only
/*
  An agent that breaks docs/protocol.md: the connection is closed at once, the request fails and says why, the next one
  finds another connection.
*/
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/schedule.h"
#include "client/output.h"
#include "client/request.h"
#include "test/client/fake_agent.h"
#include "test/test.h"

static bool is_first_key(void)
{
  uint8_t key[16];
  size_t length;
  return keytable_get(&fake.table, 1, 1, key, sizeof key, &length) == KEYTABLE_FOUND && key[0] == 1 &&
         keytable_algorithm(&fake.table, 1, 1) == KEY_AES_CBC;
}

static void broken_protocol_closes_the_connection(void)
{
  static const struct
  {
    uint32_t id;
    const char *why;
  } rows[]= {
    {KEY_WITH_REQUEST, "broke the protocol: KEY with a request number"},
    {GARBAGE, "broke the protocol: length of a frame out of range"},
    {NO_KEY, "broke the protocol: DONE (105, 1) does not match the keys that came before it"},
    {ALGORITHM_0, "broke the protocol: malformed KEY"},
    {ALGORITHM_3, "broke the protocol: malformed KEY"},
    {LOG_OF_TWO_LINES, "broke the protocol: malformed LOG"},
  };
  struct client *client= fake_started_client();
  CHECK(client_open(client, 1));
  for (size_t i= 0; i < sizeof rows / sizeof rows[0]; i++)
  {
    int connections= atomic_load(&fake.connections);
    int64_t before= clock_ms();
    CHECK(!client_open(client, rows[i].id) && clock_ms() - before < 2000);
    CHECK(fake_last_error_has(client, rows[i].why));
    CHECK(keytable_latest(&fake.table, rows[i].id) == KEY_VERSION_NONE);
    CHECK(client_open(client, 20 + (uint32_t) i) && atomic_load(&fake.connections) == connections + 1);
  }
  CHECK(is_first_key());
  fake_destroy(client);
}

static bool may_always(uint32_t id, const struct interrupt *interrupt, struct failure *why)
{
  (void) id;
  (void) interrupt;
  (void) why;
  /* So that the frames that follow a question come before its answer. */
  usleep(50000);
  return true;
}

/*
  Questions about nothing, twice, about another key or after the answer; an end before the answer. A request that waits for a
  look then does not notice: it is asked of the next agent.
*/
static void questions_out_of_order_close_the_connection(void)
{
  static const struct
  {
    uint32_t id;
    bool is_made;
    const char *why;
  } rows[]= {
    {QUESTION_TWICE, true, "QUESTION about key %u, which is not to be asked"},
    {QUESTION_OF_ANOTHER, false, "QUESTION about key %u, which is not to be asked"},
    {QUESTION_OF_NOTHING, false, "QUESTION about key %u, which is not to be asked"},
    {QUESTION_AFTER_ANSWER, false, "QUESTION about key %u, which is not to be asked"},
    {DONE_DURING_QUESTION, true, "DONE answers nothing that was asked"},
    {FAIL_DURING_QUESTION, true, "FAIL answers nothing that was asked"},
    {DENIED_UNASKED, false, "DONE (%u, 0) does not match the keys that came before it"},
  };
  struct client *client= fake_started_client();
  client->config.may_create= may_always;
  for (size_t i= 0; i < sizeof rows / sizeof rows[0]; i++)
  {
    int connections= atomic_load(&fake.connections);
    int64_t before= clock_ms();
    char why[160]= "broke the protocol: ";
    snprintf(why + strlen(why), sizeof why - strlen(why), rows[i].why, rows[i].id + (rows[i].id == QUESTION_OF_ANOTHER));
    CHECK(client_open(client, rows[i].id) == rows[i].is_made && clock_ms() - before < 2000);
    CHECK(fake_last_error_has(client, why));
    CHECK((keytable_latest(&fake.table, rows[i].id) != KEY_VERSION_NONE) == rows[i].is_made);
    CHECK(client_open(client, 20 + (uint32_t) i) && atomic_load(&fake.connections) > connections);
  }
  client->config.may_create= NULL;
  CHECK(!client_open(client, QUESTION_ALWAYS));
  CHECK(fake_last_error_has(client, "which is not to be asked"));
  fake_destroy(client);
}

/* The agent of the release before: greeted again in its version, told no names of keys and asked for no use of them. */
static void agent_of_protocol_1_is_greeted_again_in_its_version(void)
{
  struct failure failure;
  atomic_store(&fake.protocol, PROTOCOL_OLDEST);
  struct client *client= fake_started_client();
  int connections= atomic_load(&fake.connections), uses= atomic_load(&fake.uses);
  CHECK(atomic_load(&fake.spoken) == PROTOCOL_OLDEST && client_open(client, 4));
  CHECK(client_fetch(client, 4, 3) && client_rotate(client, 4, NULL, &failure));
  output_queue_use(client);
  request_wake(client);
  CHECK(client_open(client, 6) && atomic_load(&fake.uses) == uses);
  CHECK(!client_open(client, GARBAGE) && client_open(client, 8));
  CHECK(atomic_load(&fake.held) == 4 && atomic_load(&fake.names) == 0 && atomic_load(&fake.connections) == connections + 1);
  atomic_store(&fake.protocol, PROTOCOL_VERSION);
  /* The next agent is of this release. */
  fake_stop_listening();
  fake_listen();
  CHECK(client_open(client, 10) && atomic_load(&fake.spoken) == PROTOCOL_VERSION && atomic_load(&fake.names) == 5);
  fake_destroy(client);
}

/* The plugin does less with it than an operator expects. */
static void agent_of_protocol_1_is_told_once(void)
{
  atomic_store(&fake.protocol, PROTOCOL_OLDEST);
  struct client *client= fake_started_client();
  CHECK(fake_has_logged("agent te st speaks protocol 1, this plugin 2: ") && fake_has_logged("upgrade its package"));
  int logged= fake_logged(), connections= atomic_load(&fake.connections);
  fake_stop_listening();
  fake_listen();
  CHECK(client_open(client, 4) && fake_logged() == logged && atomic_load(&fake.connections) == connections + 1);
  fake_destroy(client);
  atomic_store(&fake.protocol, PROTOCOL_VERSION);
}

/* mariadb-backup makes no keys, and looks at no data. */
static void backup_is_not_to_be_asked(void)
{
  struct failure failure;
  struct client *client= fake_client(5000, false);
  client->config.role= ROLE_BACKUP;
  client->config.may_create= may_always;
  CHECK(client_start(client, &failure) && !client_open(client, 4));
  CHECK(fake_last_error_has(client, "QUESTION about key 4, which is not to be asked"));
  fake_destroy(client);
}

/* Makes a client that has as many keys as statements may create, so that no look is made. */
static struct client *client_at_its_limit(void)
{
  static const uint8_t bytes[16]= {0};
  struct client *client= fake_started_client();
  client->config.may_create= may_always;
  for (uint32_t version= 1; version <= 500; version++)
    CHECK(keytable_put(&fake.table, 3, version, bytes, sizeof bytes, KEY_AES_CBC, true) == KEYTABLE_ADDED);
  return client;
}

/* An answer that the agent did not wait for counts as asked: the request is not asked of one agent after the other. */
static void agent_that_dies_of_its_question_is_asked_once_more(void)
{
  struct client *client= client_at_its_limit();
  int before= atomic_load(&fake.opens);
  atomic_store(&fake.closes_left, 100);
  CHECK(!client_open(client, QUESTION_THEN_CLOSES) && atomic_load(&fake.opens) == before + 2);
  fake_destroy(client);
}

static void *open_questioned(void *client)
{
  CHECK(!client_open(client, QUESTION_THEN_CLOSES));
  return NULL;
}

/* The next agent is asked afresh. */
static void failure_of_a_request_ends_with_its_agent(void)
{
  pthread_t opener;
  struct client *client= client_at_its_limit();
  int before= atomic_load(&fake.opens);
  atomic_store(&fake.closes_left, 1);
  CHECK(pthread_create(&opener, NULL, open_questioned, client) == 0);
  for (int64_t until= clock_ms() + 5000; atomic_load(&fake.opens) < before + 2 && clock_ms() < until;)
    usleep(1000);
  pthread_mutex_lock(&client->lock);
  const struct request *request= client->requests;
  CHECK(request && request->sent_before && !request->failure.message[0]);
  client->stop= true;
  pthread_mutex_unlock(&client->lock);
  request_wake(client);
  pthread_join(opener, NULL);
  fake_destroy(client);
}

#define CONFLICT_OF_1 "key 1 version 1: the file aws-kms-key.1.1 in the agent's key directory is not the key that the server"

/* The other keys must go on, and the log has to say it before the next start does. */
static void key_that_contradicts_one_in_memory_is_an_error_in_the_log(void)
{
  struct client *client= fake_started_client();
  CHECK(client_open(client, 1));
  int connections= atomic_load(&fake.connections);
  CHECK(client_open(client, CONFLICT) && is_first_key());
  CHECK(fake_has_logged(CONFLICT_OF_1) && fake_last_error_has(client, CONFLICT_OF_1));
  CHECK(fake_has_logged("put those back from a backup of this server's key files; without a backup, copy all data out"));
  CHECK(client_open(client, OTHER_ALGORITHM) && is_first_key());
  CHECK(atomic_load(&fake.connections) == connections);
  fake_destroy(client);
}

static void request_for_a_key_that_contradicts_one_in_memory_fails(void)
{
  static const uint8_t held[16]= {0xEE};
  struct failure failure;
  struct client *client= fake_started_client();
  CHECK(keytable_put(&fake.table, 6, 2, held, sizeof held, KEY_AES_CBC, true) == KEYTABLE_ADDED);
  CHECK(!client_rotate(client, 6, NULL, &failure));
  CHECK(strstr(failure.message, "key 6 version 2: the file aws-kms-key.6.2 in"));
  CHECK(strstr(failure.hint, "SET GLOBAL aws_key_management_rotate_key=6, then rebuild every table under key 6"));
  CHECK(fake_has_logged("key 6 version 2: the file aws-kms-key.6.2 in"));
  CHECK(keytable_put(&fake.table, 8, 1, held, sizeof held, KEY_AES_CBC, false) == KEYTABLE_ADDED);
  CHECK(!client_open(client, 8) && keytable_latest(&fake.table, 8) == KEY_VERSION_NONE);
  CHECK(fake_last_error_has(client, "key 8 version 1: the file aws-kms-key.8.1 in"));
  fake_destroy(client);
}

/* The names are more than the output has room for at once. */
static void names_of_the_keys_in_memory_follow_hello(void)
{
  static const uint8_t bytes[16];
  uint64_t hash= 0;
  struct client *client= fake_started_client();
  CHECK(atomic_load(&fake.held) == 0 && atomic_load(&fake.names) == 0);
  for (uint32_t id= 1000; id < 11000; id++)
    for (uint32_t version= 1; version <= 2; version++)
    {
      CHECK(keytable_put(&fake.table, id, version, bytes, sizeof bytes, KEY_AES_CBC, true) == KEYTABLE_ADDED);
      hash+= fake_hash(id, version);
    }
  CHECK(!client_open(client, GARBAGE));
  atomic_store(&fake.held_late, false);
  CHECK(client_open(client, 20000) && !atomic_load(&fake.held_late));
  CHECK(atomic_load(&fake.held) == 20000 && atomic_load(&fake.names) == 20000);
  CHECK(atomic_load(&fake.names_hash) == hash);
  fake_destroy(client);
}

static void key_of_ctr_needs_a_server_that_can(void)
{
  struct client *client= fake_started_client();
  client->config.no_ctr= "the server cannot";
  CHECK(!client_open(client, CTR_KEY) && !keytable_has(&fake.table, CTR_KEY, 1));
  char why[80];
  snprintf(why, sizeof why, "key %u version 1 encrypts with AES_CTR: the server cannot", CTR_KEY);
  CHECK(fake_last_error_has(client, why));
  fake_destroy(client);
  client= fake_started_client();
  CHECK(client_open(client, CTR_KEY) && keytable_algorithm(&fake.table, CTR_KEY, 1) == KEY_AES_CTR);
  fake_destroy(client);
}

static void key_that_nobody_asked_for_is_kept_but_not_current(void)
{
  struct client *client= fake_started_client();
  CHECK(client_open(client, UNASKED_KEY) && keytable_latest(&fake.table, UNASKED_KEY) == 1);
  CHECK(keytable_has(&fake.table, 7, 1) && keytable_latest(&fake.table, 7) == KEY_VERSION_NONE);
  fake_destroy(client);
}

static void key_counts_as_current_while_keys_are_missing(void)
{
  struct failure failure;
  struct client *client= fake_client(5000, true);
  atomic_store(&fake.load, LOAD_MISSING);
  CHECK(client_start(client, &failure));
  CHECK(client_open(client, UNASKED_KEY) && keytable_latest(&fake.table, 7) == 1);
  fake_destroy(client);
}

static void until_checked(int checks)
{
  int64_t until= clock_ms() + 5000;
  while (atomic_load(&fake.checks) < checks && clock_ms() < until)
    usleep(5000);
  usleep(100 * 1000);
}

static void master_keys_are_looked_at_now_and_then(void)
{
  struct failure failure;
  struct client_status status;
  struct client *client= fake_client(5000, false);
  int before= atomic_load(&fake.checks), connections= atomic_load(&fake.connections);
  atomic_store(&fake.master_key, MASTER_KEY_PENDING_DELETION);
  client_get_status(client, &status);
  CHECK(status.master_key == MASTER_KEY_NOT_LOOKED && status.days_left == NO_DAYS);
  client->config.watch_interval_ms= 200;
  client->io.watch_at= clock_ms() + 200;
  CHECK(client_start(client, &failure));
  until_checked(before + 3);
  CHECK(atomic_load(&fake.checks) >= before + 3 && atomic_load(&fake.connections) == connections + 1);
  client_get_status(client, &status);
  CHECK(status.master_key == MASTER_KEY_PENDING_DELETION && status.days_left == 6);
  fake_destroy(client);
}

static void master_keys_are_used_once_a_day(void)
{
  struct failure failure;
  struct client *client= fake_client(5000, false);
  int before= atomic_load(&fake.uses), checks= atomic_load(&fake.checks);
  /* The first USE is answered with FAIL: that was no use. */
  atomic_store(&fake.uses_refused, 1);
  client->config.watch_interval_ms= 100;
  schedule_watch(client, clock_ms());
  CHECK(client_start(client, &failure));
  until_checked(checks + 8);
  CHECK(atomic_load(&fake.checks) >= checks + 8 && atomic_load(&fake.uses) == before + 2);
  fake_destroy(client);
}

static void master_keys_are_used_each_day_however_seldom_they_are_looked_at(void)
{
  const int64_t hour= 3600000, week= 7 * 24 * hour;
  struct client *client= fake_client(5000, false);
  client->config.watch_interval_ms= (uint32_t) week;
  schedule_watch(client, hour);
  CHECK(client->io.watch_at >= week - week / 10 && client->io.use_at > hour && client->io.use_at <= 28 * hour);
  schedule_next_use(&client->io, hour);
  CHECK(client->io.use_at > 24 * hour - 1 && client->io.use_at <= 25 * hour);
  client->config.watch_interval_ms= 0;
  schedule_watch(client, hour);
  CHECK(client->io.watch_at == 0 && client->io.use_at == 0);
  fake_destroy(client);
}

static void master_keys_are_not_looked_at_unasked(void)
{
  struct client *client= fake_started_client();
  int before= atomic_load(&fake.checks), uses= atomic_load(&fake.uses);
  usleep(300 * 1000);
  CHECK(client->io.watch_at == 0 && atomic_load(&fake.checks) == before);
  CHECK(client->io.use_at == 0 && atomic_load(&fake.uses) == uses);
  fake_destroy(client);
}

static void state_of_a_master_key_out_of_range_breaks_the_protocol(void)
{
  struct failure failure;
  struct client *client= fake_client(5000, false);
  int before= atomic_load(&fake.checks);
  atomic_store(&fake.master_key, MASTER_KEY_STATES);
  client->config.watch_interval_ms= 60000;
  client->io.watch_at= clock_ms() + 50;
  CHECK(client_start(client, &failure));
  until_checked(before + 1);
  CHECK(fake_last_error_has(client, "broke the protocol: malformed MASTERKEY"));
  fake_destroy(client);
}

static void done_must_be_borne_out(void)
{
  struct failure failure;
  struct client *client= fake_started_client();
  CHECK(!client_fetch(client, 3, FETCH_NO_KEY));
  CHECK(fake_last_error_has(client, "broke the protocol: DONE (3, 99)"));
  CHECK(!client_rotate(client, ROTATE_NO_KEY, NULL, &failure) && strstr(failure.message, "DONE (202, 2)"));
  fake_destroy(client);
}

/* Returns the message of the failed start. */
static struct failure start_that_fails(enum fake_hello hello, enum fake_load load)
{
  struct failure failure= failure_plain("");
  struct client *client= fake_client(5000, false);
  int64_t before= clock_ms();
  atomic_store(&fake.hello, hello);
  atomic_store(&fake.load, load);
  CHECK(!client_start(client, &failure) && clock_ms() - before < 2000);
  CHECK(!keytable_has(&fake.table, 8, 1));
  fake_destroy(client);
  return failure;
}

static void start_with_a_broken_protocol_says_so(void)
{
  struct failure failure= start_that_fails(HELLO_OTHER_VERSION, LOAD_DONE);
  CHECK(strcmp(failure.message, "agent te st speaks protocol 3, this plugin 2 and 1") == 0);
  CHECK(strstr(failure.hint, "the plugin is the older one: upgrade its package to the release of the agent, and restart"));
  failure= start_that_fails(HELLO_NO_VERSION, LOAD_DONE);
  CHECK(strcmp(failure.message, "the agent refuses this plugin, which speaks protocol 2 and 1: the plugin speaks protocol 1, "
                                "this agent 4 and 3") == 0);
  atomic_store(&fake.protocol, PROTOCOL_OLDEST);
  failure= start_that_fails(HELLO_UNASKED_VERSION, LOAD_DONE);
  CHECK(strstr(failure.message, "broke the protocol: unexpected WELCOME: protocol 2, asked for 1"));
  atomic_store(&fake.protocol, PROTOCOL_VERSION);
  failure= start_that_fails(HELLO_KEY_FIRST, LOAD_DONE);
  CHECK(strstr(failure.message, "broke the protocol: KEY before WELCOME"));
  failure= start_that_fails(HELLO_REFUSED, LOAD_DONE);
  CHECK(strcmp(failure.code, "BAD_OPTION") == 0 && strcmp(failure.message, "will not") == 0);
  failure= start_that_fails(HELLO_WELCOME, LOAD_TOO_MANY);
  CHECK(strstr(failure.message, "broke the protocol: DONE (0, 1)"));
}

static void closed_connection_fails_the_request_after_one_more_try(void)
{
  struct client *client= fake_started_client();
  int before= atomic_load(&fake.opens);
  CHECK(!client_open(client, CLOSES) && atomic_load(&fake.opens) == before + 2);
  CHECK(client_open(client, 4));
  fake_destroy(client);
}

/* The agent that closed may have rotated, or not. */
static void rotation_is_not_asked_again(void)
{
  struct failure failure;
  struct client *client= fake_started_client();
  int before= atomic_load(&fake.rotates);
  CHECK(!client_rotate(client, ROTATE_CLOSES, NULL, &failure) && atomic_load(&fake.rotates) == before + 1);
  CHECK(strcmp(failure.message, "the agent closed the connection") == 0);
  fake_destroy(client);
}

void protocol_tests(void)
{
  TEST(broken_protocol_closes_the_connection);
  TEST(questions_out_of_order_close_the_connection);
  TEST(agent_of_protocol_1_is_greeted_again_in_its_version);
  TEST(agent_of_protocol_1_is_told_once);
  TEST(backup_is_not_to_be_asked);
  TEST(agent_that_dies_of_its_question_is_asked_once_more);
  TEST(failure_of_a_request_ends_with_its_agent);
  TEST(key_that_contradicts_one_in_memory_is_an_error_in_the_log);
  TEST(request_for_a_key_that_contradicts_one_in_memory_fails);
  TEST(names_of_the_keys_in_memory_follow_hello);
  TEST(key_of_ctr_needs_a_server_that_can);
  TEST(key_that_nobody_asked_for_is_kept_but_not_current);
  TEST(key_counts_as_current_while_keys_are_missing);
  TEST(master_keys_are_looked_at_now_and_then);
  TEST(master_keys_are_used_once_a_day);
  TEST(master_keys_are_used_each_day_however_seldom_they_are_looked_at);
  TEST(master_keys_are_not_looked_at_unasked);
  TEST(state_of_a_master_key_out_of_range_breaks_the_protocol);
  TEST(done_must_be_borne_out);
  TEST(start_with_a_broken_protocol_says_so);
  TEST(closed_connection_fails_the_request_after_one_more_try);
  TEST(rotation_is_not_asked_again);
}
