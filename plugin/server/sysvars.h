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

struct st_mysql_sys_var;

extern struct st_mysql_sys_var *sysvars[];

/*
  Checks the values that the server was started with and completes *config (not what the server itself is asked for: role,
  table, log, no_ctr, may_create). Logs what is wrong and returns false. config->target is valid until sysvars_close().
*/
bool sysvars_open(struct client_config *config);

/*
  Whether key id may get a new version (0: every stored key); *why: what stands against it. Asked before each rotation, by its
  thread, without locks.
*/
typedef bool may_rotate_fn(uint32_t id, const struct interrupt *interrupt, struct failure *why);

/* Hands every setting to the agent, and from now on also each change. Returns false if there is no memory. */
bool sysvars_attach(struct client *client, may_rotate_fn *may_rotate);

/* Whether the file of a key version is in keyfile_dir, as far as this process may see it; from sysvars_attach() on. */
bool sysvars_have_key_file(uint32_t id, uint32_t version);

/* "the key files in /directory", for messages; from sysvars_attach() on. */
const char *sysvars_key_files(void);

/* In mariadb-backup --backup: warns if the key files are where it does not copy them from. */
void sysvars_say_what_backup_lacks(void);

/* In mariadb-backup --prepare: notes an agent of its own, which may be on the machine of the backup only. */
void sysvars_say_whose_keys_prepare(void);

/* No change reaches the agent any more. */
void sysvars_close(void);

#endif
