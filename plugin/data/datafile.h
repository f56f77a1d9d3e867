// SPDX-License-Identifier: GPL-2.0-only
/*
  What the readers of the server's files share: bounded reads, numbers, the checksum, and what a file says of its
  encryption. No file is trusted. Pure POSIX.
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
  DATAFILE_NOTHING,                     /* not encrypted, damaged, or not of its kind */
  DATAFILE_ENCRYPTED,
  DATAFILE_UNSURE                       /* whole, of a format that is not known */
};

struct datafile_keys
{
  uint32_t id;
  size_t count;
  uint32_t versions[DATAFILE_VERSIONS_MAX];     /* ascending */
};

uint32_t datafile_big_endian(const uint8_t from[4]);
uint32_t datafile_little_endian(const uint8_t from[4]);

/* CRC-32C, without a table: little is ever checked. */
uint32_t datafile_crc32c(const uint8_t *bytes, size_t size);

/* The same in pieces: begin with UINT32_MAX, and invert the end. */
uint32_t datafile_crc32c_add(uint32_t crc, const uint8_t *bytes, size_t size);

/* Reads to[0..size) whole, or returns false; *error is then an errno, and left alone at the end of the file. */
bool datafile_read_at(int file, off_t offset, uint8_t *to, size_t size, int *error);

/* A version that is seen twice is kept once; versions beyond the maximum are left out. */
void datafile_add_version(struct datafile_keys *keys, uint32_t version);

#endif
