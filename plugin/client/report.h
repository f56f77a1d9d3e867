// SPDX-License-Identifier: GPL-2.0-only
/* Reports of a client: lines of its log, and the last error of its status. */
#ifndef AKM_REPORT_H
#define AKM_REPORT_H

#include <stdint.h>

#include "client/config.h"

struct client;

/* Logs one line, cut if it is long. Without the lock. */
__attribute__((format(printf, 3, 4)))
void report_logf(const struct client *client, enum severity severity, const char *format, ...);

/* Logs how a rotation of one id, or of all keys with 0, failed; failure NULL: that it is done. Without the lock. */
void report_rotation(const struct client *client, uint32_t id, const struct failure *failure);

/* Makes text the last error of the status, cleaned and cut, with the time of now. Needs the lock. */
void report_note_error(struct client *client, const char *text);

/* Logs how many failures the budget kept out of the log, if its window ended before now. Without the lock. */
void report_untold(struct client *client, int64_t now);

#endif
