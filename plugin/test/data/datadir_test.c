// SPDX-License-Identifier: GPL-2.0-only
#include "data/datadir.h"
#include "data/datafile.h"
#include "data/tablespace.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test/data/files.h"
#include "test/test.h"

static struct locations locations;

static bool has_key_1(void *unused, uint32_t id, uint32_t version)
{
  (void) unused;
  return id == 1 && version < 3;
}

static bool has_none(void *unused, uint32_t id, uint32_t version)
{
  (void) unused;
  (void) id;
  (void) version;
  return false;
}

static bool missing(struct datadir_use *use)
{
  const struct datadir_keys keys= {.has= has_key_1};
  return datadir_find_unreadable(&locations, DATADIR_WHOLE, &keys, use) && !use->is_other_key;
}

static bool is_unwanted(void *files_left)
{
  return (*(int *) files_left)-- == 0;
}

/* Interrupts the search at every point: a file that was not read is not taken for one that uses no key. */
static void look_that_is_interrupted_is_unsure(void)
{
  struct datadir_use use;
  int left= -1;
  const struct datadir_keys keys= {.has= has_key_1, .is_unwanted= is_unwanted, .argument= &left};
  files_put_table("d/t.ibd", 0x15, 10428, 1, 1);
  CHECK(!datadir_find_unreadable(&locations, DATADIR_WHOLE, &keys, &use) && !use.is_unsure && left < -3);
  for (int asked= -left - 1, at= 0; at < asked; at++)
  {
    left= at;
    CHECK(!datadir_find_unreadable(&locations, DATADIR_WHOLE, &keys, &use));
    CHECK(use.is_unsure && strcmp(use.unsure_why, "the look was interrupted") == 0);
  }
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
    files_put_table("d/t.ibd", rows[i].flags, rows[i].offset, 1, 7);
    CHECK(missing(&use));
    CHECK(use.id == 7 && use.version == 0 && strcmp(use.file, "d/t.ibd") == 0);
    files_put_table("d/t.ibd", rows[i].flags, rows[i].offset, 1, 1);
    CHECK(!missing(&use));
    files_put_table("d/t.ibd", rows[i].flags, rows[i].offset, 0, 7);
    CHECK(!missing(&use));
  }
}

static void table_in_the_clear_names_no_key(void)
{
  struct datadir_use use;
  const uint8_t off= 2, version= 3, none= 0;
  files_put_table("d/t.ibd", 0x15, 10428, 1, 7);
  files_put("d/t.ibd", 10428 + 32, &off, 1);
  CHECK(!missing(&use));
  files_put("d/t.ibd", 10428 + 27, &version, 1);      /* pages are still to be decrypted */
  CHECK(missing(&use));
  files_put("d/t.ibd", 10428 + 27, &none, 1);
  CHECK(!missing(&use));
}

static void put_redo_log(uint8_t header[512])
{
  files_put_redo_log("ib_logfile0", header);
}

static void redo_log_names_its_version(void)
{
  struct datadir_use use;
  uint8_t header[512]= {0x50, 0x68, 0x79, 0x73, [51]= 1, [55]= 3};
  put_redo_log(header);
  CHECK(missing(&use));
  CHECK(use.id == 1 && use.version == 3 && strcmp(use.file, "ib_logfile0") == 0);
  header[55]= 2;
  put_redo_log(header);
  CHECK(!missing(&use));
  header[55]= 3;
  CHECK(!use.is_unsure);
  header[3]++;                          /* A later format may mean something else by the same bytes. */
  put_redo_log(header);
  CHECK(!missing(&use) && use.is_unsure && strcmp(use.unsure_file, "ib_logfile0") == 0);
  memcpy(header, "\xF0\x9F\x97\x9D", 4);
  put_redo_log(header);
  CHECK(missing(&use));
  files_put("ib_logfile0", 100, "x", 1);      /* damaged */
  CHECK(!missing(&use));
}

/* Writes a table of key 7 at the path. */
static void put_key_7(const char *name)
{
  files_put_table(name, 0x15, 10428, 1, 7);
}

