// SPDX-License-Identifier: GPL-2.0-only
/*
  Data directories whose pages are encrypted by a toy in the place of AES: whatever is decrypted with another key, IV or
  mode differs in every byte.
*/
#include "data/datadir.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test/test.h"

#define PAGE_MAX 65536u
#define SPACE_ID 0x01020304u
#define KEY_ID 7u

static char root[]= "/tmp/akm-tablespace-XXXXXX";
static struct locations locations;
static struct keytable table;
static int pages_read;

static int toy_crypt(unsigned mode, int flags, const unsigned char *from, unsigned length, unsigned char *to,
                     unsigned *written, const unsigned char *key, unsigned key_length, const unsigned char *iv,
                     unsigned iv_length)
{
  bool is_ecb= mode == MODE_ECB;
  CHECK(flags == (is_ecb ? CRYPT_ENCRYPT | CRYPT_NOPAD : CRYPT_NOPAD) && length % 16 == 0);
  CHECK(is_ecb ? !iv && !iv_length : iv_length == 16 && key_length == 16);
  for (unsigned i= 0; i < length; i++)
    to[i]= (uint8_t) (from[i] ^ key[i % 16] ^ (is_ecb ? key[key_length - 1 - i % 16] : iv[i % 16]) ^ (1u << mode));
  *written= length;
  pages_read+= !is_ecb;
  return 0;
}

static const struct aes toy= {.crypt= toy_crypt};

static int failing_crypt(unsigned mode, int flags, const unsigned char *from, unsigned length, unsigned char *to,
                         unsigned *written, const unsigned char *key, unsigned key_length, const unsigned char *iv,
                         unsigned iv_length)
{
  return toy_crypt(mode, flags, from, length, to, written, key, key_length, iv, iv_length) - 101;
}

static const struct aes failing= {.crypt= failing_crypt};

static void big_endian(uint8_t *to, uint32_t value)
{
  for (int i= 0; i < 4; i++)
    to[i]= (uint8_t) (value >> (24 - 8 * i));
}

static uint32_t crc32c(const uint8_t *bytes, size_t size)
{
  uint32_t crc= UINT32_MAX;
  for (size_t i= 0; i < size; i++)
    for (int bit= 0; bit < 8; bit++)
      crc= crc >> 1 ^ ((crc ^ bytes[i] >> bit) & 1 ? UINT32_C(0x82F63B78) : 0);
  return ~crc;
}

static const char *path_of(const char *name)
{
  static char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", root, name);
  return path;
}

/* A file to make, and how it is spoilt. */
struct made
{
  uint32_t shift;                       /* log2 of the page size / 512 */
  uint32_t flags;                       /* instead of those of full_crc32 */
  uint32_t page;                        /* number of the encrypted page */
  uint32_t version;
  uint8_t key;                          /* first byte of the key */
  enum aes_mode mode;
  uint8_t type;                         /* second byte of the page type; 0: that of an index */
  bool is_redundant;
  bool has_no_infimum;                  /* the root of an index after an instant ALTER TABLE */
  bool has_other_id;                    /* the page names another space id, in the encrypted part */
  bool has_other_number;
  bool is_damaged, page_0_is_damaged, is_free, has_short_iv;
};

static const struct made plain= {.shift= 5, .page= 3, .version= 1, .key= 1, .mode= MODE_CBC};

static void key_of(uint8_t key[32], uint8_t first)
{
  for (int i= 0; i < 32; i++)
    key[i]= (uint8_t) (first + i);
}

static void encrypt(uint8_t *page, const struct made *made, const uint8_t iv[16])
{
  uint8_t key[32], page_key[16], page_iv[16]= {4, 3, 2, 1, [4]= (uint8_t) made->page};
  unsigned length;
  for (int i= 0; i < 8; i++)
    page_iv[8 + i]= page[23 - i];
  key_of(key, made->key);
  toy_crypt(MODE_ECB, CRYPT_ENCRYPT | CRYPT_NOPAD, iv, 16, page_key, &length, key, sizeof key, NULL, 0);
  toy_crypt(made->mode, CRYPT_NOPAD, page + 26, 16 * 8, page + 26, &length, page_key, 16, page_iv, 16);
}

