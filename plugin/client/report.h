// SPDX-License-Identifier: GPL-2.0-only
/*
  Reports of a client: lines of its log, and the last error of its status.
*/
#ifndef AKM_REPORT_H
#define AKM_REPORT_H

#include <stdint.h>

#include "client/config.h"

struct client;

__attribute__((format(printf, 3, 4)))
void report_logf(const struct client *client, enum severity severity, const char *format, ...);

/* Needs the lock. */
void report_note_error(struct client *client, const char *text);

/* Logs how many failures were not logged, if it is time to. Without the lock. */
void report_untold(struct client *client, int64_t now);

#endif
