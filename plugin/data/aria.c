// SPDX-License-Identifier: GPL-2.0-only
#include "data/aria.h"

#include <string.h>

#include "keys/keytable.h"

#define HEADER 14u
#define BASE_AT 12u                     /* offset of the base information */
#define OPTIONS_IN_BASE 90u
#define OPTION_ENCRYPTED 1u
#define BLOCK_SIZE_IN_BASE 100u
#define BASE (BLOCK_SIZE_IN_BASE + 2)

#define PAGE_HEAD 16u
#define PAGE_TYPE_AT 7u
#define PAGE_TYPE 7u
#define PAGE_TYPE_UNUSED_BITS 0x78u
#define PAGE_TAIL 2u                    /* types up to here have the version behind a longer header */
#define PAGE_BLOB 3u
#define VERSION_AT 12u
#define BLOB_VERSION_AT 8u
#define PAGES_END 16u                   /* page 0 is a bitmap, no other before this one is */

static uint32_t big_endian_2(const uint8_t from[2])
{
  return (uint32_t) from[0] << 8 | from[1];
}

/*
  Returns the version that the page was encrypted with, KEY_VERSION_NONE for none. The checksum is that of the decrypted
  page: only the type tells that these bytes are a page.
*/
static uint32_t page_version(const uint8_t head[PAGE_HEAD])
{
  uint8_t type= head[PAGE_TYPE_AT] & PAGE_TYPE;
  if (type == 0 || type > PAGE_BLOB || head[PAGE_TYPE_AT] & PAGE_TYPE_UNUSED_BITS)
    return KEY_VERSION_NONE;
  uint32_t version= datafile_little_endian(head + (type <= PAGE_TAIL ? VERSION_AT : BLOB_VERSION_AT));
  return version <= KEY_VERSION_MAX ? version : KEY_VERSION_NONE;
}

enum datafile_says aria_read(int index, int data, struct datafile_keys *keys, int *error)
{
  static const uint8_t magic[]= {0xFE, 0xFE, 0x09, 0x03};
  uint8_t header[HEADER], base[BASE], head[PAGE_HEAD];
  memset(keys, 0, sizeof *keys);
  if (data == -1 || !datafile_read_at(index, 0, header, sizeof header, error) || memcmp(header, magic, sizeof magic) != 0 ||
      !datafile_read_at(index, (off_t) big_endian_2(header + BASE_AT), base, sizeof base, error) ||
      !(big_endian_2(base + OPTIONS_IN_BASE) & OPTION_ENCRYPTED))
    return DATAFILE_NOTHING;
  off_t block= (off_t) big_endian_2(base + BLOCK_SIZE_IN_BASE);
  keys->id= 1;
  for (off_t page= 1; block && page < (off_t) PAGES_END; page++)
  {
    if (!datafile_read_at(data, page * block, head, sizeof head, error))
      break;
    uint32_t version= page_version(head);
    if (version != KEY_VERSION_NONE)
      datafile_add_version(keys, version);
  }
  return DATAFILE_ENCRYPTED;
}
