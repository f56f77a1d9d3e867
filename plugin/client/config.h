// SPDX-License-Identifier: GPL-2.0-only
/* The configuration of a client, and its callers as it knows them. */
#ifndef AKM_CONFIG_H
#define AKM_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "client/failure.h"
#include "keys/keytable.h"

enum client_role
{
  ROLE_SERVER= 1,
  ROLE_BACKUP= 2                        /* mariadb-backup, which must never create a key */
};

enum severity
{
  SEVERITY_ERROR= 1,
  SEVERITY_WARNING= 2,
  SEVERITY_NOTE= 3
};

/* Returns whether the caller has lost interest; called a few times a second, without locks. */
struct interrupt
{
  bool (*is_wanted)(void *argument);
  void *argument;
};

enum caller_kind
{
  CALLER_STARTS,                        /* the start of the server, mariadb-backup: no others use it yet */
  CALLER_STATEMENT,                     /* a statement or a thread of the server: holds locks that others want */
  CALLER_APPLIER                        /* applies replicated statements: one that fails stops replication */
};

/* A caller that asks for a key. */
struct caller
{
  enum caller_kind kind;
  uint32_t patience_ms;                 /* for an applier */
  struct interrupt interrupt;           /* is_wanted NULL: it never loses interest */
};

struct client_config
{
  /* The absolute path of the executable, or "unix:" and the absolute path of a socket. */
  const char *target;
  enum client_role role;
  uint32_t start_timeout_ms;
  uint32_t watch_interval_ms;           /* between checks of the master keys; 0: none */
  bool allow_missing_keys;
  /* The cure if nobody listens on the socket and no agent is about to start. NULL: one may be about to. */
  const char *nobody_listens;
  const char *no_ctr;                   /* why the server cannot use keys of AES_CTR; NULL: it can */
  struct keytable *table;
  /*
    Returns whether a key may be made that has no stored file, or false with the reason in *why: data is encrypted with
    it. NULL: it may. Called when nothing else is in the way, once for all who wait for the key, by one of their threads,
    without locks, and for one key at a time. The result is ignored once the interrupt is wanted.
  */
  bool (*may_create)(uint32_t id, const struct interrupt *interrupt, struct failure *why);
  /* Describes the calling thread. NULL: every caller is CALLER_STARTS. */
  struct caller (*caller)(void);
  /* Logs one line, which has no prefix. Called from any thread, without locks. */
  void (*log)(enum severity severity, const char *text);
};

#endif
