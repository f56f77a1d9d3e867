// SPDX-License-Identifier: GPL-2.0-only
/* Connections to an agent that already listens on a unix socket. */
#ifndef AKM_CONNECT_H
#define AKM_CONNECT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define CONNECT_PATH_MAX 107u           /* sun_path without its NUL */

enum connect_result
{
  CONNECT_DONE,
  CONNECT_LATER,                        /* nobody listens yet */
  CONNECT_DENIED,                       /* no permission; passes if the directory or the socket is about to get its mode */
  CONNECT_REFUSED                       /* waiting will not help */
};

/*
  Tries once to connect to the absolute path (at most CONNECT_PATH_MAX bytes), never blocking. Sets *fd (non-blocking,
  close-on-exec), which the caller then owns, or why[0..why_size). Accepts only an agent of root, of our own user, or of the
  user who owns the socket's directory: any other could hand the server keys of its own.
*/
enum connect_result connect_agent(const char *path, int *fd, char *why, size_t why_size);

/* Says in why[0..why_size) what an errno of connect() means. Returns what it means for the next try. */
enum connect_result connect_failed(const char *path, int error, char *why, size_t why_size);

/* Writes the cure for CONNECT_DENIED into hint[0..hint_size): for mariadb-backup or the server. */
void connect_denied_hint(const char *path, bool is_backup, char *hint, size_t hint_size);

/* Returns whether a process of user peer may be our agent. owner: of the socket's directory, NULL if unknown. */
bool connect_trusts(uid_t peer, uid_t own, const uid_t *owner);

#endif
