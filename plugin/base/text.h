// SPDX-License-Identifier: GPL-2.0-only
/*
  Texts that other processes write. Pure.
*/
#ifndef AKM_TEXT_H
#define AKM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Returns whether bytes[0..size) is well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates) without NUL. */
bool text_is_utf8(const uint8_t *bytes, size_t size);

/* Returns the largest length not above limit (and not above size) that does not cut a UTF-8 character of text[0..size). */
size_t text_cut(const char *text, size_t size, size_t limit);

/*
  Returns the length of the first of the lines that text[0..size) is printed as, each of at most limit bytes: up to the end
  of a sentence or clause in the second half of the line, else up to a space there, else as text_cut().
*/
size_t text_line(const char *text, size_t size, size_t limit);

/*
  Copies from[0..size) to to[0..capacity), always NUL terminated, cut at a character. Control characters, line separators
  and controls of direction become spaces: a text of another process must not be able to forge a log line or move a
  terminal's cursor.
*/
void text_clean(char *to, size_t capacity, const void *from, size_t size);

#endif
