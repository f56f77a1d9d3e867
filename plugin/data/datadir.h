// SPDX-License-Identifier: GPL-2.0-only
/*
  The keys that the server's files are encrypted with, wherever it keeps them. After a state transfer or a restore that
  brought no key files, a missing key must not be taken for a new one when data under it exists, nor another key of the same
  number for the right one. Pure POSIX.
*/
#ifndef AKM_DATADIR_H
#define AKM_DATADIR_H

#include <stdbool.h>

#include "data/locations.h"
#include "data/use.h"

/*
  Searches the redo log, the tablespaces, Aria's tables and the binary and relay logs. Returns true with *use at the first
  that names a key for which has() returns false; or at the end, if no page at all could be decrypted with a key version
  that should decrypt some. Damaged and foreign files prove nothing: the server itself will report them. A file that cannot
  be read sets use->is_unsure; one that does not exist does not.
*/
bool datadir_find_unreadable(const struct locations *locations, enum datadir_extent extent, const struct datadir_keys *keys,
                             struct datadir_use *use);

#endif
