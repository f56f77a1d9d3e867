// SPDX-License-Identifier: GPL-2.0-only
/* Messages about data whose key is missing, each with its cure. Pure text. */
#ifndef AKM_DATATEXT_H
#define AKM_DATATEXT_H

#include "client/failure.h"
#include "data/use.h"

#define DATATEXT_MAX 2600u

/*
  Writes the message for a start of the server. keys: where the key files were searched, as "the key files in /directory".
  starts: the server starts nevertheless.
*/
void datatext_of_start(char text[DATATEXT_MAX], const struct datadir_use *use, const char *keys, bool starts);

/* Writes the failure of a key that is not made: because of a use that was found, or of what could not be read. */
void datatext_of_creation(struct failure *failure, uint32_t id, const struct datadir_use *use, bool found,
                          const char *keys);

/* Writes the failure of a rotation, likewise. id 0: of all keys. */
void datatext_of_rotation(struct failure *failure, uint32_t id, const struct datadir_use *use, bool found,
                          const char *keys);

#endif
