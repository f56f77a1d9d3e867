// SPDX-License-Identifier: GPL-2.0-only
/* The vectors of test/vectors/data-files, whose README.md explains the lines. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/aria.h"
#include "data/binlog.h"
#include "keys/keytable.h"
#include "data/redolog.h"
#include "data/tablespace.h"
#include "test/test.h"

#define VECTORS_MAX 200u
#define FILE_MAX (1u << 17)

struct file
{
  size_t size;
  uint8_t *bytes;                       /* FILE_MAX; NULL: no such file */
};

struct vector
{
  char name[100], kind[20];
  struct file main, data;
};

static struct vector vectors[VECTORS_MAX];
static size_t count;

static uint8_t *new_bytes(void)
{
  uint8_t *bytes= calloc(1, FILE_MAX);
  if (!bytes)
    abort();
  return bytes;
}

static void put_hex(struct file *file, const char *line)
{
  char *end;
  unsigned long at= strtoul(line, &end, 10);
  if (!file->bytes)
    file->bytes= new_bytes();
  for (end+= *end == ' '; end[0] && end[1]; end+= 2, at++)
  {
    const char digits[]= {end[0], end[1], 0};
    CHECK(at < FILE_MAX);
    if (at < FILE_MAX)
      file->bytes[at]= (uint8_t) strtoul(digits, NULL, 16);
  }
}

static void put_size(struct file *file, const char *line)
{
  file->size= strtoul(line, NULL, 10);
  if (!file->bytes)
    file->bytes= new_bytes();
  CHECK(file->size <= FILE_MAX);
}

static void be_like(struct vector *vector, const char *name)
{
  for (size_t i= 0; i < count; i++)
    if (strcmp(vectors[i].name, name) == 0)
    {
      const struct file *from[]= {&vectors[i].main, &vectors[i].data};
      struct file *to[]= {&vector->main, &vector->data};
      memcpy(vector->kind, vectors[i].kind, sizeof vector->kind);
      for (size_t at= 0; at < 2; at++)
        if (from[at]->bytes)
        {
          to[at]->size= from[at]->size;
          to[at]->bytes= new_bytes();
          memcpy(to[at]->bytes, from[at]->bytes, FILE_MAX);
        }
      return;
    }
  printf("# no vector before this one is named %s\n", name);
  test_failed= true;
}

static int open_file(const struct file *file)
{
  if (!file->bytes)
    return -1;
  int opened= memfd_create("vector", MFD_CLOEXEC);
  CHECK(opened != -1 && ftruncate(opened, (off_t) file->size) == 0);
  CHECK(pwrite(opened, file->bytes, file->size, 0) == (ssize_t) file->size);
  return opened;
}

static enum datafile_says read_tablespace(int file, struct datafile_keys *keys, int *error)
{
  struct tablespace space;
  memset(keys, 0, sizeof *keys);
  if (!tablespace_read(&space, file, error))
    return DATAFILE_NOTHING;
  keys->id= space.key_id;
  for (uint32_t page= TABLESPACE_FIRST_PAGE; page < TABLESPACE_PAGES_END; page++)
  {
    uint32_t version= tablespace_page_version(&space, page);
    if (version != KEY_VERSION_NONE && tablespace_is_whole(&space, page))
      datafile_add_version(keys, version);
  }
  return DATAFILE_ENCRYPTED;
}

static void check(const struct vector *vector, const char *uses)
{
  struct datafile_keys keys= {.id= 0};
  char found[200]= "none";
  int error= 0, main= open_file(&vector->main), data= open_file(&vector->data);
  enum datafile_says says= DATAFILE_NOTHING;
  if (strcmp(vector->kind, "tablespace") == 0)
    says= read_tablespace(main, &keys, &error);
  else if (strcmp(vector->kind, "redo") == 0)
    says= redolog_read(main, &keys, &error);
  else if (strcmp(vector->kind, "binlog") == 0)
    says= binlog_read(main, &keys, &error);
  else if (strcmp(vector->kind, "aria") == 0)
    says= aria_read(main, data, &keys, &error);
  else
    CHECK(!"a known kind");
  if (says == DATAFILE_ENCRYPTED)
  {
    size_t length= (size_t) snprintf(found, sizeof found, "%u", keys.id);
    for (size_t i= 0; i < keys.count && length < sizeof found; i++)
      length+= (size_t) snprintf(found + length, sizeof found - length, " %u", keys.versions[i]);
  }
  else if (says == DATAFILE_UNSURE)
    snprintf(found, sizeof found, "unsure");
  if (strcmp(found, uses) != 0)
    printf("# vector %s: expected %s, got %s\n", vector->name, uses, found);
  CHECK(strcmp(found, uses) == 0 && error == 0);
  close(main);
  if (data != -1)
    close(data);
}

static const char *after(const char *line, const char *word)
{
  size_t length= strlen(word);
  return strncmp(line, word, length) == 0 && line[length] == ' ' ? line + length + 1 : NULL;
}

static void take(char *line)
{
  struct vector *vector= &vectors[count];
  const char *value;
  line[strcspn(line, "\n")]= 0;
  if ((value= after(line, "vector")))
    snprintf(vector->name, sizeof vector->name, "%s", value);
  else if ((value= after(line, "kind")))
    snprintf(vector->kind, sizeof vector->kind, "%s", value);
  else if ((value= after(line, "like")))
    be_like(vector, value);
  else if ((value= after(line, "size")))
    put_size(&vector->main, value);
  else if ((value= after(line, "at")))
    put_hex(&vector->main, value);
  else if ((value= after(line, "data-size")))
    put_size(&vector->data, value);
  else if ((value= after(line, "data-at")))
    put_hex(&vector->data, value);
  else if ((value= after(line, "uses")))
  {
    check(vector, value);
    if (count < VECTORS_MAX - 1)
      count++;
  }
  else
    CHECK(line[0] == 0 || after(line, "from") || after(line, "name"));
}

static void every_vector_is_read_as_it_says(void)
{
  static const char *const files[]= {VECTORS "/recorded.txt", VECTORS "/specified.txt", VECTORS "/spoiled.txt"};
  char *line= NULL;
  size_t room= 0;
  for (size_t i= 0; i < sizeof files / sizeof files[0]; i++)
  {
    FILE *file= fopen(files[i], "re");
    CHECK(file != NULL);
    while (file && getline(&line, &room, file) != -1)
      take(line);
    if (file)
      fclose(file);
  }
  CHECK(count > 60 && count < VECTORS_MAX - 1);
  for (size_t i= 0; i < count; i++)
  {
    free(vectors[i].main.bytes);
    free(vectors[i].data.bytes);
  }
  free(line);
}

void vectors_tests(void)
{
  TEST(every_vector_is_read_as_it_says);
}
