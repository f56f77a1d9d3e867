// SPDX-License-Identifier: GPL-2.0-only
/* The choice of the agent: the value of aws_key_management_agent, or the executable beside the plugin library. */
#ifndef AKM_TARGET_H
#define AKM_TARGET_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define TARGET_SIZE PATH_MAX

/*
  Writes the target. from: the variable's value, may be empty. inside: any address in the plugin library. Returns false if
  there is no target; why[0..why_size) says why.
*/
bool target_choose(const char *from, const void *inside, char target[TARGET_SIZE], char *why, size_t why_size);

/* The path of the socket that a target names after "unix:". NULL: the target is the path of an executable. */
const char *target_socket(const char *target);

#endif
