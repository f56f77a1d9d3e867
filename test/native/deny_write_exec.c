// SPDX-License-Identifier: GPL-2.0-only
/* Runs a command that may not gain executable memory: what systemd's MemoryDenyWriteExecute= does to a service. */
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif
#define REFUSE_EXEC_GAIN 1

int main(int argc, char **argv)
{
  if (argc < 2)
    return 2;
  if (prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0))
  {
    perror("prctl(PR_SET_MDWE)");
    return 3;
  }
  execvp(argv[1], argv + 1);
  perror(argv[1]);
  return 4;
}
