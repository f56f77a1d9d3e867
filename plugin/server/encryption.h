// SPDX-License-Identifier: GPL-2.0-only
/* The functions of the plugin that encrypt: with kept contexts, or with the server's. */
#ifndef AKM_ENCRYPTION_H
#define AKM_ENCRYPTION_H

#include <stdbool.h>

#include "crypt/aes.h"
#include "keys/keytable.h"

struct st_mariadb_encryption;

/*
  Sets the functions of the descriptor that encrypt, which the server reads after the plugin was initialised: with kept contexts,
  if that is wanted and they equal the server's, which it logs if not. Returns why keys of AES_CTR cannot be used, NULL if they
  can. Without them the server uses AES-CBC and none of these functions.
*/
const char *encryption_open(struct st_mariadb_encryption *descriptor, const struct keytable *table, bool keep_contexts);

/* Frees the kept contexts and wipes their keys. */
void encryption_close(void);

/* Returns the server's AES functions, NULL where they cannot be used. */
const struct aes *encryption_aes(void);

/* Returns "kept", or "not kept: " and the reason. */
const char *encryption_contexts(void);

#endif
