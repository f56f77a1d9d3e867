// SPDX-License-Identifier: GPL-2.0-only
#include "data/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/aria.h"
#include "data/search.h"
#include "data/searchlogs.h"
#include "data/tablespace.h"

#define UNDO_TABLESPACES 127u

static bool is_known_to_fit(const struct search *search, uint32_t id, uint32_t version)
{
  for (size_t i= 0; i < search->fitting; i++)
    if (search->fits[i].id == id && search->fits[i].version == version)
      return true;
  return false;
}

static void note_fit(struct search *search, uint32_t id, uint32_t version)
{
  if (search->fitting < SEARCH_FITTING_MAX)
  {
    search->fits[search->fitting].id= id;
    search->fits[search->fitting++].version= version;
  }
  if (search->use->is_other_key && search->use->id == id && search->use->version == version)
    search->use->is_other_key= false;
}

/*
  Tries a key on a page. A key that opens one page is ours, and a page that it does not open is foreign: a table that waits
  for IMPORT TABLESPACE, say. So one suspicion at a time is kept until the end, and no new one once the fitting keys cannot
  be remembered.
*/
static void try_key(struct search *search, const struct tablespace *space, uint32_t page, const struct key_record *key,
                    const struct place *place)
{
  struct datadir_use *use= search->use;
  if (is_known_to_fit(search, key->id, key->version))
    return;
  enum tablespace_verdict verdict= tablespace_judge(space, page, key, search->keys->aes);
  if (verdict == TABLESPACE_KEY_FITS)
    note_fit(search, key->id, key->version);
  else if (verdict == TABLESPACE_OTHER_KEY && !use->is_other_key && search->fitting < SEARCH_FITTING_MAX)
  {
    search_note(use, key->id, key->version, place);
    use->is_other_key= true;
  }
}

/*
  The lowest version is known of tables whose pages are not judged, too. It dates from when the table was made, or last
  moved to another version.
*/
static bool lowest_is_missing(struct search *search, const struct tablespace *space, const struct place *place)
{
  return space->lowest_version != KEY_VERSION_NONE && space->lowest_version <= KEY_VERSION_MAX &&
         search_is_missing(search, space->key_id, space->lowest_version, place);
}

static bool page_is_missing(struct search *search, const struct tablespace *space, const struct place *place)
{
  for (uint32_t page= TABLESPACE_FIRST_PAGE; page < TABLESPACE_PAGES_END; page++)
  {
    uint32_t version= tablespace_page_version(space, page);
    if (version == KEY_VERSION_NONE)
      continue;
    if (!search->keys->has(search->keys->context, space->key_id, version) && !tablespace_is_whole(space, page))
      continue;
    if (search_is_missing(search, space->key_id, version, place))
      return true;
    const struct key_record *key= search->keys->aes ? keytable_find(search->keys->table, space->key_id, version) : NULL;
    if (key)
      try_key(search, space, page, key, place);
  }
  return false;
}

/* A tablespace that names a key id may have no page under it yet: the id alone is no reason not to start. */
static bool search_tablespace(struct search *search, const struct place *place, bool is_needed)
{
  struct tablespace space;
  int error= 0, file= search_open(search, place, is_needed);
  if (file == -1)
    return false;
  bool found= tablespace_read(&space, file, &error) &&
              ((search->extent == DATADIR_WHOLE && search_is_missing(search, space.key_id, 0, place)) ||
               (search->keys->versions_on_pages && lowest_is_missing(search, &space, place)) ||
               ((search->keys->aes || search->keys->versions_on_pages) && page_is_missing(search, &space, place)));
  close(file);
  search_trouble(search, place, error);
  return found;
}

/* A link is a text file: the path of the table, written by whichever server was the last. */
static bool remote_table_is_missing(struct search *search, const struct place *link)
{
  char path[PATH_MAX];
  int file= search_open(search, link, false);
  if (file == -1)
    return false;
  ssize_t size;
  do
    size= read(file, path, sizeof path);
  while (size == -1 && errno == EINTR);
  int error= size == -1 ? errno : 0;
  close(file);
  search_trouble(search, link, error);
  while (size > 0 && (path[size - 1] == '\n' || path[size - 1] == '\r' || path[size - 1] == ' '))
    size--;
  if (size <= 0 || (size_t) size >= sizeof path)
  {
    search_unsure(search, link, "it names no file");
    return false;
  }
  path[size]= 0;
  const struct place table= {AT_FDCWD, "", path, DATADIR_REMOTE_TABLE};
  return search_tablespace(search, &table, true);
}

static bool aria_table_is_missing(struct search *search, const struct place *place)
{
  struct datafile_keys keys;
  char name[NAME_MAX + 1];
  int error= 0, index= search_open(search, place, false), data;
  if (index == -1)
    return false;
  size_t length= (size_t) snprintf(name, sizeof name, "%s", place->name);
  memcpy(name + length - 1, "D", 1);
  const struct place data_place= {place->directory, place->folder, name, DATADIR_ARIA};
  data= search_open(search, &data_place, false);
  enum datafile_says says= aria_read(index, data, &keys, &error);
  close(index);
  if (data != -1)
    close(data);
  search_trouble(search, place, error);
  return search_are_missing(search, says, &keys, place);
}

