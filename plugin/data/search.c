// SPDX-License-Identifier: GPL-2.0-only
#include "data/search.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

static void put_path(char to[DATADIR_FILE_MAX], const struct place *place)
{
  char path[2 * PATH_MAX];
  int length= snprintf(path, sizeof path, "%s%s%s", place->folder, place->folder[0] ? "/" : "", place->name);
  text_clean(to, DATADIR_FILE_MAX, path, length < 0 ? 0 : (size_t) length < sizeof path ? (size_t) length : sizeof path - 1);
}

void search_unsure(struct search *search, const struct place *place, const char *why)
{
  struct datadir_use *use= search->use;
  if (use->is_unsure)
    return;
  use->is_unsure= true;
  use->unsure_file[0]= 0;
  if (place)
    put_path(use->unsure_file, place);
  snprintf(use->unsure_why, sizeof use->unsure_why, "%s", why);
}

void search_trouble(struct search *search, const struct place *place, int error)
{
  char why[DATADIR_WHY_MAX];
  if (error == 0 || error == ENOENT)
    return;
  snprintf(why, sizeof why, "it cannot be read: %s", strerrordesc_np(error) ? strerrordesc_np(error) : "unknown error");
  search_unsure(search, place, why);
}

bool search_is_unwanted(struct search *search)
{
  const struct datadir_keys *keys= search->keys;
  if (!keys->is_unwanted || !keys->is_unwanted(keys->argument))
    return false;
  search_unsure(search, NULL, "the look was interrupted");
  return true;
}

/*
  Returns whether the place is a symbolic link whose target does not exist. Opening it fails with ENOENT as well, but its
  table is on a volume that is not mounted. A link to a file is merely no directory.
*/
static bool is_link_to_nothing(const struct place *place)
{
  struct stat entry;
  return fstatat(place->directory, place->name, &entry, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(entry.st_mode) &&
         fstatat(place->directory, place->name, &entry, 0) != 0;
}

static void not_there(struct search *search, const struct place *place, bool is_needed)
{
  if (is_needed || is_link_to_nothing(place))
    search_unsure(search, place, "it is not there");
}

/* O_NONBLOCK: a FIFO that has the name of a table must not stop the start. */
static int open_any(struct search *search, const struct place *place, int flags, bool is_needed)
{
  if (search_is_unwanted(search))
    return -1;
  int file= openat(place->directory, place->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags);
  if (file == -1 && (errno == ENOENT || errno == ENOTDIR))
    not_there(search, place, is_needed);
  else if (file == -1 && errno != ENXIO)
    search_trouble(search, place, errno);
  return file;
}

int search_open(struct search *search, const struct place *place, bool is_needed)
{
  struct stat file_is;
  int file= open_any(search, place, 0, is_needed);
  if (file == -1 || (fstat(file, &file_is) == 0 && (S_ISREG(file_is.st_mode) || S_ISBLK(file_is.st_mode))))
    return file;
  close(file);
  return -1;
}

DIR *search_list(struct search *search, const struct place *place, bool is_needed)
{
  int file= open_any(search, place, O_DIRECTORY, is_needed);
  DIR *directory= file == -1 ? NULL : fdopendir(file);
  if (file != -1 && !directory)
  {
    search_trouble(search, place, errno);
    close(file);
  }
  return directory;
}

struct dirent *search_next(struct search *search, DIR *directory, const struct place *place)
{
  if (search_is_unwanted(search))
    return NULL;
  errno= 0;
  struct dirent *entry= readdir(directory);
  if (!entry)
    search_trouble(search, place, errno);
  return entry;
}

void search_note(struct datadir_use *use, uint32_t id, uint32_t version, const struct place *place)
{
  use->id= id;
  use->version= version;
  use->kind= place->kind;
  put_path(use->file, place);
}

/* A use of another key, once noted, stays: its cure is that of a missing key, too. */
bool search_is_missing(struct search *search, uint32_t id, uint32_t version, const struct place *place)
{
  if (search->keys->has(search->keys->context, id, version))
    return false;
  if (!search->use->is_other_key)
    search_note(search->use, id, version, place);
  return true;
}

bool search_are_missing(struct search *search, enum datafile_says says, const struct datafile_keys *keys,
                        const struct place *place)
{
  if (says == DATAFILE_UNSURE)
    search_unsure(search, place, "this release of the plugin does not know its format");
  if (says != DATAFILE_ENCRYPTED)
    return false;
  for (size_t i= 0; i < keys->count; i++)
    if (search_is_missing(search, keys->id, keys->versions[i], place))
      return true;
  return search->extent == DATADIR_WHOLE && search_is_missing(search, keys->id, 0, place);
}
