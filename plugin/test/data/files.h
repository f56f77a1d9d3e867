// SPDX-License-Identifier: GPL-2.0-only
/*
  Files of a server that tests make, in a temporary directory that is the current one.
*/
#ifndef AKM_TEST_FILES_H
#define AKM_TEST_FILES_H

#include <stddef.h>
#include <stdint.h>

/* Makes the directory and changes to it. */
void files_open(void);

/* Removes the directory, which must be empty, and changes back. */
void files_close(void);

/* The absolute path of the directory. */
const char *files_root(void);

/* The absolute path of a file in the directory, until the next call. */
const char *files_path(const char *name);

/* Writes bytes[0..size) at the offset of a file, which is made if it does not exist. */
void files_put(const char *name, long offset, const void *bytes, size_t size);

/* Writes a tablespace. flags: of the tablespace; offset: where MariaDB puts its crypt block; type 0: not encrypted. */
void files_put_table(const char *name, uint32_t flags, long offset, uint8_t type, uint8_t id);

/* Writes a redo log whose first block is the header, with its checksum. */
void files_put_redo_log(const char *name, uint8_t header[512]);

/* Writes a binary log: a format description of 20 bytes, and the event that begins encryption with this version. */
void files_put_binlog(const char *name, uint8_t version);

#endif
