// SPDX-License-Identifier: GPL-2.0-only
/* Looks at the data: when they are made, and what goes on meanwhile. */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "test/client/fake_agent.h"
#include "test/test.h"

#define THREADS 8u
#define SLOW 1000u                      /* a look for this key id takes until it is let go */

static atomic_int looks;
static atomic_int looking, looking_most;
static atomic_bool is_let_go, is_killed;

static bool killed(void *unused)
{
  (void) unused;
  return atomic_load(&is_killed);
}

/* Finds data under odd key ids. */
static bool only_even(uint32_t id, const struct interrupt *interrupt, struct failure *why)
{
  int now= atomic_fetch_add(&looking, 1) + 1;
  if (now > atomic_load(&looking_most))
    atomic_store(&looking_most, now);
  if (id % 2)
    snprintf(why->message, sizeof why->message, "key %u: d/t.ibd is encrypted with it", id);
  atomic_fetch_add(&looks, 1);
  while (id == SLOW && !atomic_load(&is_let_go) && !interrupt->is_wanted(interrupt->argument))
    usleep(1000);
  usleep(200);
  atomic_fetch_sub(&looking, 1);
  return id % 2 == 0;
}

static struct client *looking_client(void)
{
  struct client *client= fake_started_client();
  client->config.may_create= only_even;
  atomic_store(&looks, 0);
  atomic_store(&looking_most, 0);
  atomic_store(&is_let_go, false);
  atomic_store(&is_killed, false);
  return client;
}

/* Returns the lines of the log but the one that tells of an agent of protocol 1. */
static int logged(void)
{
  return fake_logged() - (atomic_load(&fake.protocol) == PROTOCOL_OLDEST);
}

/* An empty last_error says so of all that was asked. */
static bool is_untroubled(struct client *client)
{
  struct client_status status;
  client_get_status(client, &status);
  pthread_mutex_lock(&client->lock);
  bool hangs= client->hangs;
  pthread_mutex_unlock(&client->lock);
  return logged() == 0 && status.last_error[0] == 0 && !hangs;
}

static bool bucket_is_full(const struct client *client)
{
  return client->bucket.full_at <= clock_ms();
}

static void new_key_is_looked_for_and_made(void)
{
  struct client *client= looking_client();
  int before= atomic_load(&fake.opens);
  CHECK(client_open(client, 4) && atomic_load(&looks) == 1);
  CHECK(atomic_load(&fake.opens) == before + 2 && atomic_load(&fake.may_create) == 1);
  CHECK(client_open(client, 4) && atomic_load(&looks) == 1 && is_untroubled(client));
  fake_destroy(client);
}

static void key_that_data_names_is_not_made(void)
{
  struct client *client= looking_client();
  CHECK(!client_open(client, 5) && atomic_load(&looks) == 1 && atomic_load(&fake.may_create) == 0);
  /* The result is known for a while. */
  CHECK(!client_open(client, 5) && atomic_load(&looks) == 1);
  CHECK(fake_last_error_has(client, "key 5: d/t.ibd is encrypted with it"));
  CHECK(client_open(client, STORED) && logged() == 1 && fake_has_logged("key 5: d/t.ibd is encrypted with it"));
  fake_destroy(client);
}

static void nothing_is_looked_for_that_would_not_be_made(void)
{
  struct client *client= looking_client();
  CHECK(!client_open(client, NOT_ALLOWED) && !client_open(client, NOT_ALLOWED) && bucket_is_full(client));
  CHECK(client_open(client, STORED) && atomic_load(&fake.may_create) == 0 && !client_open(client, REFUSED));
  CHECK(client_fetch(client, 3, 9) && atomic_load(&looks) == 0);
  fake_destroy(client);
}

static void where_nobody_can_look_a_key_is_made_at_once(void)
{
  struct client *client= fake_started_client();
  int before= atomic_load(&fake.opens);
  CHECK(client_open(client, 7) && atomic_load(&fake.may_create) == 1 && atomic_load(&fake.opens) == before + 1);
  CHECK(!client_open(client, NEVER_SEEN) && atomic_load(&fake.opens) == before + 2);
  fake_destroy(client);
}

