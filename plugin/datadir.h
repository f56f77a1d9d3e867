// SPDX-License-Identifier: GPL-2.0-only
/*
  Which keys the data directory's InnoDB files are encrypted with. A missing key must not be taken for a new one when data
  under it is here already, nor another key of the same number for the right one: after a state transfer or a restore that
  brought no key files. Pure POSIX.
*/
#ifndef AKM_DATADIR_H
#define AKM_DATADIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt.h"
#include "keytable.h"

struct datadir_keys
{
  bool (*has)(void *context, uint32_t id, uint32_t version);    /* version 0: any */
  void *context;
  const struct keytable *table;         /* whose keys are tried on pages */
  const struct aes *aes;                /* NULL: no page is looked at */
};

enum datadir_extent
{
  DATADIR_WHOLE,
  DATADIR_SAMPLE                        /* what every server has: the same effort, however many tables there are */
};

struct datadir_use
{
  uint32_t id;
  uint32_t version;                     /* of the redo log or a page; 0: a tablespace, which may have many */
  bool is_other_key;                    /* the key version is there, but the page was encrypted with another key */
  char file[600];                       /* relative to the data directory */
  bool is_unsure;                       /* without a find: something could not be looked at */
};

/*
  Looks at the redo log, the system tablespace and tables below directory. Returns true with *use at the first that names a
  key for which has() says no; or at the end, if no page at all could be decrypted with a key version that should have. What
  is damaged or not ours proves nothing: InnoDB will say so itself. Where descriptors, memory or the disk fail,
  use->is_unsure is set.
*/
bool datadir_find_unreadable(const char *directory, enum datadir_extent extent, const struct datadir_keys *keys,
                             struct datadir_use *use);

#endif