static void put(const char *name, const struct made *made)
{
  static uint8_t page[PAGE_MAX];
  static const uint32_t blocks[]= {[3]= 1596, 3772, 10428, 20668, 41148};
  const uint8_t iv[16]= {9, 8, 7, 6, 5};
  size_t size= (size_t) 512 << made->shift;
  int file= open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  CHECK(file != -1);
  uint8_t *block= page + blocks[made->shift];
  memset(page, 0, sizeof page);
  big_endian(page + 34, SPACE_ID);
  big_endian(page + 54, made->flags ? made->flags : 0x10 | made->shift);
  page[174 + made->page / 4]= (uint8_t) (made->is_free << made->page % 4 * 2);
  memcpy(block, (uint8_t[]) {0x73, 0x0E, 0x0C, 0x52, 0x45, 0x74, 1, made->has_short_iv ? 15 : 16}, 8);
  memcpy(block + 8, iv, sizeof iv);
  big_endian(block + 28, KEY_ID);
  big_endian(page + size - 4, crc32c(page, size - 4) ^ made->page_0_is_damaged);
  CHECK(pwrite(file, page, size, 0) == (ssize_t) size);

  memset(page, 0x55, size);
  big_endian(page, made->version);
  big_endian(page + 4, made->page + made->has_other_number);
  page[24]= 0x45;
  page[25]= made->type ? made->type : 0xBF;
  big_endian(page + 34, SPACE_ID ^ made->has_other_id);
  if (!made->has_no_infimum)
    memcpy(page + (made->is_redundant ? 101 : 99), "infimum", 8);
  encrypt(page, made, iv);
  big_endian(page + size - 4, crc32c(page, size - 4) ^ made->is_damaged);
  CHECK(pwrite(file, page, size, (off_t) (made->page * size)) == (ssize_t) size);
  close(file);
}

static bool has(void *unused, uint32_t id, uint32_t version)
{
  (void) unused;
  return version ? keytable_has(&table, id, version) : keytable_latest(&table, id) != KEY_VERSION_NONE;
}

static bool look(enum datadir_extent extent, const struct aes *aes, struct datadir_use *use)
{
  const struct datadir_keys keys= {.has= has, .table= &table, .aes= aes};
  pages_read= 0;
  return datadir_find_unreadable(&locations, extent, &keys, use);
}

static bool is_fine(void)
{
  struct datadir_use use;
  bool found= look(DATADIR_WHOLE, &toy, &use);
  return !found && !use.is_other_key && !use.is_unsure;
}

static bool is_other_key(uint32_t version, const char *file)
{
  struct datadir_use use;
  return look(DATADIR_WHOLE, &toy, &use) && use.is_other_key && use.id == KEY_ID && use.version == version &&
         strcmp(use.file, file) == 0;
}

static void another_key_is_noticed_in_every_page_size_and_mode(void)
{
  for (uint32_t shift= 3; shift <= 7; shift++)
    for (uint32_t version= 1; version <= 2; version++)
      for (int redundant= 0; redundant < 2; redundant++)
        for (uint32_t page= 3; page < 16; page+= 4)
        {
          struct made made= plain;
          made.shift= shift;
          made.version= version;
          made.key= (uint8_t) version;
          made.mode= version == 1 ? MODE_CBC : MODE_CTR;
          made.is_redundant= redundant;
          made.page= page;
          put("ibdata1", &made);
          CHECK(is_fine() && pages_read == 1);
          made.key= 3;
          put("ibdata1", &made);
          CHECK(is_other_key(version, "ibdata1"));
          made.key= (uint8_t) version;
          made.mode= MODE_CBC + MODE_CTR - made.mode;
          put("ibdata1", &made);
          CHECK(is_other_key(version, "ibdata1"));
        }
  unlink(path_of("ibdata1"));
}