/* A look is made once, whatever the agent says. */
static void look_is_made_once_and_paid_for(void)
{
  struct client *client= looking_client();
  CHECK(!client_open(client, NO_MORE_ALLOWED) && atomic_load(&looks) == 1 && !bucket_is_full(client));
  int before= atomic_load(&fake.opens);
  CHECK(!client_open(client, NEVER_SEEN) && atomic_load(&looks) == 2 && atomic_load(&fake.opens) == before + 2);
  fake_destroy(client);
}

struct opener
{
  pthread_t thread;
  struct client *client;
  uint32_t first, end;                  /* key ids */
  int opened;
};

static void *open_keys(void *argument)
{
  struct opener *opener= argument;
  for (uint32_t id= opener->first; id < opener->end; id++)
    opener->opened+= client_open(opener->client, id);
  return NULL;
}

static void start_opener(struct opener *opener, struct client *client, uint32_t first, uint32_t count)
{
  *opener= (struct opener) {.client= client, .first= first, .end= first + count};
  CHECK(pthread_create(&opener->thread, NULL, open_keys, opener) == 0);
}

static int opened_by(struct opener *opener)
{
  pthread_join(opener->thread, NULL);
  return opener->opened;
}

static void looks_for_many_keys_are_bounded(void)
{
  struct opener openers[THREADS];
  struct client *client= looking_client();
  int64_t started= clock_ms();
  int opened= 0;
  client->limits.turn= 0;
  for (uint32_t i= 0; i < THREADS; i++)
    start_opener(&openers[i], client, 2000 + 40 * i, 40);
  for (uint32_t i= 0; i < THREADS; i++)
    opened+= opened_by(&openers[i]);
  int most= BUCKET_SIZE + 1 + (int) ((clock_ms() - started) / BUCKET_EVERY_MS), made= atomic_load(&looks);
  CHECK(made >= BUCKET_SIZE && made <= most && opened > 0 && opened < made);
  /* Looks are made one at a time, however many keys are named. */
  CHECK(fake_has_logged("SQL statements name too many keys") && atomic_load(&looking_most) == 1);
  fake_destroy(client);
}

/* Returns once a thread that opens SLOW is looking. */
static void start_slow(struct opener *openers, uint32_t count, struct client *client)
{
  for (uint32_t i= 0; i < count; i++)
    start_opener(&openers[i], client, SLOW, 1);
  while (atomic_load(&looks) == 0)
    usleep(1000);
}

static int let_go(struct opener *openers, uint32_t count)
{
  int opened= 0;
  atomic_store(&is_let_go, true);
  for (uint32_t i= 0; i < count; i++)
    opened+= opened_by(&openers[i]);
  return opened;
}

static void many_threads_look_once(void)
{
  struct opener openers[THREADS];
  struct client *client= looking_client();
  int before= atomic_load(&fake.opens);
  start_slow(openers, THREADS, client);
  usleep(100000);
  CHECK(let_go(openers, THREADS) == (int) THREADS && atomic_load(&looks) == 1);
  CHECK(atomic_load(&fake.opens) == before + 2 && is_untroubled(client));
  fake_destroy(client);
}

/* A look delays neither callers that want other, stored keys, nor this one's connection: the agent is not silent. */
static void look_holds_up_nobody(void)
{
  struct opener openers[2];
  struct client_status status;
  struct client *client= looking_client();
  int before= atomic_load(&fake.connections);
  CHECK(client_open(client, 4));
  client->limits.request= 1000;
  client->limits.answer_grace= client->limits.patience= client->limits.welcome= client->limits.write= 100;
  start_slow(openers, 2, client);
  int64_t started= clock_ms();
  client_get_status(client, &status);
  CHECK(client_open(client, 4) && client_open(client, STORED) && client_fetch(client, 3, 9) && clock_ms() - started < 1000);
  usleep(2500000);
  CHECK(let_go(openers, 2) == 2 && atomic_load(&fake.connections) == before && is_untroubled(client));
  fake_destroy(client);
}

