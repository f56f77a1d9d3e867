// SPDX-License-Identifier: GPL-2.0-only
/*
  An agent that is a thread of the test, listens on a unix socket, and misbehaves as its settings or the requested key id
  say.
*/
#ifndef AKM_FAKE_AGENT_H
#define AKM_FAKE_AGENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/client.h"
#include "client/internal.h"
#include "client/request.h"

/* Key ids of OPEN with a meaning; others are created if they may be. */
enum
{
  UNASKED_KEY= 101,                     /* sends a current key of id 7 that nobody asked for, then what was asked */
  KEY_WITH_REQUEST,
  GARBAGE,
  CLOSES,
  NO_KEY,                               /* says DONE without having sent a key */
  CONFLICT,                             /* sends other bytes for key 1 version 1, then what was asked */
  OTHER_ALGORITHM,                      /* sends key 1 version 1 as one of AES_CTR, likewise */
  ALGORITHM_0,
  ALGORITHM_3,
  CTR_KEY,
  LOG_OF_TWO_LINES,
  SILENT,
  DEAF,                                 /* stops reading */
  REFUSED,
  NOT_ALLOWED,
  NUMBERED,                             /* fails with a text that names the number of the call */
  STORED,                               /* exists: need not be created */
  LATE,                                 /* exists, answered after delay_ms */
  PASSING,                              /* fails, as KMS that does not answer has it, until delay_ms is 0 */
  NO_MORE_ALLOWED,                      /* may be created no more once it has been looked for */
  NEVER_SEEN,                           /* is to be looked for, whatever the plugin says */
  /* Protocol 2: questions of an OPEN that are out of order. */
  QUESTION_TWICE,
  QUESTION_OF_ANOTHER,                  /* key */
  QUESTION_OF_NOTHING,                  /* that was asked */
  QUESTION_AFTER_ANSWER,
  QUESTION_ALWAYS,                      /* also where the key may be made without one */
  DONE_DURING_QUESTION,
  FAIL_DURING_QUESTION,
  QUESTION_THEN_CLOSES,                 /* as long as closes_left says so, then no answer */
  DENIED_UNASKED                        /* says that no key was made, as after the answer no */
};

/* Versions of FETCH and ids of ROTATE with a meaning. */
#define FETCH_NO_KEY 99u
enum
{
  ROTATE_REFUSED= 5,
  ROTATE_CLOSES= 201,
  ROTATE_NO_KEY,
  ROTATE_SLOW,
  ROTATE_SLOW_REFUSED
};

enum fake_hello
{
  HELLO_WELCOME,
  HELLO_LATE,                           /* WELCOME after delay_ms */
  HELLO_SILENT,
  HELLO_OTHER_VERSION,
  HELLO_UNASKED_VERSION,                /* WELCOME of the latest version, whatever HELLO has */
  HELLO_NO_VERSION,                     /* refuses any version, as an agent of a later release does */
  HELLO_KEY_FIRST,
  HELLO_REFUSED
};

enum fake_load
{
  LOAD_DONE,
  LOAD_CLOSES,                          /* after delay_ms */
  LOAD_MISSING,
  LOAD_MISSING_REFUSED,
  LOAD_TOO_MANY,                        /* DONE counts a version that never came */
  LOAD_LOGS                             /* sends LOG before DONE */
};

struct fake
{
  char directory[32], path[64], target[80];
  _Atomic enum fake_hello hello;
  _Atomic enum fake_load load;
  atomic_int delay_ms;
  _Atomic uint16_t protocol;            /* 1: the agent knows no other */
  _Atomic uint16_t spoken;              /* version of the connection */
  /* opens: answers to questions too; connections: only those that were not refused for their version */
  atomic_int connections, loads, opens, fetches, rotates, checks, uses;
  atomic_int uses_refused;              /* so many more USE are answered with FAIL */
  atomic_int closes_left;
  _Atomic uint32_t stored;              /* a key id that is stored by now; 0: none */
  _Atomic uint8_t master_key;           /* state that CHECK is answered with */
  _Atomic uint32_t load_deadline;       /* that the last LOAD gave */
  _Atomic uint32_t open_deadline;       /* that the last OPEN or ANSWER gave */
  atomic_bool told_alias;
  _Atomic uint8_t may_create;           /* likewise */
  _Atomic uint32_t held;                /* that the last HELLO told */
  _Atomic uint32_t names;               /* names in HELD since then */
  _Atomic uint64_t names_hash;          /* sum of the hashes of these names */
  atomic_bool held_late;                /* a request came before all of them */
  struct keytable table;
};

extern struct fake fake;

/* Returns the hash of one name. */
uint64_t fake_hash(uint32_t id, uint32_t version);

/* Serves the connection until it is closed. */
void fake_serve(int fd);

void fake_listen(void);
void fake_stop_listening(void);

/* Opens and closes the fake agent. Tests of one program run one after the other, between these. */
void fake_open(void);
void fake_close(void);

/* Sets the caller from now on, in every thread; fake_client() makes it a statement that nobody interrupts. */
void fake_call_as(struct caller caller);

/* Makes a client of target with an empty key table, not started. */
struct client *fake_client_of(const char *target, uint32_t start_timeout_ms, bool allow_missing_keys);

/* Make a client of the fake agent, not started and started, and destroy a client. */
struct client *fake_client(uint32_t start_timeout_ms, bool allow_missing_keys);
struct client *fake_started_client(void);
void fake_destroy(struct client *client);

/* Return the number of lines logged since fake_client(), and whether one has this part. */
int fake_logged(void);
bool fake_has_logged(const char *part);

bool fake_last_error_has(struct client *client, const char *part);

#endif
