// SPDX-License-Identifier: GPL-2.0-only
/*
  What agent.c (its life), asking.c (who wants a key), request.c (who waits for what), limit.c (how many keys), agentio.c (the I/O thread), output.c (what it writes), link.c
  (one connection) and dispatch.c (arriving frames) share.
*/
#ifndef AKM_AGENT_INT_H
#define AKM_AGENT_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "client/agent.h"
#include "client/bucket.h"
#include "client/connect.h"
#include "client/environment.h"
#include "client/frame.h"
#include "client/reasons.h"
#include "client/recent.h"

#define ROTATE_ALL_EACH_MS 50u
#define ROTATE_ALL_EXTRA_MAX_MS 3600000u
#define UNREAPED_MAX 8u
#define TIME_LEFT_MIN_MS 1000u          /* for what is asked although its time is over */

/* In milliseconds. Tests shorten them. */
struct agent_limits
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

/*
  At the data, whether a key may be made. It costs much, and only the agent knows whether there is a key already, or none may
  be made anyway: so it is asked without first, and whoever waits looks if it says that nothing else is in the way.
*/
enum look
{
  LOOK_NOT_NEEDED,
  LOOK_WANTED,
  LOOK_UNDER_WAY,
  LOOK_DONE
};

struct request
{
  struct request *next;
  uint8_t type;                         /* enum frame_type */
  uint32_t id;
  uint32_t version;
  uint32_t deadline_ms;
  int64_t asked_at;
  unsigned refs;                        /* callers waiting, and the list that holds it */
  bool internal;                        /* LOAD, CHECK or USE that the I/O thread itself asked for */
  bool may_create;                      /* OPEN */
  bool by_applier;                      /* one waits for it, too */
  enum look look;
  int64_t held_at;                      /* since when it has wanted a look */
  int64_t looked_at;                    /* when the look was done; 0: not yet */
  bool charged;                         /* holds a token of the bucket */
  bool forgotten;                       /* failed for want of a look when nobody waited for it any more */
  bool sent;
  bool sent_before;                     /* to an agent that ended without doing it */
  bool done;
  bool ok;
  bool log;                             /* its end is to be logged */
  bool spoilt;                          /* by a key that contradicts one in memory: fails, with failure, when answered */
  bool own;                             /* failure is the plugin's own, its message does not name the key */
  uint32_t wire;                        /* request number while sent */
  int64_t give_up_at;
  pthread_cond_t ready;
  struct agent_failure failure;
};

enum agent_end
{
  ENDED,                                /* the request has, well or not */
  INTERRUPTED,
  GAVE_UP,                              /* the caller's time is over, the request goes on */
  LOOKED_TOO_LONG,                      /* likewise, and the data was still being looked at */
  HANGS                                 /* the I/O thread did not even say that it is late */
};