static void agent_may_end_during_a_look(void)
{
  struct opener opener;
  struct client *client= looking_client();
  start_slow(&opener, 1, client);
  int before= atomic_load(&fake.connections);
  fake_stop_listening();
  fake_listen();
  usleep(300000);
  /* No agent is started for a request that cannot be sent yet. */
  CHECK(atomic_load(&fake.connections) == before);
  CHECK(let_go(&opener, 1) == 1 && atomic_load(&fake.connections) == before + 1 && is_untroubled(client));
  fake_destroy(client);
}

static void request_may_end_during_a_look(void)
{
  struct opener opener;
  struct client *client= looking_client();
  start_slow(&opener, 1, client);
  fake_stop_listening();
  client->limits.patience= 0;
  CHECK(!client_open(client, STORED));
  CHECK(let_go(&opener, 1) == 0 && fake_last_error_has(client, "no agent listens"));
  fake_destroy(client);
  fake_listen();
}

/* It holds locks, and keeps others from looking. */
static void look_ends_with_its_request(void)
{
  struct opener opener;
  struct client *client= looking_client();
  start_slow(&opener, 1, client);
  fake_stop_listening();
  client->limits.patience= 0;
  int64_t started= clock_ms();
  CHECK(!client_open(client, STORED));
  CHECK(opened_by(&opener) == 0 && clock_ms() - started < 10000 && fake_last_error_has(client, "no agent listens"));
  CHECK(!client->looking && !atomic_load(&is_let_go));
  fake_destroy(client);
  fake_listen();
}

/* A start of the server has no other limit. */
static void look_ends_when_the_plugin_does(void)
{
  struct opener opener;
  struct client *client= looking_client();
  fake_call_as((struct caller) {.kind= CALLER_STARTS});
  start_slow(&opener, 1, client);
  pthread_mutex_lock(&client->lock);
  client->stop= true;
  pthread_mutex_unlock(&client->lock);
  CHECK(opened_by(&opener) == 0 && !client->looking && keytable_latest(&fake.table, SLOW) == KEY_VERSION_NONE);
  fake_destroy(client);
}

static void look_ends_when_its_key_is_loaded(void)
{
  uint8_t bytes[16];
  struct opener openers[2];
  struct client *client= looking_client();
  memset(bytes, (uint8_t) SLOW, sizeof bytes);
  start_slow(openers, 2, client);
  atomic_store(&fake.stored, SLOW);
  CHECK(keytable_put(&fake.table, SLOW, 1, bytes, sizeof bytes, KEY_AES_CBC, true) == KEYTABLE_ADDED);
  CHECK(opened_by(&openers[0]) + opened_by(&openers[1]) == 2 && atomic_load(&looks) == 1);
  CHECK(atomic_load(&fake.may_create) == 0 && is_untroubled(client));
  atomic_store(&fake.stored, 0);
  fake_destroy(client);
}

/* Nobody looked: the one that waited for its turn to look has gone, and the next caller comes before the agent says so. */
static void caller_that_comes_after_the_last_one_has_all_the_time(void)
{
  struct opener slow, left, late;
  struct client *client= looking_client();
  client->limits.request= 1500;
  client->limits.answer_grace= client->limits.patience= client->limits.welcome= client->limits.write= 100;
  client->limits.interrupt_every= 50;
  start_slow(&slow, 1, client);
  fake_call_as((struct caller) {.kind= CALLER_STATEMENT, .interrupt= {.is_wanted= killed}});
  start_opener(&left, client, 6, 1);
  usleep(2500000);
  atomic_store(&fake.delay_ms, 400);
  atomic_store(&is_killed, true);
  CHECK(opened_by(&left) == 0);
  fake_call_as((struct caller) {.kind= CALLER_STATEMENT});
  start_opener(&late, client, 6, 1);
  usleep(600000);
  atomic_store(&fake.delay_ms, 0);
  CHECK(let_go(&slow, 1) == 1 && opened_by(&late) == 1 && is_untroubled(client));
  fake_destroy(client);
}

