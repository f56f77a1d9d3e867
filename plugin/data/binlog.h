// SPDX-License-Identifier: GPL-2.0-only
/* The encryption of a binary or relay log, as its first two events say. Pure POSIX. */
#ifndef AKM_BINLOG_H
#define AKM_BINLOG_H

#include "data/datafile.h"

/* *error as datafile_read_at(). */
enum datafile_says binlog_read(int file, struct datafile_keys *keys, int *error);

#endif
