// SPDX-License-Identifier: GPL-2.0-only
#include "data/redolog.h"

#include <string.h>

#define BLOCK 512u
#define CHECKSUM_AT 508u

/* Formats from 10.8 on: the header names the key. log_t::header_write() keeps the first format of encrypted logs, too. */
#define FORMAT_10_8 0x50687973u
#define FORMAT_ENCRYPTED_11 0xF09F979Du /* written by 10.11.19 */
#define KEY_ID_AT 48u
#define KEY_VERSION_AT 52u

/* Formats before 10.8: the format has a flag, and each of two checkpoints the version of key 1. */
#define FORMAT_3_23 0u
#define FORMAT_10_2 1u
#define FORMAT_10_3 103u
#define FORMAT_10_4 104u
#define FORMAT_10_5 0x50485953u
#define FLAG_ENCRYPTED 0x80000000u
#define CHECKPOINT_VERSION_AT 32u

static bool is_whole(const uint8_t block[BLOCK])
{
  return datafile_big_endian(block + CHECKSUM_AT) == datafile_crc32c(block, CHECKSUM_AT);
}

static enum datafile_says read_checkpoints(int file, struct datafile_keys *keys, int *error)
{
  static const off_t checkpoints[]= {BLOCK, 3 * BLOCK};
  uint8_t block[BLOCK];
  keys->id= 1;
  for (size_t i= 0; i < sizeof checkpoints / sizeof checkpoints[0]; i++)
    if (datafile_read_at(file, checkpoints[i], block, sizeof block, error) && is_whole(block))
    {
      uint32_t version= datafile_big_endian(block + CHECKPOINT_VERSION_AT);
      if (version)
        datafile_add_version(keys, version);
    }
  return keys->count ? DATAFILE_ENCRYPTED : DATAFILE_NOTHING;
}

static enum datafile_says read_header(const uint8_t header[BLOCK], struct datafile_keys *keys)
{
  uint32_t version= datafile_big_endian(header + KEY_VERSION_AT);
  keys->id= datafile_big_endian(header + KEY_ID_AT);
  if (version)
    datafile_add_version(keys, version);
  return DATAFILE_ENCRYPTED;
}

enum datafile_says redolog_read(int file, struct datafile_keys *keys, int *error)
{
  uint8_t header[BLOCK];
  memset(keys, 0, sizeof *keys);
  if (!datafile_read_at(file, 0, header, sizeof header, error) || !is_whole(header))
    return DATAFILE_NOTHING;
  uint32_t format= datafile_big_endian(header);
  switch (format)
  {
  case FORMAT_10_8:
    if (datafile_big_endian(header + KEY_ID_AT) == 0)
      return DATAFILE_NOTHING;
    /* fall through */
  case FORMAT_ENCRYPTED_11:
    return read_header(header, keys);
  case FORMAT_3_23:
  case FORMAT_10_2:
  case FORMAT_10_3:
  case FORMAT_10_4:
  case FORMAT_10_5:
    return DATAFILE_NOTHING;
  case FORMAT_10_2 | FLAG_ENCRYPTED:
  case FORMAT_10_3 | FLAG_ENCRYPTED:
  case FORMAT_10_4 | FLAG_ENCRYPTED:
  case FORMAT_10_5 | FLAG_ENCRYPTED:
    return read_checkpoints(file, keys, error);
  default:
    return DATAFILE_UNSURE;
  }
}

bool redolog_is_archived(const char *name)
{
  static const char digits[]= "0123456789abcdefABCDEF";
  return strncmp(name, "ib_", 3) == 0 && strspn(name + 3, digits) == 16 && strcmp(name + 19, ".log") == 0;
}
