// SPDX-License-Identifier: GPL-2.0-only
/*
  Which key ids the data directory's InnoDB files say they are encrypted with. A missing key must not be taken for a new
  one when data under it is here already: after a state transfer or a restore that brought no key files. Pure POSIX.
*/
#ifndef AKM_DATADIR_H
#define AKM_DATADIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct datadir_use
{
  uint32_t id;
  uint32_t version;                     /* of the redo log, which has one; 0: a tablespace, which may have many */
  char file[600];                       /* relative to the data directory */
  bool is_unsure;                       /* without a find: something could not be looked at */
};

/*
  Looks at the redo log, the system tablespace and every table below directory. Returns true at the first that names a
  key for which has() says no, with that in *use. What is damaged or not ours proves nothing: InnoDB will say so itself. Where
  descriptors, memory or the disk fail, use->is_unsure is set.
*/
bool datadir_find_missing(const char *directory, bool (*has)(void *context, uint32_t id, uint32_t version),
                          void *context, struct datadir_use *use);

#endif