static void nothing_else_is_taken_for_another_key(void)
{
  struct made rows[]= {
    {.is_damaged= true}, {.page_0_is_damaged= true}, {.is_free= true}, {.has_short_iv= true}, {.has_other_number= true},
    {.type= 2}, {.page= 2}, {.page= 16}, {.version= 0}, {.flags= 0x35}, {.flags= 0x115}, {.flags= 0x21},
    {.key= 1, .has_no_infimum= true}, {.key= 1, .has_other_id= true},
  };
  struct datadir_use use;
  struct made made= plain;
  made.key= 3;
  put("d/t.ibd", &made);
  CHECK(is_other_key(1, "d/t.ibd"));
  CHECK(!look(DATADIR_WHOLE, NULL, &use));
  CHECK(!look(DATADIR_WHOLE, &failing, &use));
  CHECK(!look(DATADIR_SAMPLE, &toy, &use));
  for (size_t i= 0; i < sizeof rows / sizeof rows[0]; i++)
  {
    made= rows[i];
    made.shift= 5;
    made.mode= MODE_CBC;
    made.page= made.page ? made.page : 3;
    made.version= i == 8 ? 0 : 1;
    made.key= made.key ? made.key : 3;
    put("d/t.ibd", &made);
    CHECK(is_fine());
  }
  made= plain;
  made.key= 3;
  put("d/t.ibd", &made);
  CHECK(truncate(path_of("d/t.ibd"), 4 * 16384 - 1) == 0);
  CHECK(is_fine());
  unlink(path_of("d/t.ibd"));
}

static void key_that_opens_one_page_is_ours(void)
{
  struct made foreign= plain, own= plain;
  foreign.key= 3;
  put("ibdata1", &foreign);
  CHECK(is_other_key(1, "ibdata1"));
  put("d/t.ibd", &own);
  CHECK(is_fine());
  put("ibdata1", &own);
  put("d/t.ibd", &foreign);
  CHECK(is_fine() && pages_read == 1);
  own.version= own.key= 2;
  own.mode= MODE_CTR;
  put("ibdata1", &own);
  CHECK(is_other_key(1, "d/t.ibd"));
  unlink(path_of("ibdata1"));
  unlink(path_of("d/t.ibd"));
}

static void version_of_a_page_may_be_missing(void)
{
  struct datadir_use use;
  struct made made= plain;
  made.version= 9;
  put("mysql/t.ibd", &made);
  CHECK(look(DATADIR_SAMPLE, &toy, &use));
  CHECK(!use.is_other_key && use.id == KEY_ID && use.version == 9 && strcmp(use.file, "mysql/t.ibd") == 0);
  CHECK(!look(DATADIR_SAMPLE, NULL, &use));
  made.is_damaged= true;
  put("mysql/t.ibd", &made);
  CHECK(is_fine());
  made.is_damaged= false;
  made.is_free= true;
  put("mysql/t.ibd", &made);
  CHECK(is_fine());
  /* Only page 0 names the key. */
  int file= open(path_of("mysql/t.ibd"), O_WRONLY);
  CHECK(pwrite(file, (uint8_t[]) {8}, 1, 10428 + 31) == 1);
  close(file);
  CHECK(!look(DATADIR_SAMPLE, &toy, &use));
  CHECK(look(DATADIR_WHOLE, &toy, &use) && use.id == 8 && use.version == 0);
  /* The message about another key has the cure of both. */
  made= plain;
  made.key= 3;
  put("ibdata1", &made);
  made.version= 9;
  put("mysql/t.ibd", &made);
  CHECK(look(DATADIR_SAMPLE, &toy, &use) && use.is_other_key && use.version == 1);
  unlink(path_of("ibdata1"));
  unlink(path_of("mysql/t.ibd"));
}

void tablespace_tests(void)
{
  uint8_t key[32];
  int before= open(".", O_RDONLY | O_DIRECTORY);
  CHECK(mkdtemp(root) != NULL && chdir(root) == 0 && mkdir(path_of("d"), 0700) == 0 && mkdir(path_of("mysql"), 0700) == 0);
  locations_read(&locations, 0, NULL);
  CHECK(keytable_init(&table));
  key_of(key, 1);
  CHECK(keytable_put(&table, KEY_ID, 1, key, sizeof key, KEY_AES_CBC, true) == KEYTABLE_ADDED);
  key_of(key, 2);
  CHECK(keytable_put(&table, KEY_ID, 2, key, sizeof key, KEY_AES_CTR, true) == KEYTABLE_ADDED);
  TEST(another_key_is_noticed_in_every_page_size_and_mode);
  TEST(nothing_else_is_taken_for_another_key);
  TEST(key_that_opens_one_page_is_ours);
  TEST(version_of_a_page_may_be_missing);
  keytable_destroy(&table);
  CHECK(rmdir(path_of("d")) == 0 && rmdir(path_of("mysql")) == 0 && rmdir(root) == 0);
  CHECK(fchdir(before) == 0 && close(before) == 0);
}
