// SPDX-License-Identifier: GPL-2.0-only
#include "server/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/encryption.h"
#include "server/server.h"

#define FIXED 19u                       /* variables that always exist */
#define NAME_SIZE 40u                   /* bytes of "key_4294967295_encryption_algorithm" and its end */
#define PER_KEY 2u

static struct client *client;
static const struct keytable *table;

static const char *const states[]= {
  [AGENT_STARTING]= "starting", [AGENT_RUNNING]= "running", [AGENT_IDLE]= "idle", [AGENT_FAILED]= "failed",
};

static const char *const master_keys[MASTER_KEY_STATES]= {
  [MASTER_KEY_NOT_LOOKED]= "not looked yet", [MASTER_KEY_USABLE]= "usable", [MASTER_KEY_UNKNOWN]= "unknown",
  [MASTER_KEY_DISABLED]= "disabled", [MASTER_KEY_PENDING_DELETION]= "pending deletion",
  [MASTER_KEY_DELETED]= "deleted",
};

/* Names of algorithms, for the latest version of a key. */
static const char *const algorithms[]= {
  [KEY_ALGORITHM_NONE]= "", [KEY_AES_CBC]= "AES_CBC", [KEY_AES_CTR]= "AES_CTR",
};

struct key_row
{
  char latest_name[NAME_SIZE];
  char algorithm_name[NAME_SIZE];
  unsigned long long latest;
};

/*
  The values that the rows of one SHOW STATUS point at. They live as long as the statement: a static buffer would be shared
  by concurrent ones.
*/
struct snapshot
{
  struct client_status status;
  unsigned long long numbers[FIXED];
  char days_left[16];
  size_t used;
  struct st_mysql_show_var *next;
};

static void add(struct snapshot *snapshot, const char *name, void *value, enum enum_mysql_show_type type)
{
  *snapshot->next++= (struct st_mysql_show_var) {.name= name, .value= value, .type= type};
}

static void add_number(struct snapshot *snapshot, const char *name, unsigned long long value)
{
  unsigned long long *number= &snapshot->numbers[snapshot->used++];
  *number= value;
  add(snapshot, name, number, SHOW_ULONGLONG);
}

static int by_id(const void *a, const void *b)
{
  uint32_t x= ((const struct keytable_id *) a)->id, y= ((const struct keytable_id *) b)->id;
  return (x > y) - (x < y);
}

/*
  Cuts the text of a failure to the key that it begins with, for users without the privilege to read it, and says who may:
  the rest names accounts, roles and paths.
*/
static void withhold(char *text, size_t size)
{
  static const char rest[]= "the text is shown with the PROCESS privilege, and in the error log";
  unsigned id, version;
  int id_end= 0, version_end= 0;
  if (!text[0])
    return;
  if (sscanf(text, "key %10u%n version %10u%n", &id, &id_end, &version, &version_end) < 1)
    id_end= 0;
  int keep= version_end ? version_end : id_end;
  if (keep < 0 || (size_t) keep + sizeof rest + 2 > size)
    keep= 0;
  snprintf(text + keep, size - (size_t) keep, "%s%s", keep ? ": " : "", rest);
}

