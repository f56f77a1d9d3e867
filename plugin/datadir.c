// SPDX-License-Identifier: GPL-2.0-only
#include "datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tablespace.h"

#define LOG_HEADER 512u
#define LOG_CHECKSUM_AT 508u
#define LOG_FORMAT_ENCRYPTED 0xF09F979Du        /* as 10.11.19 writes it; its header names the key */
#define LOG_FORMAT_ENCRYPTED_10_8 0xD0687973u   /* FORMAT_10_8 with the flag of encrypted logs */
#define LOG_KEY_ID_AT 48u
#define LOG_KEY_VERSION_AT 52u
#define FITTING_MAX 1024u

struct search
{
  const struct datadir_keys *keys;
  enum datadir_extent extent;
  struct datadir_use *use;
  /* The key versions that a page was decrypted with. */
  size_t fitting;
  struct
  {
    uint32_t id, version;
  } fits[FITTING_MAX];
};

static void note_trouble(struct datadir_use *use, int error)
{
  if (error == EMFILE || error == ENFILE || error == ENOMEM || error == EIO || error == ESTALE)
    use->is_unsure= true;
}

static struct dirent *next_entry(struct datadir_use *use, DIR *directory)
{
  errno= 0;
  struct dirent *entry= readdir(directory);
  if (!entry)
    note_trouble(use, errno);
  return entry;
}

/* O_NONBLOCK: a FIFO that has the name of a table must not stop the start. */
static int open_at(struct datadir_use *use, int directory, const char *name)
{
  int file= openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file == -1)
    note_trouble(use, errno);
  return file;
}

static void note(struct datadir_use *use, uint32_t id, uint32_t version, const char *folder, const char *name)
{
  use->id= id;
  use->version= version;
  snprintf(use->file, sizeof use->file, "%s%s%s", folder, folder[0] ? "/" : "", name);
}

/* Once another key was found, that stays what is said: its cure is that of a missing one, too. */
static bool is_missing(const struct search *search, uint32_t id, uint32_t version, const char *folder, const char *name)
{
  if (search->keys->has(search->keys->context, id, version))
    return false;
  if (!search->use->is_other_key)
    note(search->use, id, version, folder, name);
  return true;
}

static bool redo_log_is_missing(const struct search *search, int directory, const char *name)
{
  uint8_t header[LOG_HEADER];
  int error= 0, file= open_at(search->use, directory, name);
  if (file == -1)
    return false;
  bool is_read= tablespace_read_at(file, 0, header, sizeof header, &error);
  close(file);
  note_trouble(search->use, error);
  uint32_t format= is_read ? tablespace_big_endian(header) : 0;
  return (format == LOG_FORMAT_ENCRYPTED || format == LOG_FORMAT_ENCRYPTED_10_8) &&
         tablespace_big_endian(header + LOG_CHECKSUM_AT) == tablespace_crc32c(header, LOG_CHECKSUM_AT) &&
         is_missing(search, tablespace_big_endian(header + LOG_KEY_ID_AT),
                    tablespace_big_endian(header + LOG_KEY_VERSION_AT), "", name);
}

static bool is_known_to_fit(const struct search *search, uint32_t id, uint32_t version)
{
  for (size_t i= 0; i < search->fitting; i++)
    if (search->fits[i].id == id && search->fits[i].version == version)
      return true;
  return false;
}

static void note_fit(struct search *search, uint32_t id, uint32_t version)
{
  if (search->fitting < FITTING_MAX)
  {
    search->fits[search->fitting].id= id;
    search->fits[search->fitting++].version= version;
  }
  if (search->use->is_other_key && search->use->id == id && search->use->version == version)
    search->use->is_other_key= false;
}

/*
  A key that opens one page is ours, and a page that it does not open is foreign: a table that waits for IMPORT TABLESPACE,
  say. So one suspicion at a time is kept until the end, and no new one once what fits cannot be remembered.
*/
static void try_key(struct search *search, const struct tablespace *space, uint32_t page, const struct key_record *key,
                    const char *folder, const char *name)
{
  struct datadir_use *use= search->use;
  if (is_known_to_fit(search, key->id, key->version))
    return;
  enum tablespace_verdict verdict= tablespace_judge(space, page, key, search->keys->aes);
  if (verdict == TABLESPACE_KEY_FITS)
    note_fit(search, key->id, key->version);
  else if (verdict == TABLESPACE_OTHER_KEY && !use->is_other_key && search->fitting < FITTING_MAX)
  {
    note(use, key->id, key->version, folder, name);
    use->is_other_key= true;
  }
}

static bool page_is_missing(struct search *search, const struct tablespace *space, const char *folder, const char *name)
{
  for (uint32_t page= TABLESPACE_FIRST_PAGE; page < TABLESPACE_PAGES_END; page++)
  {
    uint32_t version= tablespace_page_version(space, page);
    if (version == KEY_VERSION_NONE)
      continue;
    if (!search->keys->has(search->keys->context, space->key_id, version) && !tablespace_is_whole(space, page))
      continue;
    if (is_missing(search, space->key_id, version, folder, name))
      return true;
    const struct key_record *key= keytable_find(search->keys->table, space->key_id, version);
    if (key)
      try_key(search, space, page, key, folder, name);
  }
  return false;
}

/* That a tablespace names a key id does not say that a page was encrypted with it yet: no reason not to start by itself. */
static bool tablespace_is_missing(struct search *search, int directory, const char *folder, const char *name)
{
  struct tablespace space;
  int error= 0, file= open_at(search->use, directory, name);
  if (file == -1)
    return false;
  bool found= tablespace_read(&space, file, &error) &&
              ((search->extent == DATADIR_WHOLE && is_missing(search, space.key_id, 0, folder, name)) ||
               (search->keys->aes && page_is_missing(search, &space, folder, name)));
  close(file);
  note_trouble(search->use, error);
  return found;
}

static bool is_table(const char *name)
{
  size_t length= strlen(name);
  return length > 4 && strcmp(name + length - 4, ".ibd") == 0;
}

static bool folder_is_missing(struct search *search, int parent, const char *folder)
{
  int file= openat(parent, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory= file == -1 ? NULL : fdopendir(file);
  bool found= false;
  if (!directory)
  {
    note_trouble(search->use, errno);
    if (file != -1)
      close(file);
    return false;
  }
  for (struct dirent *entry; !found && (entry= next_entry(search->use, directory));)
    found= is_table(entry->d_name) && tablespace_is_missing(search, file, folder, entry->d_name);
  closedir(directory);
  return found;
}

static bool folders_are_missing(struct search *search, DIR *directory)
{
  int file= dirfd(directory);
  bool found= false;
  if (search->extent == DATADIR_SAMPLE)
    return folder_is_missing(search, file, "mysql");
  for (struct dirent *entry; !found && (entry= next_entry(search->use, directory));)
    found= entry->d_name[0] != '.' && (entry->d_type == DT_DIR || entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN) &&
           folder_is_missing(search, file, entry->d_name);
  return found;
}

bool datadir_find_unreadable(const char *path, enum datadir_extent extent, const struct datadir_keys *keys,
                             struct datadir_use *use)
{
  struct search search= {.keys= keys, .extent= extent, .use= use};
  DIR *directory= opendir(path);
  use->is_other_key= false;
  use->is_unsure= !directory;
  if (!directory)
    return false;
  bool found= redo_log_is_missing(&search, dirfd(directory), "ib_logfile0") ||
              tablespace_is_missing(&search, dirfd(directory), "", "ibdata1") ||
              folders_are_missing(&search, directory);
  closedir(directory);
  return found || use->is_other_key;
}
