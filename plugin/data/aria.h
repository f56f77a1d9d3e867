// SPDX-License-Identifier: GPL-2.0-only
/* The encryption of an Aria table, as its index file (.MAI) and the first pages of its data file (.MAD) say. Pure POSIX. */
#ifndef AKM_ARIA_H
#define AKM_ARIA_H

#include "data/datafile.h"

/* data -1: there is none. Versions are those of the data file's first pages. *error as datafile_read_at(). */
enum datafile_says aria_read(int index, int data, struct datafile_keys *keys, int *error);

#endif
