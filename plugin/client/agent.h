// SPDX-License-Identifier: GPL-2.0-only
/*
  The client of the agent. Callers queue a request and sleep on it; one I/O thread owns the connection, starts the agent
  when a request needs it, and puts the keys that arrive into the key table before the request that asked for them ends.
  The lock in here is never held while anything is read, written, started, waited for or logged.
*/
#ifndef AKM_AGENT_H
#define AKM_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keys/keytable.h"
#include "client/settings.h"

enum agent_role
{
  ROLE_SERVER= 1,
  ROLE_BACKUP= 2                        /* mariadb-backup: must never create a key */
};

enum agent_severity
{
  SEVERITY_ERROR= 1,
  SEVERITY_WARNING= 2,
  SEVERITY_NOTE= 3
};

/* Whether the caller has lost interest; asked a few times a second, without locks. */
struct agent_interrupt
{
  bool (*is_wanted)(void *argument);
  void *argument;
};

enum agent_caller_kind
{
  CALLER_STARTS,                        /* the start of the server, mariadb-backup: nobody else is there yet */
  CALLER_STATEMENT,                     /* and the server's own threads: holds locks that others want */
  CALLER_APPLIER                        /* of replicated statements: one that fails stops replication */
};

/* The kinds of callers that ask for a key. */
struct agent_caller
{
  enum agent_caller_kind kind;
  uint32_t patience_ms;                 /* an applier's */
  struct agent_interrupt interrupt;     /* is_wanted NULL: it never loses interest */
};

/*
  Statements create no key once the server has so many key versions for each second of its start_timeout: a start must be
  able to load them. A tenth of what the agent was seen to load from a KMS that takes 100 ms (docs/performance.md).
*/
#define VERSIONS_PER_START_SECOND 100u

struct agent_failure
{
  char code[64];                        /* of src/errors.ts, empty if the failure is the plugin's own */
  char message[1024];
  char hint[1024];                      /* may be empty */
};

#define AGENT_FAILURE_TEXT 2100u        /* bytes that hold "message; hint" with room for a subject */

struct agent_config
{
  /* Absolute path of the executable, or "unix:" and the absolute path of a socket. */
  const char *target;
  enum agent_role role;
  uint32_t start_timeout_ms;
  uint32_t watch_interval_ms;           /* between looks at the master keys; 0: none */
  bool allow_missing_keys;
  /* The cure where nobody listens on the socket and no agent is about to start. NULL: one may be about to. */
  const char *nobody_listens;
  const char *no_ctr;                   /* why the server cannot use keys of AES_CTR; NULL: it can */
  struct keytable *table;
  /*
    Whether a key that no file is stored of may be made, or data under it is here already. NULL: it may. Asked when nothing
    else is in the way, once for all who wait for the key, by a thread of theirs, without locks, and for one key at a time.
    *why: what stands against it. Once the interrupt is wanted what it says is not heeded.
  */
  bool (*may_create)(uint32_t id, const struct agent_interrupt *interrupt, struct agent_failure *why);
  /* Describes the calling thread. NULL: every caller is CALLER_STARTS. */
  struct agent_caller (*caller)(void);
  /* Called from any thread, without locks. text is one line without a prefix. */
  void (*log)(enum agent_severity severity, const char *text);
};

struct agent;

/* NULL: out of memory, the target is not one, or the server's user cannot be looked up. Nothing is started yet. */
struct agent *agent_create(const struct agent_config *config, struct agent_failure *failure);

/* Sets the value of a setting that setting_check() accepted; a connected agent is told before the next request. */
bool agent_set(struct agent *agent, enum setting setting, const char *value);

/*
  Starts the I/O thread, then the agent, and loads all stored keys. Returns a few seconds after start_timeout_ms at the
  latest. On failure the agent must still be destroyed.
*/
bool agent_start(struct agent *agent, struct agent_failure *failure);

/*
  Ends the thread and the agent, frees everything. No request may be waiting. NULL is allowed. Returns false if the
  thread hangs in the operating system (a dead NFS): the agent, its key table and the code must then stay in memory.
*/
bool agent_destroy(struct agent *agent);

/*
  OPEN: returns true once the key id has a latest version in the key table. Failures were logged. A statement waits for a few
  seconds in all, an applier for its patience; each ends when it is interrupted, and the request goes on without it.
*/
bool agent_open(struct agent *agent, uint32_t id);

/* FETCH: returns true once the key version is in the key table. Likewise; an applier waits no longer than a statement. */
bool agent_fetch(struct agent *agent, uint32_t id, uint32_t version);

/*
  ROTATE of one id, or of every stored key with 0. Waits up to about half a minute, for all keys 50 ms more for each. A
  rotation that was interrupted goes on; if it then fails the log is told.
*/
bool agent_rotate(struct agent *agent, uint32_t id, const struct agent_interrupt *interrupt,
                  struct agent_failure *failure);

/*
  "message; hint" into text[0..size). Returns false if that did not fit: the message was cut then, so that the hint, which
  says what to do, is there.
*/
bool agent_failure_text(const struct agent_failure *failure, char *text, size_t size);

/*
  Why the key could not be had a moment ago, for the one who asked. version 0: the key id as such. Returns false if that is
  not known.
*/
bool agent_reason(struct agent *agent, uint32_t id, uint32_t version, struct agent_failure *failure);

enum agent_state
{
  AGENT_STARTING,
  AGENT_RUNNING,
  AGENT_IDLE,
  AGENT_FAILED
};

/* Indexes are the counter numbers of STATS in docs/protocol.md; 0 is unused. */
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

/* Of the master keys in use, the worst. The numbers are those of MASTERKEY in docs/protocol.md; 0: not looked yet. */
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

struct agent_status
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

void agent_get_status(struct agent *agent, struct agent_status *status);

#endif
