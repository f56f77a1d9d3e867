// SPDX-License-Identifier: GPL-2.0-only
/* The agent as a child process: started with one end of a socket pair as descriptor 3, killed, reaped. */
#ifndef AKM_SPAWN_H
#define AKM_SPAWN_H

#include <stddef.h>
#include <sys/types.h>

#include "client/environment.h"

/*
  Starts "path agent" with the environment of the user. Returns 0 and sets *fd (non-blocking, close-on-exec) and *child,
  which the caller then owns, or returns an errno.
*/
int spawn_agent(const char *path, const struct environment_user *user, int *fd, pid_t *child);

/* Returns what an operator can do about an errno of spawn_agent(). Never NULL. */
const char *spawn_hint(int error);

enum spawn_end
{
  SPAWN_RUNNING,                        /* did not end in time */
  SPAWN_EXITED,                         /* *detail is the exit status */
  SPAWN_SIGNALLED,                      /* *detail is the signal */
  SPAWN_UNKNOWN                         /* ended, but somebody else has the status (SIGCHLD is ignored) */
};

/* Waits at most limit_ms for the child to end, and reaps it. */
enum spawn_end spawn_wait(pid_t child, int limit_ms, int *detail);

/* Kills the child and its process group, unless it has ended already, then reaps it; waits two seconds at most. */
enum spawn_end spawn_kill(pid_t child, int *detail);

#endif
