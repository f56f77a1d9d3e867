// SPDX-License-Identifier: GPL-2.0-only
/* What the header of InnoDB's redo log says of its encryption. Pure POSIX. */
#ifndef AKM_REDOLOG_H
#define AKM_REDOLOG_H

#include "data/datafile.h"

/* Of ib_logfile0, or of one of the files ib_<LSN>.log that innodb_log_archive makes. *error as datafile_read_at(). */
enum datafile_says redolog_read(int file, struct datafile_keys *keys, int *error);

/* Whether a file of this name is one of those of innodb_log_archive. */
bool redolog_is_archived(const char *name);

#endif
