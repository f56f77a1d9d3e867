// SPDX-License-Identifier: GPL-2.0-only
#include "datadir.h"
#include "tablespace.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

static char root[]= "/tmp/akm-datadir-XXXXXX";

static const char *path_of(const char *name)
{
  static char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", root, name);
  return path;
}

static void put(const char *name, long offset, const void *bytes, size_t size)
{
  int file= open(path_of(name), O_WRONLY | O_CREAT, 0600);
  CHECK(file != -1);
  CHECK(pwrite(file, bytes, size, offset) == (ssize_t) size);
  close(file);
}

/* flags: of the tablespace; offset: where MariaDB puts the crypt block of such a one; type 0: not encrypted. */
static void put_table(const char *name, uint32_t flags, long offset, uint8_t type, uint8_t id)
{
  uint8_t block[33]= {0x73, 0x0E, 0x0C, 0x52, 0x45, 0x74, type, 16, [31]= id, [32]= 1};
  uint8_t header[4]= {(uint8_t) (flags >> 24), (uint8_t) (flags >> 16), (uint8_t) (flags >> 8), (uint8_t) flags};
  unlink(path_of(name));
  put(name, 54, header, sizeof header);
  put(name, offset, block, sizeof block);
}

static bool has_key_1(void *unused, uint32_t id, uint32_t version)
{
  (void) unused;
  return id == 1 && version < 3;
}

static bool missing(struct datadir_use *use)
{
  const struct datadir_keys keys= {.has= has_key_1};
  return datadir_find_unreadable(root, DATADIR_WHOLE, &keys, use) && !use->is_other_key;
}

static void tablespaces_of_every_page_size(void)
{
  static const struct
  {
    uint32_t flags;
    long offset;
  } rows[]= {
    {0x13, 1596}, {0x14, 3772}, {0x15, 10428}, {0x16, 20668}, {0x17, 41148},    /* full_crc32 */
    {0x21, 10428}, {0x29, 5308}, {0x10021, 10428},                              /* legacy, compressed 8K, page_compressed */
  };
  struct datadir_use use;
  for (size_t i= 0; i < sizeof rows / sizeof rows[0]; i++)
  {
    put_table("d/t.ibd", rows[i].flags, rows[i].offset, 1, 7);
    CHECK(missing(&use));
    CHECK(use.id == 7 && use.version == 0 && strcmp(use.file, "d/t.ibd") == 0);
    put_table("d/t.ibd", rows[i].flags, rows[i].offset, 1, 1);
    CHECK(!missing(&use));
    put_table("d/t.ibd", rows[i].flags, rows[i].offset, 0, 7);
    CHECK(!missing(&use));
  }
}

static void table_in_the_clear_names_no_key(void)
{
  struct datadir_use use;
  const uint8_t off= 2, version= 3, none= 0;
  put_table("d/t.ibd", 0x15, 10428, 1, 7);
  put("d/t.ibd", 10428 + 32, &off, 1);
  CHECK(!missing(&use));
  put("d/t.ibd", 10428 + 27, &version, 1);      /* pages are still to be decrypted */
  CHECK(missing(&use));
  put("d/t.ibd", 10428 + 27, &none, 1);
  CHECK(!missing(&use));
}

static void put_redo_log(uint8_t header[512])
{
  uint32_t sum= tablespace_crc32c(header, 508);
  for (int i= 0; i < 4; i++)
    header[508 + i]= (uint8_t) (sum >> (24 - 8 * i));
  put("ib_logfile0", 0, header, 512);
}

static void redo_log_names_its_version(void)
{
  struct datadir_use use;
  uint8_t header[512]= {0xD0, 0x68, 0x79, 0x73, [51]= 1, [55]= 3};
  put_redo_log(header);
  CHECK(missing(&use));
  CHECK(use.id == 1 && use.version == 3 && strcmp(use.file, "ib_logfile0") == 0);
  header[55]= 2;
  put_redo_log(header);
  CHECK(!missing(&use));
  header[55]= 3;
  header[0]= 0x50;                      /* not encrypted: the rest means something else */
  put_redo_log(header);
  CHECK(!missing(&use));
  header[0]= 0xD0;
  header[3]++;                          /* a later format may mean something else by the same bytes, too */
  put_redo_log(header);
  CHECK(!missing(&use));
  memcpy(header, "\xF0\x9F\x97\x9D", 4);
  put_redo_log(header);
  CHECK(missing(&use));
  put("ib_logfile0", 100, "x", 1);      /* damaged */
  CHECK(!missing(&use));
}

static void what_cannot_be_read_proves_nothing(void)
{
  struct datadir_use use;
  put("d/short.ibd", 0, "x", 1);
  CHECK(mkfifo(path_of("d/fifo.ibd"), 0600) == 0);
  CHECK(!missing(&use));
  CHECK(!use.is_unsure);
  const struct datadir_keys keys= {.has= has_key_1};
  CHECK(!datadir_find_unreadable(path_of("absent"), DATADIR_WHOLE, &keys, &use) && use.is_unsure);
}

static void without_descriptors_it_is_unsure(void)
{
  struct datadir_use use;
  struct rlimit before, none= {0, 0};
  CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
  none.rlim_max= before.rlim_max;
  int next= open("/dev/null", O_RDONLY);
  close(next);
  /* One for the directory, none for what is in it. */
  none.rlim_cur= (rlim_t) next + 1;
  CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
  bool found= missing(&use);
  CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(!found && use.is_unsure);
}

void datadir_tests(void)
{
  CHECK(mkdtemp(root) != NULL);
  CHECK(mkdir(path_of("d"), 0700) == 0);
  tablespaces_of_every_page_size();
  table_in_the_clear_names_no_key();
  redo_log_names_its_version();
  what_cannot_be_read_proves_nothing();
  without_descriptors_it_is_unsure();
  static const char *const files[]= {"d/t.ibd", "d/short.ibd", "d/fifo.ibd", "ib_logfile0"};
  for (size_t i= 0; i < sizeof files / sizeof files[0]; i++)
    CHECK(unlink(path_of(files[i])) == 0);
  CHECK(rmdir(path_of("d")) == 0 && rmdir(root) == 0);
}