/* A look that was ended early creates nothing; another caller that waits for the key looks then. */
static void killed_look_ends_and_another_looks(void)
{
  struct opener opener, other;
  struct client *client= looking_client();
  int before= atomic_load(&fake.opens);
  fake_call_as((struct caller) {.kind= CALLER_STATEMENT, .interrupt= {.is_wanted= killed}});
  start_slow(&opener, 1, client);
  fake_call_as((struct caller) {.kind= CALLER_STATEMENT});
  start_opener(&other, client, SLOW, 1);
  usleep(100000);
  atomic_store(&is_killed, true);
  CHECK(opened_by(&opener) == 0);
  while (atomic_load(&looks) < 2)
    usleep(1000);
  CHECK(atomic_load(&fake.opens) == before + 1);
  CHECK(let_go(&other, 1) == 1 && atomic_load(&looks) == 2 && is_untroubled(client));
  fake_destroy(client);
}

static void killed_look_of_one_creates_nothing(void)
{
  struct opener opener;
  struct client *client= looking_client();
  fake_call_as((struct caller) {.kind= CALLER_STATEMENT, .interrupt= {.is_wanted= killed}});
  start_slow(&opener, 1, client);
  atomic_store(&is_killed, true);
  CHECK(opened_by(&opener) == 0 && keytable_latest(&fake.table, SLOW) == KEY_VERSION_NONE);
  atomic_store(&is_killed, false);
  atomic_store(&is_let_go, true);
  CHECK(client_open(client, SLOW) && is_untroubled(client));
  fake_destroy(client);
}

/* The limit is for the caller that looks, and for the one that waits to. */
static void look_has_a_limit(void)
{
  struct opener openers[2];
  struct client *client= looking_client();
  client->limits.look= 1000;
  client->limits.interrupt_every= 50;
  int64_t before= clock_ms();
  start_slow(openers, 1, client);
  start_opener(&openers[1], client, 6, 1);
  CHECK(opened_by(&openers[0]) == 0 && clock_ms() - before >= 1000);
  /* The log has either of the two failures, and as many seconds as the machine took. */
  CHECK(fake_has_logged(" is not created: after ") && fake_has_logged(" s the data had not all been looked at yet"));
  CHECK(keytable_latest(&fake.table, SLOW) == KEY_VERSION_NONE);
  /* The same statement may ask at once again; a machine that was slow up to here shows nothing. */
  bool is_recent= clock_ms() - before < client->limits.look + RECENT_REFUSE_MS;
  CHECK(!client_open(client, SLOW) && (!is_recent || atomic_load(&looks) <= 2));
  opened_by(&openers[1]);
  CHECK(!client->looking && client_open(client, 8));
  fake_destroy(client);
}

static void tests_of_a_protocol(void)
{
  TEST(new_key_is_looked_for_and_made);
  TEST(key_that_data_names_is_not_made);
  TEST(nothing_is_looked_for_that_would_not_be_made);
  TEST(where_nobody_can_look_a_key_is_made_at_once);
  TEST(look_is_made_once_and_paid_for);
  TEST(looks_for_many_keys_are_bounded);
  TEST(many_threads_look_once);
  TEST(look_holds_up_nobody);
  TEST(agent_may_end_during_a_look);
  TEST(request_may_end_during_a_look);
  TEST(look_ends_with_its_request);
  TEST(look_ends_when_the_plugin_does);
  TEST(look_ends_when_its_key_is_loaded);
  TEST(caller_that_comes_after_the_last_one_has_all_the_time);
  TEST(killed_look_ends_and_another_looks);
  TEST(killed_look_of_one_creates_nothing);
  TEST(look_has_a_limit);
}

void look_tests(void)
{
  tests_of_a_protocol();
  atomic_store(&fake.protocol, PROTOCOL_OLDEST);
  tests_of_a_protocol();
  atomic_store(&fake.protocol, PROTOCOL_VERSION);
}
