// SPDX-License-Identifier: GPL-2.0-only
#ifndef AKM_DESCRIPTOR_H
#define AKM_DESCRIPTOR_H

#include <fcntl.h>
#include <unistd.h>

#define DESCRIPTOR_AGENT 3              /* where the agent finds its socket */

/*
  A server may run with 0, 1 or 2 closed; what is opened then gets such a number, is taken for standard output by
  whoever prints, and is overwritten in the child that gets its own. Moves the descriptor above all that, close-on-exec.
  -1: no descriptor is free, errno says why; the old one is closed in any case.
*/
static inline int descriptor_high(int fd)
{
  if (fd == -1 || fd > DESCRIPTOR_AGENT)
    return fd;
  int high= fcntl(fd, F_DUPFD_CLOEXEC, DESCRIPTOR_AGENT + 1);
  close(fd);
  return high;
}

#endif
