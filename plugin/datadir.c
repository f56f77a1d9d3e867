// SPDX-License-Identifier: GPL-2.0-only
#include "datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAGE_HEADER 64u                 /* enough of page 0 to know the size of a page */
#define FLAGS_AT 54u                    /* FSP_SPACE_FLAGS */
#define DESCRIPTORS_AT 188u             /* FSP_HEADER_OFFSET + XDES_ARR_OFFSET */
#define CRYPT_BLOCK 33u
#define CRYPT_TYPE_AT 6u
#define CRYPT_MIN_VERSION_AT 24u        /* 0: of pages in the clear */
#define CRYPT_KEY_ID_AT 28u
#define CRYPT_ENCRYPTION_AT 32u
#define ENCRYPTION_OFF 2u               /* ENCRYPTED=NO */
#define CRYPT_SCHEME_1 1u
#define LOG_HEADER 64u
#define LOG_ENCRYPTED 0x80000000u       /* in the format of every encrypted redo log from 10.3 on */
#define LOG_FORMAT_10_8 0x50687973u     /* from here on the header names the key */
#define LOG_KEY_ID_AT 48u
#define LOG_KEY_VERSION_AT 52u

static uint32_t big_endian(const uint8_t *from)
{
  return (uint32_t) from[0] << 24 | (uint32_t) from[1] << 16 | (uint32_t) from[2] << 8 | from[3];
}

static void note_trouble(struct datadir_use *use, int error)
{
  if (error == EMFILE || error == ENFILE || error == ENOMEM || error == EIO || error == ESTALE)
    use->is_unsure= true;
}

/* O_NONBLOCK: a FIFO that has the name of a table must not stop the start. */
static bool read_at(struct datadir_use *use, int directory, const char *name, off_t offset, uint8_t *to, size_t size)
{
  int file= openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file == -1)
  {
    note_trouble(use, errno);
    return false;
  }
  ssize_t got;
  do
    got= pread(file, to, size, offset);
  while (got == -1 && errno == EINTR);
  if (got == -1)
    note_trouble(use, errno);
  close(file);
  return got >= 0 && (size_t) got == size;
}

/* Where page 0 holds the crypt block: behind the descriptors of the extents that one page describes. */
static off_t crypt_block_at(uint32_t flags)
{
  bool full_crc32= flags & 0x10;
  uint32_t shift= full_crc32 ? flags & 15 : flags >> 6 & 15, zip= full_crc32 ? 0 : flags >> 1 & 15;
  uint32_t page= shift ? UINT32_C(512) << shift : 16384, physical= zip ? UINT32_C(512) << zip : page;
  uint32_t extent= page > 16384 ? 64 : 1048576 / page;
  return DESCRIPTORS_AT + (off_t) (24 + extent / 4) * (physical / extent);
}

static bool tablespace_key(struct datadir_use *use, int directory, const char *name, uint32_t *id)
{
  static const uint8_t magic[]= {0x73, 0x0E, 0x0C, 0x52, 0x45, 0x74};
  uint8_t header[PAGE_HEADER], block[CRYPT_BLOCK];
  if (!read_at(use, directory, name, 0, header, sizeof header) ||
      !read_at(use, directory, name, crypt_block_at(big_endian(header + FLAGS_AT)), block, sizeof block) ||
      memcmp(block, magic, sizeof magic) != 0 || block[CRYPT_TYPE_AT] != CRYPT_SCHEME_1)
    return false;
  if (block[CRYPT_ENCRYPTION_AT] == ENCRYPTION_OFF && big_endian(block + CRYPT_MIN_VERSION_AT) == 0)
    return false;
  *id= big_endian(block + CRYPT_KEY_ID_AT);
  return true;
}

static bool redo_log_key(struct datadir_use *use, int directory, const char *name, uint32_t *id, uint32_t *version)
{
  uint8_t header[LOG_HEADER];
  if (!read_at(use, directory, name, 0, header, sizeof header))
    return false;
  uint32_t format= big_endian(header);
  if (!(format & LOG_ENCRYPTED) || (format & ~LOG_ENCRYPTED) < LOG_FORMAT_10_8)
    return false;
  *id= big_endian(header + LOG_KEY_ID_AT);
  *version= big_endian(header + LOG_KEY_VERSION_AT);
  return true;
}

struct search
{
  bool (*has)(void *context, uint32_t id, uint32_t version);
  void *context;
  struct datadir_use *use;
};

static bool is_missing(const struct search *search, uint32_t id, uint32_t version, const char *folder, const char *name)
{
  if (search->has(search->context, id, version))
    return false;
  search->use->id= id;
  search->use->version= version;
  snprintf(search->use->file, sizeof search->use->file, "%s%s%s", folder, folder[0] ? "/" : "", name);
  return true;
}

static bool tablespace_is_missing(const struct search *search, int directory, const char *folder, const char *name)
{
  uint32_t id;
  return tablespace_key(search->use, directory, name, &id) && is_missing(search, id, 0, folder, name);
}

static bool is_table(const char *name)
{
  size_t length= strlen(name);
  return length > 4 && strcmp(name + length - 4, ".ibd") == 0;
}

static bool folder_is_missing(const struct search *search, int parent, const char *folder)
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
  for (struct dirent *entry; !found && (entry= readdir(directory));)
    found= is_table(entry->d_name) && tablespace_is_missing(search, file, folder, entry->d_name);
  closedir(directory);
  return found;
}

bool datadir_find_missing(const char *path, bool (*has)(void *context, uint32_t id, uint32_t version), void *context,
                          struct datadir_use *use)
{
  const struct search search= {.has= has, .context= context, .use= use};
  uint32_t id, version;
  DIR *directory= opendir(path);
  use->is_unsure= !directory;
  if (!directory)
    return false;
  int file= dirfd(directory);
  bool found= (redo_log_key(use, file, "ib_logfile0", &id, &version) &&
               is_missing(&search, id, version, "", "ib_logfile0")) ||
              tablespace_is_missing(&search, file, "", "ibdata1");
  for (struct dirent *entry; !found && (entry= readdir(directory));)
    found= entry->d_name[0] != '.' && (entry->d_type == DT_DIR || entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN) &&
           folder_is_missing(&search, file, entry->d_name);
  closedir(directory);
  return found;
}