static void add_agent(struct snapshot *snapshot)
{
  const struct client_status *status= &snapshot->status;
  add(snapshot, "agent_state", (void *) (uintptr_t) states[status->state], SHOW_CHAR);
  add_number(snapshot, "agent_starts", status->starts);
  add_number(snapshot, "keys_loaded", atomic_load(&table->id_count));
  add_number(snapshot, "versions_loaded", atomic_load(&table->version_count));
  add_number(snapshot, "versions_missing", status->versions_missing);
  add_number(snapshot, "versions_limit", status->versions_limit);
  add_number(snapshot, "rotations", status->counters[COUNTER_ROTATIONS]);
  add_number(snapshot, "keys_created", status->counters[COUNTER_KEYS_CREATED]);
  add_number(snapshot, "kms_calls_generate", status->counters[COUNTER_GENERATE]);
  add_number(snapshot, "kms_calls_decrypt", status->counters[COUNTER_DECRYPT]);
  add_number(snapshot, "kms_errors_operator", status->counters[COUNTER_ERRORS_OPERATOR]);
  add_number(snapshot, "kms_errors_transient", status->counters[COUNTER_ERRORS_TRANSIENT]);
  add_number(snapshot, "kms_errors_corrupt", status->counters[COUNTER_ERRORS_CORRUPT]);
  add_number(snapshot, "kms_errors_other", status->counters[COUNTER_ERRORS_OTHER]);
  add(snapshot, "master_key_state", (void *) (uintptr_t) master_keys[status->master_key], SHOW_CHAR);
  add(snapshot, "master_key_days_left", snapshot->days_left, SHOW_CHAR);
  add(snapshot, "encryption_contexts", (void *) (uintptr_t) encryption_contexts(), SHOW_CHAR);
  add(snapshot, "last_error", snapshot->status.last_error, SHOW_CHAR);
  add(snapshot, "last_error_time", snapshot->status.last_error_time, SHOW_CHAR);
}

static void add_keys(struct snapshot *snapshot, struct key_row *rows, const struct keytable_id *keys, size_t count)
{
  for (size_t i= 0; i < count; i++)
  {
    struct key_row *row= &rows[i];
    const char *algorithm= algorithms[keytable_algorithm(table, keys[i].id, keys[i].latest)];
    snprintf(row->latest_name, sizeof row->latest_name, "key_%u_latest_version", keys[i].id);
    snprintf(row->algorithm_name, sizeof row->algorithm_name, "key_%u_encryption_algorithm", keys[i].id);
    row->latest= keys[i].latest;
    add(snapshot, row->latest_name, &row->latest, SHOW_ULONGLONG);
    add(snapshot, row->algorithm_name, (void *) (uintptr_t) algorithm, SHOW_CHAR);
  }
}

static int show(MYSQL_THD thd, struct st_mysql_show_var *var, void *unused, struct system_status_var *counters,
                enum enum_var_type scope)
{
  static struct st_mysql_show_var nothing[]= {{NULL, NULL, SHOW_UNDEF}};
  (void) unused;
  (void) counters;
  (void) scope;
  var->type= SHOW_ARRAY;
  var->value= nothing;
  if (!client)
    return 0;
  size_t most= atomic_load(&table->id_count);
  struct snapshot *snapshot= server_statement_alloc(thd, sizeof *snapshot);
  struct st_mysql_show_var *rows= server_statement_alloc(thd, (FIXED + PER_KEY * most + 1) * sizeof *rows);
  struct keytable_id *keys= server_statement_alloc(thd, (most + 1) * sizeof *keys);
  struct key_row *key_rows= server_statement_alloc(thd, (most + 1) * sizeof *key_rows);
  if (!snapshot || !rows || !keys || !key_rows)
    return 0;
  snapshot->used= 0;
  snapshot->next= rows;
  client_get_status(client, &snapshot->status);
  if (!server_may_read_failures())
    withhold(snapshot->status.last_error, sizeof snapshot->status.last_error);
  snapshot->days_left[0]= 0;
  if (snapshot->status.days_left != NO_DAYS)
    snprintf(snapshot->days_left, sizeof snapshot->days_left, "%u", snapshot->status.days_left);
  size_t count= keytable_list(table, keys, most);
  qsort(keys, count, sizeof *keys, by_id);
  add_agent(snapshot);
  add_keys(snapshot, key_rows, keys, count);
  add(snapshot, NULL, NULL, SHOW_UNDEF);
  var->value= rows;
  return 0;
}

struct st_mysql_show_var status_variables[]= {
  {.name= "Aws_key_management", .value= (void *) show, .type= SHOW_FUNC},
  {.name= NULL, .value= NULL, .type= SHOW_UNDEF},
};

void status_attach(struct client *new_client, const struct keytable *new_table)
{
  table= new_table;
  client= new_client;
}
