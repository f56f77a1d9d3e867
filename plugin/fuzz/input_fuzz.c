// SPDX-License-Identifier: GPL-2.0-only
/*
  Variables, settings, messages, arguments and the server's files, which people and other processes write. The first byte of
  the input selects the reader.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/failure.h"
#include "data/aria.h"
#include "data/binlog.h"
#include "data/locations.h"
#include "data/redolog.h"
#include "client/settings.h"
#include "data/tablespace.h"
#include "client/target.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
  if (!holds)
    abort();
}

static void setting(enum setting which, const char *value, size_t size)
{
  char why[160]= "";
  bool good= setting_check(which, value, size, why, sizeof why);
  check(good ? size <= setting_limit(which) && text_is_utf8((const uint8_t *) value, size) : why[0] != 0);
  check(strlen(why) < sizeof why - 1);
}

static void cleaned(const uint8_t *bytes, size_t size, size_t capacity)
{
  char to[256];
  text_clean(to, capacity, bytes, size);
  size_t length= strnlen(to, sizeof to);
  check(length < capacity);
  for (size_t i= 0; i < length; i++)
    check((uint8_t) to[i] >= 0x20 && to[i] != 0x7F);
  if (text_is_utf8(bytes, size))
    check(text_is_utf8((const uint8_t *) to, length) && length + 4 > (size < capacity - 1 ? size : capacity - 1));
}

static void target(const char *text)
{
  char chosen[TARGET_SIZE], why[160]= "";
  if (target_choose(text, (const void *) target, chosen, why, sizeof why))
    check(strlen(chosen) < sizeof chosen);
  else
    check(why[0] != 0);
}

static void failure_line(const char *text, size_t size, size_t capacity)
{
  struct failure failure= failure_plain("");
  char line[FAILURE_TEXT_MAX];
  size_t half= size / 2;
  text_clean(failure.message, sizeof failure.message, text, half);
  text_clean(failure.hint, sizeof failure.hint, text + half, size - half);
  bool whole= failure_text(&failure, line, capacity);
  check(strlen(line) < capacity);
  if (whole && failure.hint[0])
    check(strlen(line) == strlen(failure.message) + 2 + strlen(failure.hint));
}

static int copy(unsigned mode, int flags, const unsigned char *from, unsigned length, unsigned char *to,
                unsigned *written, const unsigned char *key, unsigned key_length, const unsigned char *iv,
                unsigned iv_length)
{
  (void) mode, (void) flags, (void) iv, (void) iv_length;
  check(key_length == 16);
  memcpy(to, from, length);
  to[0]^= key[0];
  *written= length;
  return 0;
}

/*
  Reads a tablespace. The bytes are page 0 up to the last one that the plugin reads, the crypt block, and the beginning of
  page 3.
*/
static void tablespace(const uint8_t *bytes, size_t size, uint8_t shift)
{
  static const off_t blocks[]= {1596, 3772, 10428, 20668, 41148};
  static const struct aes aes= {.crypt= copy};
  static struct keytable table;
  static int file= -1;
  struct tablespace space;
  int error= 0;
  if (file == -1)
    check((file= memfd_create("tablespace", MFD_CLOEXEC)) != -1 && keytable_init(&table) &&
          keytable_put(&table, 1, 1, (const uint8_t *) "0123456789abcdef", 16, KEY_AES_CBC, true) == KEYTABLE_ADDED);
  check(ftruncate(file, 0) == 0 && ftruncate(file, 4 << 16) == 0);
  check(pwrite(file, bytes, size < 178 ? size : 178, 0) >= 0);
  check(pwrite(file, (uint8_t[]) {0, 0, 0, (uint8_t) (0x10 | shift % 8)}, 4, 54) == 4);
  for (size_t i= 0; size > 211 && i < sizeof blocks / sizeof blocks[0]; i++)
    check(pwrite(file, bytes + 178, 33, blocks[i]) == 33);
  if (size > 211)
    check(pwrite(file, bytes + 211, size - 211, (off_t) 3 * 512 << shift % 8) >= 0);
  if (!tablespace_read(&space, file, &error))
    return;
  for (uint32_t page= 0; page <= TABLESPACE_PAGES_END; page++)
    tablespace_judge(&space, page, keytable_find(&table, 1, 1), &aes);
}

/* Reads a log or a table of Aria. The bytes are the file; of a table half of them are its data. */
static void log_or_table(const uint8_t *bytes, size_t size, uint8_t kind)
{
  static int main_file= -1, data_file= -1;
  struct datafile_keys keys;
  int error= 0;
  size_t own= kind % 3 == 2 ? size / 2 : size;
  if (main_file == -1)
    check((main_file= memfd_create("file", MFD_CLOEXEC)) != -1 && (data_file= memfd_create("data", MFD_CLOEXEC)) != -1);
  check(ftruncate(main_file, 0) == 0 && pwrite(main_file, bytes, own, 0) == (ssize_t) own);
  check(ftruncate(data_file, 0) == 0 && pwrite(data_file, bytes + own, size - own, 0) == (ssize_t) (size - own));
  if (kind % 3 == 0 && size >= 512)
  {
    uint8_t sum[4];
    uint32_t crc= datafile_crc32c(bytes, 508);
    for (int i= 0; i < 4; i++)
      sum[i]= (uint8_t) (crc >> (24 - 8 * i));
    check(pwrite(main_file, sum, sizeof sum, 508) == sizeof sum);
  }
  enum datafile_says says= kind % 3 == 0   ? redolog_read(main_file, &keys, &error)
                           : kind % 3 == 1 ? binlog_read(main_file, &keys, &error)
                                           : aria_read(main_file, data_file, &keys, &error);
  check(error == 0 && keys.count <= DATAFILE_VERSIONS_MAX && (says == DATAFILE_ENCRYPTED || keys.count == 0));
  for (size_t i= 0; i < keys.count; i++)
    check(keys.versions[i] && (i == 0 || keys.versions[i - 1] < keys.versions[i]));
}

/* Reads options, one argument a line. */
static void arguments(char *text)
{
  static struct locations locations;
  const char *each[64];
  size_t count= 0;
  for (char *rest= text, *one; count < 64 && (one= strsep(&rest, "\n"));)
    each[count++]= one;
  locations_read(&locations, count, each);
  for (size_t i= 0; i < LOCATION_COUNT; i++)
    check(strnlen(locations.paths[i], PATH_MAX) < PATH_MAX);
  check(strnlen(locations.system_files, LOCATIONS_FILES_MAX) < LOCATIONS_FILES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const char *const choices[]= {"Off", "Error", "Trace", NULL};
  if (size < 2)
    return 0;
  uint8_t kind= data[0] % (SETTING_COUNT + 7), second= data[1];
  char *text= malloc(size - 1);
  if (!text)
    abort();
  memcpy(text, data + 2, size - 2);
  text[size - 2]= 0;
  if (kind < SETTING_COUNT)
    setting((enum setting) kind, text, size - 2);
  else if (kind == SETTING_COUNT)
    cleaned((const uint8_t *) text, size - 2, 1u + second);
  else if (kind == SETTING_COUNT + 1)
    target(text);
  else if (kind == SETTING_COUNT + 2)
    failure_line(text, size - 2, 64u + second * 7u);
  else if (kind == SETTING_COUNT + 3)
    tablespace((const uint8_t *) text, size - 2, second);
  else if (kind == SETTING_COUNT + 4)
    log_or_table((const uint8_t *) text, size - 2, second);
  else if (kind == SETTING_COUNT + 5)
    arguments(text);
  else
    check(setting_choice(choices, text, size - 2) < 3);
  free(text);
  return 0;
}
