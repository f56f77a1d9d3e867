// SPDX-License-Identifier: GPL-2.0-only
#include "data/datafile.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

uint32_t datafile_big_endian(const uint8_t from[4])
{
  return (uint32_t) from[0] << 24 | (uint32_t) from[1] << 16 | (uint32_t) from[2] << 8 | from[3];
}

uint32_t datafile_little_endian(const uint8_t from[4])
{
  return (uint32_t) from[3] << 24 | (uint32_t) from[2] << 16 | (uint32_t) from[1] << 8 | from[0];
}

uint32_t datafile_crc32c_add(uint32_t crc, const uint8_t *bytes, size_t size)
{
  for (size_t i= 0; i < size; i++)
  {
    crc^= bytes[i];
    for (int bit= 0; bit < 8; bit++)
      crc= crc >> 1 ^ (crc & 1 ? UINT32_C(0x82F63B78) : 0);
  }
  return crc;
}

uint32_t datafile_crc32c(const uint8_t *bytes, size_t size)
{
  return ~datafile_crc32c_add(UINT32_MAX, bytes, size);
}

bool datafile_read_at(int file, off_t offset, uint8_t *to, size_t size, int *error)
{
  ssize_t got;
  do
    got= pread(file, to, size, offset);
  while (got == -1 && errno == EINTR);
  if (got == -1)
    *error= errno;
  return got >= 0 && (size_t) got == size;
}

void datafile_add_version(struct datafile_keys *keys, uint32_t version)
{
  size_t at= 0;
  while (at < keys->count && keys->versions[at] < version)
    at++;
  if ((at < keys->count && keys->versions[at] == version) || keys->count == DATAFILE_VERSIONS_MAX)
    return;
  memmove(keys->versions + at + 1, keys->versions + at, (keys->count - at) * sizeof keys->versions[0]);
  keys->versions[at]= version;
  keys->count++;
}
