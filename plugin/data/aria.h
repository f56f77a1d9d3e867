// SPDX-License-Identifier: GPL-2.0-only
/*
  The encryption of an Aria table, as its index file (.MAI) and the first pages of its data file (.MAD) tell it. Pure POSIX.
*/
#ifndef AKM_ARIA_H
#define AKM_ARIA_H

#include "data/datafile.h"

/*
  Reads both files; data is -1 where there is no data file. The versions are those of its first pages. *error as of
  datafile_read_at().
*/
enum datafile_says aria_read(int index, int data, struct datafile_keys *keys, int *error);

#endif