static void what_is_elsewhere_is_found(void)
{
  static struct locations elsewhere;
  struct datadir_use use;
  const struct datadir_keys keys= {.has= has_key_1};
  char system[PATH_MAX], files[PATH_MAX], undo[PATH_MAX], log[PATH_MAX];
  snprintf(system, sizeof system, "--innodb_data_home_dir=%s/", files_path("d"));
  snprintf(undo, sizeof undo, "--innodb-undo-directory=%s", files_path("d"));
  snprintf(log, sizeof log, "--innodb-log-group-home-dir=%s", files_path("d"));
  snprintf(files, sizeof files, "--innodb-data-file-path=%s:12M;sub:1M:autoextend", files_path("d/one"));
  const char *const homes[]= {"mariadbd", system, "--innodb-data-file-path=one:12M;two:1M:autoextend"};
  const char *const whole[]= {"mariadbd", "--innodb-data-home-dir=", files};
  const char *const undo_home[]= {"mariadbd", undo};
  const char *const log_home[]= {"mariadbd", log};

  put_key_7("d/two");
  locations_read(&elsewhere, 3, homes);
  CHECK(datadir_find_unreadable(&elsewhere, DATADIR_SAMPLE, &keys, &use) == false);
  CHECK(datadir_find_unreadable(&elsewhere, DATADIR_WHOLE, &keys, &use) && use.kind == DATADIR_SYSTEM && use.id == 7);
  CHECK(strcmp(use.file, files_path("d/two")) == 0 && unlink(files_path("d/two")) == 0);

  put_key_7("d/one");
  locations_read(&elsewhere, 3, whole);
  CHECK(datadir_find_unreadable(&elsewhere, DATADIR_WHOLE, &keys, &use) && use.kind == DATADIR_SYSTEM);
  CHECK(strcmp(use.file, files_path("d/one")) == 0 && unlink(files_path("d/one")) == 0);

  put_key_7("d/undo127");
  locations_read(&elsewhere, 2, undo_home);
  CHECK(datadir_find_unreadable(&elsewhere, DATADIR_WHOLE, &keys, &use) && use.kind == DATADIR_SYSTEM);
  CHECK(strcmp(use.file, files_path("d/undo127")) == 0 && unlink(files_path("d/undo127")) == 0);

  uint8_t header[512]= {0xF0, 0x9F, 0x97, 0x9D, [51]= 1, [55]= 9};
  files_put_redo_log("d/ib_00000000DEADBEEF.log", header);
  locations_read(&elsewhere, 2, log_home);
  CHECK(datadir_find_unreadable(&elsewhere, DATADIR_WHOLE, &keys, &use) && use.kind == DATADIR_REDO && use.version == 9);
  CHECK(strcmp(use.file, files_path("d/ib_00000000DEADBEEF.log")) == 0 && unlink(files_path("d/ib_00000000DEADBEEF.log")) == 0);

  locations_read(&elsewhere, 2, undo_home);
  snprintf(elsewhere.paths[LOCATION_UNDO], sizeof elsewhere.paths[0], "%s", files_path("gone"));
  CHECK(!datadir_find_unreadable(&elsewhere, DATADIR_WHOLE, &keys, &use) && use.is_unsure);
  CHECK(strcmp(use.unsure_file, files_path("gone")) == 0);
  locations_unknown(&elsewhere, "nobody knows");
  CHECK(!datadir_find_unreadable(&elsewhere, DATADIR_WHOLE, &keys, &use) && use.is_unsure);
  CHECK(use.unsure_file[0] == 0 && strcmp(use.unsure_why, "nobody knows") == 0);
}

