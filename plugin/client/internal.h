// SPDX-License-Identifier: GPL-2.0-only
/* The state of a client, for its own files alone. Each part is owned by the I/O thread or guarded by the lock, as it says. */
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

/* Time limits, in milliseconds. Tests shorten them. */
struct client_limits
{
  uint32_t request;                     /* OPEN, FETCH, ROTATE */
  uint32_t statement;                   /* OPEN, FETCH of a statement, once the agent is there */
  uint32_t total;                       /* a statement's turn, start of an agent, and KMS together; without looks at the data */
  uint32_t look;                        /* a statement's look, with the wait for its turn to look */
  uint32_t turn;                        /* a statement's wait for its turn when too many keys are asked for */
  int64_t answer_grace;                 /* after the deadline; the agent counts as dead then */
  int64_t welcome;
  int64_t write;                        /* an agent that reads nothing for so long is dead */
  int64_t connect_every;
  int64_t connect_quiet;                /* a start that waits longer for its agent says so; a refusal by then stays */
  int64_t patience;                     /* wait for somebody to listen on a unix socket, once the server runs */
  int64_t start_again;                  /* after a failed start requests fail at once for so long; first back-off */
  int64_t backoff_max;
  int64_t exit;                         /* an agent whose connection is closed is killed after so long */
  int64_t join;                         /* a thread that has not ended after so long hangs */
  int64_t interrupt_every;
  int64_t reload_soonest;               /* least time between a start and a load of missing keys that a caller wants */
};

enum connection
{
  CONNECTION_NONE,
  CONNECTION_WAITING,                   /* until somebody listens on the unix socket */
  CONNECTION_GREETED,                   /* HELLO is on its way */
  CONNECTION_UP                         /* WELCOME was received */
};

/* State of the I/O thread. No other thread touches it while that one runs. */
struct client_io
{
  enum connection connection;
  int fd;
  pid_t child;                          /* 0: not our child */
  pid_t unreaped[UNREAPED_MAX];         /* killed, but did not end in time; 0: free */
  int64_t limit_at;                     /* end of the wait for somebody to listen, then for WELCOME */
  int64_t greeted_at;
  int64_t try_at;                       /* next try to connect */
  bool is_start;                        /* client_start() waits for the connection */
  bool told_of_wait;                    /* the log says that nobody could be connected to so far */
  uint32_t next_number;
  uint32_t hello_number;
  uint16_t protocol;                    /* of HELLO, then of WELCOME */
  struct keytable_walk held;            /* key versions that the agent is still to be told of */
  uint32_t held_left;
  struct frame_parser parser;
  uint8_t out[2 * FRAME_TOTAL_MAX];
  size_t out_from;
  size_t out_size;
  int64_t out_moved_at;
  int64_t refuse_until;                 /* no new start until then; start_failure says why */
  struct failure start_failure;
  int64_t reload_at;                    /* next load of missing keys; 0: not planned */
  int64_t begun_at;                     /* the last start */
  int64_t watch_at;                     /* next check of the master keys; 0: never */
  int64_t use_at;                       /* next real use of them, which KMS counts; 0: never */
  int64_t backoff_ms;
  bool missing_told;                    /* this agent sent MISSING */
  bool lock_warned;
  bool protocol_warned;                 /* of an agent that speaks the oldest protocol only */
  uint32_t told_of_versions;            /* percent of the limit at the last warning of it */
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
  /* The lock guards the members from here on. */
  char *settings[SETTING_COUNT];
  bool setting_changed[SETTING_COUNT];  /* not yet sent to the connected agent */
  struct request *requests;             /* not ended, oldest first */
  struct recent recent;
  struct reasons reasons;
  struct bucket bucket;                 /* rations what statements ask for */
  bool knows_missing;                   /* the connected agent has listed the missing versions: it refuses them itself */
  bool refused_missing;                 /* somebody was refused a missing version since the last was loaded */
  bool reload_wanted;                   /* somebody was refused a key for want of the list of missing versions */
  bool looking;                         /* one of the callers looks at the data */
  bool stop;
  bool ended;                           /* the I/O thread touches nothing any more */
  bool hangs;                           /* the I/O thread did not even say that it is late, and began no round since */
  int64_t start_until;                  /* end of the time of client_start(); 0: it is not under way */
  int64_t server_start_until;           /* end of the time of the server's start */
  enum agent_state state;
  enum master_key_state master_key;
  uint32_t days_left;
  uint64_t starts;
  char last_error[1024];
  char last_error_time[32];
  /* The lock guards the members up to here. */

  _Atomic uint32_t missing;
  _Atomic uint64_t counters[COUNTER_END];
  struct client_io io;
};

#endif
