// SPDX-License-Identifier: GPL-2.0-only
/*
  A failure as values: code, message, hint. Pure.
*/
#ifndef AKM_FAILURE_H
#define AKM_FAILURE_H

#include <stdbool.h>
#include <stddef.h>

struct failure
{
  char code[64];                        /* of src/errors.ts, empty if the failure is the plugin's own */
  char message[1024];
  char hint[1024];                      /* may be empty */
};

#define FAILURE_TEXT_MAX 2100u        /* bytes that hold "message; hint" with room for a subject */

/* A failure of our own, without code and hint. */
struct failure failure_plain(const char *message);

/*
  "message; hint" into text[0..size). Returns false if that did not fit: the message was cut then, so that the hint, which
  says what to do, is there.
*/
bool failure_text(const struct failure *failure, char *text, size_t size);

#endif