static void links_are_followed(void)
{
  struct datadir_use use;
  char target[PATH_MAX];
  int length= snprintf(target, sizeof target, "%s\n", files_path("remote.ibd"));
  files_put("d/t.isl", 0, target, (size_t) length);
  CHECK(!missing(&use) && use.is_unsure && strcmp(use.unsure_why, "it is not there") == 0);
  CHECK(strcmp(use.unsure_file, files_path("remote.ibd")) == 0);
  put_key_7("remote.ibd");
  CHECK(missing(&use) && use.kind == DATADIR_REMOTE_TABLE && strcmp(use.file, files_path("remote.ibd")) == 0);
  CHECK(truncate(files_path("d/t.isl"), 0) == 0 && !missing(&use) && use.is_unsure);
  CHECK(unlink(files_path("d/t.isl")) == 0 && unlink(files_path("remote.ibd")) == 0);
  CHECK(symlink("/nonexistent/gone", files_path("d/s.ibd")) == 0 && !missing(&use) && use.is_unsure);
  CHECK(unlink(files_path("d/s.ibd")) == 0);
  CHECK(symlink("/nonexistent/gone", files_path("server.sock")) == 0 && !missing(&use) && !use.is_unsure);
  CHECK(symlink("/nonexistent/gone", files_path("volume")) == 0 && !missing(&use) && use.is_unsure);
  CHECK(unlink(files_path("server.sock")) == 0 && unlink(files_path("volume")) == 0);
}

static void put_text(const char *name, const char *text)
{
  unlink(files_path(name));
  files_put(name, 0, text, strlen(text));
}

static void logs_are_found_by_any_index(void)
{
  static struct locations named;
  struct datadir_use use;
  char index[PATH_MAX], relay[PATH_MAX], line[PATH_MAX];
  const struct datadir_keys keys= {.has= has_key_1};
  files_put_binlog("one.000001", 2);
  files_put_binlog("one.000002", 3);
  put_text("one.index", "./one.000000\n./one.000001\n");
  CHECK(!missing(&use) && !use.is_unsure);
  put_text("one.index", "./one.000000\n./one.000001\n./one.000002");
  CHECK(missing(&use) && use.kind == DATADIR_BINLOG && use.id == 1 && use.version == 3);
  CHECK(strcmp(use.file, "one.000002") == 0 && unlink(files_path("one.index")) == 0);
  CHECK(!missing(&use));

  snprintf(index, sizeof index, "--log-bin-index=%s", files_path("d/names"));
  snprintf(line, sizeof line, "%s\n", files_path("one.000002"));
  put_text("d/names", line);
  const char *const with_index[]= {"mariadbd", index};
  locations_read(&named, 2, with_index);
  CHECK(datadir_find_unreadable(&named, DATADIR_WHOLE, &keys, &use) && strcmp(use.file, files_path("one.000002")) == 0);
  CHECK(!datadir_find_unreadable(&named, DATADIR_SAMPLE, &keys, &use));

  /* The index was written when the directory had another path. */
  files_put_binlog("d/relay-two.000001", 9);
  put_text("d/relay-two.index", "sub/relay-two.000001\n");
  snprintf(relay, sizeof relay, "--relay_log=%s", files_path("d/relay"));
  const char *const with_relay[]= {"mariadbd", relay};
  locations_read(&named, 2, with_relay);
  CHECK(datadir_find_unreadable(&named, DATADIR_WHOLE, &keys, &use) && use.version == 9);
  CHECK(strcmp(use.file, files_path("d/relay-two.000001")) == 0);

  static char endless[PATH_MAX + 100];
  memset(endless, 'x', sizeof endless - 1);
  put_text("d/relay-two.index", endless);
  CHECK(!datadir_find_unreadable(&named, DATADIR_WHOLE, &keys, &use) && use.is_unsure);
  static const char *const files[]= {"one.000001", "one.000002", "d/names", "d/relay-two.000001", "d/relay-two.index"};
  for (size_t i= 0; i < sizeof files / sizeof files[0]; i++)
    CHECK(unlink(files_path(files[i])) == 0);
}

/* The search is that before a rotation. */
static void lowest_version_counts_where_versions_do(void)
{
  const struct datadir_keys rotation= {.has= has_key_1, .versions_on_pages= true};
  struct datadir_use use;
  const uint8_t version= 3;
  files_put_table("d/u.ibd", 0x29, 5308, 1, 1);       /* The table is compressed: none of its pages is judged. */
  CHECK(!datadir_find_unreadable(&locations, DATADIR_WHOLE, &rotation, &use) && !use.is_unsure);
  files_put("d/u.ibd", 5308 + 27, &version, 1);
  CHECK(!missing(&use));
  CHECK(datadir_find_unreadable(&locations, DATADIR_WHOLE, &rotation, &use) && use.id == 1 && use.version == 3 &&
        strcmp(use.file, "d/u.ibd") == 0);
  CHECK(unlink(files_path("d/u.ibd")) == 0);
}

