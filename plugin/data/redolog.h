// SPDX-License-Identifier: GPL-2.0-only
/* The encryption of InnoDB's redo log, as its header tells it. Pure POSIX. */
#ifndef AKM_REDOLOG_H
#define AKM_REDOLOG_H

#include "data/datafile.h"

/* Reads ib_logfile0, or one of the files ib_<LSN>.log that innodb_log_archive makes. *error as of datafile_read_at(). */
enum datafile_says redolog_read(int file, struct datafile_keys *keys, int *error);

/* Returns whether a file of this name is one of those of innodb_log_archive. */
bool redolog_is_archived(const char *name);

#endif
