// SPDX-License-Identifier: GPL-2.0-only
/*
  Which keys the server's files are encrypted with, wherever it keeps them. A missing key must not be taken for a new one when
  data under it is here already, nor another key of the same number for the right one: after a state transfer or a restore
  that brought no key files. Pure POSIX.
*/
#ifndef AKM_DATADIR_H
#define AKM_DATADIR_H

#include <stdbool.h>

#include "data/locations.h"
#include "data/use.h"

/*
  Looks at the redo log, the tablespaces, Aria's tables and the binary and relay logs. Returns true with *use at the first
  that names a key for which has() says no; or at the end, if no page at all could be decrypted with a key version that
  should have. What is damaged or not ours proves nothing: the server will say so itself. What cannot be looked at sets
  use->is_unsure; what is not there does not.
*/
bool datadir_find_unreadable(const struct locations *locations, enum datadir_extent extent, const struct datadir_keys *keys,
                             struct datadir_use *use);

#endif
