// SPDX-License-Identifier: GPL-2.0-only
// The additional permission in plugin/NOTICE holds for this file.
/* The comparison of streams with the server's own functions, before the server encrypts anything with them. */
#ifndef AKM_COMPARE_H
#define AKM_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

#include "crypt/aes.h"
#include "crypt/contexts.h"

#define COMPARE_WHY_MAX 128u

/*
  Encrypts and decrypts random bytes both ways: lengths of 0 to 600 and pages, in one piece and in three, in place, and one stream
  within another. Returns whether all bytes are equal; otherwise writes the reason to why[0..size).
*/
bool compare(const struct aes *aes, struct contexts *contexts, char *why, size_t size);

#endif
