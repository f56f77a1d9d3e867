// SPDX-License-Identifier: GPL-2.0-only
#include "client/target.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGENT_NAME "aws_key_management_agent"
#define SOCKET_PREFIX "unix:"

static bool beside(const char *library, char target[TARGET_SIZE])
{
  const char *slash= strrchr(library, '/');
  if (!slash)
    return false;
  int length= snprintf(target, TARGET_SIZE, "%.*s/" AGENT_NAME, (int) (slash - library), library);
  return length > 0 && length < TARGET_SIZE;
}

/* The agent may be beside a symbolic link to the library, or beside its file. */
static bool beside_library(const void *inside, char target[TARGET_SIZE])
{
  char real[PATH_MAX];
  Dl_info info;
  if (!dladdr(inside, &info) || !info.dli_fname)
    return false;
  if (info.dli_fname[0] == '/' && beside(info.dli_fname, target) && access(target, F_OK) == 0)
    return true;
  return realpath(info.dli_fname, real) && beside(real, target);
}

bool target_choose(const char *from, const void *inside, char target[TARGET_SIZE], char *why, size_t why_size)
{
  size_t size= strlen(from);
  if (size == 0)
  {
    snprintf(why, why_size, "cannot find out where the plugin library is; set aws_key_management_agent");
    return beside_library(inside, target);
  }
  if (size >= TARGET_SIZE)
  {
    snprintf(why, why_size, "aws_key_management_agent: expected at most %d bytes, got %zu", TARGET_SIZE - 1, size);
    return false;
  }
  for (size_t i= 0; i < size; i++)
    if ((unsigned char) from[i] < 0x20 || from[i] == 0x7F)
    {
      snprintf(why, why_size, "aws_key_management_agent: position %zu has a control character", i + 1);
      return false;
    }
  memcpy(target, from, size + 1);
  return true;
}

const char *target_socket(const char *target)
{
  size_t size= strlen(SOCKET_PREFIX);
  return strncmp(target, SOCKET_PREFIX, size) == 0 ? target + size : NULL;
}
