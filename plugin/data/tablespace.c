// SPDX-License-Identifier: GPL-2.0-only
#include "data/tablespace.h"

#include <string.h>

#include "data/datafile.h"

#define SPACE_ID_AT 34u                 /* FIL_PAGE_SPACE_ID */
#define FLAGS_AT 54u                    /* FSP_SPACE_FLAGS */
#define STATES_AT 174u                  /* XDES_BITMAP of the first extent */
#define PAGE_0_HEADER 178u
#define PAGE_IS_FREE 1u                 /* XDES_FREE_BIT of a page's two bits */
#define DESCRIPTORS_AT 188u             /* FSP_HEADER_OFFSET + XDES_ARR_OFFSET */
#define CRYPT_BLOCK 33u
#define CRYPT_TYPE_AT 6u
#define CRYPT_IV_LENGTH_AT 7u
#define CRYPT_IV_AT 8u
#define CRYPT_MIN_VERSION_AT 24u        /* 0: some pages are not encrypted */
#define CRYPT_KEY_ID_AT 28u
#define CRYPT_ENCRYPTION_AT 32u
#define ENCRYPTION_OFF 2u               /* ENCRYPTED=NO */
#define CRYPT_SCHEME_1 1u

/* Offsets in a page of the full_crc32 format. The key version is at 0. */
#define PAGE_NUMBER_AT 4u
#define PAGE_LSN_AT 16u
#define PAGE_TYPE_AT 24u
#define PAGE_TYPE_INDEX 17855u
#define ENCRYPTED_AT 26u                /* encrypted from here to the checksum */
#define PAGE_HEAD (ENCRYPTED_AT + 7u * 16u)
#define CHECKSUM 4u
#define INFIMUM_AT 99u                  /* PAGE_NEW_INFIMUM: ROW_FORMAT=COMPACT and DYNAMIC */
#define OLD_INFIMUM_AT 101u             /* PAGE_OLD_INFIMUM: ROW_FORMAT=REDUNDANT */
#define PIECE 4096u                     /* the smallest page */

/* Returns the offset of the crypt block in page 0: behind the descriptors of the extents that one page describes. */
static off_t crypt_block_at(uint32_t flags)
{
  bool full_crc32= flags & 0x10;
  uint32_t shift= full_crc32 ? flags & 15 : flags >> 6 & 15, zip= full_crc32 ? 0 : flags >> 1 & 15;
  uint32_t page= shift ? UINT32_C(512) << shift : 16384, physical= zip ? UINT32_C(512) << zip : page;
  uint32_t extent= page > 16384 ? 64 : 1048576 / page;
  return DESCRIPTORS_AT + (off_t) (24 + extent / 4) * (physical / extent);
}

/* Returns the page size. 0: the pages are compressed, or have checksums from before full_crc32, and are not judged. */
static uint32_t judged_page_size(uint32_t flags)
{
  uint32_t shift= flags & 15;
  return (flags & ~UINT32_C(15)) == 0x10 && shift >= 3 && shift <= 7 ? UINT32_C(512) << shift : 0;
}

bool tablespace_read(struct tablespace *space, int file, int *error)
{
  static const uint8_t magic[]= {0x73, 0x0E, 0x0C, 0x52, 0x45, 0x74};
  uint8_t header[PAGE_0_HEADER], block[CRYPT_BLOCK];
  if (!datafile_read_at(file, 0, header, sizeof header, error))
    return false;
  uint32_t flags= datafile_big_endian(header + FLAGS_AT);
  if (!datafile_read_at(file, crypt_block_at(flags), block, sizeof block, error) ||
      memcmp(block, magic, sizeof magic) != 0 || block[CRYPT_TYPE_AT] != CRYPT_SCHEME_1)
    return false;
  if (block[CRYPT_ENCRYPTION_AT] == ENCRYPTION_OFF && datafile_big_endian(block + CRYPT_MIN_VERSION_AT) == 0)
    return false;
  space->file= file;
  space->id= datafile_big_endian(header + SPACE_ID_AT);
  space->key_id= datafile_big_endian(block + CRYPT_KEY_ID_AT);
  space->lowest_version= datafile_big_endian(block + CRYPT_MIN_VERSION_AT);
  space->page_size= block[CRYPT_IV_LENGTH_AT] == sizeof space->iv ? judged_page_size(flags) : 0;
  memcpy(space->iv, block + CRYPT_IV_AT, sizeof space->iv);
  memcpy(space->states, header + STATES_AT, sizeof space->states);
  return true;
}

static off_t page_at(const struct tablespace *space, uint32_t page)
{
  return (off_t) page * space->page_size;
}

