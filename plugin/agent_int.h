// SPDX-License-Identifier: GPL-2.0-only
/*
  What agent.c (requests), agentio.c (the I/O thread), link.c (one connection) and dispatch.c (arriving frames) share.
*/
#ifndef AKM_AGENT_INT_H
#define AKM_AGENT_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "agent.h"
#include "connect.h"
#include "frame.h"
#include "recent.h"

#define REQUEST_DEADLINE_MS 30000u      /* OPEN, FETCH, ROTATE */
#define ANSWER_GRACE_MS 5000            /* after the deadline, then the agent counts as dead */
#define WELCOME_LIMIT_MS 10000
#define WRITE_LIMIT_MS 5000             /* an agent that reads nothing for so long is dead */
#define CONNECT_EVERY_MS 200
#define RECONNECT_PATIENCE_MS 5000      /* to a unix socket, once the server runs */
#define START_AGAIN_MS 1000             /* after a failed start requests fail at once for so long */
#define BACKOFF_MAX_MS 60000

struct request
{
  struct request *next;
  uint8_t type;                         /* enum frame_type */
  uint32_t id;
  uint32_t version;
  uint32_t deadline_ms;
  int64_t asked_at;
  unsigned refs;                        /* callers waiting, and the list that holds it */
  bool internal;                        /* LOAD that the I/O thread itself asked for */
  bool sent;
  bool sent_before;                     /* to an agent that had just ended for idleness */
  bool done;
  bool ok;
  bool log;                             /* failure is to be logged */
  bool own;                             /* failure is the plugin's own, its message does not name the key */
  uint32_t wire;                        /* request number while sent */
  int64_t give_up_at;
  pthread_cond_t ready;
  struct agent_failure failure;
};

enum connection
{
  CONNECTION_NONE,
  CONNECTION_WAITING,                   /* until somebody listens on the unix socket */
  CONNECTION_GREETED,                   /* HELLO is on its way */
  CONNECTION_UP                         /* WELCOME was received */
};

/* Owned by the I/O thread, touched by nobody else while it runs. */
struct agent_io
{
  enum connection connection;
  int fd;
  pid_t child;                          /* 0: not our child */
  int64_t limit_at;                     /* for somebody to listen, then for WELCOME */
  int64_t try_at;                       /* next connect() */
  uint32_t next_wire;
  uint32_t hello_wire;
  struct frame_parser parser;
  uint8_t out[2 * FRAME_TOTAL_MAX];
  size_t out_from;
  size_t out_size;
  int64_t out_moved_at;
  int64_t refuse_until;                 /* no new start before; start_failure says why */
  struct agent_failure start_failure;
  int64_t reload_at;                    /* start again for missing keys; 0: not planned */
  int64_t backoff_ms;
  bool missing_told;                    /* this agent sent MISSING */
  bool lock_warned;
  struct request *failed;               /* ended without success, not logged yet */
};

struct agent
{
  struct agent_config config;
  char *target;
  bool is_socket;
  int wake_fd;                          /* eventfd */
  bool has_thread;
  pthread_t thread;

  pthread_mutex_t lock;
  /* Below: guarded by lock. */
  char *settings[SETTING_COUNT];
  bool setting_changed[SETTING_COUNT];  /* the connected agent does not know yet */
  struct request *requests;             /* not ended, oldest first */
  struct recent recent;
  bool stop;
  int64_t patience_ms;                  /* for somebody to listen on the unix socket */
  enum agent_state state;
  uint64_t starts;
  char last_error[1024];
  char last_error_time[32];
  /* Above: guarded by lock. */

  _Atomic uint32_t missing;
  _Atomic uint64_t counters[COUNTER_END];
  struct agent_io io;
};

void *agent_io_thread(void *agent);

/* Adds a request to the end of the list; the list and the caller each hold a reference. NULL: out of memory. */
struct request *agent_queue(struct agent *agent, uint8_t type, uint32_t id, uint32_t version, uint32_t deadline_ms);

/* Needs the lock. */
void agent_release(struct request *request);

/* Ends a request that is in the list. failure NULL: success. Needs the lock; agent_log_failed() is due after it. */
void agent_end_request(struct agent *agent, struct request *request, const struct agent_failure *failure, bool own);

/* Logs the requests that failed. Without the lock. */
void agent_log_failed(struct agent *agent);

/* Needs the lock. */
void agent_note_error(struct agent *agent, const char *text);

__attribute__((format(printf, 3, 4)))
void agent_logf(const struct agent *agent, enum agent_severity severity, const char *format, ...);

struct agent_failure agent_plain(const char *message);

/* Below: of the I/O thread, without the lock. */

/* Starts the agent, or begins to wait for one that listens. */
void link_begin(struct agent *agent);

/* While waiting for somebody to listen: tries to connect if it is time to. */
void link_try_connect(struct agent *agent, int64_t now);

/* The connection is over. why NULL: the agent closed it. */
void link_drop(struct agent *agent, const char *why);

/* The agent answered HELLO with failure. */
void link_refused(struct agent *agent, const struct agent_failure *failure);

/* Closes the socket and forgets what was half read or written. The child stays to be reaped. */
void link_close(struct agent *agent);

/* A request number of this connection, not 0. */
uint32_t link_new_wire(struct agent_io *io);

/* Room for one frame of at most size bytes at the end of what is to be written; NULL: write first. */
uint8_t *link_out_space(struct agent_io *io, size_t size);

/* Asks for the missing keys again after the back-off, which doubles. */
void agent_plan_reload(struct agent *agent);

/*
  Handles one frame of the agent. Returns false if it breaks the protocol; why[0..why_size) says how. Sets *refused if
  the frame is a FAIL that answers HELLO.
*/
bool agent_dispatch(struct agent *agent, const struct frame *frame, struct agent_failure *refused, bool *is_refused,
                    char *why, size_t why_size);

#endif