static void aria_tables_are_found(void)
{
  struct datadir_use use;
  uint8_t index[200]= {0xFE, 0xFE, 0x09, 0x03, [13]= 50, [50 + 91]= 1, [50 + 100]= 0x20};
  uint8_t page[16]= {[7]= 1, [12]= 3};
  files_put("d/t.MAI", 0, index, sizeof index);
  CHECK(!missing(&use) && !use.is_unsure);
  const struct datadir_keys none= {.has= has_none};
  CHECK(!datadir_find_unreadable(&locations, DATADIR_WHOLE, &none, &use) && !use.is_unsure);
  files_put("d/t.MAD", 0, "", 0);
  CHECK(datadir_find_unreadable(&locations, DATADIR_WHOLE, &none, &use) && use.id == 1 && use.version == 0);
  files_put("d/t.MAD", 8192, page, sizeof page);
  CHECK(missing(&use) && use.kind == DATADIR_ARIA && use.id == 1 && use.version == 3 && strcmp(use.file, "d/t.MAI") == 0);
  CHECK(unlink(files_path("d/t.MAD")) == 0 && symlink("/nonexistent/gone", files_path("d/t.MAD")) == 0);
  CHECK(!missing(&use) && use.is_unsure && strcmp(use.unsure_file, "d/t.MAD") == 0);
  CHECK(unlink(files_path("d/t.MAI")) == 0 && unlink(files_path("d/t.MAD")) == 0);
  files_put("d/#sql-temptable-1-2-3.MAI", 0, index, sizeof index);
  files_put("d/#sql-temptable-1-2-3.MAD", 8192, page, sizeof page);
  CHECK(!missing(&use));
  CHECK(unlink(files_path("d/#sql-temptable-1-2-3.MAI")) == 0 && unlink(files_path("d/#sql-temptable-1-2-3.MAD")) == 0);
}

static void what_cannot_be_read_proves_nothing(void)
{
  struct datadir_use use;
  files_put("d/short.ibd", 0, "x", 1);
  CHECK(mkfifo(files_path("d/fifo.ibd"), 0600) == 0);
  CHECK(!missing(&use));
  CHECK(!use.is_unsure);
  const struct datadir_keys keys= {.has= has_key_1};
  static struct locations absent;
  locations_read(&absent, 0, NULL);
  snprintf(absent.paths[LOCATION_DATA], sizeof absent.paths[0], "%s", files_path("absent"));
  CHECK(!datadir_find_unreadable(&absent, DATADIR_WHOLE, &keys, &use) && use.is_unsure);
}

static void without_descriptors_it_is_unsure(void)
{
  struct datadir_use use;
  struct rlimit before, none= {0, 0};
  CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
  none.rlim_max= before.rlim_max;
  int next= open("/dev/null", O_RDONLY);
  close(next);
  /* One descriptor is for the directory, none for the files in it. */
  none.rlim_cur= (rlim_t) next + 1;
  CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
  bool found= missing(&use);
  CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(!found && use.is_unsure);
}

void datadir_tests(void)
{
  files_open();
  locations_read(&locations, 0, NULL);
  CHECK(mkdir(files_path("d"), 0700) == 0);
  TEST(look_that_is_interrupted_is_unsure);
  TEST(tablespaces_of_every_page_size);
  TEST(table_in_the_clear_names_no_key);
  TEST(redo_log_names_its_version);
  unlink(files_path("ib_logfile0"));
  TEST(what_is_elsewhere_is_found);
  TEST(links_are_followed);
  TEST(logs_are_found_by_any_index);
  TEST(lowest_version_counts_where_versions_do);
  TEST(aria_tables_are_found);
  TEST(what_cannot_be_read_proves_nothing);
  TEST(without_descriptors_it_is_unsure);
  static const char *const files[]= {"d/t.ibd", "d/short.ibd", "d/fifo.ibd"};
  for (size_t i= 0; i < sizeof files / sizeof files[0]; i++)
    CHECK(unlink(files_path(files[i])) == 0);
  CHECK(rmdir(files_path("d")) == 0);
  files_close();
}
