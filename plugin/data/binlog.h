// SPDX-License-Identifier: GPL-2.0-only
/* The encryption of a binary or relay log, as its first two events tell it. Pure POSIX. */
#ifndef AKM_BINLOG_H
#define AKM_BINLOG_H

#include "data/datafile.h"

/* Reads the log. *error as of datafile_read_at(). */
enum datafile_says binlog_read(int file, struct datafile_keys *keys, int *error);

#endif
