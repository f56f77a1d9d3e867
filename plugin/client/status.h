// SPDX-License-Identifier: GPL-2.0-only
/* The status of a client and its agent, for SHOW STATUS. */
#ifndef AKM_CLIENT_STATUS_H
#define AKM_CLIENT_STATUS_H

#include <stdint.h>

enum agent_state
{
  AGENT_STARTING,
  AGENT_RUNNING,
  AGENT_IDLE,
  AGENT_FAILED
};

/* Counters, indexed by their numbers in STATS of docs/protocol.md; 0 is unused. */
enum agent_counter
{
  COUNTER_GENERATE= 1,
  COUNTER_DECRYPT,
  COUNTER_ERRORS_OPERATOR,
  COUNTER_ERRORS_TRANSIENT,
  COUNTER_ERRORS_CORRUPT,
  COUNTER_ERRORS_OTHER,
  COUNTER_ROTATIONS,
  COUNTER_KEYS_CREATED,
  COUNTER_END
};

/* The worst state of the master keys in use. The numbers are those of MASTERKEY in docs/protocol.md; 0: not looked yet. */
enum master_key_state
{
  MASTER_KEY_NOT_LOOKED,
  MASTER_KEY_USABLE,
  MASTER_KEY_UNKNOWN,
  MASTER_KEY_DISABLED,
  MASTER_KEY_PENDING_DELETION,
  MASTER_KEY_DELETED,
  MASTER_KEY_STATES
};

#define NO_DAYS UINT32_MAX

struct client_status
{
  enum agent_state state;
  uint64_t starts;
  uint32_t versions_missing;
  uint32_t versions_limit;              /* with so many key versions statements create no more keys */
  enum master_key_state master_key;
  uint32_t days_left;                   /* until it is deleted; NO_DAYS: it is not, or nobody may tell */
  uint64_t counters[COUNTER_END];
  char last_error[1024];                /* empty: none yet */
  char last_error_time[32];             /* UTC, ISO 8601 */
};

#endif