static bool is_free(const struct tablespace *space, uint32_t page)
{
  uint32_t states= space->states[page / 4];
  return states >> page % 4 * 2 & PAGE_IS_FREE;
}

uint32_t tablespace_page_version(const struct tablespace *space, uint32_t page)
{
  uint8_t head[ENCRYPTED_AT];
  int error;
  /* A free page may be older than the last change of the plugin or of its keys. */
  if (!space->page_size || page >= TABLESPACE_PAGES_END || is_free(space, page) ||
      !datafile_read_at(space->file, page_at(space, page), head, sizeof head, &error) ||
      datafile_big_endian(head + PAGE_NUMBER_AT) != page ||
      (head[PAGE_TYPE_AT] << 8 | head[PAGE_TYPE_AT + 1]) != PAGE_TYPE_INDEX)
    return KEY_VERSION_NONE;
  return datafile_big_endian(head);
}

/* Returns whether the page has its right checksum, and begins with head[0..size). */
static bool page_is_whole(const struct tablespace *space, uint32_t page, const uint8_t *head, size_t size)
{
  uint8_t piece[PIECE];
  uint32_t crc= UINT32_MAX;
  int error;
  for (uint32_t at= 0; at < space->page_size; at+= PIECE)
  {
    bool is_last= at + PIECE == space->page_size;
    if (!datafile_read_at(space->file, page_at(space, page) + at, piece, sizeof piece, &error) ||
        (at == 0 && size && memcmp(piece, head, size) != 0))
      return false;
    crc= datafile_crc32c_add(crc, piece, is_last ? PIECE - CHECKSUM : PIECE);
  }
  return ~crc == datafile_big_endian(piece + PIECE - CHECKSUM);
}

bool tablespace_is_whole(const struct tablespace *space, uint32_t page)
{
  return page_is_whole(space, page, NULL, 0) && page_is_whole(space, 0, NULL, 0);
}

static void reverse(uint8_t *to, const uint8_t *from, size_t size)
{
  for (size_t i= 0; i < size; i++)
    to[i]= from[size - 1 - i];
}

/* Decrypts the first blocks of a page by MariaDB's scheme 1. Returns false if the AES functions fail. */
static bool decrypt(const struct tablespace *space, const uint8_t head[PAGE_HEAD], const struct key_record *key,
                    const struct aes *aes, uint8_t clear[PAGE_HEAD])
{
  uint8_t page_key[16], iv[16];
  unsigned key_length= 0, length= 0, mode= key->algorithm == KEY_AES_CTR ? MODE_CTR : MODE_CBC;
  for (size_t i= 0; i < 4; i++)
    iv[i]= (uint8_t) (space->id >> 8 * i);
  reverse(iv + 4, head + PAGE_NUMBER_AT, 4);
  reverse(iv + 8, head + PAGE_LSN_AT, 8);
  bool done= aes->crypt(MODE_ECB, CRYPT_ENCRYPT | CRYPT_NOPAD, space->iv, sizeof space->iv, page_key, &key_length,
                        key->bytes, key->length, NULL, 0) == 0 &&
             key_length == sizeof page_key &&
             aes->crypt(mode, CRYPT_NOPAD, head + ENCRYPTED_AT, PAGE_HEAD - ENCRYPTED_AT, clear + ENCRYPTED_AT, &length,
                        page_key, sizeof page_key, iv, sizeof iv) == 0 &&
             length == PAGE_HEAD - ENCRYPTED_AT;
  explicit_bzero(page_key, sizeof page_key);
  return done;
}

static bool is_infimum(const uint8_t *at)
{
  return memcmp(at, "infimum", 7) == 0;
}

enum tablespace_verdict tablespace_judge(const struct tablespace *space, uint32_t page, const struct key_record *key,
                                         const struct aes *aes)
{
  uint8_t head[PAGE_HEAD], clear[PAGE_HEAD];
  int error;
  bool fits= false, is_other= false;
  if (tablespace_page_version(space, page) != key->version ||
      !datafile_read_at(space->file, page_at(space, page), head, sizeof head, &error))
    return TABLESPACE_UNPROVEN;
  if (decrypt(space, head, key, aes, clear))
  {
    fits= is_infimum(clear + INFIMUM_AT) || is_infimum(clear + OLD_INFIMUM_AT);
    is_other= !fits && datafile_big_endian(clear + SPACE_ID_AT) != space->id;
  }
  explicit_bzero(clear, sizeof clear);
  if (fits)
    return TABLESPACE_KEY_FITS;
  /* Page 0 names the key and the IV: it must be intact as well. */
  return is_other && page_is_whole(space, page, head, sizeof head) && page_is_whole(space, 0, NULL, 0)
           ? TABLESPACE_OTHER_KEY
           : TABLESPACE_UNPROVEN;
}
