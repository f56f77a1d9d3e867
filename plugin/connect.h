// SPDX-License-Identifier: GPL-2.0-only
/*
  An agent that already listens on a unix socket.
*/
#ifndef AKM_CONNECT_H
#define AKM_CONNECT_H

#include <stddef.h>

#define CONNECT_PATH_MAX 107u           /* sun_path without its NUL */

enum connect_result
{
  CONNECT_DONE,
  CONNECT_LATER,                        /* nobody listens yet */
  CONNECT_REFUSED                       /* waiting will not help */
};

/*
  One try to connect to the absolute path (at most CONNECT_PATH_MAX bytes), never blocking. Sets *fd (non-blocking,
  close-on-exec) when done, otherwise why[0..why_size). Only an agent of root, of our own user, or of the user who owns
  the socket's directory is accepted: anybody else could hand the server keys of his own.
*/
enum connect_result connect_agent(const char *path, int *fd, char *why, size_t why_size);

#endif
