// SPDX-License-Identifier: GPL-2.0-only
/* Messages about data whose key is not there, each with its cure. Pure text. */
#ifndef AKM_DATATEXT_H
#define AKM_DATATEXT_H

#include "client/failure.h"
#include "data/use.h"

#define DATATEXT_MAX 2600u

/*
  For a start. keys: where the key files were looked for, "the key files in /directory". starts: the server starts all the same.
*/
void datatext_of_start(char text[DATATEXT_MAX], const struct datadir_use *use, const char *keys, bool starts);

/* For a key that is not made: a use that was found, or what could not be looked at. */
void datatext_of_creation(struct failure *failure, uint32_t id, const struct datadir_use *use, bool found,
                          const char *keys);

/* For keys that are not rotated, likewise. id 0: all. */
void datatext_of_rotation(struct failure *failure, uint32_t id, const struct datadir_use *use, bool found,
                          const char *keys);

#endif
