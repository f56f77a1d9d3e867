// SPDX-License-Identifier: GPL-2.0-only
/*
  Numbers of file descriptors.
*/
#ifndef AKM_DESCRIPTOR_H
#define AKM_DESCRIPTOR_H

#include <fcntl.h>
#include <unistd.h>

#define DESCRIPTOR_AGENT 3              /* the socket of the agent that this process starts */

/*
  Moves a new descriptor above standard input, output, error and DESCRIPTOR_AGENT, close-on-exec. A server may run with 0, 1
  or 2 closed: a descriptor with such a number is taken for standard output by whoever prints, and a child overwrites it.
  Takes fd over, -1 included. Returns -1 with errno if no descriptor is free; fd is closed then, too.
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
