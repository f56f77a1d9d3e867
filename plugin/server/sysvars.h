// SPDX-License-Identifier: GPL-2.0-only
/*
  The system variables. What the server may change while it runs is kept in storage of our own, which only changes under
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

/*
  Checks the values that the server was started with and completes *config (not what the server itself is asked for: role,
  table, log, no_ctr, may_create). Logs what is wrong and returns false. config->target is valid until sysvars_close().
*/
bool sysvars_open(struct client_config *config);

/* Hands every setting to the agent, and from now on also each change. Returns false if there is no memory. */
bool sysvars_attach(struct client *client, may_rotate_fn *may_rotate);

/* No change reaches the agent any more. */
void sysvars_close(void);

#endif
