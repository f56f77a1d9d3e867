// SPDX-License-Identifier: GPL-2.0-only
#include "server/rotation.h"

#include <stdio.h>
#include <string.h>

#include "server/server.h"

#define VARIABLE "aws_key_management_rotate_key: "

static struct client *attached;
static may_rotate_fn *may_rotate;

/*
  The statement in which this thread last checked a new value of a setting that a rotation uses. The server checks every
  assignment of a SET before it makes the first, so that a rotation in the same SET would use the old value.
*/
static _Thread_local long long changing;
/* The statement in which this thread last rotated. */
static _Thread_local long long rotated;

void rotation_attach(struct client *client, may_rotate_fn *asked)
{
  may_rotate= asked;
  attached= client;
}

void rotation_note_change(MYSQL_THD thd)
{
  changing= server_statement_id(thd);
}

bool rotation_missed_change(MYSQL_THD thd)
{
  long long statement= server_statement_id(thd);
  return rotated && rotated == statement && changing != statement;
}

static int read_rotate_key(struct st_mysql_value *value, long long *id)
{
  char space[32];
  int size= (int) sizeof space;
  if (value->value_type(value) != MYSQL_VALUE_TYPE_INT)
  {
    bool null= !value->val_str(value, space, &size);
    server_sql_error(VARIABLE "expected a key id of 1 to 4294967295, or -1 for all keys, got %s",
                     null ? "NULL" : "something that is not an integer");
    return 1;
  }
  if (value->val_int(value, id))
  {
    server_sql_error(VARIABLE "expected a key id of 1 to 4294967295, or -1 for all keys, got NULL");
    return 1;
  }
  if ((value->is_unsigned(value) && *id < 0) || *id < -1 || *id > (long long) UINT32_MAX)
  {
    server_sql_error(VARIABLE "expected a key id of 1 to 4294967295, or -1 for all keys");
    return 1;
  }
  return 0;
}

/* Fails the statement, and logs why. The end of a rotation whose statement was killed is logged when it comes. */
static void tell_failed_rotation(MYSQL_THD thd, uint32_t id, const struct failure *failure)
{
  char text[SERVER_SQL_ERROR_MAX + 1];
  if (!server_is_killed(thd))
    client_log_rotation(attached, id, failure);
  failure_text(failure, text, sizeof text);
  server_sql_error("%s", text);
}

static bool is_killed(void *thd)
{
  return server_is_killed(thd);
}

/*
  The check rotates, and not the update function: the server runs a check before it takes the lock on its variables, so that
  a slow KMS delays nobody else, and a failed check fails the statement.
*/
int rotation_check(MYSQL_THD thd, struct st_mysql_sys_var *var, void *save, struct st_mysql_value *value)
{
  long long id;
  struct failure failure;
  const struct interrupt killed= {.is_wanted= is_killed, .argument= thd};
  (void) var;
  if (read_rotate_key(value, &id))
    return 1;
  *(long long *) save= 0;
  if (id == 0)
    return 0;
  if (!attached)
  {
    server_sql_error(VARIABLE "the plugin is not initialised");
    return 1;
  }
  if (changing && changing == server_statement_id(thd))
  {
    server_sql_error(VARIABLE "would not yet use the setting changed in the same statement; set that in a "
                     "statement of its own first");
    return 1;
  }
  uint32_t key= id == -1 ? 0 : (uint32_t) id;
  memset(&failure, 0, sizeof failure);
  if (may_rotate(key, &killed, &failure) && client_rotate(attached, key, &killed, &failure))
  {
    rotated= server_statement_id(thd);
    return 0;
  }
  tell_failed_rotation(thd, key, &failure);
  return 1;
}

void rotation_update(MYSQL_THD thd, struct st_mysql_sys_var *var, void *to, const void *save)
{
  (void) thd;
  (void) var;
  (void) save;
  *(long long *) to= 0;
}
