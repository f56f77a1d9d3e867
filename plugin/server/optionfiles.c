// SPDX-License-Identifier: GPL-2.0-only
#include "server/optionfiles.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARK "----file-marker----"
#define INCLUDE "!include"
#define INCLUDE_DIRECTORY "!includedir"
#define BLANKS " \t\r\n"

static bool is_denied(int directory, const char *path)
{
  int file= openat(directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file != -1)
    close(file);
  return file == -1 && (errno == EACCES || errno == EPERM);
}

static bool is_option_file(const char *name)
{
  size_t length= strlen(name);
  return length > 4 && strcmp(name + length - 4, ".cnf") == 0;
}

static bool directory_is_readable(const char *path)
{
  DIR *directory= opendir(path);
  bool is_readable= true;
  if (!directory)
    return errno != EACCES && errno != EPERM;
  for (struct dirent *entry; is_readable && (entry= readdir(directory));)
    is_readable= !is_option_file(entry->d_name) || !is_denied(dirfd(directory), entry->d_name);
  closedir(directory);
  return is_readable;
}

static bool line_is_readable(char *line)
{
  char *from= line + strspn(line, BLANKS), *value;
  bool is_directory= strncmp(from, INCLUDE_DIRECTORY, strlen(INCLUDE_DIRECTORY)) == 0;
  if (!is_directory && strncmp(from, INCLUDE, strlen(INCLUDE)) != 0)
    return true;
  value= from + strlen(is_directory ? INCLUDE_DIRECTORY : INCLUDE);
  value+= strspn(value, BLANKS);
  for (size_t length= strlen(value); length && strchr(BLANKS, value[length - 1]);)
    value[--length]= 0;
  return is_directory ? directory_is_readable(value) : !is_denied(AT_FDCWD, value);
}

static bool includes_are_readable(const char *path)
{
  FILE *file= fopen(path, "re");
  char *line= NULL;
  size_t room= 0;
  bool is_readable= file != NULL;
  while (is_readable && getline(&line, &room, file) != -1)
    is_readable= line_is_readable(line);
  free(line);
  if (file)
    fclose(file);
  return is_readable;
}

/* In ~/ nobody can tell whether there is a file: root's home lets nobody in. */
static bool default_is_readable(const char *directory)
{
  char path[PATH_MAX];
  if (directory[0] != '/')
    return true;
  int length= snprintf(path, sizeof path, "%s/my.cnf", directory);
  return length > 0 && (size_t) length < sizeof path && !is_denied(AT_FDCWD, path);
}

bool optionfiles_are_readable(size_t count, const char *const *arguments, const char *const *directories)
{
  for (; directories && *directories; directories++)
    if (!default_is_readable(*directories))
      return false;
  for (size_t i= 0; i + 1 < count; i++)
    if (strcmp(arguments[i], MARK) == 0 && arguments[i + 1][0] && !includes_are_readable(arguments[i + 1]))
      return false;
  return true;
}
