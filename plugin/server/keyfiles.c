// SPDX-License-Identifier: GPL-2.0-only
#include "server/keyfiles.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/target.h"
#include "server/server.h"

#define KEY_FILE "aws-kms-key."

static char directory[PATH_MAX];
static char text[2 * PATH_MAX + 64];
static bool is_named;
static bool is_of_another;

/*
  Returns "" for the data directory, which in mariadb-backup is the copy of it, or the directory of an incremental backup.
  An incremental backup brings every key file of its time, and mariadb-backup moves them to the full one only when it has
  applied what they encrypt.
*/
static const char *default_keyfile_dir(void)
{
  const char *incremental= server_incremental_dir();
  return incremental ? incremental : "";
}

/*
  Writes the absolute path, as the server will use it. A directory that does not exist is no error here: the agent explains
  it better.
*/
static bool absolute(const char *from, char to[PATH_MAX])
{
  char here[PATH_MAX], real[PATH_MAX];
  int length;
  if (from[0] == '/')
    length= snprintf(to, PATH_MAX, "%s", from);
  else if (!getcwd(here, sizeof here))
    length= -1;
  else if (from[0] == 0)
    length= snprintf(to, PATH_MAX, "%s", here);
  else if (realpath(from, real))
    length= snprintf(to, PATH_MAX, "%s", real);
  else
    length= snprintf(to, PATH_MAX, "%s/%s", here, from);
  return length >= 0 && length < PATH_MAX;
}

bool keyfiles_open(const char *configured, const char *target)
{
  const char *from= configured[0] ? configured : default_keyfile_dir();
  is_named= configured[0] != 0;
  is_of_another= target_socket(target) != NULL;
  if (!absolute(from, directory))
  {
    server_logf(SERVER_ERROR,
                "aws_key_management_keyfile_dir: the absolute path of '%.200s' is too long or cannot be found", from);
    return false;
  }
  /* The plugin does not know the directory of an agent that the server did not start. */
  if (is_of_another)
    snprintf(text, sizeof text, "the key files of the agent on %s", target);
  else
    snprintf(text, sizeof text, "the key files in %s", directory);
  return true;
}

const char *keyfiles_directory(void)
{
  return directory;
}

const char *keyfiles_text(void)
{
  return text;
}

bool keyfiles_have(uint32_t id, uint32_t version)
{
  char path[PATH_MAX + sizeof KEY_FILE + 24];
  snprintf(path, sizeof path, "%s/" KEY_FILE "%u.%u", directory, id, version);
  return access(path, F_OK) == 0;
}

static bool is_here(const char *path)
{
  struct stat there, here;
  return stat(path, &there) == 0 && stat(".", &here) == 0 && there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

bool keyfiles_are_elsewhere(void)
{
  return is_named && !is_here(directory);
}

bool keyfiles_are_of_another(void)
{
  return is_of_another;
}

bool keyfiles_may_be_in(const char *path)
{
  DIR *listing= opendir(path);
  if (!listing)
    return errno != ENOENT;
  const struct dirent *entry;
  bool found= false;
  while (!found && (entry= readdir(listing)))
    found= strncmp(entry->d_name, KEY_FILE, sizeof KEY_FILE - 1) == 0;
  closedir(listing);
  return found;
}
