// SPDX-License-Identifier: GPL-2.0-only
/*
  The agent as a child process: started with one end of a socket pair as descriptor 3, ended, waited for.
*/
#ifndef AKM_SPAWN_H
#define AKM_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
  Starts "path agent". On success sets *fd (non-blocking, close-on-exec) and *child. On failure returns false and
  why[0..why_size) names the path and the cause.
*/
bool spawn_agent(const char *path, int *fd, pid_t *child, char *why, size_t why_size);

enum spawn_end
{
  SPAWN_RUNNING,                        /* did not end in time */
  SPAWN_EXITED,                         /* *detail is the exit status */
  SPAWN_SIGNALLED,                      /* *detail is the signal */
  SPAWN_UNKNOWN                         /* ended, but somebody else has the status (SIGCHLD is ignored) */
};

/* Waits at most limit_ms for the child to end, and reaps it. */
enum spawn_end spawn_wait(pid_t child, int limit_ms, int *detail);

/* Kills the child and what it started, then reaps it. */
enum spawn_end spawn_kill(pid_t child, int *detail);

/*
  The environment of the agent, a NULL terminated array: from inherited what AWS credentials, proxies, certificates and
  time zones need, a fixed PATH, and HOME, USER, LOGNAME of the effective user. Nothing that changes what code runs.
  NULL: out of memory.
*/
char **spawn_environment(char *const *inherited);

/* It may hold credentials: wipes and frees it. NULL is allowed. */
void spawn_environment_free(char **environment);

#endif
