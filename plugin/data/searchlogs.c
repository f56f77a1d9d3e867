// SPDX-License-Identifier: GPL-2.0-only
#include "data/searchlogs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/binlog.h"
#include "data/redolog.h"
#include "data/search.h"

static bool redo_log_is_missing(struct search *search, const struct place *place)
{
  struct datafile_keys keys;
  int error= 0, file= search_open(search, place, false);
  if (file == -1)
    return false;
  enum datafile_says says= redolog_read(file, &keys, &error);
  close(file);
  search_trouble(search, place, error);
  return search_are_missing(search, says, &keys, place);
}

bool search_redo_logs(struct search *search)
{
  const char *path= search->locations->paths[LOCATION_LOG];
  struct place home= {AT_FDCWD, "", path, DATADIR_REDO};
  DIR *directory= search_list(search, &home, true);
  if (!directory)
    return false;
  struct place file= {dirfd(directory), strcmp(path, ".") == 0 ? "" : path, "ib_logfile0", DATADIR_REDO};
  bool found= redo_log_is_missing(search, &file);
  for (struct dirent *entry; !found && search->extent == DATADIR_WHOLE && (entry= search_next(search, directory, &home));)
    if (redolog_is_archived(entry->d_name))
    {
      file.name= entry->d_name;
      found= redo_log_is_missing(search, &file);
    }
  closedir(directory);
  return found;
}

/* Names in an index are relative to the data directory, or to the directory of log_bin. */
static bool log_is_missing(struct search *search, const char *folder, const char *name)
{
  struct datafile_keys keys;
  char path[2 * PATH_MAX];
  const char *last= strrchr(name, '/');
  struct place place= {AT_FDCWD, "", name, DATADIR_BINLOG};
  int error= 0, file= search_open(search, &place, false);
  if (file == -1 && name[0] != '/' && folder[0] && strlen(folder) < PATH_MAX && strlen(name) < PATH_MAX)
  {
    snprintf(path, sizeof path, "%s/%s", folder, last ? last + 1 : name);
    place.name= path;
    file= search_open(search, &place, false);
  }
  if (file == -1)
    return false;
  enum datafile_says says= binlog_read(file, &keys, &error);
  close(file);
  search_trouble(search, &place, error);
  return search_are_missing(search, says, &keys, &place);
}

/* A log that does not exist was purged or moved away, and is not missed. */
static bool logs_of_index_are_missing(struct search *search, const struct place *place)
{
  char line[PATH_MAX + 2];
  int file= search_open(search, place, false);
  FILE *index= file == -1 ? NULL : fdopen(file, "re");
  bool found= false;
  if (!index)
  {
    if (file != -1)
    {
      search_trouble(search, place, errno);
      close(file);
    }
    return false;
  }
  while (!found && fgets(line, sizeof line, index))
  {
    size_t length= strcspn(line, "\n");
    if (line[length] != '\n' && !feof(index))
    {
      search_unsure(search, place, "a line of it is too long");
      break;
    }
    line[length]= 0;
    const char *name= strncmp(line, "./", 2) == 0 ? line + 2 : line;
    if (name[0])
      found= log_is_missing(search, place->folder, name);
  }
  if (ferror(index))
    search_trouble(search, place, errno ? errno : EIO);
  fclose(index);
  return found;
}

static bool is_index(const char *name)
{
  size_t length= strlen(name);
  return length > 6 && strcmp(name + length - 6, ".index") == 0;
}

/* Searches every index in a directory: the relay logs of each named connection have their own. */
static bool indexes_are_missing(struct search *search, const char *path)
{
  bool is_here= strcmp(path, ".") == 0, found= false;
  struct place home= {AT_FDCWD, "", path, DATADIR_BINLOG};
  DIR *directory= search_list(search, &home, true);
  if (!directory)
    return false;
  for (struct dirent *entry; !found && (entry= search_next(search, directory, &home));)
    if (is_index(entry->d_name))
    {
      const struct place index= {dirfd(directory), is_here ? "" : path, entry->d_name, DATADIR_BINLOG};
      found= logs_of_index_are_missing(search, &index);
    }
  closedir(directory);
  return found;
}

/* Finds the directory of a path. Returns false if that is the data directory. */
static bool directory_of(const char *path, char directory[PATH_MAX])
{
  const char *last= strrchr(path, '/');
  size_t length= last ? (size_t) (last - path) : 0;
  if (!last)
    return false;
  if (length == 0)
    length= 1;
  memcpy(directory, path, length);
  directory[length]= 0;
  return true;
}

bool search_binlogs(struct search *search)
{
  static const enum location named[]= {
    LOCATION_BINLOG_INDEX, LOCATION_RELAY_INDEX, LOCATION_BINLOG, LOCATION_RELAY,
  };
  char directory[PATH_MAX];
  bool found= indexes_are_missing(search, search->locations->paths[LOCATION_DATA]);
  for (size_t i= 0; !found && i < sizeof named / sizeof named[0]; i++)
  {
    const char *path= search->locations->paths[named[i]];
    bool is_elsewhere= directory_of(path, directory);
    if (i < 2 && path[0] && !is_index(path))
    {
      const struct place index= {AT_FDCWD, "", path, DATADIR_BINLOG};
      found= logs_of_index_are_missing(search, &index);
    }
    if (!found && is_elsewhere)
      found= indexes_are_missing(search, directory);
  }
  return found;
}
