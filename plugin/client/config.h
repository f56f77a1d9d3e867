// SPDX-License-Identifier: GPL-2.0-only
/*
  The configuration of a client, and its callers as it sees them.
*/
#ifndef AKM_CONFIG_H
#define AKM_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "client/failure.h"
#include "keys/keytable.h"

enum client_role
{
  ROLE_SERVER= 1,
  ROLE_BACKUP= 2                        /* mariadb-backup: must never create a key */
};

enum severity
{
  SEVERITY_ERROR= 1,
  SEVERITY_WARNING= 2,
  SEVERITY_NOTE= 3
};

/* Whether the caller has lost interest; asked a few times a second, without locks. */
struct interrupt
{
  bool (*is_wanted)(void *argument);
  void *argument;
};

enum caller_kind
{
  CALLER_STARTS,                        /* the start of the server, mariadb-backup: nobody else is there yet */
  CALLER_STATEMENT,                     /* and the server's own threads: holds locks that others want */
  CALLER_APPLIER                        /* of replicated statements: one that fails stops replication */
};

/* The kinds of callers that ask for a key. */
struct caller
{
  enum caller_kind kind;
  uint32_t patience_ms;                 /* an applier's */
  struct interrupt interrupt;           /* is_wanted NULL: it never loses interest */
};

struct client_config
{
  /* Absolute path of the executable, or "unix:" and the absolute path of a socket. */
  const char *target;
  enum client_role role;
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
  bool (*may_create)(uint32_t id, const struct interrupt *interrupt, struct failure *why);
  /* Describes the calling thread. NULL: every caller is CALLER_STARTS. */
  struct caller (*caller)(void);
  /* Called from any thread, without locks. text is one line without a prefix. */
  void (*log)(enum severity severity, const char *text);
};

#endif
