// SPDX-License-Identifier: GPL-2.0-only
#include "client/failure.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

struct failure failure_plain(const char *message)
{
  struct failure failure= {.code= "", .hint= ""};
  snprintf(failure.message, sizeof failure.message, "%s", message);
  return failure;
}

bool failure_text(const struct failure *failure, char *text, size_t size)
{
  int whole= snprintf(text, size, "%s%s%s", failure->message, failure->hint[0] ? "; " : "", failure->hint);
  if (whole >= 0 && (size_t) whole < size)
    return true;
  const char *gap= failure->hint[0] ? "...; " : "...";
  size_t room= size - 1 - strlen(gap), message= strlen(failure->message), hint= strlen(failure->hint);
  /* A very long hint leaves a third of the room to what failed. */
  hint= text_cut(failure->hint, hint, room - (message < room / 3 ? message : room / 3));
  message= text_cut(failure->message, message, room - hint);
  snprintf(text, size, "%.*s%s%.*s", (int) message, failure->message, gap, (int) hint, failure->hint);
  return false;
}
