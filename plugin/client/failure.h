// SPDX-License-Identifier: GPL-2.0-only
/* A failure: its code, what failed, what to do about it. Pure. */
#ifndef AKM_FAILURE_H
#define AKM_FAILURE_H

#include <stdbool.h>
#include <stddef.h>

struct failure
{
  char code[64];                        /* one of src/errors.ts; empty if the failure is the plugin's own */
  char message[1024];
  char hint[1024];                      /* the cure; may be empty */
};

#define FAILURE_TEXT_MAX 2100u        /* bytes that hold "message; hint" with room for a subject */

/* Makes a failure of the plugin's own, without code and hint. The message is cut if too long. */
struct failure failure_plain(const char *message);

/*
  Writes "message; hint" into text[0..size), NUL terminated. Returns false if that did not fit: the message was cut then, so
  that the hint, which says what to do, is there. size: at least 64.
*/
bool failure_text(const struct failure *failure, char *text, size_t size);

#endif