/* How long one caller waits. */
struct agent_wait
{
  const struct agent_interrupt *interrupt;      /* may be NULL */
  int64_t began_at;
  int64_t limit_ms;                             /* from when the agent is there; 0: as long as the request takes */
  int64_t until;                                /* whatever it waits for but a look; with limit_ms */
  int64_t look_ms;                              /* with limit_ms */
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
  pid_t unreaped[UNREAPED_MAX];         /* killed, but did not end in time; 0: free */
  int64_t limit_at;                     /* for somebody to listen, then for WELCOME */
  int64_t greeted_at;
  int64_t try_at;                       /* next connect() */
  uint32_t next_wire;
  uint32_t hello_wire;
  struct keytable_walk held;            /* key versions that the agent is still to be told of */
  uint32_t held_left;
  struct frame_parser parser;
  uint8_t out[2 * FRAME_TOTAL_MAX];
  size_t out_from;
  size_t out_size;
  int64_t out_moved_at;
  int64_t refuse_until;                 /* no new start before; start_failure says why */
  struct agent_failure start_failure;
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

struct agent
{
  struct agent_config config;
  struct agent_limits limits;
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
  int64_t start_until;                  /* when agent_start() must be over; 0: it is not under way */
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
  struct agent_io io;
};

void *agent_io_thread(void *agent);

/* What the I/O thread does again and again. Returns false once it was the last time. */
bool agent_io_round(struct agent *agent);

/* A condition on the clock of clock_ms(). Returns 0 or an errno. */
int agent_cond_init(pthread_cond_t *cond);

/* Adds a request to the end of the list; the list and the caller each hold a reference. NULL: out of memory. */
struct request *agent_queue(struct agent *agent, uint8_t type, uint32_t id, uint32_t version, uint32_t deadline_ms);

/* Needs the lock. */
void agent_release(struct request *request);

/* Ends a request that is in the list. failure NULL: success. Needs the lock; agent_log_ended() is due after it. */
void agent_end_request(struct agent *agent, struct request *request, const struct agent_failure *failure, bool own);

/* Whether it is not to be sent now. Needs the lock. */
bool agent_is_held(const struct request *request);

/*
  Holds a request that failed for want of a look; it is sent again, once, when somebody who waits for it has looked. Returns
  false if that is not why it failed, nobody waits, or statements may create no more keys: *failure then says so. Needs the
  lock.
*/
bool agent_hold(struct agent *agent, struct request *request, struct agent_failure *failure);

/*
  Looks for a request that wants it. Returns ENDED, or why the caller must go: then nothing was found out, and somebody else
  who waits for the key has to look. Needs the lock, but not while it looks; the request must not go away meanwhile.
*/
enum agent_end agent_look(struct agent *agent, struct request *request, const struct agent_wait *wait);

/*
  Waits until the request has ended, or the caller does not wait any longer, and lets go of it. *ok says whether it ended
  well; *failure is filled in when it has ended, and when the connection hangs. Needs the lock, but not while it waits.
*/
enum agent_end agent_await(struct agent *agent, struct request *request, const struct agent_wait *wait,
                           struct agent_failure *failure, bool *ok);

/* Whether the caller has lost interest. Needs the lock, but not while it asks. */
bool agent_interrupted(struct agent *agent, const struct agent_interrupt *interrupt);

/* Whether the administrator named the key in key_ids; the default, any key, names none. Needs the lock. */
bool limit_lists(const struct agent *agent, uint32_t id);

/* With so many key versions statements create no more keys. */
uint32_t limit_of_versions(const struct agent *agent);

/* Whether they are there, and the key is none that may be created all the same. Needs the lock. */
bool limit_is_reached(const struct agent *agent, uint32_t id);

/* Why a key is not created then. */
struct agent_failure limit_failure(const struct agent *agent, uint32_t id);

/* Tells the log in time that the limit comes near. Of the I/O thread, without the lock. */
void limit_warn(struct agent *agent);

/* Queues a request and waits until it has ended. interrupt may be NULL. */
bool agent_ask(struct agent *agent, uint8_t type, uint32_t id, uint32_t deadline_ms,
               const struct agent_interrupt *interrupt, struct agent_failure *failure);

/* Logs what nobody else tells of the requests that have ended, and lets go of them. Without the lock. */
void agent_log_ended(struct agent *agent);

/* Logs how many failures were not logged, if it is time to. Without the lock. */
void agent_log_untold(struct agent *agent, int64_t now);

/* When the watch first looks at the master keys, and first uses them. */
void agent_plan_watch(struct agent *agent, int64_t now);

/* They were used: next time a day later. */
void agent_plan_use(struct agent_io *io, int64_t now);

/* Interrupts the sleep of the I/O thread. */
void agent_wake(const struct agent *agent);

/* Needs the lock. */
void agent_note_error(struct agent *agent, const char *text);

__attribute__((format(printf, 3, 4)))
void agent_logf(const struct agent *agent, enum agent_severity severity, const char *format, ...);

/* A failure of our own, without code and hint. */
struct agent_failure agent_plain(const char *message);

/* Below: of the I/O thread, without the lock. */

/*
  Puts into the output what the agent does not know yet: names of keys, settings, then requests. Returns false if there is no
  room for the rest yet.
*/
bool output_queue(struct agent *agent);

/* Asks for the missing keys on the connection that is up. */
void output_queue_reload(struct agent *agent);

/* Asks whether the master keys are usable. Nobody waits: what is found goes to the log and the status. */
void output_queue_check(struct agent *agent);

/* Has each master key used. Nobody waits: what is refused goes to the log. */
void output_queue_use(struct agent *agent);

/* Writes what can be written. */
void output_write(struct agent_io *io);

/* A request number of this connection, not 0. */
uint32_t output_new_wire(struct agent_io *io);

/* Room for one frame of at most size bytes at the end of what is to be written; NULL: write first. */
uint8_t *output_space(struct agent_io *io, size_t size);

/* Starts the agent, or begins to wait for one that listens. */
void link_begin(struct agent *agent);

/* While waiting for somebody to listen: tries to connect if it is time to. */
void link_try_connect(struct agent *agent, int64_t now);

/* The connection is over. why NULL: the agent closed it; otherwise we do, and end the agent. */
void link_drop(struct agent *agent, const struct agent_failure *why);

/* The agent answered HELLO with failure. */
void link_refused(struct agent *agent, const struct agent_failure *failure);

/* Closes the socket and forgets what was half read or written. The child stays to be reaped. */
void link_close(struct agent *agent);

/* Waits for the child, whose connection was closed, to end, and kills it if it does not. */
void link_reap(struct agent *agent);

/* A killed child that has not ended yet: reaped by and by. */
void link_reap_later(struct agent_io *io, pid_t child);

/* Reaps what has ended since. Returns whether some child has not. */
bool link_reap_unreaped(struct agent_io *io);

/* Asks for the missing keys again after the back-off, which doubles. */
void agent_plan_reload(struct agent *agent);

/*
  Handles one frame of the agent. Returns false if it breaks the protocol; why[0..why_size) says how. Sets *refused if
  the frame is a FAIL that answers HELLO.
*/
bool agent_dispatch(struct agent *agent, const struct frame *frame, struct agent_failure *refused, bool *is_refused,
                    char *why, size_t why_size);

#endif
