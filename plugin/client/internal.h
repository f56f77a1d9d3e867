// SPDX-License-Identifier: GPL-2.0-only
/*
  The client itself, for its own files alone. Each part of it is owned by the I/O thread or guarded by the lock, as said there.
*/
#ifndef AKM_INTERNAL_H
#define AKM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "client/bucket.h"
#include "client/config.h"
#include "client/environment.h"
#include "client/frame.h"
#include "client/reasons.h"
#include "client/recent.h"
#include "client/settings.h"
#include "client/status.h"

struct request;

#define UNREAPED_MAX 8u

/* In milliseconds. Tests shorten them. */
struct client_limits
{
  uint32_t request;                     /* OPEN, FETCH, ROTATE */
  uint32_t statement;                   /* OPEN, FETCH of a statement, from when the agent is there */
  uint32_t total;                       /* a statement's turn, an agent that has to start, and KMS; not a look at the data */
  uint32_t look;                        /* a statement's, the wait for its turn to look included */
  uint32_t turn;                        /* a statement that asks for too many keys waits so long for its turn */
  int64_t answer_grace;                 /* after the deadline, then the agent counts as dead */
  int64_t welcome;
  int64_t write;                        /* an agent that reads nothing for so long is dead */
  int64_t connect_every;
  int64_t patience;                     /* for somebody to listen on a unix socket, once the server runs */
  int64_t start_again;                  /* after a failed start requests fail at once for so long; first back-off */
  int64_t backoff_max;
  int64_t exit;                         /* an agent whose connection is closed is killed after so long */
  int64_t join;                         /* a thread that has not ended after so long hangs */
  int64_t interrupt_every;
  int64_t reload_soonest;               /* after the last start; whoever is refused a key brings a reload forward */
};

enum connection
{
  CONNECTION_NONE,
  CONNECTION_WAITING,                   /* until somebody listens on the unix socket */
  CONNECTION_GREETED,                   /* HELLO is on its way */
  CONNECTION_UP                         /* WELCOME was received */
};

/* Owned by the I/O thread, touched by nobody else while it runs. */
struct client_io
{
  enum connection connection;
  int fd;
  pid_t child;                          /* 0: not our child */
  pid_t unreaped[UNREAPED_MAX];         /* killed, but did not end in time; 0: free */
  int64_t limit_at;                     /* for somebody to listen, then for WELCOME */
  int64_t greeted_at;
  int64_t try_at;                       /* next connect() */
  uint32_t next_number;
  uint32_t hello_number;
  struct keytable_walk held;            /* key versions that the agent is still to be told of */
  uint32_t held_left;
  struct frame_parser parser;
  uint8_t out[2 * FRAME_TOTAL_MAX];
  size_t out_from;
  size_t out_size;
  int64_t out_moved_at;
  int64_t refuse_until;                 /* no new start before; start_failure says why */
  struct failure start_failure;
  int64_t reload_at;                    /* start again for missing keys; 0: not planned */
  int64_t begun_at;                     /* the last start */
  int64_t watch_at;                     /* look at the master keys; 0: never */
  int64_t use_at;                       /* use them for real, for KMS to count; 0: never */
  int64_t backoff_ms;
  bool missing_told;                    /* this agent sent MISSING */
  bool lock_warned;
  uint32_t told_of_versions;            /* percent of the limit that the log was last told of */
  struct request *ended;                /* not logged yet */
};

struct client
{
  struct client_config config;
  struct client_limits limits;
  struct environment_user user;
  char *target;
  bool is_socket;
  int wake_fd;                          /* eventfd */
  bool has_thread;
  pthread_t thread;

  pthread_mutex_t lock;
  pthread_cond_t has_ended;
  /* Below: guarded by lock. */
  char *settings[SETTING_COUNT];
  bool setting_changed[SETTING_COUNT];  /* the connected agent does not know yet */
  struct request *requests;             /* not ended, oldest first */
  struct recent recent;
  struct reasons reasons;
  struct bucket bucket;                 /* what statements may still ask for */
  bool knows_missing;                   /* the connected agent has listed the missing versions: it refuses them itself */
  bool refused_missing;                 /* somebody was refused a missing version since the last was loaded */
  bool reload_wanted;                   /* somebody was refused a key for want of the list of missing versions */
  bool looking;                         /* one of the callers looks at the data */
  bool stop;
  bool ended;                           /* the I/O thread touches nothing any more */
  bool hangs;                           /* the I/O thread did not even say that it is late */
  int64_t start_until;                  /* when client_start() must be over; 0: it is not under way */
  int64_t server_start_until;           /* when the start of the server should be */
  enum agent_state state;
  enum master_key_state master_key;
  uint32_t days_left;
  uint64_t starts;
  char last_error[1024];
  char last_error_time[32];
  /* Above: guarded by lock. */

  _Atomic uint32_t missing;
  _Atomic uint64_t counters[COUNTER_END];
  struct client_io io;
};

#endif
