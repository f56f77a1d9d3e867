// SPDX-License-Identifier: GPL-2.0-only
/* The variable rotate_key, whose assignment makes a new version of a key. */
#ifndef AKM_ROTATION_H
#define AKM_ROTATION_H

#include <stdbool.h>
#include <stdint.h>

#include <mysql/plugin.h>

#include "client/client.h"

/*
  Returns whether key id may get a new version (0: every stored key), or false with the reason in *why. Called before each
  rotation, by the thread that asks for it, without locks.
*/
typedef bool may_rotate_fn(uint32_t id, const struct interrupt *interrupt, struct failure *why);

/* Sends rotations to this client from now on; NULL, NULL: to none. */
void rotation_attach(struct client *client, may_rotate_fn *may_rotate);

/* Notes that the current statement changes a setting that a rotation uses: a rotation in the same SET fails from now on. */
void rotation_note_change(MYSQL_THD thd);

/*
  Returns whether the current statement rotated before a change that was not noted. The server does not have DEFAULT
  checked: it applies such a change after the rotation in the same SET.
*/
bool rotation_missed_change(MYSQL_THD thd);

/* The check and update functions of the variable. The check rotates, and fails the statement if that fails. */
int rotation_check(MYSQL_THD thd, struct st_mysql_sys_var *var, void *save, struct st_mysql_value *value);
void rotation_update(MYSQL_THD thd, struct st_mysql_sys_var *var, void *to, const void *save);

#endif
