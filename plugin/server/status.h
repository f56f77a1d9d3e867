// SPDX-License-Identifier: GPL-2.0-only
/* The status variables, SHOW STATUS LIKE 'Aws_key_management%'. */
#ifndef AKM_STATUS_H
#define AKM_STATUS_H

#include "client/client.h"

#include <mysql/plugin.h>

extern struct st_mysql_show_var status_variables[];

/* Sets the client and the key table that the status is of; NULL, NULL when the plugin is not initialised. */
void status_attach(struct client *client, const struct keytable *table);

#endif
