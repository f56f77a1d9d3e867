// SPDX-License-Identifier: GPL-2.0-only
#include "test/data/files.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/datafile.h"
#include "test/test.h"

static char root[32];
static int before;

void files_open(void)
{
  before= open(".", O_RDONLY | O_DIRECTORY);
  strcpy(root, "/tmp/akm-data-XXXXXX");
  CHECK(mkdtemp(root) != NULL && chdir(root) == 0);
}

void files_close(void)
{
  CHECK(rmdir(root) == 0);
  CHECK(fchdir(before) == 0 && close(before) == 0);
}

const char *files_root(void)
{
  return root;
}

const char *files_path(const char *name)
{
  static char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", root, name);
  return path;
}

void files_put(const char *name, long offset, const void *bytes, size_t size)
{
  int file= open(files_path(name), O_WRONLY | O_CREAT, 0600);
  CHECK(file != -1);
  CHECK(pwrite(file, bytes, size, offset) == (ssize_t) size);
  close(file);
}

void files_put_table(const char *name, uint32_t flags, long offset, uint8_t type, uint8_t id)
{
  uint8_t block[33]= {0x73, 0x0E, 0x0C, 0x52, 0x45, 0x74, type, 16, [31]= id, [32]= 1};
  uint8_t header[4]= {(uint8_t) (flags >> 24), (uint8_t) (flags >> 16), (uint8_t) (flags >> 8), (uint8_t) flags};
  unlink(files_path(name));
  files_put(name, 54, header, sizeof header);
  files_put(name, offset, block, sizeof block);
}

void files_put_redo_log(const char *name, uint8_t header[512])
{
  uint32_t sum= datafile_crc32c(header, 508);
  for (int i= 0; i < 4; i++)
    header[508 + i]= (uint8_t) (sum >> (24 - 8 * i));
  files_put(name, 0, header, 512);
}

void files_put_binlog(const char *name, uint8_t version)
{
  uint8_t bytes[4 + 20 + 36]= {
    0xFE, 'b', 'i', 'n', [4 + 4]= 15, [4 + 9]= 20, [24 + 4]= 164, [24 + 9]= 36, [24 + 19]= 1, [24 + 20]= version,
  };
  files_put(name, 0, bytes, sizeof bytes);
}
