// SPDX-License-Identifier: GPL-2.0-only
/*
  The system variables. Those that can change while the server runs are kept in storage of our own, which changes only under
  the server's LOCK_global_system_variables, the lock that every reader of a variable holds.
*/
#ifndef AKM_SYSVARS_H
#define AKM_SYSVARS_H

#include <stdbool.h>
#include <stdint.h>

#include "client/client.h"
#include "server/rotation.h"

struct st_mysql_sys_var;

extern struct st_mysql_sys_var *sysvars[];

/* Returns whether encryption contexts are to be kept: aws_key_management_kept_contexts. */
bool sysvars_keep_contexts(void);

/*
  Checks the values that the server was started with and completes *config (except role, table, log, no_ctr, may_create and
  caller, which the server determines). Logs an error and returns false if a value is wrong. config->target is valid until
  sysvars_close().
*/
bool sysvars_open(struct client_config *config);

/*
  Hands every setting to the client, and from now on also each change and rotation. Returns false if there is no memory,
  which it logged.
*/
bool sysvars_attach(struct client *client, may_rotate_fn *may_rotate);

/* Cuts the client off: no change reaches it any more. */
void sysvars_close(void);

#endif
