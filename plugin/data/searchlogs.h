// SPDX-License-Identifier: GPL-2.0-only
/* Searches of the server's logs. Pure POSIX. */
#ifndef AKM_SEARCHLOGS_H
#define AKM_SEARCHLOGS_H

#include <stdbool.h>

struct search;

/* Searches the redo log and the files that innodb_log_archive left. Returns true at the first key that is missing. */
bool search_redo_logs(struct search *search);

/* Searches the binary and relay logs that any index names. Returns true at the first key that is missing. */
bool search_binlogs(struct search *search);

#endif
