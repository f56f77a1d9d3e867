// SPDX-License-Identifier: GPL-2.0-only
/* Starts: their time limits, and what is refused or tried again after one that failed. */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "test/client/fake_agent.h"
#include "test/test.h"

/* Starts a client whose start fails. Returns how many milliseconds that took. */
static int64_t failing_start(struct client *client, struct failure *failure)
{
  int64_t before= clock_ms();
  CHECK(!client_start(client, failure));
  return clock_ms() - before;
}

static void nobody_listens_until_the_start_deadline(void)
{
  struct failure failure;
  struct client *client= fake_client(700, false);
  fake_stop_listening();
  int64_t took= failing_start(client, &failure);
  CHECK(took >= 700 && took < 1500 && strstr(failure.message, "no agent listens") && fake_logged() == 0);
  CHECK(strstr(failure.hint, "and that its agent runs: journalctl -u mariadb-aws-kms-agent"));
  fake_destroy(client);
  fake_listen();
}

static void start_that_waits_for_its_agent_says_so_once(void)
{
  struct failure failure;
  struct client *client= fake_client(1900, false);
  client->limits.connect_quiet= 300;
  fake_stop_listening();
  (void) failing_start(client, &failure);
  CHECK(fake_logged() == 1 && fake_has_logged("no agent listens on ") && fake_has_logged("; waiting up to 2 s for it"));
  fake_destroy(client);
  fake_listen();
}

/* Starts as a user who may not enter the directory of the socket. Returns how many milliseconds the start took. */
static int64_t denied_start(struct client *client, struct failure *failure)
{
  CHECK(seteuid(65534) == 0);
  int64_t took= failing_start(client, failure);
  CHECK(seteuid(0) == 0);
  CHECK(strstr(failure->message, "user id 65534 may not connect to ") && strstr(failure->hint, "(group id "));
  CHECK(strstr(failure->hint, ", mode 0700)"));
  return took;
}

static void backup_does_not_wait_for_a_permission_and_a_server_says_that_it_does(void)
{
  struct failure failure;
  /* Root enters any directory: run by another user this shows nothing. */
  if (geteuid() != 0)
    return;
  struct client *client= fake_client(20000, false);
  client->config.role= ROLE_BACKUP;
  int64_t took= denied_start(client, &failure);
  CHECK(took >= 1000 && took < 10000 && fake_logged() == 0);
  CHECK(strstr(failure.hint, "run it as root or as the server's user, or add this user to the group that owns /"));
  fake_destroy(client);
  client= fake_client(1900, false);
  took= denied_start(client, &failure);
  CHECK(took >= 1900 && fake_logged() == 1 && fake_has_logged("may not connect to "));
  CHECK(fake_has_logged("add the server's user to the group that owns /") && fake_has_logged("; waiting up to 1 s for it"));
  fake_destroy(client);
}

/* Nobody starts an agent to prepare a backup. */
static void nobody_who_will_listen_is_not_waited_for(void)
{
  struct failure failure;
  struct client *client= fake_client(20000, false);
  client->config.nobody_listens= "name the key files";
  client->limits.patience= 300;
  fake_stop_listening();
  int64_t took= failing_start(client, &failure);
  CHECK(took >= 300 && took < 15000 && strstr(failure.message, "no agent listens"));
  CHECK(strcmp(failure.hint, "name the key files") == 0);
  fake_destroy(client);
  fake_listen();
}

static void agent_that_is_slow_has_the_whole_start_deadline(void)
{
  struct failure failure;
  struct client *client= fake_client(5000, false);
  client->limits.welcome= 100;
  atomic_store(&fake.hello, HELLO_LATE);
  atomic_store(&fake.delay_ms, 600);
  CHECK(client_start(client, &failure));
  fake_destroy(client);
}

/* The usual limit of HELLO would end long after the start. */
static void silent_agent_ends_with_the_start_deadline(void)
{
  struct failure failure;
  struct client *client= fake_client(1000, false);
  client->limits.answer_grace= 300;
  atomic_store(&fake.hello, HELLO_SILENT);
  int64_t took= failing_start(client, &failure);
  CHECK(took >= 1000 && took < 2200 && strstr(failure.message, "did not answer HELLO within 1 second"));
  CHECK(strstr(failure.hint, "aws_key_management_start_timeout"));
  fake_destroy(client);
}

/* LOAD is sent again once after a clean close, in what is left of the time. */
static void second_load_has_only_the_time_that_is_left(void)
{
  struct failure failure;
  struct client *client= fake_client(3000, false);
  int loads= atomic_load(&fake.loads);
  atomic_store(&fake.load, LOAD_CLOSES);
  atomic_store(&fake.delay_ms, 700);
  CHECK(failing_start(client, &failure) < 3000 && atomic_load(&fake.loads) == loads + 2);
  uint32_t left= atomic_load(&fake.load_deadline);
  CHECK(left <= 2300 && left >= 1000);
  fake_destroy(client);
}

static void late_welcome_leaves_load_what_is_left(void)
{
  struct failure failure;
  struct client *client= fake_client(3000, false);
  atomic_store(&fake.hello, HELLO_LATE);
  atomic_store(&fake.delay_ms, 800);
  CHECK(client_start(client, &failure));
  CHECK(atomic_load(&fake.load_deadline) <= 2200);
  fake_destroy(client);
}

static pthread_mutex_t hanging= PTHREAD_MUTEX_INITIALIZER;

static void hang(enum severity severity, const char *text)
{
  (void) severity;
  (void) text;
  pthread_mutex_lock(&hanging);
  pthread_mutex_unlock(&hanging);
}