static bool ends(const char *name, const char *with)
{
  size_t length= strlen(name), end= strlen(with);
  return length > end && strcmp(name + length - end, with) == 0;
}

/* A temporary table may be encrypted with key 2, and nobody reads it after a restart. */
static bool is_temporary_aria(const char *name)
{
  return strncmp(name, "#sql-temptable", sizeof "#sql-temptable" - 1) == 0;
}

static bool entry_is_missing(struct search *search, struct place *place)
{
  if (ends(place->name, ".ibd"))
    return search_tablespace(search, place, false);
  if (ends(place->name, ".isl"))
    return remote_table_is_missing(search, place);
  place->kind= DATADIR_ARIA;
  return ends(place->name, ".MAI") && !is_temporary_aria(place->name) && aria_table_is_missing(search, place);
}

/*
  A symbolic link to nothing may be a database on a volume that is not mounted. With a dot in its name it is no database,
  but a socket, say.
*/
static bool folder_is_missing(struct search *search, int parent, const char *name)
{
  const struct place folder= {parent, "", name, DATADIR_TABLE};
  if (strchr(name, '.') && faccessat(parent, name, F_OK, 0) != 0)
    return false;
  DIR *directory= search_list(search, &folder, false);
  bool found= false;
  if (!directory)
    return false;
  for (struct dirent *entry; !found && (entry= search_next(search, directory, &folder));)
  {
    struct place place= {dirfd(directory), name, entry->d_name, DATADIR_TABLE};
    found= entry_is_missing(search, &place);
  }
  closedir(directory);
  return found;
}

/* lost+found belongs to root alone, and holds no data of a server. */
static bool may_be_folder(const struct dirent *entry)
{
  return entry->d_name[0] != '.' && strcmp(entry->d_name, "lost+found") != 0 &&
         (entry->d_type == DT_DIR || entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN);
}

static bool folders_are_missing(struct search *search)
{
  const struct place here= {AT_FDCWD, "", search->locations->paths[LOCATION_DATA], DATADIR_TABLE};
  DIR *directory= search_list(search, &here, true);
  bool found= false;
  if (!directory)
    return false;
  if (search->extent == DATADIR_SAMPLE)
    found= folder_is_missing(search, dirfd(directory), "mysql");
  else
    for (struct dirent *entry; !found && (entry= search_next(search, directory, &here));)
      found= may_be_folder(entry) && folder_is_missing(search, dirfd(directory), entry->d_name);
  closedir(directory);
  return found;
}

/* The first file has the page that names the key. The others are searched as well, which costs little. */
static bool system_tablespace_is_missing(struct search *search)
{
  const char *home= search->locations->paths[LOCATION_SYSTEM], *next= search->locations->system_files;
  bool is_here= strcmp(home, ".") == 0, found= false;
  char path[PATH_MAX + LOCATIONS_FILES_MAX];
  while (!found && *next)
  {
    size_t entry= strcspn(next, ";"), length= strcspn(next, ":;");
    bool has_home= home[0] && !is_here;
    snprintf(path, sizeof path, "%s%s%.*s", has_home ? home : "", has_home ? "/" : "", (int) length, next);
    const struct place place= {AT_FDCWD, "", path, DATADIR_SYSTEM};
    found= path[0] && search_tablespace(search, &place, false);
    next+= entry;
    next+= *next == ';';
  }
  return found;
}

static bool undo_tablespaces_are_missing(struct search *search)
{
  const char *home= search->locations->paths[LOCATION_UNDO];
  bool is_here= strcmp(home, ".") == 0, found= false;
  const struct place folder= {AT_FDCWD, "", home, DATADIR_SYSTEM};
  DIR *directory= search_list(search, &folder, true);
  if (!directory)
    return false;
  for (unsigned number= 1; !found && number <= UNDO_TABLESPACES; number++)
  {
    char name[sizeof "undo4294967295"];
    snprintf(name, sizeof name, "undo%03u", number);
    const struct place place= {dirfd(directory), is_here ? "" : home, name, DATADIR_SYSTEM};
    found= search_tablespace(search, &place, false);
  }
  closedir(directory);
  return found;
}

bool datadir_find_unreadable(const struct locations *locations, enum datadir_extent extent, const struct datadir_keys *keys,
                             struct datadir_use *use)
{
  struct search search= {.locations= locations, .keys= keys, .extent= extent, .use= use};
  memset(use, 0, sizeof *use);
  if (locations->unknown)
    search_unsure(&search, NULL, locations->unknown);
  bool found= search_redo_logs(&search) || system_tablespace_is_missing(&search) ||
              (extent == DATADIR_WHOLE && undo_tablespaces_are_missing(&search)) || folders_are_missing(&search) ||
              (extent == DATADIR_WHOLE && search_binlogs(&search));
  return found || use->is_other_key;
}
