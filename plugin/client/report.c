// SPDX-License-Identifier: GPL-2.0-only
#include "client/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "client/internal.h"

void report_logf(const struct client *client, enum severity severity, const char *format, ...)
{
  char text[4200];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  client->config.log(severity, text);
}

void report_rotation(const struct client *client, uint32_t id, const struct failure *failure)
{
  char text[FAILURE_TEXT_MAX], subject[32]= "all keys";
  if (id)
    snprintf(subject, sizeof subject, "key %u", id);
  if (failure)
    failure_text(failure, text, sizeof text);
  report_logf(client, failure ? SEVERITY_ERROR : SEVERITY_NOTE, "rotation of %s: %s", subject,
              failure ? text : "done, after its statement was interrupted");
}

void report_note_error(struct client *client, const char *text)
{
  time_t now= time(NULL);
  struct tm utc;
  text_clean(client->last_error, sizeof client->last_error, text, strlen(text));
  if (!gmtime_r(&now, &utc) ||
      !strftime(client->last_error_time, sizeof client->last_error_time, "%Y-%m-%dT%H:%M:%SZ", &utc))
    client->last_error_time[0]= 0;
}

void report_untold(struct client *client, int64_t now)
{
  pthread_mutex_lock(&client->lock);
  uint32_t count= recent_untold(&client->recent, now);
  pthread_mutex_unlock(&client->lock);
  if (count)
    report_logf(client, SEVERITY_WARNING, "%u more failures of other keys were not logged", count);
}