/* The thread hangs in the log, as it would in a file system whose server is gone. */
static void thread_that_hangs_holds_up_neither_start_nor_end(void)
{
  struct failure failure;
  struct client *client= fake_client(300, false);
  client->limits.answer_grace= 100;
  client->config.log= hang;
  atomic_store(&fake.load, LOAD_LOGS);
  pthread_mutex_lock(&hanging);
  CHECK(failing_start(client, &failure) < 2500);
  CHECK(strcmp(failure.message, "the plugin's connection to the agent does not answer") == 0);
  int64_t before= clock_ms();
  CHECK(!client_destroy(client) && clock_ms() - before < 1500);
  pthread_mutex_unlock(&hanging);
  fake_destroy(client);
}

static void running_client_that_hangs_is_left_behind(void)
{
  struct client *client= fake_started_client();
  client->limits.join= 200;
  client->config.log= hang;
  pthread_mutex_lock(&hanging);
  CHECK(!client_open(client, REFUSED));
  CHECK(!client_destroy(client));
  pthread_mutex_unlock(&hanging);
  fake_destroy(client);
}

static void failed_start_refuses_for_a_moment(void)
{
  struct client *client= fake_started_client();
  atomic_store(&fake.hello, HELLO_REFUSED);
  CHECK(!client_open(client, CLOSES));
  int connections= atomic_load(&fake.connections);
  for (uint32_t id= 11; id < 15; id++)
    CHECK(!client_open(client, id) && fake_last_error_has(client, "will not"));
  CHECK(atomic_load(&fake.connections) == connections);
  atomic_store(&fake.hello, HELLO_WELCOME);
  usleep(1100 * 1000);
  CHECK(client_open(client, 15) && atomic_load(&fake.connections) == connections + 1);
  fake_destroy(client);
}

/* A running server does not let a statement wait as long as its own start. */
static void patience_is_short_after_the_start(void)
{
  struct failure failure;
  struct client *client= fake_client(60000, false);
  client->limits.patience= 300;
  CHECK(client_start(client, &failure));
  fake_stop_listening();
  int64_t before= clock_ms();
  CHECK(!client_open(client, 3) && clock_ms() - before >= 300 && clock_ms() - before < 2000);
  fake_destroy(client);
  fake_listen();
}

/* Loads come after 100, 200, 400 and 800 ms; at a steady 100 ms there would be fifteen. The agent stays, each LOAD fails. */
static void missing_keys_are_tried_again_more_and_more_rarely(void)
{
  struct failure failure;
  struct client *client= fake_client(5000, true);
  client->limits.start_again= 100;
  atomic_store(&fake.load, LOAD_MISSING);
  CHECK(client_start(client, &failure));
  atomic_store(&fake.load, LOAD_MISSING_REFUSED);
  int before= atomic_load(&fake.loads);
  CHECK(!client_open(client, GARBAGE));
  usleep(1700 * 1000);
  int loads= atomic_load(&fake.loads) - before;
  CHECK(loads >= 3 && loads <= 5);
  CHECK(atomic_load(&fake.load_deadline) == 5000);
  fake_destroy(client);
}

/* No caller waits for an internal LOAD: each agent has the whole time. */
static void load_of_our_own_has_the_whole_deadline_each_time(void)
{
  struct failure failure;
  struct client *client= fake_client(5000, true);
  client->limits.start_again= 50;
  atomic_store(&fake.load, LOAD_MISSING);
  CHECK(client_start(client, &failure));
  atomic_store(&fake.load, LOAD_CLOSES);
  atomic_store(&fake.delay_ms, 300);
  int before= atomic_load(&fake.loads);
  CHECK(!client_open(client, GARBAGE));
  int64_t until= clock_ms() + 5000;
  while (atomic_load(&fake.loads) < before + 2 && clock_ms() < until)
    usleep(5000);
  CHECK(atomic_load(&fake.load_deadline) == 5000);
  fake_destroy(client);
}

static void bad_targets_are_refused(void)
{
  struct failure failure;
  char longer[140]= "unix:/";
  memset(longer + 6, 'a', 120);
  const char *const targets[]= {"", "agent", "unix:", "unix:socket", longer};
  for (size_t i= 0; i < 5; i++)
  {
    const struct client_config config= {.target= targets[i], .start_timeout_ms= 1, .table= &fake.table, .log= hang};
    CHECK(!client_create(&config, &failure) && strstr(failure.message, "aws_key_management_agent"));
  }
}

void start_tests(void)
{
  TEST(nobody_listens_until_the_start_deadline);
  TEST(start_that_waits_for_its_agent_says_so_once);
  TEST(backup_does_not_wait_for_a_permission_and_a_server_says_that_it_does);
  TEST(nobody_who_will_listen_is_not_waited_for);
  TEST(agent_that_is_slow_has_the_whole_start_deadline);
  TEST(silent_agent_ends_with_the_start_deadline);
  TEST(second_load_has_only_the_time_that_is_left);
  TEST(late_welcome_leaves_load_what_is_left);
  TEST(thread_that_hangs_holds_up_neither_start_nor_end);
  TEST(running_client_that_hangs_is_left_behind);
  TEST(failed_start_refuses_for_a_moment);
  TEST(patience_is_short_after_the_start);
  TEST(missing_keys_are_tried_again_more_and_more_rarely);
  TEST(load_of_our_own_has_the_whole_deadline_each_time);
  TEST(bad_targets_are_refused);
}
