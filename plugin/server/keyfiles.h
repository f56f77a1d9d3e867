// SPDX-License-Identifier: GPL-2.0-only
/*
  The directory of the key files, as far as the server's process may see it. An agent that the server did not start has
  another one.
*/
#ifndef AKM_KEYFILES_H
#define AKM_KEYFILES_H

#include <stdbool.h>
#include <stdint.h>

/*
  Finds the directory. configured: keyfile_dir, "" for the data directory. target: as in struct client_config. Both must stay
  valid. Logs an error and returns false if its absolute path is too long or cannot be found.
*/
bool keyfiles_open(const char *configured, const char *target);

/* The functions below need keyfiles_open() to have succeeded. */

/* Returns the absolute path. The directory need not exist. */
const char *keyfiles_directory(void);

/* Returns "the key files in /directory", for messages. */
const char *keyfiles_text(void);

/* Returns whether the file of a key version exists, as far as this process may see it. */
bool keyfiles_have(uint32_t id, uint32_t version);

/* Returns whether keyfile_dir names another directory than the current one, which is the data directory. */
bool keyfiles_are_elsewhere(void);

/* Returns whether the agent was not started by the server, and so has a directory of its own. */
bool keyfiles_are_of_another(void);

/* Returns whether the directory at path holds key files; one that cannot be read may hold some. */
bool keyfiles_may_be_in(const char *path);

#endif
