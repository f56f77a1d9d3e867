// SPDX-License-Identifier: GPL-2.0-only
/*
  Frames that arrive. Only the I/O thread calls this, without the lock.
*/
#ifndef AKM_DISPATCH_H
#define AKM_DISPATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "client/failure.h"
#include "client/frame.h"

struct client;

/*
  Handles one frame of the agent. Returns false if it breaks the protocol; why[0..why_size) says how. Sets *refused if
  HELLO was answered, with FAIL or for another protocol.
*/
bool dispatch_frame(struct client *client, const struct frame *frame, struct failure *refused, bool *is_refused,
                    char *why, size_t why_size);

#endif
