// SPDX-License-Identifier: GPL-2.0-only
#include "data/binlog.h"

#include <string.h>

#define MAGIC 4u
#define EVENT_HEADER 19u
#define TYPE_AT 4u
#define LENGTH_AT 9u
#define FORMAT_DESCRIPTION 15u
#define START_ENCRYPTION 164u
#define SCHEME_AT EVENT_HEADER
#define VERSION_AT (EVENT_HEADER + 1)
#define ENCRYPTION_EVENT (EVENT_HEADER + 1 + 4 + 12)    /* and a checksum in some */
#define SCHEME_1 1u
#define EVENT_MAX 65536u                /* far more than a format description has */

enum datafile_says binlog_read(int file, struct datafile_keys *keys, int *error)
{
  static const uint8_t magic[MAGIC]= {0xFE, 'b', 'i', 'n'};
  uint8_t start[MAGIC + EVENT_HEADER], event[ENCRYPTION_EVENT];
  memset(keys, 0, sizeof *keys);
  if (!datafile_read_at(file, 0, start, sizeof start, error) || memcmp(start, magic, MAGIC) != 0 ||
      start[MAGIC + TYPE_AT] != FORMAT_DESCRIPTION)
    return DATAFILE_NOTHING;
  uint32_t length= datafile_little_endian(start + MAGIC + LENGTH_AT);
  if (length < EVENT_HEADER || length > EVENT_MAX ||
      !datafile_read_at(file, (off_t) MAGIC + length, event, sizeof event, error) || event[TYPE_AT] != START_ENCRYPTION ||
      datafile_little_endian(event + LENGTH_AT) < ENCRYPTION_EVENT || event[SCHEME_AT] != SCHEME_1)
    return DATAFILE_NOTHING;
  uint32_t version= datafile_little_endian(event + VERSION_AT);
  if (!version)
    return DATAFILE_NOTHING;
  keys->id= 1;
  datafile_add_version(keys, version);
  return DATAFILE_ENCRYPTED;
}
