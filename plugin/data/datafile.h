// SPDX-License-Identifier: GPL-2.0-only
/*
  Tools of the readers of the server's files: bounded reads, numbers, the checksum, and the result. No file is trusted. Pure
  POSIX.
*/
#ifndef AKM_DATAFILE_H
#define AKM_DATAFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DATAFILE_VERSIONS_MAX 32u

enum datafile_says
{
  DATAFILE_NOTHING,                     /* not encrypted, damaged, or not a file of its kind */
  DATAFILE_ENCRYPTED,
  DATAFILE_UNSURE                       /* intact, of a format that is not known */
};

struct datafile_keys
{
  uint32_t id;
  size_t count;
  uint32_t versions[DATAFILE_VERSIONS_MAX];     /* ascending */
};

uint32_t datafile_big_endian(const uint8_t from[4]);
uint32_t datafile_little_endian(const uint8_t from[4]);

/* Returns the CRC-32C of bytes[0..size). It uses no table: little is ever checked. */
uint32_t datafile_crc32c(const uint8_t *bytes, size_t size);

/* Continues a CRC-32C with more bytes. The first crc is UINT32_MAX; the last is to be inverted. */
uint32_t datafile_crc32c_add(uint32_t crc, const uint8_t *bytes, size_t size);

/*
  Reads to[0..size) whole and returns true, or returns false with an errno in *error. At the end of the file *error is left
  alone.
*/
bool datafile_read_at(int file, off_t offset, uint8_t *to, size_t size, int *error);

/* Adds a version, in order. Leaves out a version that is there already, and one beyond the maximum. */
void datafile_add_version(struct datafile_keys *keys, uint32_t version);

#endif
